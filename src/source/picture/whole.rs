//! A picture as it is, not made to fit.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};

use super::{decode_other, guess_format, jpeg, reason};
use crate::source::settings::Fit;

/// A picture, its ICC profile, its EXIF, and how it was turned if EXIF says it.
pub type Whole = (DynamicImage, Option<Vec<u8>>, Option<Vec<u8>>, Option<Orientation>);

/// Decodes a picture and turns it by its EXIF orientation; with it come its ICC profile, and its EXIF, whose orientation turns
/// nothing any more.
///
/// # Errors
/// The reason why it cannot be decoded, as text.
pub fn decode_whole(bytes: &[u8]) -> Result<Whole, String> {
    let fit = Fit::default();
    let (image, (profile, mut exif)) = if jpeg::is_jpeg(bytes) {
        let (image, _room) = jpeg::decode(bytes, &fit)?;
        (image, jpeg::metadata(bytes))
    } else {
        let (image, _room) = decode_other(bytes, &fit)?;
        let format = guess_format(bytes).ok_or("it is no picture")?;
        let reader = ImageReader::with_format(Cursor::new(bytes), format);
        let decoder = reader.into_decoder();
        let metadata = decoder.and_then(|mut decoder| Ok((decoder.icc_profile()?, decoder.exif_metadata()?)));
        (image, metadata.map_err(|cause| reason(&cause))?)
    };
    let orientation = exif.as_mut().and_then(|exif| Orientation::remove_from_exif_chunk(exif));
    Ok((image, profile, exif, orientation))
}
