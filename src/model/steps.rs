//! The layers of a network as a list of steps, which can be taken with whole feature maps, here, or with a few rows of them at a time
//! (`engine/strips/rows.rs`).

use burn::tensor::Tensor;

use super::layer::{Convolution, Residual};
pub use super::shuffle::{shuffle, unshuffle};
use crate::image::ImageShape;
use crate::kernel::{Activation, How};

/// What a network does with feature maps `[n, h, w, channels]`.
#[derive(Debug, Clone)]
pub enum Step {
    /// A 3×3 convolution that keeps the size.
    Convolution(Convolution, Activation),
    /// A convolution, a ReLU and a 2×2 max-pooling.
    MaxPool(Convolution),
    /// Nearest upsampling to the size before the last [`Step::MaxPool`] that none has undone yet, a convolution and a ReLU.
    Upsample(Convolution),
    /// Each 2×2 pixels to one of four times the channels.
    Unshuffle,
    /// The inverse.
    Shuffle,
    /// Keeps the map for the [`Step::Add`] that belongs to it, as a closing bracket does to an opening one.
    Keep,
    /// Adds the map that was kept.
    Add,
}

impl Step {
    /// The same with convolutions that are computed so.
    pub fn with(&self, how: How) -> Self {
        match self {
            Step::Convolution(layer, activation) => Step::Convolution(layer.with(how), *activation),
            Step::MaxPool(layer) => Step::MaxPool(layer.with(how)),
            Step::Upsample(layer) => Step::Upsample(layer.with(how)),
            other => other.clone(),
        }
    }
}

/// A layer and the residual blocks after it.
pub fn level(layer: Step, blocks: &[Residual]) -> impl Iterator<Item = Step> {
    std::iter::once(layer).chain(blocks.iter().flat_map(|block| {
        let [first, second] = block.layers();
        let inner = [Step::Convolution(first, Activation::Relu), Step::Convolution(second, Activation::Identity)];
        [Step::Keep].into_iter().chain(inner).chain([Step::Add])
    }))
}

/// Takes the steps with whole maps. `sizes` are the rows and columns that upsamplings and shuffles restore, the first of them last; poolings
/// and unshuffles add theirs.
pub fn run(steps: impl IntoIterator<Item = Step>, x: Tensor<4>, sizes: &mut Vec<[usize; 2]>) -> Tensor<4> {
    let mut kept = Vec::new();
    steps.into_iter().fold(x, |x, step| {
        let [_, height, width, channels] = x.dims();
        match step {
            Step::Convolution(layer, activation) => layer.forward(x, activation),
            Step::MaxPool(layer) => {
                sizes.push([height, width]);
                layer.forward_max_pool(x, Activation::Relu)
            }
            Step::Upsample(layer) => {
                layer.forward_upsampled(x, sizes.pop().unwrap_or([height, width]), Activation::Relu)
            }
            Step::Unshuffle => {
                sizes.push([height, width]);
                unshuffle(x)
            }
            Step::Shuffle => {
                let [height, width] = sizes.pop().unwrap_or([2 * height, 2 * width]);
                shuffle(x, ImageShape { height, width, channels: channels / 4 })
            }
            Step::Keep => {
                kept.push(x.clone());
                x
            }
            Step::Add => match kept.pop() {
                Some(map) => x + map,
                None => x,
            },
        }
    })
}
