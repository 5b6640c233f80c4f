//! Masking noise: each pixel is set to 0 with a probability (Vincent et al. 2010, section 3.3).

use crate::random::Generator;

/// Sets each of `pixels` to 0 with probability `fraction`.
pub fn apply(fraction: f32, pixels: &[f32], generator: &mut Generator, out: &mut [f32]) {
    generator.fill_uniform(out);
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = if *out < fraction { 0.0 } else { pixel };
    }
}
