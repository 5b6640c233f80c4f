//! JPEG, decoded once and strictly.
//!
//! The `image` crate decodes the tables of a file twice, which takes longer than a small picture itself, and makes up what a
//! damaged file lacks: a picture that is cut would be half grey and nobody would hear of it.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{MAX_SIDE, check_size};

/// Whether bytes start as JPEG does.
pub fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Decodes a JPEG to grey or RGB and turns it by its EXIF orientation.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    // The marker of the end; what some programs append follows it.
    if !bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        return Err("it is cut: it has no end".to_owned());
    }
    let side = MAX_SIDE as usize;
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|cause| cause.to_string())?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let wanted = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    check_size(decoder.output_buffer_size().ok_or("it has no size")? as u64)?;
    let pixels = decoder.decode().map_err(|cause| cause.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    let size = (width as u32, height as u32);
    let image = if grey {
        GrayImage::from_raw(size.0, size.1, pixels).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(size.0, size.1, pixels).map(DynamicImage::ImageRgb8)
    };
    let mut image = image.ok_or("it has fewer pixels than it says")?;
    if let Some(orientation) = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif)) {
        image.apply_orientation(orientation);
    }
    Ok(image)
}
