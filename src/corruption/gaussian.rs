//! Additive normal noise: x + std · n, clipped to [0, 1]: the corruption of the chapter's denoiser.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::on_device::Numbers;
use super::strength::{Limited, Limits, Strength};
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    /// Standard deviation, for pixels in [0, 1].
    pub std: Strength,
}

/// Additive normal noise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGaussian {
    /// Standard deviation, for pixels in [0, 1]; or a range, `[0.0, 0.2]`, of which every image draws its own.
    #[schemars(with = "Option<Limited<Gaussian>>")]
    std: Option<Strength>,
}

impl Limits for Gaussian {
    const KIND: &'static str = "number";
    const LEAST: f64 = 0.0;
    const MOST: f64 = 100.0;
}

impl Gaussian {
    /// Noise of this standard deviation.
    pub fn new(std: f64) -> Self {
        Self { std: Strength::Same(std) }
    }
}

impl Choice for Gaussian {
    type Written = RawGaussian;

    fn resolve(RawGaussian { std }: RawGaussian, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { std: section.required("std", std)?.checked("std", section) })
    }
}

impl CorruptionKind for Gaussian {
    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let std = self.std.of(generator);
        generator.fill_normal(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = (pixel + std * *out).clamp(0.0, 1.0);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        (images + self.std.on_device(numbers).times(numbers.normal())).clamp(0.0, 1.0)
    }
}
