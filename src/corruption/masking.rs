//! Masking noise: each pixel is set to 0 with a probability (Vincent et al. 2010, section 3.3).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::on_device::Numbers;
use super::{CorruptionKind, RawFraction};
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Masking {
    /// Probability of each pixel, in [0, 1].
    pub fraction: f64,
}

impl Choice for Masking {
    type Written = RawFraction;

    fn resolve(RawFraction { fraction }: RawFraction, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { fraction: section.required("fraction", fraction)? })
    }
}

impl CorruptionKind for Masking {
    fn suits_vectors(&self) -> bool {
        true
    }

    fn apply(&self, pixels: &[f32], _image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let fraction = self.fraction as f32;
        generator.fill_uniform(out);
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = if *out < fraction { 0.0 } else { pixel };
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, _image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        images.mask_fill(numbers.uniform().lower_elem(self.fraction as f32), 0.0)
    }
}
