//! The convolutional autoencoder: 3×3 convolutions and 2×2 max-pooling down, nearest upsampling and convolutions up.
//!
//! Sides that do not halve evenly are rounded up on the way down (28 → 14 → 7 → 4, as TensorFlow's SAME padding does) and
//! the decoder enlarges to exactly the sizes that the encoder came from. Residual blocks may follow each of these layers. The
//! code is the last feature map, row-major with channels last, or a dense layer's numbers made of it.

use burn::module::Module;
use burn::tensor::Tensor;

use super::layer::{Convolution, Initializer, Linear, Residual};
use crate::image::ImageShape;
use crate::kernel::Activation;

/// Convolutional encoder and decoder; every layer but a dense code and the logits has a ReLU.
#[derive(Module, Debug)]
pub struct Conv {
    encoder: Vec<Convolution>,
    /// Those that follow each layer of the encoder.
    encoder_blocks: Vec<Vec<Residual>>,
    encoder_code: Option<Linear>,
    decoder_code: Option<Linear>,
    decoder: Vec<Convolution>,
    /// Those that follow each layer of the decoder but the last, which gives the logits.
    decoder_blocks: Vec<Vec<Residual>>,
    #[module(skip)]
    image: ImageShape,
    #[module(skip)]
    map: ImageShape,
    #[module(skip)]
    code_activation: Activation,
}

impl Conv {
    /// Initial weights.
    pub fn new(
        image: ImageShape,
        [channels, decoder_channels]: [&[usize]; 2],
        residual_blocks: usize,
        code: Option<(usize, Activation)>,
        initializer: &mut Initializer,
    ) -> Self {
        let map = feature_map(image, channels.len(), channels);
        let down = [&[image.channels], channels].concat();
        let up = [&[map.channels], decoder_channels, &[image.channels]].concat();
        let convolutions = |widths: &[usize], initializer: &mut Initializer| {
            widths.windows(2).map(|pair| Convolution::new(pair[0], pair[1], initializer)).collect()
        };
        let blocks = |widths: &[usize], initializer: &mut Initializer| {
            widths.iter().map(|width| Residual::blocks(*width, residual_blocks, initializer)).collect()
        };
        Self {
            encoder: convolutions(&down, initializer),
            encoder_blocks: blocks(channels, initializer),
            encoder_code: code.map(|(code, _)| Linear::new(map.len(), code, initializer)),
            decoder_code: code.map(|(code, _)| Linear::new(code, map.len(), initializer)),
            decoder: convolutions(&up, initializer),
            decoder_blocks: blocks(decoder_channels, initializer),
            image,
            map,
            code_activation: code.map_or(Activation::Identity, |(_, activation)| activation),
        }
    }

    /// `[n, pixels]` to `[n, code]`
    pub fn encode(&self, images: Tensor<2>) -> Tensor<2> {
        let [n, _] = images.dims();
        let ImageShape { height, width, channels } = self.image;
        let x = images.reshape([n, height, width, channels]);
        let map =
            self.encoder.iter().zip(&self.encoder_blocks).fold(x, |x, (layer, blocks)| {
                Residual::forward_all(blocks, layer.forward_max_pool(x, Activation::Relu))
            });
        let map = map.reshape([n, self.map.len()]);
        match &self.encoder_code {
            Some(layer) => layer.forward(map, self.code_activation),
            None => map,
        }
    }

    /// `[n, code]` to logits `[n, pixels]`
    pub fn decode(&self, code: Tensor<2>) -> Tensor<2> {
        let [n, _] = code.dims();
        let map = match &self.decoder_code {
            Some(layer) => layer.forward(code, Activation::Relu),
            None => code,
        };
        let ImageShape { height, width, channels } = self.map;
        let mut x = map.reshape([n, height, width, channels]);
        let sizes = upsampled(self.image, self.encoder.len());
        for ((layer, blocks), size) in self.decoder.iter().zip(&self.decoder_blocks).zip(sizes) {
            x = Residual::forward_all(blocks, layer.forward_upsampled(x, size, Activation::Relu));
        }
        let logits = &self.decoder[self.decoder.len() - 1];
        logits.forward(x, Activation::Identity).reshape([n, self.image.len()])
    }
}

/// Rows and columns before the first pooling, after it, after the second, and so on.
fn sizes(image: ImageShape, poolings: usize) -> Vec<[usize; 2]> {
    let half = |size: &[usize; 2]| Some(size.map(|side| side.div_ceil(2)));
    std::iter::successors(Some([image.height, image.width]), half).take(poolings + 1).collect()
}

/// Rows and columns after the first upsampling of a decoder, after the second, and so on, up to those of the image.
pub fn upsampled(image: ImageShape, poolings: usize) -> Vec<[usize; 2]> {
    sizes(image, poolings).into_iter().rev().skip(1).collect()
}

/// The shape of the feature map of the last of `channels` after so many poolings.
pub fn feature_map(image: ImageShape, poolings: usize, channels: &[usize]) -> ImageShape {
    let [height, width] = sizes(image, poolings)[poolings];
    ImageShape { height, width, channels: channels.last().copied().unwrap_or(image.channels) }
}
