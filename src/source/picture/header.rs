//! The size and the depth of a picture by its header, without decoding it.

use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::{ColorType, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::numbers::{Numbers, swaps_sides};
use super::{LARGE_FILE, MAX_ASIDE, MAX_SIDE, bmp, deep, guess_format, read};
use crate::image::{ImageShape, Pixels};
use crate::source::settings::Fit;
use crate::store;

/// The shape that a picture of any supported format has once it is decoded at its own size, turned by its EXIF orientation and made
/// grey or RGB by `fit`, and how its pixels are stored then; none if its header shows none.
pub fn shape_of(mut file: impl BufRead + Seek, fit: &Fit) -> Option<(ImageShape, Pixels)> {
    let format = guess_format(file.fill_buf().ok()?)?;
    if format == ImageFormat::Tiff {
        if let Some(numbers) = Numbers::open(&mut file) {
            return Some((numbers.shape(fit)?, Pixels::F32));
        }
        file.rewind().ok()?;
    }
    let mut start = Vec::new();
    if format == ImageFormat::Bmp {
        file.by_ref().take(bmp::START).read_to_end(&mut start).ok()?;
        file.rewind().ok()?;
    }
    let mut decoder = decoder(file, format)?;
    let (columns, rows) = decoder.dimensions();
    let (rows, columns) = if swaps_sides(decoder.orientation().ok()?) { (columns, rows) } else { (rows, columns) };
    let grey = fit.grey.unwrap_or(!decoder.color_type().has_color() || bmp::is_grey(&start));
    let pixels = if deep::is_deep(decoder.color_type()) || fit.levels.is_some() { Pixels::F32 } else { Pixels::U8 };
    Some((ImageShape::picture(rows as usize, columns as usize, if grey { 1 } else { 3 })?, pixels))
}

/// What the numbers of a picture of more than 8 bits are, in words, and which of them is white if one is by itself; none of other
/// pictures, and of those whose header cannot be read.
pub fn depth_of(bytes: &[u8]) -> Option<(String, Option<f32>)> {
    let format = guess_format(bytes)?;
    if format == ImageFormat::Tiff
        && let Some(numbers) = Numbers::open(Cursor::new(bytes))
    {
        return Some(numbers.depth());
    }
    match decoder(Cursor::new(bytes), format)?.color_type() {
        colour if !deep::is_deep(colour) => None,
        ColorType::Rgb32F | ColorType::Rgba32F => Some(("floats of 32 bits".to_owned(), None)),
        _ => Some(("16 bits".to_owned(), Some(f32::from(u16::MAX)))),
    }
}

/// A decoder that has read the header of a picture, if it can be read.
fn decoder<'a>(file: impl BufRead + Seek + 'a, format: ImageFormat) -> Option<impl ImageDecoder + 'a> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ASIDE);
    let mut reader = ImageReader::with_format(file, format);
    reader.limits(limits);
    reader.into_decoder().ok()
}

/// As [`shape_of`] of a picture file, if it is one that can be read.
pub fn shape_of_file(path: &Path, fit: &Fit) -> Option<(ImageShape, Pixels)> {
    if !store::is_file(path) {
        return None;
    }
    let file = store::reader(path).ok()?;
    // Some decoders read all of a file to see its header.
    if file.size() > LARGE_FILE {
        return shape_of(Cursor::new(&read(path).ok()?.bytes), fit);
    }
    shape_of(BufReader::new(file), fit)
}
