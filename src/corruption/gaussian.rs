//! Additive normal noise: x + std · n, clipped to [0, 1] unless asked not to: the corruption of the chapter's denoiser.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::clip::Clip;
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
    /// Whether the noisy pixels are clipped to [0, 1].
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub clip: Clip,
}

/// Additive normal noise.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGaussian {
    /// Standard deviation, for pixels in [0, 1]; or a range, `[0.0, 0.2]`, of which every image draws its own.
    #[schemars(with = "Option<Limited<Gaussian>>")]
    std: Option<Strength>,
    /// Whether the noisy pixels are clipped to [0, 1]; `false` needs `output.pixels = "f32"`.
    clip: Option<bool>,
}

impl Limits for Gaussian {
    const KIND: &'static str = "number";
    const LEAST: f64 = 0.0;
    const MOST: f64 = 100.0;
}

impl Gaussian {
    /// Noise of this standard deviation.
    pub fn new(std: f64) -> Self {
        Self { std: Strength::Same(std), clip: Clip::default() }
    }
}

impl Choice for Gaussian {
    type Written = RawGaussian;

    fn resolve(RawGaussian { std, clip }: RawGaussian, section: &mut Section<'_>) -> Option<Self> {
        let std = section.required("std", std)?.checked("std", section);
        Some(Self { std, clip: Clip(section.required("clip", clip)?) })
    }
}

impl CorruptionKind for Gaussian {
    fn suits_vectors(&self) -> bool {
        true
    }

    fn keeps_range(&self) -> bool {
        self.clip.0
    }

    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let std = self.std.of(generator);
        generator.fill_normal(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = self.clip.apply(pixel + std * *out);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        self.clip.apply_on_device(images + self.std.on_device(numbers).times(numbers.normal()))
    }
}
