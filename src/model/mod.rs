//! Models: autoencoders, which encode an image to a code and decode the code to an image, and denoisers without a code.
//!
//! To add a family: a file here with its settings ([`Choice`](crate::setting::Choice) and [`Family`]) and its layers ([`Network`]),
//! and a line in the list below; its defaults, with their explanation, in `config/default.toml`, and its PyTorch class in
//! `scripts/limpid_torch.py`.

mod conv;
mod convolutional;
mod dense;
mod family;
mod layer;
pub mod onnx;
pub mod predict;
pub mod settings;
mod shuffle;
pub mod steps;
mod unet;
mod weights;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use conv::Conv;
pub use dense::Dense;
pub use family::{Family, Made, Network, Reach};
pub use unet::Unet;
pub use weights::{
    ModelDescription, NamedTensor, load_weights, most_bytes, named_tensors, read_tensors, write_tensors,
};

use crate::device::numbers_at_once;
use crate::error;
use crate::image::ImageShape;
use crate::model::settings::Loss;
use crate::setting::choices;
use family::MOST_WEIGHTS;
use layer::Initializer;
use predict::Predict;
use steps::Step;

/// The architecture of a model and the loss of its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its layers.
    #[serde(flatten)]
    pub architecture: Architecture,
    /// The loss.
    pub loss: Loss,
    /// What the output of the network stands for.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub predict: Predict,
    /// Weight of the mean magnitude of the code's numbers in the loss.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub sparsity: f64,
}

/// Declares the families of models. Each line has the key in a pipeline file, the field, the variant, and the types of the
/// settings and of the network.
macro_rules! families {
    ($($(#[$attribute:meta])* $key:literal $field:ident => $variant:ident($settings:ty, $network:ty),)+) => {
        choices! {
            /// The layers of a model, without weights.
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub enum Architecture, family: dyn Family;

            /// Which autoencoder, and its loss.
            pub struct RawModel, optional: false, {
                /// What training minimises.
                pub loss: Option<Loss>,
                /// What the output of the network stands for.
                pub predict: Option<Predict>,
                /// How much of the mean magnitude of the code's numbers is added to the loss: what makes a code sparse.
                #[schemars(range(min = 0.0, max = 1000.0))]
                pub sparsity: Option<f64>,
            }

            $($(#[$attribute])* $key $field => $variant($settings),)+
        }

        /// A model with weights.
        #[derive(Module, Debug)]
        pub enum Autoencoder {
            $($(#[$attribute])* $variant($network),)+
        }

        impl Architecture {
            /// The network with the weights that the initializer draws.
            fn network(&self, image: ImageShape, initializer: &mut Initializer) -> Autoencoder {
                match self {
                    $(Self::$variant(settings) => Autoencoder::$variant(<$network>::new(settings, image, initializer)),)+
                }
            }
        }

        impl Autoencoder {
            /// Images `[n, pixels]` in [0, 1] to codes `[n, code]`, if the model has them.
            pub fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>> {
                match self {
                    $(Self::$variant(network) => network.encode(images),)+
                }
            }

            /// Codes `[n, code]` to logits `[n, pixels]`, if the model has codes.
            pub fn decode(&self, codes: Tensor<2>) -> Option<Tensor<2>> {
                match self {
                    $(Self::$variant(network) => network.decode(codes),)+
                }
            }

            /// The same weights for images of another size, if the family has a [`Family::reach`].
            pub fn resized(&self, image: ImageShape) -> Option<Self> {
                match self {
                    $(Self::$variant(network) => network.resized(image).map(Self::$variant),)+
                }
            }

            /// The steps from images to logits, if no dense layer is between them.
            pub fn steps(&self) -> Option<Vec<Step>> {
                match self {
                    $(Self::$variant(network) => network.steps(),)+
                }
            }

            /// Images `[n, pixels]` in [0, 1] to codes and logits.
            pub fn forward(&self, images: Tensor<2>) -> Made {
                match self {
                    $(Self::$variant(network) => network.forward(images),)+
                }
            }
        }
    };
}

families! {
    /// Fully connected layers.
    "dense" dense => Dense(Dense, dense::DenseNetwork),
    /// Convolutions and pooling.
    "conv" conv => Conv(Conv, conv::ConvNetwork),
    /// Convolutions with skip connections, without a code.
    "unet" unet => Unet(Unet, unet::UnetNetwork),
}

/// Least and greatest number of images in one pass on a device other than flex.
const DEVICE_IMAGES: [usize; 2] = [1, 1 << 14];

impl Architecture {
    /// Number of images in one pass on a device other than flex.
    pub fn device_batch(&self, image: ImageShape, device: &Device) -> usize {
        let [least, most] = DEVICE_IMAGES;
        (numbers_at_once(device) / self.family().largest_layer(image)).clamp(least, most)
    }

    /// Checks that the layers are possible and fit images of this shape. Settings were checked when they were read; a
    /// `model.json` was not.
    ///
    /// # Errors
    /// As [`Family::check`], and a layer with too many weights.
    pub fn check(&self, image: ImageShape) -> Result<()> {
        self.family().check(image)?;
        let weights = |[inputs, outputs]: [usize; 2]| inputs.saturating_mul(outputs);
        let most = self.family().layers(image).into_iter().map(weights).max().unwrap_or(0);
        if most > MOST_WEIGHTS {
            let message = format!(
                "a layer of the model would have {most} weights; at most {MOST_WEIGHTS} work, of smaller widths"
            );
            return Err(error::settings(message));
        }
        Ok(())
    }

    /// Number of weights and biases of a model that [`Self::check`] accepts.
    pub fn parameters(&self, image: ImageShape) -> usize {
        let layers = self.family().layers(image).into_iter();
        layers.fold(0, |sum: usize, [inputs, outputs]| sum.saturating_add((inputs + 1).saturating_mul(outputs)))
    }

    /// The model with its initial weights, a function of the seed and of what it predicts.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn init(&self, image: ImageShape, predict: Predict, seed: u64, device: &Device) -> Result<Autoencoder> {
        self.check(image)?;
        Ok(self.network(image, &mut Initializer::new(seed, predict, device)))
    }
}

#[cfg(test)]
pub(crate) mod reach_tests;
#[cfg(test)]
mod tests;
