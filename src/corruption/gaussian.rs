//! Additive normal noise: clip(x + std · n, 0, 1), the corruption of the chapter's denoiser.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::on_device::Numbers;
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    /// Standard deviation, for pixels in [0, 1].
    pub std: f64,
}

/// Additive normal noise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGaussian {
    /// Standard deviation, for pixels in [0, 1].
    #[schemars(range(min = 0, max = 100))]
    std: Option<f64>,
}

impl Choice for Gaussian {
    type Written = RawGaussian;

    fn resolve(RawGaussian { std }: RawGaussian, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { std: section.required("std", std)? })
    }
}

impl CorruptionKind for Gaussian {
    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let std = self.std as f32;
        generator.fill_normal(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = (pixel + std * *out).clamp(0.0, 1.0);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        (images + numbers.normal() * self.std as f32).clamp(0.0, 1.0)
    }
}
