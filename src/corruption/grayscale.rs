//! Colour taken away: every pixel gets the brightness that it has by ITU-R BT.601, in all three channels. What is learned from
//! such images is to colour them.

use crate::image::LUMA;

/// Makes `pixels` (red, green and blue of each, in [0, 1]) grey.
pub fn apply(pixels: &[f32], out: &mut [f32]) {
    for (out, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
        out.fill(LUMA[0] * pixel[0] + LUMA[1] * pixel[1] + LUMA[2] * pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_stays_and_colours_get_their_brightness() {
        let mut out = [0.0; 6];
        apply(&[1.0, 0.0, 0.0, 0.5, 0.5, 0.5], &mut out);
        let expected = [0.299, 0.299, 0.299, 0.5, 0.5, 0.5];
        assert!(out.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{out:?}");
    }
}
