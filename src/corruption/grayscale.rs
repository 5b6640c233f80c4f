//! Colour removed: each pixel gets its luma by ITU-R BT.601 in all three channels, so that a model learns to colour grey images.

use anyhow::Result;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::on_device::Numbers;
use crate::error;
use crate::image::{ImageShape, LUMA};
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings: there are none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Grayscale {}

/// Takes the colours away.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGrayscale {}

impl Choice for Grayscale {
    type Written = RawGrayscale;

    fn resolve(RawGrayscale {}: RawGrayscale, _section: &mut Section<'_>) -> Option<Self> {
        Some(Self {})
    }
}

impl CorruptionKind for Grayscale {
    fn is_fixed(&self) -> bool {
        true
    }

    fn check(&self, image: ImageShape) -> Result<()> {
        if image.channels == 3 {
            return Ok(());
        }
        let message = format!("corruption.grayscale takes images of 3 channels, not {image}");
        Err(error::settings(format!("{message}; strokes have them with colour = true, pictures with grey = false")))
    }

    fn apply(&self, pixels: &[f32], _image: ImageShape, _generator: &mut Generator, out: &mut [f32]) {
        for (out, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            out.fill(LUMA[0] * pixel[0] + LUMA[1] * pixel[1] + LUMA[2] * pixel[2]);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, _numbers: &Numbers<'_>) -> Tensor<2> {
        let [count, pixels] = images.dims();
        let colours = images.reshape([count, pixels / 3, 3]);
        let colour = |index: usize| colours.clone().slice([0..count, 0..pixels / 3, index..index + 1]);
        let grey = colour(0) * LUMA[0] + colour(1) * LUMA[1] + colour(2) * LUMA[2];
        grey.repeat_dim(2, 3).reshape([count, pixels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    #[test]
    fn grey_stays_and_colours_get_their_brightness() {
        let (mut out, image) = ([0.0; 6], ImageShape { height: 1, width: 2, channels: 3 });
        let generator = &mut Stream::new(1, "noise", Split::Test).generator(0, 0);
        Grayscale {}.apply(&[1.0, 0.0, 0.0, 0.5, 0.5, 0.5], image, generator, &mut out);
        let expected = [0.299, 0.299, 0.299, 0.5, 0.5, 0.5];
        assert!(out.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{out:?}");
    }
}
