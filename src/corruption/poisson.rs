//! Photon noise: a pixel x becomes Poisson(peak · x) / peak, as if white were `peak` photons on average; clipped to [0, 1]
//! unless asked not to.
//!
//! A count is the inverse of the distribution function at one uniform number of the pixel, so that it takes no other number however
//! it comes out. Small means are inverted by walking up from 0; large ones by the expansion of Cornish and Fisher, rounded down, as
//! Giles has it ("Algorithm 955: approximation of the inverse Poisson cumulative distribution function", ACM TOMS 42, 2016), which
//! differs from the exact inverse for one number in two thousand at a mean of ten and for ever fewer above, by one photon. Both are
//! a bounded number of operations without branches, so that a device makes the same: up to the rounding of its exponentials and
//! logarithms, which decides a photon in some hundred thousand pixels.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::clip::Clip;
use super::on_device::Numbers;
use super::strength::{Limited, Limits, Strength};
use crate::image::ImageShape;
use crate::random::{Generator, exp_negative, ln};
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Poisson {
    /// Mean photons of a pixel of value 1.
    pub peak: Strength,
    /// Whether the noisy pixels are clipped to [0, 1].
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub clip: Clip,
}

/// Photon noise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawPoisson {
    /// Mean photons of a white pixel: fewer are more noise; or a range, `[10.0, 100.0]`, of which every image draws its own.
    #[schemars(with = "Option<Limited<Poisson>>")]
    peak: Option<Strength>,
    /// Whether the noisy pixels are clipped to [0, 1]; `false` needs `output.pixels = "f32"`.
    clip: Option<bool>,
}

impl Limits for Poisson {
    const KIND: &'static str = "number";
    const LEAST: f64 = 0.01;
    // Above, f32 does not tell single photons apart; the noise is then less than a quarter of a byte's step.
    const MOST: f64 = 1e6;
}

impl Choice for Poisson {
    type Written = RawPoisson;

    fn resolve(RawPoisson { peak, clip }: RawPoisson, section: &mut Section<'_>) -> Option<Self> {
        let peak = section.required("peak", peak)?.checked("peak", section);
        Some(Self { peak, clip: Clip(section.required("clip", clip)?) })
    }
}

impl CorruptionKind for Poisson {
    fn keeps_range(&self) -> bool {
        self.clip.0
    }

    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let peak = self.peak.of(generator);
        generator.fill_uniform(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = self.clip.apply(count((pixel * peak).max(0.0), *out) / peak);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        let peak = self.peak.on_device(numbers);
        let (means, uniform) = (peak.times(images).clamp_min(0.0), numbers.uniform());
        let small = means.clone().lower_elem(SMALL);
        // The branch that is not taken gets a mean that it can compute with.
        let expanded = expanded_on_device(means.clone().clamp_min(SMALL), uniform.clone());
        let counts = expanded.mask_where(small, walked_on_device(means.clamp_max(SMALL), uniform));
        self.clip.apply_on_device(peak.divide(counts))
    }
}

/// Means below it are inverted by walking.
const SMALL: f32 = 10.0;
/// Steps of the walk: what exceeds them at a mean of [`SMALL`] has a probability of less than 2^-24, the step of uniform numbers.
const STEPS: usize = 32;

/// The smallest count whose distribution function at this mean exceeds `uniform`, a multiple of 2^-24 in [0, 1).
fn count(mean: f32, uniform: f32) -> f32 {
    if mean < SMALL { walked(mean, uniform) } else { expanded(mean, uniform) }
}

/// By adding up probabilities.
fn walked(mean: f32, uniform: f32) -> f32 {
    let mut probability = exp_negative(mean);
    let (mut below, mut count, most) = (probability, 0.0, most(mean));
    while uniform >= below && count < most {
        count += 1.0;
        probability = probability * mean * (1.0 / count);
        below += probability;
    }
    count
}

/// A count that is exceeded with a probability of less than 2^-24. Sums of rounded probabilities may end below 1.
fn most(mean: f32) -> f32 {
    (6.0 * mean.sqrt() + mean + 3.0).floor()
}

fn walked_on_device(means: Tensor<2>, uniform: Tensor<2>) -> Tensor<2> {
    let most = (means.clone().sqrt() * 6.0 + means.clone() + 3.0).floor();
    let mut probability = (-means.clone()).exp();
    let mut below = probability.clone();
    let mut count = uniform.clone().greater_equal(below.clone()).float();
    for step in 1..STEPS {
        probability = probability * means.clone() * (1.0 / step as f32);
        below = below + probability.clone();
        count = count + uniform.clone().greater_equal(below.clone()).float();
    }
    count.min_pair(most)
}

/// By expanding in the normal number of the same probability, in falling powers of the square root of the mean.
fn expanded(mean: f32, uniform: f32) -> f32 {
    let (z, root) = (normal(uniform), mean.sqrt());
    let square = z * z;
    let zeroth = square * (1.0 / 6.0) + 1.0 / 3.0;
    let first = z * (square * (-1.0 / 72.0) - 1.0 / 36.0);
    let second = square * (square * (1.0 / 270.0) + 7.0 / 810.0) - 8.0 / 405.0;
    (mean + (root * z + (zeroth + first / root + second / mean))).floor().max(0.0)
}

fn expanded_on_device(means: Tensor<2>, uniform: Tensor<2>) -> Tensor<2> {
    let (z, root) = (normal_on_device(uniform), means.clone().sqrt());
    let square = z.clone() * z.clone();
    let zeroth = square.clone() * (1.0 / 6.0) + 1.0 / 3.0;
    let first = z.clone() * (square.clone() * (-1.0 / 72.0) - 1.0 / 36.0);
    let second = square.clone() * (square * (1.0 / 270.0) + 7.0 / 810.0) - 8.0 / 405.0;
    let terms = zeroth + first / root.clone() + second / means.clone();
    (means + (root * z + terms)).floor().clamp_min(0.0)
}

/// Polynomials of the inverse error function in single precision (Giles, "Approximating the erfinv function", GPU Computing Gems,
/// 2011), from the highest power down: for the middle, and for the tails.
const MIDDLE: [f32; 9] = [
    2.810_226_4e-8,
    3.432_739_4e-7,
    -3.523_387_7e-6,
    -4.391_506_5e-6,
    2.185_808_7e-4,
    -1.253_725e-3,
    -4.177_681_6e-3,
    2.466_407_3e-1,
    1.501_409_4,
];
const TAILS: [f32; 9] = [
    -2.002_142_6e-4,
    1.009_505_6e-4,
    1.349_343_2e-3,
    -3.673_428_4e-3,
    5.739_507_7e-3,
    -7.622_461_3e-3,
    9.438_870_5e-3,
    1.001_674,
    2.832_976_8,
];

/// The normal number that a normal variable is below with the probability `uniform`, a multiple of 2^-24 in [0, 1), plus half of
/// a step, so that it is finite.
fn normal(uniform: f32) -> f32 {
    let polynomial = |powers: [f32; 9], w: f32| powers.into_iter().fold(0.0, |sum, power| sum * w + power);
    // Twice the probability, minus 1: exact.
    let x = (uniform * 2.0 - 1.0) + 1.0 / (1 << 24) as f32;
    let w = -ln((1.0 - x) * (1.0 + x));
    let factor = if w < 5.0 { polynomial(MIDDLE, w - 2.5) } else { polynomial(TAILS, w.sqrt() - 3.0) };
    factor * x * std::f32::consts::SQRT_2
}

fn normal_on_device(uniform: Tensor<2>) -> Tensor<2> {
    let polynomial = |[highest, powers @ ..]: [f32; 9], w: Tensor<2>| {
        let zero = w.clone() * 0.0;
        powers.into_iter().fold(zero + highest, |sum, power| sum * w.clone() + power)
    };
    let x = (uniform * 2.0 - 1.0) + 1.0 / (1 << 24) as f32;
    let w = -((-x.clone() + 1.0) * (x.clone() + 1.0)).log();
    let middle = polynomial(MIDDLE, w.clone() - 2.5);
    // Clamped, since a device's logarithm of nearly 1 may exceed 0.
    let tails = polynomial(TAILS, w.clone().clamp_min(0.0).sqrt() - 3.0);
    tails.mask_where(w.lower_elem(5.0), middle) * x * std::f32::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts at 2^20 probabilities, with the exact ones.
    fn counts(mean: f64) -> Vec<(f64, f64)> {
        let steps = 1 << 20;
        let (mut exact, mut below) = (0.0, (-mean).exp());
        let mut probability = below;
        let counts = (0..steps).map(|step| {
            let uniform = (f64::from(step) + 0.5) / f64::from(steps);
            while below <= uniform {
                exact += 1.0;
                probability *= mean / exact;
                below += probability;
            }
            (f64::from(count(mean as f32, uniform as f32)), exact)
        });
        counts.collect()
    }

    #[test]
    fn counts_are_those_of_the_exact_distribution() {
        for (mean, most) in
            [(0.0, 0.0), (0.1, 1e-5), (1.0, 1e-5), (9.9, 1e-5), (10.0, 1e-3), (30.0, 2e-4), (255.0, 1e-4)]
        {
            let counts = counts(mean);
            let count = counts.len() as f64;
            let differing = counts.iter().filter(|(found, exact)| found != exact).count() as f64 / count;
            assert!(differing <= most, "mean {mean}: {differing} differ");
            assert!(counts.iter().all(|(found, exact)| (found - exact).abs() <= 1.0), "mean {mean}");
            let found = counts.iter().map(|(found, _)| found).sum::<f64>() / count;
            let variance = counts.iter().map(|(found, _)| (found - mean).powi(2)).sum::<f64>() / count;
            assert!((found - mean).abs() <= 1e-4 * (1.0 + mean), "mean {mean}: {found}");
            assert!((variance - mean).abs() <= 1e-3 * (1.0 + mean), "mean {mean}: variance {variance}");
        }
    }

    #[test]
    fn the_ends_of_the_uniform_numbers_give_counts_of_the_tails() {
        let last = 1.0 - 1.0 / (1 << 24) as f32;
        for mean in [0.0, 1e-6, 0.1, 1.0, 9.999, 10.0, 100.0, 1e6] {
            let (least, greatest) = (count(mean, 0.0), count(mean, last));
            let bound = 6.0 * mean.sqrt() + 7.0;
            assert!(0.0 <= least && mean - bound < least && greatest < mean + bound, "{mean}: {least} to {greatest}");
        }
        assert_eq!(count(0.0, last), 0.0);
        assert!((normal(0.5) - 0.0).abs() < 1e-6 && (normal(last) + normal(0.0)).abs() < 1e-6);
        assert!((normal(0.975) - 1.959_964).abs() < 1e-5 && (normal(1e-4) + 3.719_016_5).abs() < 2e-3);
    }
}
