//! The training losses, as sums over pixels.

use burn::tensor::Tensor;

use crate::kernel;
use crate::model::Model;
use crate::model::predict::Predict;
use crate::model::settings::Loss;

impl Model {
    /// `scale` times the loss summed over all pixels of a batch: what the network makes of inputs, the inputs and the targets in
    /// [0, 1], all `[n, pixels]`, to `[1]`.
    pub fn scaled_loss(&self, output: Tensor<2>, inputs: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
        match (self.predict, self.loss) {
            // The image is not clipped here: clipped pixels would have no gradient.
            (Predict::Noise, _) => kernel::squared_difference(output, targets - inputs, scale),
            (Predict::Image, Loss::CrossEntropy) => kernel::cross_entropy(output, targets, scale),
            (Predict::Image, Loss::Mse) => kernel::squared_error(output, targets, scale),
        }
    }
}

impl Loss {
    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Loss::CrossEntropy => "cross-entropy",
            Loss::Mse => "mean squared error",
        }
    }
}
