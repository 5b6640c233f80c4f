//! PNG, row by row. Palettes become RGB, fewer than 8 bits become 8, a transparent colour becomes an alpha channel.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;

use anyhow::{Context, Result};
use image::metadata::Orientation;
use png::{BitDepth, ColorType, Decoder, DecodingError, Encoder, Info, Limits, StreamWriter, Transformations};

use super::whole::WholeRows;
use super::{Density, Depth, File, Header, MOST_ASIDE, MOST_BYTES, Opened, Rows, checked_side};
use crate::error;

/// Bytes of a chunk of pixels.
const CHUNK: usize = 1 << 16;

fn failed(cause: &DecodingError) -> anyhow::Error {
    error::reading(cause.to_string())
}

struct PngRows {
    reader: png::Reader<File>,
    depth: Depth,
}

/// Numbers of 16 bits in the byte order of the file from that of the machine, or the reverse.
fn swap(depth: Depth, row: &mut [u8]) {
    if depth == Depth::U16 {
        for bytes in row.as_chunks_mut::<2>().0 {
            *bytes = u16::from_be_bytes(*bytes).to_ne_bytes();
        }
    }
}

impl Rows for PngRows {
    fn read(&mut self, row: &mut [u8]) -> Result<()> {
        match self.reader.read_row(row).map_err(|cause| failed(&cause))? {
            Some(_) => swap(self.depth, row),
            None => return Err(error::data("it has fewer rows than it says")),
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.reader.finish().map_err(|cause| failed(&cause))
    }
}

/// Opens a PNG.
///
/// # Errors
/// A damaged file, an interlaced one that is too large.
pub fn open(file: File) -> Result<Opened> {
    let mut decoder = Decoder::new_with_limits(file, Limits { bytes: MOST_ASIDE });
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    let info = decoder.read_header_info().map_err(|cause| failed(&cause))?;
    let (height, width) = (checked_side(info.height)?, checked_side(info.width)?);
    let mut reader = decoder.read_info().map_err(|cause| failed(&cause))?;
    let (colour, bits) = reader.output_color_type();
    let channels = match colour {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
    };
    let depth = if bits == BitDepth::Sixteen { Depth::U16 } else { Depth::U8 };
    let info = reader.info();
    let profile = info.icc_profile.as_ref().map(|profile| profile.to_vec());
    let mut exif = info.exif_metadata.as_ref().map(|exif| exif.to_vec());
    let orientation = exif.as_mut().and_then(|exif| Orientation::remove_from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let density = info.pixel_dims.and_then(Density::of_png);
    // A picture that is not one of the frames comes before them.
    let said = info.animation_control.map_or(0, |control| control.num_frames as usize);
    let frames = (said + usize::from(info.frame_control.is_none())).max(1);
    let header = Header { profile, density, exif, frames, ..Header::new(height, width, channels, depth) };
    if !info.interlaced {
        return Ok((header, orientation, Box::new(PngRows { reader, depth })));
    }
    let bytes = header.row_bytes().checked_mul(height).filter(|bytes| *bytes <= MOST_BYTES).ok_or_else(|| {
        let most = MOST_BYTES >> 20;
        error::data(format!("it is interlaced and has pixels of more than {most} MiB; save it without interlacing"))
    })?;
    let mut pixels = vec![0; bytes];
    reader.next_frame(&mut pixels).and_then(|_| reader.finish()).map_err(|cause| failed(&cause))?;
    swap(depth, &mut pixels);
    Ok((header, orientation, Box::new(WholeRows::new(pixels))))
}

/// A file whose first failure is remembered: what ends a PNG is written when the encoder is dropped, which cannot fail.
struct Remembering {
    file: Box<dyn Write>,
    failure: Rc<Cell<Option<io::Error>>>,
}

impl Remembering {
    fn remember<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|cause| {
            let copy = cause.raw_os_error().map_or_else(|| cause.kind().into(), io::Error::from_raw_os_error);
            self.failure.set(Some(copy));
        })
    }
}

impl Write for Remembering {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer);
        self.remember(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        self.remember(flushed)
    }
}

/// A PNG that is being written.
pub struct PngWriter {
    stream: StreamWriter<'static, BufWriter<Remembering>>,
    failure: Rc<Cell<Option<io::Error>>>,
    depth: Depth,
}

impl PngWriter {
    /// Writes what precedes the pixels.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: Box<dyn Write>, header: &Header) -> Result<Self> {
        let mut info = Info::with_size(header.width as u32, header.height as u32);
        info.bit_depth = if header.depth == Depth::U8 { BitDepth::Eight } else { BitDepth::Sixteen };
        info.color_type = match header.channels {
            1 => ColorType::Grayscale,
            2 => ColorType::GrayscaleAlpha,
            3 => ColorType::Rgb,
            _ => ColorType::Rgba,
        };
        info.icc_profile = header.profile.clone().map(Cow::Owned);
        info.exif_metadata = header.exif.clone().map(Cow::Owned);
        info.pixel_dims = header.density.and_then(Density::png);
        let failure = Rc::new(Cell::new(None));
        let file = BufWriter::with_capacity(CHUNK, Remembering { file, failure: failure.clone() });
        let encoder = Encoder::with_info(file, info).context("cannot encode it as PNG")?;
        let stream = encoder.write_header().and_then(|writer| writer.into_stream_writer_with_size(CHUNK));
        Ok(Self { stream: stream.context("cannot write the PNG")?, failure, depth: header.depth })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, rows: &[u8]) -> Result<()> {
        if self.depth != Depth::U16 {
            return self.stream.write_all(rows).context("cannot write the PNG");
        }
        for part in rows.chunks(CHUNK) {
            let mut part = part.to_vec();
            swap(self.depth, &mut part);
            self.stream.write_all(&part).context("cannot write the PNG")?;
        }
        Ok(())
    }

    /// Writes what follows the pixels.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<()> {
        self.stream.finish().context("cannot write the PNG")?;
        match self.failure.take() {
            Some(cause) => Err(cause).context("cannot write the PNG"),
            None => Ok(()),
        }
    }
}
