//! Corruptions: the noise or the loss that a denoiser learns to undo.
//!
//! Each is a pure function of an image and the image's own random numbers, so that stored noisy images, new noise in training
//! and a resumed run do not depend on the number of threads. To add one: a file here that implements [`Choice`] and
//! [`CorruptionKind`] for its settings, and a line in the list below; its defaults, with their explanation, in
//! `config/default.toml`.
//!
//! [`Choice`]: crate::setting::Choice

mod gaussian;
mod grayscale;
mod masking;
pub mod on_device;
mod salt_pepper;

use anyhow::Result;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::choices;
pub use gaussian::Gaussian;
pub use grayscale::Grayscale;
pub use masking::Masking;
use on_device::Numbers;
pub use salt_pepper::SaltAndPepper;

/// The operations of a kind of corruption.
pub trait CorruptionKind {
    /// Whether the corruption is deterministic, without random numbers.
    fn is_fixed(&self) -> bool {
        false
    }

    /// Checks that images of this shape can be corrupted.
    ///
    /// # Errors
    /// A shape that the corruption does not support.
    fn check(&self, _image: ImageShape) -> Result<()> {
        Ok(())
    }

    /// Corrupts one image of this shape, pixels in [0, 1], into `out` of the same length.
    fn apply(&self, pixels: &[f32], image: ImageShape, generator: &mut Generator, out: &mut [f32]);

    /// Corrupts images of this shape, `[n, pixels]` in [0, 1], as [`Self::apply`] does with the generators of `numbers`.
    fn apply_on_device(&self, images: Tensor<2>, image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2>;
}

choices! {
    /// The chosen corruption and its strength, in `f64`, so that 0.2 is serialised as 0.2.
    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    pub enum Corruption, kind: dyn CorruptionKind;

    /// How images are corrupted.
    pub struct RawCorruption, optional: true, {}

    /// Additive normal noise, clipped to [0, 1].
    "gaussian" gaussian => Gaussian(Gaussian),
    /// Takes the colours away, which a model then learns to put back.
    "grayscale" grayscale => Grayscale(Grayscale),
    /// Sets a share of the pixels to 0.
    "masking" masking => Masking(Masking),
    /// Sets a share of the pixels to 0 or 1, each as likely.
    "salt-and-pepper" salt_and_pepper => SaltAndPepper(SaltAndPepper),
}

/// A share of the pixels.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawFraction {
    /// The probability of each pixel to be hit.
    #[schemars(range(min = 0, max = 1))]
    fraction: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn corrupted(corruption: Corruption, pixel: f32) -> Vec<f32> {
        let pixels = vec![pixel; 20_000];
        let mut out = vec![0.0; pixels.len()];
        corruption.kind().apply(
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
        let out = corrupted(Corruption::Gaussian(Gaussian { std: 0.1 }), 0.5);
        let variance = out.iter().map(|x| f64::from(x - 0.5).powi(2)).sum::<f64>() / out.len() as f64;
        assert!((variance.sqrt() - 0.1).abs() < 0.003, "{}", variance.sqrt());
        let out = corrupted(Corruption::Gaussian(Gaussian { std: 0.5 }), 0.0);
        assert!(out.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!((share(&out, |x| x == 0.0) - 0.5).abs() < 0.02);
    }

    #[test]
    fn masking_and_salt_and_pepper_hit_their_share() {
        let out = corrupted(Corruption::Masking(Masking { fraction: 0.3 }), 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.3).abs() < 0.02);
        assert!((share(&out, |x| x == 0.5) - 0.7).abs() < 0.02);
        let out = corrupted(Corruption::SaltAndPepper(SaltAndPepper { fraction: 0.2 }), 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.1).abs() < 0.01);
        assert!((share(&out, |x| x == 1.0) - 0.1).abs() < 0.01);
    }

    #[test]
    fn nothing_happens_at_strength_zero() {
        for corruption in [
            Corruption::Gaussian(Gaussian { std: 0.0 }),
            Corruption::Masking(Masking { fraction: 0.0 }),
            Corruption::SaltAndPepper(SaltAndPepper { fraction: 0.0 }),
        ] {
            assert!(corrupted(corruption, 0.25).iter().all(|&x| x == 0.25), "{corruption:?}");
        }
    }
}
