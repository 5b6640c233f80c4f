//! TIFF, in strips or tiles, of which one row is decoded at a time.

use std::io::Seek;

use anyhow::{Context, Result};
use image::metadata::Orientation;
use tiff::decoder::ifd::Value;
use tiff::decoder::{Decoder, Limits};
use tiff::tags::{Tag, Type, ValueBuffer};
use tiff::{ColorType, TiffError};

use super::{Density, Depth, File, Header, MOST_ASIDE, MOST_BYTES, Opened, Rows, checked_side};
use crate::{error, source};

fn failed(cause: &TiffError) -> anyhow::Error {
    error::reading(source::reason(cause))
}

struct TiffRows {
    decoder: Decoder<File>,
    /// Positions of the pages that follow among the directories, the next one last.
    pages: Vec<usize>,
    header: Header,
    /// Rows and columns of a strip or tile.
    chunk: [usize; 2],
    /// The rows of pixels of a row of strips or tiles, decoded.
    rows: Vec<u8>,
    /// The next row of pixels.
    next: usize,
    /// One tile, if there are several in a row.
    tile: Vec<u8>,
}

impl TiffRows {
    /// Decodes the row of strips or tiles in which the next row of pixels is the first.
    fn decode(&mut self) -> Result<()> {
        let Header { height, width, .. } = self.header;
        let (pixel, stride) = (self.header.channels * self.header.depth.bytes(), self.header.row_bytes());
        let [rows, columns] = self.chunk;
        let across = width.div_ceil(columns);
        let first = (self.next / rows * across) as u32;
        let rows = rows.min(height - self.next);
        self.rows.resize(rows * stride, 0);
        if across == 1 {
            return self.decoder.read_chunk_bytes(first, &mut self.rows).map_err(|cause| failed(&cause));
        }
        for index in 0..across {
            let left = index * columns * pixel;
            let line = (columns * pixel).min(stride - left);
            self.tile.resize(rows * line, 0);
            let read = self.decoder.read_chunk_bytes(first + index as u32, &mut self.tile);
            read.map_err(|cause| failed(&cause))?;
            for (to, from) in self.rows.chunks_exact_mut(stride).zip(self.tile.chunks_exact(line)) {
                to[left..left + line].copy_from_slice(from);
            }
        }
        Ok(())
    }
}

impl Rows for TiffRows {
    fn read(&mut self, row: &mut [u8]) -> Result<()> {
        let within = self.next % self.chunk[0];
        if within == 0 {
            self.decode()?;
        }
        let bytes = row.len();
        let from = self.rows.get(within * bytes..(within + 1) * bytes);
        row.copy_from_slice(from.ok_or_else(|| error::data("it has fewer rows than it says"))?);
        self.next += 1;
        Ok(())
    }

    fn has_more(&self) -> bool {
        !self.pages.is_empty()
    }

    fn next_page(mut self: Box<Self>) -> Result<Option<Opened>> {
        let Some(next) = self.pages.pop() else { return Ok(None) };
        self.decoder.seek_to_image(next).map_err(|cause| failed(&cause))?;
        page(self.decoder, self.pages).map(Some)
    }
}

/// Texts that are kept: ImageDescription, Make, Model, PageName, Software, DateTime, Artist and Copyright.
const TEXTS: [u16; 8] = [270, 271, 272, 285, 305, 306, 315, 33432];

/// Opens the first page of a TIFF.
///
/// # Errors
/// A damaged file, other pixels than grey and RGB, other numbers than those of [`Depth`].
pub fn open(mut file: File) -> Result<Opened> {
    let pages = source::pages(&mut file).into_iter().map(|page| page.index).skip(1).rev().collect();
    file.rewind().context("cannot read it")?;
    let mut limits = Limits::default();
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (MOST_BYTES, MOST_BYTES);
    limits.ifd_value_size = MOST_ASIDE;
    page(Decoder::new(file).map_err(|cause| failed(&cause))?.with_limits(limits), pages)
}

/// The page at which a decoder is, before these.
fn page(mut decoder: Decoder<File>, pages: Vec<usize>) -> Result<Opened> {
    let (width, height) = decoder.dimensions().map_err(|cause| failed(&cause))?;
    let (height, width) = (checked_side(height)?, checked_side(width)?);
    let number = |decoder: &mut Decoder<File>, tag: Tag| {
        let numbers = decoder.find_tag_unsigned_vec::<u16>(tag).map_err(|cause| failed(&cause))?;
        anyhow::Ok(numbers.and_then(|numbers| numbers.first().copied()))
    };
    let colour = decoder.colortype().map_err(|cause| failed(&cause))?;
    let (channels, bits) = match colour {
        ColorType::Gray(bits) => (1, bits),
        ColorType::GrayA(bits) => (2, bits),
        // What TIFF calls grey with one more number of any kind.
        ColorType::Multiband { bit_depth, num_samples: 2 } => (2, bit_depth),
        ColorType::RGB(bits) => (3, bits),
        ColorType::RGBA(bits) => (4, bits),
        other => return Err(error::data(format!("it has pixels of {other:?}; convert it to grey or RGB"))),
    };
    let format = number(&mut decoder, Tag::SampleFormat)?.unwrap_or(1);
    let depth = match (bits, format) {
        (8, 1) => Depth::U8,
        (16, 1) => Depth::U16,
        (32, 3) => Depth::F32,
        _ => {
            let kind =
                ["unsigned", "signed", "floating-point"].get(usize::from(format).wrapping_sub(1)).unwrap_or(&"other");
            let message = format!("it has {kind} numbers of {bits} bits; convert it");
            return Err(error::data(format!("{message} to unsigned ones of 8 or 16 bits, or to floats of 32")));
        }
    };
    if channels > 1 && number(&mut decoder, Tag::PlanarConfiguration)? == Some(2) {
        return Err(error::data(
            "it stores each channel by itself; store its pixels whole, as `tiffcp -p contig` does",
        ));
    }
    // 1 for an alpha that the colours are multiplied by, 2 for another; the decoder leaves out what else there is.
    let extra = number(&mut decoder, Tag::ExtraSamples)?;
    let samples = number(&mut decoder, Tag::SamplesPerPixel)?.unwrap_or(1);
    let is_alpha = channels % 2 == 1 || channels == 4 && extra.is_none() || matches!(extra, Some(1 | 2));
    if !is_alpha || usize::from(samples) > channels {
        let what = if channels < 3 { "grey" } else { "colours" };
        let message =
            format!("it has channels besides its {what} that are no transparency, which a picture of it would lose");
        return Err(error::data(format!("{message}; save its channels as pictures of their own")));
    }
    let premultiplied = channels % 2 == 0 && extra == Some(1);
    let orientation = number(&mut decoder, Tag::Orientation)?;
    let orientation = orientation.and_then(|orientation| Orientation::from_exif(orientation.min(255) as u8));
    let profile = match decoder.find_tag(Tag::IccProfile).map_err(|cause| failed(&cause))? {
        Some(profile) => profile.into_u8_vec().ok(),
        None => None,
    };
    let density = density(&mut decoder);
    // What is damaged here damages no pixel, and is left out.
    let text = |tag: u16| {
        let mut text = ValueBuffer::empty(Type::ASCII);
        decoder.image_ifd().find_tag_buf(Tag::from_u16_exhaustive(tag), &mut text).ok()??;
        let bytes = text.as_bytes();
        (text.data_type() == Type::ASCII).then(|| (tag, bytes.strip_suffix(&[0]).unwrap_or(bytes).to_vec()))
    };
    let texts = TEXTS.into_iter().filter_map(text).collect();
    let header =
        Header { height, width, channels, depth, premultiplied, profile, density, exif: None, frames: 1, texts };
    let (columns, rows) = decoder.chunk_dimensions();
    let chunk = [rows.min(height as u32) as usize, columns as usize];
    if chunk.contains(&0) {
        return Err(error::data("its strips or tiles have no pixels"));
    }
    // A row of strips or tiles is in memory, with a tile.
    if header.row_bytes().saturating_mul(chunk[0]) > MOST_BYTES || chunk[1] > (super::MOST_SIDE as usize) {
        let most = MOST_BYTES >> 20;
        return Err(error::data(format!("a row of its strips or tiles has more than {most} MiB; use smaller strips")));
    }
    let rows = TiffRows { decoder, pages, header: header.clone(), chunk, rows: Vec::new(), next: 0, tile: Vec::new() };
    Ok((header, orientation.unwrap_or(Orientation::NoTransforms), Box::new(rows)))
}

/// The resolution of a page, if its tags say it.
fn density(decoder: &mut Decoder<File>) -> Option<Density> {
    let fraction = |decoder: &mut Decoder<File>, tag: Tag| match decoder.find_tag(tag) {
        Ok(Some(Value::Rational(above, below))) => Some((above, below)),
        _ => None,
    };
    let across = fraction(decoder, Tag::XResolution)?;
    let down = fraction(decoder, Tag::YResolution)?;
    // Unless it is said, the unit is an inch.
    let unit = decoder.find_tag_unsigned(Tag::ResolutionUnit).ok().flatten().unwrap_or(2);
    Density::of_tiff(across, down, unit)
}
