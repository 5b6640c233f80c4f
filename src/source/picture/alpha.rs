//! Transparency: a picture with an alpha channel is laid on white.

use std::io::Cursor;

use image::DynamicImage;
use tiff::decoder::Decoder;
use tiff::tags::Tag;

/// What ExtraSamples says of an alpha that the colours of a TIFF are multiplied by.
const ASSOCIATED: u16 = 1;

/// Composites a picture with an alpha channel on white.
pub fn on_white(image: &DynamicImage) -> DynamicImage {
    let mut image = image.to_rgba8();
    for pixel in image.pixels_mut() {
        let alpha = u32::from(pixel[3]);
        for channel in &mut pixel.0[..3] {
            *channel = ((u32::from(*channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(image).into_rgb8())
}

/// Whether the colours of a TIFF are multiplied by its alpha.
pub fn is_multiplied(bytes: &[u8]) -> bool {
    let extra =
        Decoder::new(Cursor::new(bytes)).and_then(|mut tiff| tiff.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples));
    extra.ok().flatten().is_some_and(|extra| extra.first() == Some(&ASSOCIATED))
}

/// Divides the colours by the alpha that they are multiplied by, as far as it is not zero.
pub fn divide(image: &mut DynamicImage) {
    fn divided<T: Copy + Into<f64>>(pixels: &mut [T], channels: usize, white: f64, number: impl Fn(f64) -> T) {
        for pixel in pixels.chunks_exact_mut(channels) {
            if let Some((alpha, colours)) = pixel.split_last_mut() {
                let alpha: f64 = (*alpha).into();
                for colour in colours.iter_mut().filter(|_| alpha > 0.0) {
                    *colour = number(((*colour).into() * white / alpha).min(white));
                }
            }
        }
    }
    let (byte, word) = (f64::from(u8::MAX), f64::from(u16::MAX));
    match image {
        DynamicImage::ImageRgba8(image) => divided(image.as_flat_samples_mut().samples, 4, byte, |n| n.round() as u8),
        DynamicImage::ImageRgba16(image) => divided(image.as_flat_samples_mut().samples, 4, word, |n| n.round() as u16),
        DynamicImage::ImageRgba32F(image) => divided(image.as_flat_samples_mut().samples, 4, 1.0, |n| n as f32),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgba};
    use tiff::encoder::{TiffEncoder, colortype};

    use super::*;
    use crate::image::Samples;
    use crate::source::picture::decode;
    use crate::source::settings::Fit;

    /// A TIFF of one pixel whose alpha is of this kind.
    fn file<C>(pixel: &[C::Inner], kind: u16) -> Vec<u8>
    where
        C: colortype::ColorType,
        [C::Inner]: tiff::encoder::TiffValue,
    {
        let mut file = Cursor::new(Vec::new());
        let mut encoder = TiffEncoder::new(&mut file).expect("begins");
        let mut image = encoder.new_image::<C>(1, 1).expect("fits");
        image.encoder().write_tag(Tag::ExtraSamples, kind).expect("is written");
        image.write_data(pixel).expect("is written");
        file.into_inner()
    }

    #[test]
    fn colours_are_laid_on_white_once_whether_they_are_multiplied_or_not() {
        let bytes = |pixel: &[u8], kind| match decode(&file::<colortype::RGBA8>(pixel, kind), &Fit::default()) {
            Ok(picture) => picture.samples,
            Err(cause) => panic!("{cause}"),
        };
        assert_eq!(bytes(&[135, 85, 35, 127], 2), Samples::Bytes(vec![195, 170, 145]));
        assert_eq!(bytes(&[67, 42, 17, 127], 1), Samples::Bytes(vec![195, 170, 145]));
        // What no alpha can have made is as bright as it gets, and what is invisible is white.
        assert_eq!(bytes(&[200, 0, 0, 127], 1), Samples::Bytes(vec![255, 128, 128]));
        assert_eq!(bytes(&[9, 9, 9, 0], 1), Samples::Bytes(vec![255; 3]));
        let words = |kind| decode(&file::<colortype::RGBA16>(&[16384, 0, 32768, 32768], kind), &Fit::default());
        let Samples::Floats(floats) = words(1).expect("is read").samples else { panic!("are words") };
        let expected = [0.75, 0.5, 1.0];
        assert!(floats.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4), "{floats:?}");
    }

    #[test]
    fn floats_are_divided() {
        let mut image = DynamicImage::ImageRgba32F(ImageBuffer::from_pixel(1, 1, Rgba([0.25, 0.0, 0.5, 0.5])));
        divide(&mut image);
        assert_eq!(image.to_rgba32f().into_raw(), [0.5, 0.0, 1.0, 0.5]);
    }
}
