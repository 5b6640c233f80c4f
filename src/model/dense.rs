//! The dense autoencoder: image → hidden layers → code → the same layers mirrored → logits.

use burn::module::Module;
use burn::tensor::Tensor;

use super::layer::{Initializer, Linear};
use crate::kernel::Activation;

/// Fully connected encoder and decoder; every layer but the code and the logits has a ReLU.
#[derive(Module, Debug)]
pub struct Dense {
    encoder: Vec<Linear>,
    decoder: Vec<Linear>,
    #[module(skip)]
    code_activation: Activation,
}

impl Dense {
    /// Initial weights for images of `pixels` numbers.
    pub fn new(
        pixels: usize,
        hidden: &[usize],
        code: usize,
        code_activation: Activation,
        initializer: &mut Initializer,
    ) -> Self {
        let widths: Vec<usize> = [&[pixels], hidden, &[code]].concat();
        let mut layer = |pair: &[usize]| Linear::new(pair[0], pair[1], initializer);
        let encoder = widths.windows(2).map(&mut layer).collect();
        let decoder = widths.iter().rev().copied().collect::<Vec<_>>().windows(2).map(&mut layer).collect();
        Self { encoder, decoder, code_activation }
    }

    /// `[n, pixels]` to `[n, code]`
    pub fn encode(&self, images: Tensor<2>) -> Tensor<2> {
        forward(&self.encoder, images, self.code_activation)
    }

    /// `[n, code]` to logits `[n, pixels]`
    pub fn decode(&self, code: Tensor<2>) -> Tensor<2> {
        forward(&self.decoder, code, Activation::Identity)
    }
}

fn forward(layers: &[Linear], x: Tensor<2>, last: Activation) -> Tensor<2> {
    layers
        .iter()
        .enumerate()
        .fold(x, |x, (index, layer)| layer.forward(x, if index + 1 == layers.len() { last } else { Activation::Relu }))
}
