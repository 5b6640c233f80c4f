//! The training losses, as sums over pixels.

use burn::tensor::Tensor;

use crate::kernel;
use crate::model::settings::Loss;

impl Loss {
    /// `scale` times the loss summed over all pixels of a batch: logits and targets in [0, 1], both `[n, pixels]`, to `[1]`.
    pub fn scaled_sum(self, logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
        match self {
            Loss::CrossEntropy => kernel::cross_entropy(logits, targets, scale),
            Loss::Mse => kernel::squared_error(logits, targets, scale),
        }
    }

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross-entropy",
            Loss::Mse => "mean squared error",
        }
    }
}
