//! Pictures of more than 8 bits, and those whose levels are given, as floats: nothing is rounded.

use image::{ColorType, DynamicImage, ImageBuffer, Luma, Rgb};

use super::{Picture, sized};
use crate::image::{ImageShape, LUMA, Levels};
use crate::source::settings::Fit;

/// Whether a number has more than 8 bits.
pub fn is_deep(colour: ColorType) -> bool {
    colour.bytes_per_pixel() > colour.channel_count()
}

/// Converts to the wanted channels and size.
pub fn fitted(image: &DynamicImage, fit: &Fit) -> Result<Picture, String> {
    let colour = image.color();
    let channels = usize::from(colour.channel_count());
    let (bytes, words) = (f64::from(u8::MAX), f64::from(u16::MAX));
    let unit = |numbers: &dyn Fn(usize) -> f64, white: f64| {
        let count = image.width() as usize * image.height() as usize;
        let levels = fit.levels.unwrap_or(Levels::Between([0.0, white]));
        let colours = channels - usize::from(colour.has_alpha());
        // Numbers that are to be measured are not scaled.
        let brightest = if levels.percentile().is_some() { white as f32 } else { 1.0 };
        let mut floats = Vec::with_capacity(count * colours);
        for at in (0..count).map(|pixel| pixel * channels) {
            // Laid on white as far as it is transparent.
            let opaque = if colour.has_alpha() { (numbers(at + colours) / white) as f32 } else { 1.0 };
            for number in at..at + colours {
                floats.push(levels.pixel(numbers(number))? * opaque + brightest * (1.0 - opaque));
            }
        }
        Ok::<_, String>(floats)
    };
    let floats = match image {
        DynamicImage::ImageLuma8(image) => unit(&|at| image.as_raw()[at].into(), bytes),
        DynamicImage::ImageLumaA8(image) => unit(&|at| image.as_raw()[at].into(), bytes),
        DynamicImage::ImageRgb8(image) => unit(&|at| image.as_raw()[at].into(), bytes),
        DynamicImage::ImageRgba8(image) => unit(&|at| image.as_raw()[at].into(), bytes),
        DynamicImage::ImageLuma16(image) => unit(&|at| image.as_raw()[at].into(), words),
        DynamicImage::ImageLumaA16(image) => unit(&|at| image.as_raw()[at].into(), words),
        DynamicImage::ImageRgb16(image) => unit(&|at| image.as_raw()[at].into(), words),
        DynamicImage::ImageRgba16(image) => unit(&|at| image.as_raw()[at].into(), words),
        DynamicImage::ImageRgb32F(image) => unit(&|at| image.as_raw()[at].into(), 1.0),
        DynamicImage::ImageRgba32F(image) => unit(&|at| image.as_raw()[at].into(), 1.0),
        _ => return Err("its pixels are of an unknown kind".to_owned()),
    }?;
    let channels = if colour.has_color() { 3 } else { 1 };
    of_floats(floats, ImageShape { height: image.height() as usize, width: image.width() as usize, channels }, fit)
}

/// The same for pixels in [0, 1], grey or RGB.
pub fn of_floats(floats: Vec<f32>, shape: ImageShape, fit: &Fit) -> Result<Picture, String> {
    let is_colour = match shape.channels {
        1 => false,
        3 => true,
        channels => return Err(format!("`resize`, `crop` and `grey` know images of 1 or 3 channels, not {channels}")),
    };
    let (width, height) = (shape.width as u32, shape.height as u32);
    let gone = || "its pixels have gone".to_owned();
    match (is_colour, fit.grey.unwrap_or(!is_colour)) {
        (false, true) => {
            sized(ImageBuffer::<Luma<f32>, _>::from_raw(width, height, floats).ok_or_else(gone)?, fit.size)
        }
        (true, true) => {
            let luma = |pixel: &[f32]| pixel.iter().zip(LUMA).map(|(number, weight)| number * weight).sum::<f32>();
            // Weights that are rounded add up to a little more than 1, which bounds all numbers but those to be measured.
            let is_raw = fit.levels.is_some_and(|levels| levels.percentile().is_some());
            let most = if is_raw { f32::INFINITY } else { 1.0 };
            let grey = floats.chunks_exact(3).map(|pixel| luma(pixel).min(most)).collect();
            sized(ImageBuffer::<Luma<f32>, _>::from_raw(width, height, grey).ok_or_else(gone)?, fit.size)
        }
        (false, false) => {
            let colour = floats.iter().flat_map(|number| [*number; 3]).collect();
            sized(ImageBuffer::<Rgb<f32>, _>::from_raw(width, height, colour).ok_or_else(gone)?, fit.size)
        }
        (true, false) => sized(ImageBuffer::<Rgb<f32>, _>::from_raw(width, height, floats).ok_or_else(gone)?, fit.size),
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;
    use crate::image::Samples;
    use crate::source::settings::Size;

    fn floats(image: impl Into<DynamicImage>, fit: Fit) -> Result<Vec<f32>, String> {
        fitted(&image.into(), &fit).map(|picture| match picture.samples {
            Samples::Floats(floats) => floats,
            Samples::Bytes(bytes) => panic!("are bytes: {bytes:?}"),
        })
    }

    #[test]
    fn sixteen_bits_come_back_exact() {
        let words: Vec<u16> = (0..=u16::MAX).collect();
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(256, 256, words.clone()).expect("fits");
        let floats = floats(image, Fit::default()).expect("are pixels");
        let back: Vec<u16> = floats.iter().map(|float| (float * 65535.0 + 0.5) as u16).collect();
        assert_eq!(back, words);
    }

    #[test]
    fn levels_are_black_and_white_and_bound_the_numbers() {
        let image = || ImageBuffer::<Luma<u16>, _>::from_raw(2, 2, vec![0, 4095, 819, 2457]).expect("fits");
        let fit = |levels| Fit { levels: Some(Levels::Between(levels)), ..Fit::default() };
        assert_eq!(floats(image(), fit([0.0, 4095.0])), Ok(vec![0.0, 1.0, 0.2, 0.6]));
        let cause = floats(image(), fit([0.0, 4000.0])).expect_err("is brighter");
        assert_eq!(cause, "it holds 4095; `levels` says that numbers lie in [0, 4000]");
        let byte = |alpha| RgbaImage::from_pixel(1, 1, Rgba([100, 50, 0, alpha]));
        assert_eq!(floats(byte(255), fit([0.0, 100.0])), Ok(vec![1.0, 0.5, 0.0]));
        assert_eq!(floats(byte(0), fit([0.0, 100.0])), Ok(vec![1.0; 3]));
        let raw = Fit { levels: Some(Levels::Percentile { percentile: [0.0, 100.0] }), ..Fit::default() };
        assert_eq!(floats(byte(255), raw), Ok(vec![100.0, 50.0, 0.0]));
        assert_eq!(floats(byte(0), raw), Ok(vec![255.0; 3]));
    }

    #[test]
    fn colour_grey_transparency_and_size_are_as_with_bytes() {
        let rgba = ImageBuffer::<Rgba<u16>, _>::from_pixel(2, 2, Rgba([65535, 0, 0, 0]));
        assert_eq!(floats(rgba, Fit::default()), Ok(vec![1.0; 12]));
        let rgb = ImageBuffer::<Rgb<u16>, _>::from_pixel(4, 2, Rgb([65535; 3]));
        let fit = Fit { size: Size::Resize([1, 2]), grey: Some(true), ..Fit::default() };
        let grey = floats(rgb, fit).expect("are pixels");
        assert!(grey.len() == 2 && grey.iter().all(|pixel| (0.999_999..=1.0).contains(pixel)), "{grey:?}");
        let grey = ImageBuffer::<Luma<u16>, _>::from_pixel(1, 1, Luma([13107]));
        assert_eq!(floats(grey, Fit { grey: Some(false), ..Fit::default() }), Ok(vec![0.2; 3]));
    }
}
