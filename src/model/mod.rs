//! Autoencoders: an encoder that makes a code of an image and a decoder that makes the image of the code.
//!
//! To add a family: a file here, a variant in [`Architecture`] (its settings) and one in [`Autoencoder`] (its weights),
//! and its table in `config/raw.rs` and `config/resolve.rs`.

mod conv;
mod dense;
mod layer;
mod weights;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use weights::{ModelDescription, NamedTensor, load_weights, named_tensors, read_tensors, write_tensors};

use crate::config::CodeActivation;
use crate::error;
use crate::kernel::Activation;
use crate::table::ImageShape;
use conv::Conv;
use dense::Dense;
use layer::Initializer;

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
        /// Size of the dense code; none if the feature map is the code.
        code: Option<usize>,
        /// What follows the layer that makes the dense code.
        code_activation: CodeActivation,
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

/// Smallest side of an image that the convolutional family takes.
const LEAST_SIDE: usize = 8;
/// Most weights of one layer: 2^28, a gibibyte.
const MOST_WEIGHTS: usize = 1 << 28;

impl Architecture {
    /// `dense` or `conv`.
    pub fn family(&self) -> &'static str {
        match self {
            Architecture::Dense { .. } => "dense",
            Architecture::Conv { .. } => "conv",
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
            Architecture::Conv { channels, decoder_channels, .. } => {
                let widest = channels.first().max(decoder_channels.last()).copied().unwrap_or(1);
                let largest = image.height * image.width * widest.max(image.channels);
                (CONV_ACTIVATIONS / largest, CONV_IMAGES)
            }
        };
        images.clamp(least, most)
    }

    /// The shape of the last feature map of a convolutional encoder; of a dense one, its code as an image of one pixel.
    pub fn feature_map(&self, image: ImageShape) -> ImageShape {
        match self {
            Architecture::Dense { code, .. } => ImageShape { height: 1, width: 1, channels: *code },
            Architecture::Conv { channels, .. } => conv::feature_map(image, channels),
        }
    }

    /// Rows and columns after each upsampling of the decoder, in order; none if it is dense.
    pub fn upsampled(&self, image: ImageShape) -> Vec<[usize; 2]> {
        match self {
            Architecture::Dense { .. } => Vec::new(),
            Architecture::Conv { channels, .. } => conv::upsampled(image, channels.len()),
        }
    }

    /// Numbers in the code of one image.
    pub fn code_size(&self, image: ImageShape) -> usize {
        match self {
            Architecture::Dense { code, .. } | Architecture::Conv { code: Some(code), .. } => *code,
            Architecture::Conv { channels, .. } => conv::feature_map(image, channels).len(),
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
        if let Architecture::Conv { channels, .. } = self {
            let least = image.height.min(image.width);
            if least < LEAST_SIDE {
                let message = format!("model.conv takes images of at least {LEAST_SIDE}×{LEAST_SIDE}, not {image}");
                return Err(error::settings(format!("{message}; use model.dense")));
            }
            let halvings = least.next_power_of_two().trailing_zeros() as usize;
            if channels.len() > halvings {
                let (found, s) = (channels.len(), if halvings == 1 { "" } else { "s" });
                let message = format!("model.conv.channels has {found} entries, but images of {image}");
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
        let (widths, code) = match self {
            Architecture::Dense { hidden, code, .. } => (hidden.clone(), Some(*code)),
            Architecture::Conv { channels, decoder_channels, code, .. } => {
                if channels.is_empty() {
                    return Err(error::settings("model.conv.channels needs at least 1 entry"));
                }
                if channels.len() != decoder_channels.len() {
                    let (found, expected) = (decoder_channels.len(), channels.len());
                    let message = format!("model.conv.decoder-channels has {found} entries");
                    let reason = "each pooling needs its upsampling";
                    return Err(error::settings(format!("{message}, but the encoder has {expected}: {reason}")));
                }
                ([channels.as_slice(), decoder_channels].concat(), *code)
            }
        };
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
            Architecture::Conv { channels, decoder_channels, code, .. } => {
                let widths = [&[image.channels], channels.as_slice(), decoder_channels, &[image.channels]].concat();
                let map = conv::feature_map(image, channels).len();
                let dense = code.map(|code| [[map, code], [code, map]]);
                let convolutions = widths.windows(2).map(|pair| [9 * pair[0], pair[1]]);
                convolutions.chain(dense.into_iter().flatten()).collect()
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
            Architecture::Conv { channels, decoder_channels, code, code_activation } => Autoencoder::Conv(Conv::new(
                image,
                channels,
                decoder_channels,
                *code,
                activation(code_activation),
                initializer,
            )),
        })
    }
}

/// Weights of each layer of a dense encoder.
fn dense_layers(image: ImageShape, hidden: &[usize], code: usize) -> Vec<usize> {
    let widths: Vec<usize> = [&[image.len()], hidden, &[code]].concat();
    widths.windows(2).map(|pair| pair[0].saturating_mul(pair[1])).collect()
}

/// An autoencoder with weights.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one model, and it is moved by reference")]
pub enum Autoencoder {
    /// Fully connected.
    Dense(Dense),
    /// Convolutional.
    Conv(Conv),
}

impl Autoencoder {
    /// Images `[n, pixels]` in [0, 1] to codes `[n, code]`.
    pub fn encode(&self, images: Tensor<2>) -> Tensor<2> {
        match self {
            Autoencoder::Dense(model) => model.encode(images),
            Autoencoder::Conv(model) => model.encode(images),
        }
    }

    /// Codes `[n, code]` to logits `[n, pixels]`; their sigmoid is the image.
    pub fn decode(&self, code: Tensor<2>) -> Tensor<2> {
        match self {
            Autoencoder::Dense(model) => model.decode(code),
            Autoencoder::Conv(model) => model.decode(code),
        }
    }

    /// Images `[n, pixels]` in [0, 1] to logits `[n, pixels]`.
    pub fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.decode(self.encode(images))
    }
}

#[cfg(test)]
mod tests;
