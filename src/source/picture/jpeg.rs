//! A strict JPEG decoder.
//!
//! The `image` crate decodes the tables of a file twice, which takes longer than a small picture itself, and fills in what a
//! damaged file lacks: a truncated picture would be half grey without an error.

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Plan;
use super::room::Room;
use crate::source::settings::Fit;

/// Whether bytes start as JPEG does.
pub fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff])
}

/// Height and width in a frame header.
pub fn frame(start: &[u8; 9]) -> Option<[u16; 2]> {
    let [0xff, 0xc0..=0xc2, 0, 11 | 14 | 17 | 20, 8, high, low, wide, narrow] = *start else { return None };
    Some([[high, low], [wide, narrow]].map(u16::from_be_bytes))
}

/// Whether a scan has fewer than so many components.
fn has_part(bytes: &[u8], components: u8) -> bool {
    let part = |start: &[u8]| start[0] == 0xff && start[1] == 0xda && start[2] == 0 && start[4] < components;
    bytes.windows(5).any(|start| part(start) && start[3] == 6 + 2 * start[4])
}

/// The ICC profile and the EXIF of a JPEG.
pub fn metadata(bytes: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let mut decoder = JpegDecoder::new(ZCursor::new(bytes));
    if decoder.decode_headers().is_err() {
        return (None, None);
    }
    (decoder.icc_profile(), decoder.exif().cloned())
}

/// Decodes a JPEG to grey or RGB and applies its EXIF orientation, after memory for decoding and for `fit` is reserved.
pub fn decode(bytes: &[u8], fit: &Fit) -> Result<(DynamicImage, Room), String> {
    // Looks for the end marker anywhere, since some programs append data.
    if !bytes.windows(2).rev().any(|pair| pair == [0xff, 0xd9]) {
        return Err("it is cut: it has no end".to_owned());
    }
    // Not those of the decoder, which are smaller.
    let side = usize::from(u16::MAX);
    let options = DecoderOptions::default().set_strict_mode(true).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|cause| cause.to_string())?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let wanted = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let pixels = decoder.output_buffer_size().ok_or("it has no size")? as u64;
    let info = decoder.info().ok_or("it has no size")?;
    let size = (u32::from(info.width), u32::from(info.height));
    // With several scans, coefficients are kept in two bytes each until all are read.
    let [width, height] = [size.0, size.1].map(|side| u64::from(side).next_multiple_of(32));
    let several = info.sof.is_progressive() || has_part(bytes, info.components);
    let besides = if several { 2 * u64::from(info.components) * width * height } else { 0 };
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    let colour = if grey { ColorType::L8 } else { ColorType::Rgb8 };
    let room = Plan { pixels, besides, size, colour, orientation }.room(fit)?;
    let pixels = decoder.decode().map_err(|cause| cause.to_string())?;
    let image = if grey {
        GrayImage::from_raw(size.0, size.1, pixels).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(size.0, size.1, pixels).map(DynamicImage::ImageRgb8)
    };
    let mut image = image.ok_or("it has fewer pixels than it says")?;
    image.apply_orientation(orientation);
    Ok((image, room))
}
