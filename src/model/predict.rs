//! What the output of a network stands for, and how the image is made of it.
//!
//! A network predicts the image, whose logits it gives, or the noise (residual learning: Zhang et al. 2017, DnCNN): the image is then
//! the input plus the output. That is much easier to learn where the noise is small, since the image need not pass the network. The
//! last layer then starts as zeros, as the last layer of every residual branch does (Zhang et al. 2019, Fixup), so that training
//! starts at the identity.

use anyhow::Result;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Architecture;
use super::onnx::graph::Graph;
use super::settings::Loss;
use crate::error;
use crate::kernel;

/// What the network predicts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Predict {
    /// The image: it is the sigmoid of the output.
    #[default]
    Image,
    /// What has to be added to the input: the image is their sum.
    Noise,
}

impl Predict {
    /// Checks that a model with these layers and this loss can predict it.
    ///
    /// # Errors
    /// Layers with a dense code, or a loss that needs logits.
    pub fn check(self, architecture: &Architecture, loss: Loss) -> Result<()> {
        if self == Predict::Image {
            return Ok(());
        }
        if architecture.family().reach().is_none() {
            let advice = "use model.unet, or model.conv without `code`";
            return Err(error::settings(format!("noise is not made of a code of few numbers; {advice}")));
        }
        if loss != Loss::Mse {
            let reason = "the output is then a difference of pixels, of which there is no cross-entropy";
            return Err(error::settings(format!("\"noise\" needs model.loss = \"mse\": {reason}")));
        }
        Ok(())
    }

    /// The images that the network's output for `images` stands for, clipped to [0, 1]; all are `[n, pixels]`.
    pub fn images(self, output: Tensor<2>, images: Tensor<2>) -> Tensor<2> {
        match self {
            Predict::Image => kernel::sigmoid(output),
            Predict::Noise => (images + output).clamp(0.0, 1.0),
        }
    }

    /// Adds the nodes that do the same, with `images` and the network's output, to an ONNX graph, under the name `image`.
    pub fn graph(self, graph: &mut Graph, output: &str) {
        match self {
            Predict::Image => _ = graph.sigmoid(output, "image"),
            Predict::Noise => {
                let sum = graph.add("images", output, "image.sum");
                graph.clip_to_unit(&sum, "image");
            }
        }
    }
}
