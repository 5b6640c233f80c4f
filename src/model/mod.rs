//! Autoencoders: an encoder that makes a code of an image and a decoder that makes the image of the code; and a denoiser that
//! makes images without a code.
//!
//! To add a family: a file here, a variant in [`Architecture`] (its settings) and one in [`Autoencoder`] (its weights),
//! and its table in `config/raw/mod.rs` and `config/resolve.rs`.

mod conv;
mod dense;
mod layer;
pub mod settings;
mod unet;
mod weights;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use weights::{
    ModelDescription, NamedTensor, load_weights, most_bytes, named_tensors, read_tensors, write_tensors,
};

use crate::device::numbers_at_once;
use crate::error;
use crate::image::ImageShape;
use crate::kernel::Activation;
use crate::model::settings::CodeActivation;
use conv::Conv;
use dense::Dense;
use layer::Initializer;
use unet::Unet;

/// The layers of an autoencoder, without weights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Fully connected.
    Dense {
        /// Widths between the image and the code.
        hidden: Vec<usize>,
        /// Size of the code.
        code: usize,
        /// What follows the layer that makes the code.
        code_activation: CodeActivation,
    },
    /// Convolutional.
    Conv {
        /// Channels of each convolution of the encoder, each followed by a pooling.
        channels: Vec<usize>,
        /// Channels of each convolution of the decoder, each preceded by an upsampling.
        decoder_channels: Vec<usize>,
        /// Residual blocks after each pooling and after each convolution that follows an upsampling.
        #[serde(default, skip_serializing_if = "crate::setting::is_off")]
        residual_blocks: usize,
        /// Size of the dense code; none if the feature map is the code.
        code: Option<usize>,
        /// What follows the layer that makes the dense code.
        code_activation: CodeActivation,
    },
    /// Convolutional with skip connections, without a code.
    Unet {
        /// Channels at each size of the feature maps, from the image's down.
        channels: Vec<usize>,
        /// Residual blocks at each size, on the way down and on the way up.
        residual_blocks: usize,
    },
}

/// Images that go through a dense model at once: as many as take these multiplications, which make a pass worth its overhead,
/// within limits.
const DENSE_MULTIPLICATIONS: usize = 10 << 20;
const DENSE_IMAGES: [usize; 2] = [25, 100];
/// Images that go through a convolutional model at once: as many as give its largest layer these numbers, which stay in the
/// cache, within limits.
const CONV_ACTIVATIONS: usize = 640 << 10;
const CONV_IMAGES: [usize; 2] = [1, 25];

/// Images that go through a model at once on a device that is not flex, at least and at most.
const DEVICE_IMAGES: [usize; 2] = [1, 1 << 14];

/// Smallest side of an image that the convolutional family takes.
const LEAST_SIDE: usize = 8;
/// Most residual blocks after a layer.
const MOST_BLOCKS: usize = 64;
/// Most weights of one layer: 2^28, a gibibyte.
const MOST_WEIGHTS: usize = 1 << 28;

impl Architecture {
    /// `dense`, `conv` or `unet`.
    pub fn family(&self) -> &'static str {
        match self {
            Architecture::Dense { .. } => "dense",
            Architecture::Conv { .. } => "conv",
            Architecture::Unet { .. } => "unet",
        }
    }

    /// Images that one thread takes through the model at once: enough to be worth the overhead of a pass, few enough to leave
    /// work for several threads and activations in the cache. It depends on nothing but the layers, since the order in which
    /// gradients are added follows from it.
    pub fn micro_batch(&self, image: ImageShape) -> usize {
        let (images, [least, most]) = match self {
            Architecture::Dense { hidden, code, .. } => {
                let weights: usize = dense_layers(image, hidden, *code).iter().sum();
                (DENSE_MULTIPLICATIONS / (2 * weights).max(1), DENSE_IMAGES)
            }
            Architecture::Conv { .. } | Architecture::Unet { .. } => {
                (CONV_ACTIVATIONS / self.outermost_layer(image), CONV_IMAGES)
            }
        };
        images.clamp(least, most)
    }

    /// Images that a device other than flex takes through the model at once.
    pub fn device_batch(&self, image: ImageShape, device: &Device) -> usize {
        let [least, most] = DEVICE_IMAGES;
        (numbers_at_once(device) / self.largest_layer(image)).clamp(least, most)
    }

    /// Numbers of the largest of a convolutional model's layers of the image's size, for one image.
    fn outermost_layer(&self, image: ImageShape) -> usize {
        let widest = match self {
            Architecture::Dense { .. } => None,
            Architecture::Conv { channels, decoder_channels, .. } => channels.first().max(decoder_channels.last()),
            Architecture::Unet { channels, .. } => channels.first(),
        };
        image.height * image.width * widest.copied().unwrap_or(1).max(image.channels)
    }

    /// Numbers of the largest layer for one image, of any size.
    fn largest_layer(&self, image: ImageShape) -> usize {
        // What a convolution of the way down makes, before the pooling behind it.
        let down = |channels: &[usize]| {
            let maps = channels.iter().enumerate();
            maps.map(|(level, channels)| conv::feature_map(image, level, &[*channels]).len()).max().unwrap_or(1)
        };
        let largest = match self {
            Architecture::Dense { hidden, code, .. } => hidden.iter().copied().max().unwrap_or(1).max(*code),
            Architecture::Conv { channels, decoder_channels, .. } => {
                // What upsampling makes, where it is no part of the convolution behind it, and what that makes.
                let brought = channels.last().into_iter().chain(decoder_channels);
                let made = self.upsampled(image).into_iter().zip(brought.zip(decoder_channels));
                let up = made.map(|([height, width], (brought, made))| height * width * brought.max(made));
                up.max().unwrap_or(1).max(down(channels))
            }
            Architecture::Unet { channels, .. } => {
                let brought = channels.iter().skip(1).rev();
                let up = self
                    .upsampled(image)
                    .into_iter()
                    .zip(brought)
                    .map(|([height, width], brought)| height * width * brought);
                up.max().unwrap_or(1).max(down(channels))
            }
        };
        largest.max(image.len())
    }

    /// Poolings on the way to the smallest feature map, and as many upsamplings on the way back.
    fn poolings(&self) -> usize {
        match self {
            Architecture::Dense { .. } => 0,
            Architecture::Conv { channels, .. } => channels.len(),
            Architecture::Unet { channels, .. } => channels.len().saturating_sub(1),
        }
    }

    /// The shape of the last feature map of a convolutional encoder; of a dense one, its code as an image of one pixel.
    pub fn feature_map(&self, image: ImageShape) -> ImageShape {
        match self {
            Architecture::Dense { code, .. } => ImageShape { height: 1, width: 1, channels: *code },
            Architecture::Conv { channels, .. } | Architecture::Unet { channels, .. } => {
                conv::feature_map(image, self.poolings(), channels)
            }
        }
    }

    /// Rows and columns after each upsampling, in order; none if the model is dense.
    pub fn upsampled(&self, image: ImageShape) -> Vec<[usize; 2]> {
        conv::upsampled(image, self.poolings())
    }

    /// Whether there is a code that stands for an image: a U-Net has none.
    pub fn has_code(&self) -> bool {
        match self {
            Architecture::Dense { .. } | Architecture::Conv { .. } => true,
            Architecture::Unet { .. } => false,
        }
    }

    /// Numbers in the code of one image, if there is one.
    pub fn code_size(&self, image: ImageShape) -> Option<usize> {
        match self {
            Architecture::Dense { code, .. } | Architecture::Conv { code: Some(code), .. } => Some(*code),
            Architecture::Conv { .. } => Some(self.feature_map(image).len()),
            Architecture::Unet { .. } => None,
        }
    }

    /// Checks that there can be such layers and that they fit images of this shape. Settings were checked when they were
    /// read; a `model.json` may say anything.
    ///
    /// # Errors
    /// Widths of 0, a decoder that does not match its encoder, images that are too small, more poolings than the image can be
    /// halved, layers beyond all memory.
    pub fn check(&self, image: ImageShape) -> Result<()> {
        self.check_widths()?;
        if let Architecture::Conv { channels, .. } | Architecture::Unet { channels, .. } = self {
            let (family, least) = (self.family(), image.height.min(image.width));
            if least < LEAST_SIDE {
                let message = format!("model.{family} takes images of at least {LEAST_SIDE}×{LEAST_SIDE}, not {image}");
                return Err(error::settings(format!("{message}; use model.dense")));
            }
            let (poolings, halvings) = (self.poolings(), least.next_power_of_two().trailing_zeros() as usize);
            if poolings > halvings {
                let (found, s) = (channels.len(), if halvings == 1 { "" } else { "s" });
                let message = format!("model.{family}.channels has {found} entries, but images of {image}");
                return Err(error::settings(format!("{message} can be halved only {halvings} time{s}")));
            }
        }
        let weights = |[inputs, outputs]: [usize; 2]| inputs.saturating_mul(outputs);
        let most = self.layers(image).into_iter().map(weights).max().unwrap_or(0);
        if most > MOST_WEIGHTS {
            return Err(error::settings(format!("a layer of the model would have {most} weights; use smaller widths")));
        }
        Ok(())
    }

    fn check_widths(&self) -> Result<()> {
        let (widths, code, [found, least], blocks) = match self {
            Architecture::Dense { hidden, code, .. } => (hidden.clone(), Some(*code), [hidden.len(), 0], 0),
            Architecture::Conv { channels, decoder_channels, residual_blocks, code, .. } => {
                if channels.len() != decoder_channels.len() {
                    let (found, expected) = (decoder_channels.len(), channels.len());
                    let message = format!("model.conv.decoder-channels has {found} entries");
                    let reason = "each pooling needs its upsampling";
                    return Err(error::settings(format!("{message}, but the encoder has {expected}: {reason}")));
                }
                let widths = [channels.as_slice(), decoder_channels].concat();
                (widths, *code, [channels.len(), 1], *residual_blocks)
            }
            Architecture::Unet { channels, residual_blocks } => {
                (channels.clone(), None, [channels.len(), 2], *residual_blocks)
            }
        };
        if found < least {
            let s = if least == 1 { "y" } else { "ies" };
            let family = self.family();
            return Err(error::settings(format!("model.{family}.channels needs at least {least} entr{s}")));
        }
        if blocks > MOST_BLOCKS {
            return Err(error::settings(format!(
                "the model has {blocks} residual blocks in a row; use at most {MOST_BLOCKS}"
            )));
        }
        match widths.into_iter().chain(code).find(|width| !(1..=MOST_WEIGHTS).contains(width)) {
            Some(width) => {
                Err(error::settings(format!("a layer of the model has the width {width}; use 1 to {MOST_WEIGHTS}")))
            }
            None => Ok(()),
        }
    }

    /// Of each layer, the weights of one output and the number of outputs.
    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]> {
        match self {
            Architecture::Dense { hidden, code, .. } => {
                let down = [&[image.len()], hidden.as_slice(), &[*code]].concat();
                let up = down.iter().rev().copied().collect::<Vec<_>>();
                [down, up].iter().flat_map(|widths| widths.windows(2)).map(|pair| [pair[0], pair[1]]).collect()
            }
            Architecture::Conv { channels, decoder_channels, residual_blocks, code, .. } => {
                let widths = [&[image.channels], channels.as_slice(), decoder_channels, &[image.channels]].concat();
                let map = self.feature_map(image).len();
                let dense = code.map(|code| [[map, code], [code, map]]);
                let blocks = [channels.as_slice(), decoder_channels].concat();
                convolutions(&widths, &blocks, *residual_blocks).chain(dense.into_iter().flatten()).collect()
            }
            Architecture::Unet { channels, residual_blocks } => {
                let down = [&[image.channels], channels.as_slice()].concat();
                let up = down.iter().rev().copied().collect::<Vec<_>>();
                let blocks = [channels.as_slice(), &up[1..up.len() - 1]].concat();
                let up = convolutions(&up, &blocks, *residual_blocks);
                convolutions(&down, &[], 0).chain(up).collect()
            }
        }
    }

    /// Numbers of a model that [`Self::check`] accepts: weights and biases.
    pub fn parameters(&self, image: ImageShape) -> usize {
        let layers = self.layers(image).into_iter();
        layers.fold(0, |sum: usize, [inputs, outputs]| sum.saturating_add((inputs + 1).saturating_mul(outputs)))
    }

    /// The model with its initial weights, a function of the seed.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn init(&self, image: ImageShape, seed: u64, device: &Device) -> Result<Autoencoder> {
        self.check(image)?;
        let initializer = &mut Initializer::new(seed, device);
        let activation = |activation: &CodeActivation| match activation {
            CodeActivation::Relu => Activation::Relu,
            CodeActivation::Linear => Activation::Identity,
        };
        Ok(match self {
            Architecture::Dense { hidden, code, code_activation } => {
                Autoencoder::Dense(Dense::new(image.len(), hidden, *code, activation(code_activation), initializer))
            }
            Architecture::Conv { channels, decoder_channels, residual_blocks, code, code_activation } => {
                Autoencoder::Conv(Conv::new(
                    image,
                    [channels, decoder_channels],
                    *residual_blocks,
                    code.map(|code| (code, activation(code_activation))),
                    initializer,
                ))
            }
            Architecture::Unet { channels, residual_blocks } => {
                Autoencoder::Unet(Unet::new(image, channels, *residual_blocks, initializer))
            }
        })
    }
}

/// Weights of each layer of a dense encoder.
fn dense_layers(image: ImageShape, hidden: &[usize], code: usize) -> Vec<usize> {
    let widths: Vec<usize> = [&[image.len()], hidden, &[code]].concat();
    widths.windows(2).map(|pair| pair[0].saturating_mul(pair[1])).collect()
}

/// Of each convolution from width to width and of each in residual blocks of these widths, `count` in a row, the weights of one
/// output and the number of outputs.
fn convolutions(widths: &[usize], blocks: &[usize], count: usize) -> impl Iterator<Item = [usize; 2]> {
    let layers: Vec<_> = widths.windows(2).map(|pair| [9 * pair[0], pair[1]]).collect();
    let blocks: Vec<_> = blocks.iter().flat_map(|&width| vec![[9 * width, width]; 2 * count]).collect();
    layers.into_iter().chain(blocks)
}

/// An autoencoder with weights.
#[derive(Module, Debug)]
pub enum Autoencoder {
    /// Fully connected.
    Dense(Dense),
    /// Convolutional.
    Conv(Conv),
    /// Convolutional with skip connections: not an autoencoder, since it has no code.
    Unet(Unet),
}

/// What a model makes of images.
pub struct Made {
    /// `[n, code]`, if the model has a code.
    pub codes: Option<Tensor<2>>,
    /// Logits `[n, pixels]`; their sigmoid is the image.
    pub logits: Tensor<2>,
}

impl Autoencoder {
    /// Images `[n, pixels]` in [0, 1] to codes `[n, code]`, if the model has them.
    pub fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>> {
        match self {
            Autoencoder::Dense(model) => Some(model.encode(images)),
            Autoencoder::Conv(model) => Some(model.encode(images)),
            Autoencoder::Unet(_) => None,
        }
    }

    /// Images `[n, pixels]` in [0, 1] to codes and logits.
    pub fn forward(&self, images: Tensor<2>) -> Made {
        let decoded = |codes: Tensor<2>, decode: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let logits = decode(codes.clone());
            Made { codes: Some(codes), logits }
        };
        match self {
            Autoencoder::Dense(model) => decoded(model.encode(images), &|codes| model.decode(codes)),
            Autoencoder::Conv(model) => decoded(model.encode(images), &|codes| model.decode(codes)),
            Autoencoder::Unet(model) => Made { codes: None, logits: model.forward(images) },
        }
    }
}

#[cfg(test)]
mod tests;
