//! The settings of a model: its architecture, and what its training minimises.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Architecture;

/// The autoencoder and its loss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its layers.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// What training minimises.
    pub loss: Loss,
    /// How much of the code's mean magnitude is added to it.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub sparsity: f64,
}

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Loss {
    /// Binary cross-entropy of the sigmoid of the logits against the clean pixels, mean over pixels, in nats.
    CrossEntropy,
    /// Squared difference of the sigmoid of the logits and the clean pixels, mean over pixels.
    Mse,
}

/// What follows the layer that makes a dense code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CodeActivation {
    /// max(x, 0): codes are not negative and often sparse.
    Relu,
    /// Nothing: codes are any real numbers.
    Linear,
}
