//! A denoiser with skip connections (U-Net, Ronneberger et al. 2015): 3×3 convolutions and 2×2 max-pooling down, nearest
//! upsampling and convolutions up, and at each size what the way down had is added to what the way up brings.
//!
//! Detail passes beside the smallest feature map, which is why there is no code: no part of it stands for the image. Skips are
//! added (as in LinkNet, Chaurasia & Culurciello 2017) rather than appended, which halves the channels that the way up
//! convolves. Residual blocks follow at each size on both ways.

use burn::module::Module;
use burn::tensor::Tensor;

use super::conv::upsampled;
use super::layer::{Convolution, Initializer, Residual};
use crate::image::ImageShape;
use crate::kernel::Activation;

/// Every convolution but the second of a residual block and the one that gives the logits has a ReLU.
#[derive(Module, Debug)]
pub struct Unet {
    first: Level,
    /// From each size to the next smaller one.
    down: Vec<Level>,
    /// From each size to the next larger one.
    up: Vec<Level>,
    last: Convolution,
    #[module(skip)]
    image: ImageShape,
}

/// The layers of one size.
#[derive(Module, Debug)]
struct Level {
    convolution: Convolution,
    blocks: Vec<Residual>,
}

impl Unet {
    /// Initial weights.
    pub fn new(image: ImageShape, channels: &[usize], residual_blocks: usize, initializer: &mut Initializer) -> Self {
        let level = |inputs: usize, outputs: usize, initializer: &mut Initializer| Level {
            convolution: Convolution::new(inputs, outputs, initializer),
            blocks: Residual::blocks(outputs, residual_blocks, initializer),
        };
        let widest = channels.first().copied().unwrap_or(image.channels);
        Self {
            first: level(image.channels, widest, initializer),
            down: channels.windows(2).map(|pair| level(pair[0], pair[1], initializer)).collect(),
            up: channels.windows(2).rev().map(|pair| level(pair[1], pair[0], initializer)).collect(),
            last: Convolution::new(widest, image.channels, initializer),
            image,
        }
    }

    /// `[n, pixels]` to logits `[n, pixels]`
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let [n, _] = images.dims();
        let ImageShape { height, width, channels } = self.image;
        let x = images.reshape([n, height, width, channels]);
        let mut x = Residual::forward_all(&self.first.blocks, self.first.convolution.forward(x, Activation::Relu));
        let mut skips = Vec::new();
        for Level { convolution, blocks } in &self.down {
            skips.push(x.clone());
            x = Residual::forward_all(blocks, convolution.forward_max_pool(x, Activation::Relu));
        }
        let sizes = upsampled(self.image, self.down.len());
        for ((Level { convolution, blocks }, size), skip) in self.up.iter().zip(sizes).zip(skips.into_iter().rev()) {
            x = Residual::forward_all(blocks, convolution.forward_upsampled(x, size, Activation::Relu) + skip);
        }
        self.last.forward(x, Activation::Identity).reshape([n, self.image.len()])
    }
}
