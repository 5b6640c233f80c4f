//! Additive normal noise: clip(x + std · n, 0, 1), the corruption of the chapter's denoiser.

use crate::random::Generator;

/// Adds noise of standard deviation `std` to `pixels` in [0, 1] and clips the sum to [0, 1].
pub fn apply(std: f32, pixels: &[f32], generator: &mut Generator, out: &mut [f32]) {
    generator.fill_normal(out);
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = (pixel + std * *out).clamp(0.0, 1.0);
    }
}
