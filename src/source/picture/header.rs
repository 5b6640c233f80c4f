//! The size of a picture by its header, without decoding it.

use std::io::{BufRead, Seek};

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader, Limits};

use super::{MAX_ASIDE, MAX_SIDE};
use crate::image::ImageShape;
use crate::source::settings::Fit;

/// The shape that a picture of any supported format has once it is decoded at its own size, turned by its EXIF orientation and made
/// grey or RGB by `fit`; none if its header shows none.
pub fn shape_of(file: impl BufRead + Seek, fit: &Fit) -> Option<ImageShape> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_ASIDE);
    let mut reader = ImageReader::new(file).with_guessed_format().ok()?;
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (columns, rows) = decoder.dimensions();
    let is_turned = matches!(
        decoder.orientation().ok()?,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (rows, columns) = if is_turned { (columns, rows) } else { (rows, columns) };
    let grey = fit.grey.unwrap_or(!decoder.color_type().has_color());
    ImageShape::picture(rows as usize, columns as usize, if grey { 1 } else { 3 })
}
