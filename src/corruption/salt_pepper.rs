//! Salt-and-pepper noise: each pixel is set to its lowest or highest value with a probability (Vincent et al. 2010).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::on_device::Numbers;
use super::{CorruptionKind, RawFraction};
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SaltAndPepper {
    /// Probability of each pixel, in [0, 1]; half of it for 0 and half for 1.
    pub fraction: f64,
}

impl Choice for SaltAndPepper {
    type Written = RawFraction;

    fn resolve(RawFraction { fraction }: RawFraction, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { fraction: section.required("fraction", fraction)? })
    }
}

impl CorruptionKind for SaltAndPepper {
    fn suits_vectors(&self) -> bool {
        true
    }

    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let fraction = self.fraction as f32;
        generator.fill_uniform(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = if *out < fraction / 2.0 {
                0.0
            } else if *out < fraction {
                1.0
            } else {
                pixel
            };
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        let (number, fraction) = (numbers.uniform(), self.fraction as f32);
        let salted = images.mask_fill(number.clone().lower_elem(fraction), 1.0);
        salted.mask_fill(number.lower_elem(fraction / 2.0), 0.0)
    }
}
