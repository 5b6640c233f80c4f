//! Pictures that are held whole: formats that cannot be decoded or encoded in parts, and pictures that are turned.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use image::codecs::bmp::BmpEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageError};

use super::{Density, Depth, Format, Header, MOST_BYTES, Opened, Reader, Rows};
use crate::{error, source};

/// Quality of a JPEG: what is lost is far below what a denoiser changes.
const QUALITY: u8 = 95;
/// Most bytes of the EXIF of a JPEG: it is in one segment, with its name.
const MOST_JPEG_EXIF: usize = (1 << 16) - 9;

/// The rows of a picture that is in memory.
pub struct WholeRows {
    pixels: Vec<u8>,
    next: usize,
    /// Those that they were made from, which know the next page.
    read: Option<Box<dyn Rows>>,
}

impl WholeRows {
    /// The rows of these pixels.
    pub fn new(pixels: Vec<u8>) -> Self {
        Self { pixels, next: 0, read: None }
    }
}

impl Rows for WholeRows {
    fn read(&mut self, row: &mut [u8]) -> Result<()> {
        let next = self.next + row.len();
        let from = self.pixels.get(self.next..next).ok_or_else(|| error::data("it has fewer rows than it says"))?;
        row.copy_from_slice(from);
        self.next = next;
        Ok(())
    }

    fn has_more(&self) -> bool {
        self.read.as_ref().is_some_and(|rows| rows.has_more())
    }

    fn next_page(self: Box<Self>) -> Result<Option<Opened>> {
        self.read.map_or(Ok(None), |rows| rows.next_page())
    }
}

/// Opens a JPEG, WebP, GIF or BMP, which is turned already as its EXIF orientation says.
///
/// # Errors
/// A damaged file, one that is too large, one of another format.
pub fn open(path: &Path) -> Result<Opened> {
    let file = source::read_picture(path).map_err(|cause| match cause.kind() {
        ErrorKind::FileTooLarge | ErrorKind::InvalidData => error::data(cause.to_string()),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    // The room for decoding is free again: what is left is the pixels alone.
    let (image, profile, exif, orientation) = source::decode_whole(&file.bytes).map_err(error::data)?;
    let turned = orientation.is_some_and(is_quarter);
    let density = Density::of_jpeg(&file.bytes).map(|density| if turned { density.turned() } else { density });
    let frames = source::frames(&file.bytes);
    let is_gif = source::guess_format(&file.bytes) == Some(image::ImageFormat::Gif);
    drop(file);
    let (width, height) = (image.width() as usize, image.height() as usize);
    // A GIF has an alpha whether it is transparent somewhere or not.
    let is_opaque_gif = is_gif
        && image
            .as_rgba8()
            .is_some_and(|image| image.as_raw().as_chunks::<4>().0.iter().all(|pixel| pixel[3] == u8::MAX));
    let image = if is_opaque_gif { DynamicImage::ImageRgb8(image.into_rgb8()) } else { image };
    let (channels, pixels) = match image {
        DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
        DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
        DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
        DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
        other => return Err(error::data(format!("it has pixels of {:?}; convert it to grey or RGB", other.color()))),
    };
    let header = Header { profile, density, exif, frames, ..Header::new(height, width, channels, Depth::U8) };
    Ok((header, Orientation::NoTransforms, Box::new(WholeRows::new(pixels))))
}

/// Whether rows become columns.
fn is_quarter(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    )
}

/// Reads a picture to its end and turns it.
///
/// # Errors
/// As [`Reader::read`]; a picture that is too large.
pub fn turned(mut reader: Reader, orientation: Orientation) -> Result<Reader> {
    let Header { height, width, .. } = reader.header;
    let stride = reader.header.row_bytes();
    let bytes = stride.checked_mul(height).filter(|bytes| *bytes <= MOST_BYTES / 2).ok_or_else(|| {
        let most = (MOST_BYTES / 2) >> 20;
        error::data(format!("its EXIF orientation turns it, and it has more than {most} MiB; save it turned"))
    })?;
    let mut pixels = vec![0; bytes];
    pixels.chunks_exact_mut(stride).try_for_each(|row| reader.read(row))?;
    let pixel = reader.header.channels * reader.header.depth.bytes();
    let (across, down) = (width - 1, height - 1);
    // Where the pixel at (row, column) of the turned picture was.
    let from = |row: usize, column: usize| match orientation {
        Orientation::NoTransforms => [row, column],
        Orientation::FlipHorizontal => [row, across - column],
        Orientation::Rotate180 => [down - row, across - column],
        Orientation::FlipVertical => [down - row, column],
        Orientation::Rotate90FlipH => [column, row],
        Orientation::Rotate90 => [down - column, row],
        Orientation::Rotate270FlipH => [down - column, across - row],
        Orientation::Rotate270 => [column, across - row],
    };
    let quarter = is_quarter(orientation);
    let (rows, columns) = if quarter { (width, height) } else { (height, width) };
    let mut turned = Vec::with_capacity(bytes);
    for row in 0..rows {
        for column in 0..columns {
            let [row, column] = from(row, column);
            let at = row * stride + column * pixel;
            turned.extend_from_slice(&pixels[at..at + pixel]);
        }
    }
    let density = reader.header.density.map(|density| if quarter { density.turned() } else { density });
    let header = Header { height: rows, width: columns, density, ..reader.header };
    let rows = WholeRows { pixels: turned, next: 0, read: Some(reader.rows) };
    Ok(Reader { header, next: 0, rows: Box::new(rows) })
}

/// A picture that is encoded when all its rows are there.
pub struct WholeWriter {
    file: BufWriter<Box<dyn Write>>,
    format: Format,
    header: Header,
    pixels: Vec<u8>,
}

impl WholeWriter {
    /// Waits for the rows.
    pub fn new(file: Box<dyn Write>, format: Format, header: Header) -> Self {
        let pixels = Vec::with_capacity(header.row_bytes() * header.height);
        Self { file: BufWriter::with_capacity(1 << 16, file), format, header, pixels }
    }

    /// Keeps rows.
    pub fn write(&mut self, rows: &[u8]) {
        self.pixels.extend_from_slice(rows);
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written, or encoded.
    pub fn finish(self) -> Result<()> {
        let Self { mut file, format, header, pixels } = self;
        match format {
            Format::Jpeg => {
                let mut encoder = JpegEncoder::new_with_quality(&mut file, QUALITY);
                header.density.and_then(Density::jpeg).into_iter().for_each(|it| encoder.set_pixel_density(it));
                let exif = header.exif.filter(|exif| exif.len() <= MOST_JPEG_EXIF);
                encode(encoder, Header { exif, ..header }, &pixels)
            }
            Format::WebP => encode(WebPEncoder::new_lossless(&mut file), header, &pixels),
            Format::Bmp => encode(BmpEncoder::new(&mut file), Header { profile: None, exif: None, ..header }, &pixels),
            Format::Png | Format::Tiff => Err(error::bug("PNG and TIFF are written row by row")),
        }?;
        file.flush().context("cannot write the picture")
    }
}

fn encode(mut encoder: impl ImageEncoder, header: Header, pixels: &[u8]) -> Result<()> {
    if let Some(profile) = header.profile {
        encoder.set_icc_profile(profile).map_err(|cause| error::settings(cause.to_string()))?;
    }
    if let Some(exif) = header.exif {
        encoder.set_exif_metadata(exif).map_err(|cause| error::settings(cause.to_string()))?;
    }
    let colour = match header.channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    };
    encoder.write_image(pixels, header.width as u32, header.height as u32, colour).map_err(|cause| match cause {
        ImageError::IoError(cause) => anyhow::Error::new(cause).context("cannot write the picture"),
        cause => error::settings(format!("cannot encode it: {cause}")),
    })
}
