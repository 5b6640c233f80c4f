//! Between the numbers of picture files and numbers in [0, 1].
//!
//! 16 bits go through 32-bit floats, which hold them, and come back rounded half away from zero, as bytes do (`image.rs`). Floats
//! stay what they are.

use super::{Depth, Header};
use crate::image;

/// The colours of pixels, without their alpha, in [0, 1].
///
/// # Errors
/// A float, the alpha included, that is not in it.
pub fn to_numbers(header: &Header, pixels: &[u8], numbers: &mut [f32]) -> Result<(), f32> {
    let (channels, colours) = (header.channels, header.colours());
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
                    return Err(other);
                }
                numbers.iter_mut().zip(pixel).for_each(|(number, found)| *number = found);
            }
        }
    }
    Ok(())
}

/// The numbers of a picture that stand for numbers in [0, 1].
pub fn of_numbers(depth: Depth, numbers: &[f32]) -> Vec<u8> {
    // A positive number plus a half, truncated, is rounded half away from zero.
    let word = |number: f32| (number * 65535.0 + 0.5).clamp(0.0, 65535.0) as u16;
    match depth {
        Depth::U8 => image::to_bytes(numbers),
        Depth::U16 => numbers.iter().flat_map(|&number| word(number).to_ne_bytes()).collect(),
        Depth::F32 => numbers.iter().flat_map(|number| number.to_ne_bytes()).collect(),
    }
}
