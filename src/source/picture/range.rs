//! Floats of a picture, which lie in [0, 1] or are no picture.

use image::DynamicImage;

/// Refuses floats that stand for no brightness between black and white: as bytes they would be white, or black.
pub fn check(image: &DynamicImage) -> Result<(), String> {
    match image {
        DynamicImage::ImageRgb32F(image) => check_numbers(image.as_raw()),
        DynamicImage::ImageRgba32F(image) => check_numbers(image.as_raw()),
        _ => Ok(()),
    }
}

/// These numbers, unless there are such among them.
pub fn checked(numbers: Vec<f32>) -> Result<Vec<f32>, String> {
    check_numbers(&numbers).map(|()| numbers)
}

fn check_numbers(numbers: &[f32]) -> Result<(), String> {
    if numbers.iter().all(|number| (0.0..=1.0).contains(number)) {
        return Ok(());
    }
    // NaN is neither the least nor the largest.
    let (least, most) = (numbers.iter().copied().reduce(f32::min), numbers.iter().copied().reduce(f32::max));
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    let nan = if numbers.iter().any(|number| number.is_nan()) { " and NaN" } else { "" };
    Err(format!(
        "it holds floats of {least} to {most}{nan}, but they must lie in [0, 1]: scale it so that black is 0 and white is 1, or say \
         which numbers are black and white by `levels`"
    ))
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, Rgba};

    use super::*;

    fn reason(pixel: [f32; 4]) -> Option<String> {
        let [red, green, blue, _] = pixel;
        let opaque = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(2, 2, Rgb([red, green, blue])));
        let veiled = DynamicImage::ImageRgba32F(ImageBuffer::from_pixel(2, 2, Rgba(pixel)));
        let (opaque, veiled) = (check(&opaque).err(), check(&veiled).err());
        assert!(opaque.is_none() || opaque == veiled, "{opaque:?} {veiled:?}");
        veiled
    }

    #[test]
    fn only_brightness_passes() {
        assert_eq!(reason([0.0, 0.5, 1.0, 1.0]), None);
        for (pixel, range) in [
            ([40.0, 47.0, 41.0, 40.0], "40 to 47, but"),
            ([f32::NAN, 0.5, 1.0, 1.0], "0.5 to 1 and NaN, but"),
            ([f32::NAN; 4], "NaN to NaN and NaN, but"),
            ([0.0, -0.25, 1.0, 1.0], "-0.25 to 1, but"),
            ([0.0, 0.25, f32::INFINITY, 1.0], "0 to inf, but"),
            ([0.0, 0.25, 1.0, 1.5], "0 to 1.5, but"),
        ] {
            let reason = reason(pixel).expect("is refused");
            assert!(reason.contains(&format!("holds floats of {range} they must lie in [0, 1]")), "{reason}");
        }
    }
}
