//! What every family of models has: settings that describe its layers, and a network with weights.

use anyhow::Result;
use burn::tensor::Tensor;

use super::layer::Initializer;
use super::onnx::graph::Graph;
use crate::error;
use crate::image::ImageShape;

/// The settings of a family: all that is known of a model without its weights.
pub trait Family {
    /// The model as a sentence names it, with its article: "a U-Net".
    fn name(&self) -> &'static str;

    /// Checks that there can be such layers and that they fit images of this shape.
    ///
    /// # Errors
    /// Widths of 0, layers that contradict each other, images that are too small.
    fn check(&self, image: ImageShape) -> Result<()>;

    /// Images that one thread takes through the model at once: enough to be worth the overhead of a pass, few enough to leave
    /// work for several threads and to keep the activations in the cache. It depends on nothing but settings and shape, because
    /// the order in which gradients are added follows from it.
    fn micro_batch(&self, image: ImageShape) -> usize;

    /// Numbers of the largest layer's output for one image.
    fn largest_layer(&self, image: ImageShape) -> usize;

    /// Of each layer, the weights of one output (without its bias) and the number of outputs.
    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]>;

    /// Whether the same weights take images of any size ([`Network::for_shape`]).
    fn takes_any_size(&self) -> bool;

    /// Whether there is a code that stands for an image.
    fn has_code(&self) -> bool;

    /// Numbers in the code of one image, if there is one.
    fn code_size(&self, image: ImageShape) -> Option<usize>;

    /// Adds the nodes that make `code` of `images`, both flat, to an ONNX graph; none if there is no code.
    fn encoder_graph(&self, graph: &mut Graph, image: ImageShape);

    /// Adds the nodes that make flat logits of `code`, or of `images` if there is no code, and returns the name of the logits.
    fn decoder_graph(&self, graph: &mut Graph, image: ImageShape) -> String;
}

/// A model of a family with its weights.
pub trait Network: Sized {
    /// The settings of the family.
    type Settings;

    /// A model with initial weights, for images of this shape. The settings have passed [`Family::check`].
    fn new(settings: &Self::Settings, image: ImageShape, initializer: &mut Initializer) -> Self;

    /// Images `[n, pixels]` in [0, 1] to codes `[n, code]`, if the family has them.
    fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>>;

    /// Images `[n, pixels]` in [0, 1] to codes and logits.
    fn forward(&self, images: Tensor<2>) -> Made;

    /// The same weights for images of another shape, which has passed [`Family::check`] and has as many channels; none unless
    /// [`Family::takes_any_size`].
    fn for_shape(&self, image: ImageShape) -> Option<Self>;
}

/// What a model makes of images.
pub struct Made {
    /// `[n, code]`, if the model has a code.
    pub codes: Option<Tensor<2>>,
    /// Logits `[n, pixels]`, whose sigmoid is the image; or what is added to the input, as [`super::predict`] says.
    pub logits: Tensor<2>,
}

/// Most weights of one layer: 2^28, a gibibyte.
pub const MOST_WEIGHTS: usize = 1 << 28;

/// Checks the widths of layers: numbers or channels of their outputs.
///
/// # Errors
/// One is 0 or beyond all memory.
pub fn check_widths(widths: impl IntoIterator<Item = usize>) -> Result<()> {
    match widths.into_iter().find(|width| !(1..=MOST_WEIGHTS).contains(width)) {
        Some(width) => {
            Err(error::settings(format!("a layer of the model has the width {width}; use 1 to {MOST_WEIGHTS}")))
        }
        None => Ok(()),
    }
}
