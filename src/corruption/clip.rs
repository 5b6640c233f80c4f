//! Whether noisy pixels are clipped to [0, 1], as a sensor or a file does it, or keep their values, so that noise has the mean 0
//! everywhere, as papers on denoising assume it (DnCNN of Zhang et al. 2017, Noise2Noise of Lehtinen et al. 2018).

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Whether pixels are clipped. That they are is not written: so it was before there was the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clip(pub bool);

impl Default for Clip {
    fn default() -> Self {
        Self(true)
    }
}

impl Clip {
    /// The pixel as it is kept.
    #[inline(always)]
    pub fn apply(self, pixel: f32) -> f32 {
        if self.0 { pixel.clamp(0.0, 1.0) } else { pixel }
    }

    /// The pixels as they are kept.
    pub fn apply_on_device(self, images: Tensor<2>) -> Tensor<2> {
        if self.0 { images.clamp(0.0, 1.0) } else { images }
    }
}
