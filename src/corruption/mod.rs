//! Corruptions: what a denoiser learns to undo.
//!
//! Each is a pure function of an image and the image's own random numbers, so that the stored noisy set, fresh training
//! noise and a resumed run agree whatever the threads do. To add one: a file here, a variant below, its settings in
//! `config/raw/mod.rs` and `config/resolve.rs`.

mod gaussian;
mod grayscale;
mod masking;
pub mod on_device;
mod salt_pepper;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::error;
use crate::image::ImageShape;
use crate::random::Generator;

/// A corruption and its strength, as precise as it was written: 0.2 is told as 0.2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Corruption {
    /// Additive normal noise.
    Gaussian {
        /// Standard deviation, for pixels in [0, 1].
        std: f64,
    },
    /// The colours go, their brightness stays.
    Grayscale {},
    /// A share of the pixels becomes 0.
    Masking {
        /// Probability of each pixel, in [0, 1].
        fraction: f64,
    },
    /// A share of the pixels becomes 0 or 1.
    SaltAndPepper {
        /// Probability of each pixel, in [0, 1].
        fraction: f64,
    },
}

impl Corruption {
    /// Whether every image has one corrupted form, and not another for each draw.
    pub fn is_fixed(&self) -> bool {
        match self {
            Corruption::Grayscale {} => true,
            Corruption::Gaussian { .. } | Corruption::Masking { .. } | Corruption::SaltAndPepper { .. } => false,
        }
    }

    /// Checks that images of this shape can be corrupted so.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(&self, image: ImageShape) -> Result<()> {
        match self {
            Corruption::Grayscale {} if image.channels != 3 => {
                let message = format!("corruption.grayscale takes images of 3 channels, not {image}");
                Err(error::settings(format!(
                    "{message}; strokes have them with colour = true, pictures with grey = false"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Corrupts one image of this shape, its pixels in [0, 1], into `out`, of the same length.
    pub fn apply(&self, pixels: &[f32], image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        debug_assert_eq!(pixels.len(), image.len());
        match *self {
            Corruption::Gaussian { std } => gaussian::apply(std as f32, pixels, generator, out),
            Corruption::Grayscale {} => grayscale::apply(pixels, out),
            Corruption::Masking { fraction } => masking::apply(fraction as f32, pixels, generator, out),
            Corruption::SaltAndPepper { fraction } => salt_pepper::apply(fraction as f32, pixels, generator, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn corrupted(corruption: Corruption, pixel: f32) -> Vec<f32> {
        let pixels = vec![pixel; 20_000];
        let mut out = vec![0.0; pixels.len()];
        corruption.apply(
            &pixels,
            ImageShape { height: 200, width: 100, channels: 1 },
            &mut Stream::new(1, "noise", Split::Test).generator(0, 0),
            &mut out,
        );
        out
    }

    fn share(values: &[f32], predicate: impl Fn(f32) -> bool) -> f64 {
        values.iter().filter(|&&value| predicate(value)).count() as f64 / values.len() as f64
    }

    #[test]
    fn gaussian_noise_has_its_standard_deviation_and_is_clipped() {
        let out = corrupted(Corruption::Gaussian { std: 0.1 }, 0.5);
        let variance = out.iter().map(|x| f64::from(x - 0.5).powi(2)).sum::<f64>() / out.len() as f64;
        assert!((variance.sqrt() - 0.1).abs() < 0.003, "{}", variance.sqrt());
        let out = corrupted(Corruption::Gaussian { std: 0.5 }, 0.0);
        assert!(out.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!((share(&out, |x| x == 0.0) - 0.5).abs() < 0.02);
    }

    #[test]
    fn masking_and_salt_and_pepper_hit_their_share() {
        let out = corrupted(Corruption::Masking { fraction: 0.3 }, 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.3).abs() < 0.02);
        assert!((share(&out, |x| x == 0.5) - 0.7).abs() < 0.02);
        let out = corrupted(Corruption::SaltAndPepper { fraction: 0.2 }, 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.1).abs() < 0.01);
        assert!((share(&out, |x| x == 1.0) - 0.1).abs() < 0.01);
    }

    #[test]
    fn nothing_happens_at_strength_zero() {
        for corruption in [
            Corruption::Gaussian { std: 0.0 },
            Corruption::Masking { fraction: 0.0 },
            Corruption::SaltAndPepper { fraction: 0.0 },
        ] {
            assert!(corrupted(corruption, 0.25).iter().all(|&x| x == 0.25), "{corruption:?}");
        }
    }
}
