//! Salt-and-pepper noise: each pixel is set to its lowest or highest value with a probability (Vincent et al. 2010).

use crate::random::Generator;

/// Sets each of `pixels` to 0 or 1, each with probability `fraction / 2`.
pub fn apply(fraction: f32, pixels: &[f32], generator: &mut Generator, out: &mut [f32]) {
    generator.fill_uniform(out);
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = if *out < fraction / 2.0 {
            0.0
        } else if *out < fraction {
            1.0
        } else {
            pixel
        };
    }
}
