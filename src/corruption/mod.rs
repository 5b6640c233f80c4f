//! Corruptions: the noise or the loss that a denoiser learns to undo.
//!
//! Each is a pure function of an image and the image's own random numbers, so that stored noisy images, new noise in training
//! and a resumed run do not depend on the number of threads. To add one: a file here that implements [`Choice`] and
//! [`CorruptionKind`] for its settings, and a line in the list below; its defaults, with their explanation, in
//! `config/default.toml`.
//!
//! [`Choice`]: crate::setting::Choice

mod blur;
mod clip;
mod downsample;
mod gaussian;
mod grayscale;
mod jpeg;
mod masking;
pub mod on_device;
mod poisson;
mod salt_pepper;
mod separable;
mod several;
mod speckle;
mod strength;

use anyhow::Result;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::choices;
pub use blur::Blur;
pub use clip::Clip;
pub use downsample::Downsample;
pub use gaussian::Gaussian;
pub use grayscale::Grayscale;
pub use jpeg::Jpeg;
pub use masking::Masking;
use on_device::Numbers;
pub use poisson::Poisson;
pub use salt_pepper::SaltAndPepper;
pub use several::Several;
pub use speckle::Speckle;
pub use strength::Strength;

/// The operations of a kind of corruption.
pub trait CorruptionKind {
    /// Whether the corruption is deterministic, without random numbers.
    fn is_fixed(&self) -> bool {
        false
    }

    /// Whether pixels in [0, 1] stay in it.
    fn keeps_range(&self) -> bool {
        true
    }

    /// The corruptions that it is made of, if it is made of others.
    fn members(&self) -> &[Corruption] {
        &[]
    }

    /// Whether it is noise of rows of numbers too: of each number by itself, of which 0 need not mean nothing.
    fn suits_vectors(&self) -> bool {
        false
    }

    /// Checks that images of this shape can be corrupted.
    ///
    /// # Errors
    /// A shape that the corruption does not support.
    fn check(&self, _image: ImageShape) -> Result<()> {
        Ok(())
    }

    /// Corrupts one image of this shape, pixels in [0, 1] unless an earlier corruption left it, into `out` of the same length.
    fn apply(&self, pixels: &[f32], image: ImageShape, generator: &mut Generator, out: &mut [f32]);

    /// Corrupts images of this shape, `[n, pixels]` in [0, 1], as [`Self::apply`] does with the generators of `numbers`.
    fn apply_on_device(&self, images: Tensor<2>, image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2>;
}

choices! {
    /// The chosen corruption and its strength, in `f64`, so that 0.2 is serialised as 0.2.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub enum Corruption, kind: dyn CorruptionKind;

    /// How images are corrupted.
    pub struct RawCorruption, optional: true, {}

    /// Blur by a Gaussian.
    "blur" blur => Blur(Blur),
    /// Loss of resolution.
    "downsample" downsample => Downsample(Downsample),
    /// Additive normal noise.
    "gaussian" gaussian => Gaussian(Gaussian),
    /// Takes the colours away, which a model then learns to put back.
    "grayscale" grayscale => Grayscale(Grayscale),
    /// JPEG artefacts.
    "jpeg" jpeg => Jpeg(Jpeg),
    /// Sets a share of the pixels to 0.
    "masking" masking => Masking(Masking),
    /// Photon noise.
    "poisson" poisson => Poisson(Poisson),
    /// Sets a share of the pixels to 0 or 1, each as likely.
    "salt-and-pepper" salt_and_pepper => SaltAndPepper(SaltAndPepper),
    /// Several of them, in this order.
    "several" several => Several(Several),
    /// Multiplicative normal noise.
    "speckle" speckle => Speckle(Speckle),
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

    fn corrupted(corruption: &Corruption, pixel: f32) -> Vec<f32> {
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
        let out = corrupted(&Corruption::Gaussian(Gaussian::new(0.1)), 0.5);
        let variance = out.iter().map(|x| f64::from(x - 0.5).powi(2)).sum::<f64>() / out.len() as f64;
        assert!((variance.sqrt() - 0.1).abs() < 0.003, "{}", variance.sqrt());
        let out = corrupted(&Corruption::Gaussian(Gaussian::new(0.5)), 0.0);
        assert!(out.iter().all(|x| (0.0..=1.0).contains(x)));
        assert!((share(&out, |x| x == 0.0) - 0.5).abs() < 0.02);
    }

    #[test]
    fn masking_and_salt_and_pepper_hit_their_share() {
        let out = corrupted(&Corruption::Masking(Masking { fraction: 0.3 }), 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.3).abs() < 0.02);
        assert!((share(&out, |x| x == 0.5) - 0.7).abs() < 0.02);
        let out = corrupted(&Corruption::SaltAndPepper(SaltAndPepper { fraction: 0.2 }), 0.5);
        assert!((share(&out, |x| x == 0.0) - 0.1).abs() < 0.01);
        assert!((share(&out, |x| x == 1.0) - 0.1).abs() < 0.01);
    }

    /// Mean and variance.
    fn moments(values: &[f32]) -> [f64; 2] {
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
        [mean, values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / values.len() as f64]
    }

    #[test]
    fn photon_noise_and_speckle_have_the_mean_and_the_variance_of_theory() {
        // Standard errors of the mean and, relatively, of the variance at 20,000 pixels: a share 0.007 of the deviation, and 0.01.
        let expect = |corruption: Corruption, pixel: f32, variance: f64| {
            let [mean, found] = moments(&corrupted(&corruption, pixel));
            assert!(
                (mean - f64::from(pixel)).abs() < 0.035 * variance.sqrt(),
                "{corruption:?} of {pixel}: mean {mean}"
            );
            assert!((found / variance - 1.0).abs() < 0.05, "{corruption:?} of {pixel}: {found} instead of {variance}");
        };
        for peak in [4.0, 30.0, 1000.0] {
            // Not so bright that counts are clipped.
            let pixel = 0.3;
            let poisson = || Corruption::Poisson(Poisson { peak: Strength::Same(peak), clip: Clip(true) });
            if peak > 4.0 {
                expect(poisson(), pixel, f64::from(pixel) / peak);
            }
            let counts = corrupted(&poisson(), pixel);
            assert!(counts.iter().all(|x| (x * peak as f32 - (x * peak as f32).round()).abs() < 1e-3), "{peak}");
            assert!(corrupted(&poisson(), 0.0).iter().all(|&x| x == 0.0), "{peak}");
        }
        for pixel in [0.1, 0.5] {
            let speckle = Corruption::Speckle(Speckle { std: Strength::Same(0.2), clip: Clip(true) });
            expect(speckle, pixel, (0.2 * f64::from(pixel)).powi(2));
        }
    }

    #[test]
    fn noise_that_is_not_clipped_keeps_its_mean_and_variance_at_black_and_white() {
        let clip = Clip(false);
        for (corruption, pixel, deviation) in [
            (Corruption::Gaussian(Gaussian { std: Strength::Same(0.2), clip }), 0.0, 0.2),
            (Corruption::Speckle(Speckle { std: Strength::Same(0.2), clip }), 1.0, 0.2),
            (Corruption::Poisson(Poisson { peak: Strength::Same(25.0), clip }), 1.0, 0.2),
        ] {
            let out = corrupted(&corruption, pixel);
            let [mean, variance] = moments(&out);
            assert!((mean - f64::from(pixel)).abs() < 0.035 * deviation, "{corruption:?}: mean {mean}");
            assert!((variance.sqrt() / deviation - 1.0).abs() < 0.025, "{corruption:?}: variance {variance}");
            assert!(share(&out, |x| !(0.0..=1.0).contains(&x)) > 0.4 && !corruption.kind().keeps_range());
        }
    }

    #[test]
    fn every_image_draws_its_strength_from_the_range_beside_the_numbers_of_its_pixels() {
        let (stream, shape) = (Stream::new(1, "noise", Split::Train), ImageShape { height: 1, width: 64, channels: 1 });
        let noise = |std: Strength, id: u64| {
            let mut out = [0.0; 64];
            Gaussian { std, clip: Clip(true) }.apply(&[0.5; 64], shape, &mut stream.generator(id, 3), &mut out);
            out.map(|x| x - 0.5)
        };
        let mut drawn: Vec<f32> = Vec::new();
        for id in 0..2000 {
            // The same numbers, scaled, whatever the strength.
            let (blind, fixed) = (noise(Strength::Drawn([0.02, 0.1]), id), noise(Strength::Same(0.05), id));
            let at = (0..64).max_by(|&a, &b| fixed[a].abs().total_cmp(&fixed[b].abs())).expect("has pixels");
            let std = 0.05 * blind[at] / fixed[at];
            assert!(blind.iter().zip(fixed).all(|(blind, fixed)| (blind - fixed * std / 0.05).abs() < 1e-5), "{id}");
            drawn.push(std);
        }
        drawn.sort_by(f32::total_cmp);
        // Uniform: the distance of Kolmogorov and Smirnov below its 0.1 % point.
        let most = drawn.iter().enumerate().map(|(rank, std)| ((std - 0.02) / 0.08 - rank as f32 / 2000.0).abs());
        assert!(most.fold(0.0, f32::max) < 1.95 / 2000.0_f32.sqrt(), "from {} to {}", drawn[0], drawn[1999]);
        assert!(drawn[0] > 0.0199 && drawn[1999] < 0.1001);
    }

    #[test]
    fn nothing_happens_at_strength_zero() {
        for corruption in [
            Corruption::Speckle(Speckle { std: Strength::Same(0.0), clip: Clip(true) }),
            Corruption::Blur(Blur { std: 0.0 }),
            Corruption::Downsample(Downsample { factor: 1 }),
            Corruption::Gaussian(Gaussian::new(0.0)),
            Corruption::Masking(Masking { fraction: 0.0 }),
            Corruption::SaltAndPepper(SaltAndPepper { fraction: 0.0 }),
        ] {
            assert!(corrupted(&corruption, 0.25).iter().all(|&x| x == 0.25), "{corruption:?}");
        }
    }
}
