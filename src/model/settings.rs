//! Settings that families of models share, and the loss.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::Activation;

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Loss {
    /// Binary cross-entropy of the sigmoid of the logits against the clean pixels, mean over pixels, in nats.
    CrossEntropy,
    /// Squared difference of the image, before it is clipped, and the clean pixels, mean over pixels.
    Mse,
}

/// The activation applied after the layer that makes a dense code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CodeActivation {
    /// max(x, 0): codes are not negative and often sparse.
    Relu,
    /// Nothing: codes are any real numbers.
    Linear,
}

impl CodeActivation {
    /// The activation as the kernels define it.
    pub fn kernel(self) -> Activation {
        match self {
            CodeActivation::Relu => Activation::Relu,
            CodeActivation::Linear => Activation::Identity,
        }
    }
}

/// Converts widths as written, which the schema has checked to be positive.
pub fn widths(written: Vec<i64>) -> Vec<usize> {
    written.into_iter().map(|width| width as usize).collect()
}
