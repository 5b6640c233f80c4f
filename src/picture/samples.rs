//! Between the numbers of picture files and numbers in [0, 1].
//!
//! 16 bits go through 32-bit floats, which hold them, and come back rounded half away from zero, as bytes do (`image.rs`). Floats
//! stay what they are. With levels, those are black and white, and not the least and the greatest number of the type.

use super::{Depth, Header};
use crate::image::{self, Levels};

/// The colours of pixels, without their alpha, in [0, 1].
///
/// # Errors
/// A number outside of the levels, or a float, the alpha included, that is not in [0, 1]; as text.
pub fn to_numbers(header: &Header, levels: Option<Levels>, pixels: &[u8], numbers: &mut [f32]) -> Result<(), String> {
    let (channels, colours) = (header.channels, header.colours());
    if let Some(levels) = levels {
        return to_numbers_between(levels, header, pixels, numbers);
    }
    if header.depth == Depth::U8 && channels == colours {
        image::to_unit(pixels, numbers);
        return Ok(());
    }
    let size = header.depth.bytes();
    let pixels = pixels.chunks_exact(channels * size).zip(numbers.chunks_exact_mut(colours));
    for (pixel, numbers) in pixels {
        match header.depth {
            Depth::U8 => image::to_unit(&pixel[..colours], numbers),
            Depth::U16 => {
                for (number, bytes) in numbers.iter_mut().zip(pixel.as_chunks::<2>().0) {
                    *number = f32::from(u16::from_ne_bytes(*bytes)) / 65535.0;
                }
            }
            Depth::F32 => {
                let pixel = pixel.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes));
                if let Some(other) = pixel.clone().find(|number| !(0.0..=1.0).contains(number)) {
                    let advice = "scale it so that black is 0 and white is 1";
                    return Err(format!("it holds {other}; floats must lie in [0, 1]; {advice}"));
                }
                numbers.iter_mut().zip(pixel).for_each(|(number, found)| *number = found);
            }
        }
    }
    Ok(())
}

/// As [`to_numbers`] with levels.
fn to_numbers_between(levels: Levels, header: &Header, pixels: &[u8], numbers: &mut [f32]) -> Result<(), String> {
    let (channels, colours, size) = (header.channels, header.colours(), header.depth.bytes());
    let pixels = pixels.chunks_exact(channels * size).zip(numbers.chunks_exact_mut(colours));
    for (pixel, numbers) in pixels {
        for (bytes, number) in pixel.chunks_exact(size).zip(numbers) {
            *number = levels.pixel(match *bytes {
                [byte] => f64::from(byte),
                [low, high] => f64::from(u16::from_ne_bytes([low, high])),
                [a, b, c, d] => f64::from(f32::from_ne_bytes([a, b, c, d])),
                _ => f64::NAN,
            })?;
        }
    }
    Ok(())
}

/// The numbers of a picture that stand for numbers in [0, 1].
pub fn of_numbers(depth: Depth, levels: Option<Levels>, numbers: &[f32]) -> Vec<u8> {
    if let Some(levels) = levels {
        // The casts keep what is beyond a type's range in it.
        let number = |pixel: &f32| levels.number(*pixel);
        return match depth {
            Depth::U8 => numbers.iter().map(|pixel| (number(pixel) + 0.5) as u8).collect(),
            Depth::U16 => numbers.iter().flat_map(|pixel| ((number(pixel) + 0.5) as u16).to_ne_bytes()).collect(),
            Depth::F32 => numbers.iter().flat_map(|pixel| (number(pixel) as f32).to_ne_bytes()).collect(),
        };
    }
    // A positive number plus a half, truncated, is rounded half away from zero.
    let word = |number: f32| (number * 65535.0 + 0.5).clamp(0.0, 65535.0) as u16;
    match depth {
        Depth::U8 => image::to_bytes(numbers),
        Depth::U16 => numbers.iter().flat_map(|&number| word(number).to_ne_bytes()).collect(),
        Depth::F32 => numbers.iter().flat_map(|number| number.to_ne_bytes()).collect(),
    }
}
