//! A picture as it is, not made to fit.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::{decode_other, jpeg};
use crate::source::settings::Fit;

/// Decodes a picture and turns it by its EXIF orientation; with it comes its ICC profile.
///
/// # Errors
/// The reason why it cannot be decoded, as text.
pub fn decode_whole(bytes: &[u8]) -> Result<(DynamicImage, Option<Vec<u8>>), String> {
    let fit = Fit::default();
    if jpeg::is_jpeg(bytes) {
        let (image, _room) = jpeg::decode(bytes, &fit)?;
        return Ok((image, jpeg::profile(bytes)));
    }
    let (image, _room) = decode_other(bytes, &fit)?;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|cause| cause.to_string())?;
    let profile = reader.into_decoder().and_then(|mut decoder| decoder.icc_profile());
    Ok((image, profile.map_err(|cause| cause.to_string())?))
}
