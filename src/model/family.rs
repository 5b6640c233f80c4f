//! The traits of a family of models: its settings, which describe the layers, and its network with weights.

use anyhow::Result;
use burn::tensor::Tensor;

use super::layer::Initializer;
use super::onnx::graph::Graph;
use super::steps::Step;
use crate::error;
use crate::image::ImageShape;
use crate::kernel::Method;

/// The settings of a family, and the properties of a model that follow from them without its weights.
pub trait Family {
    /// The name of the model in messages, with its article: "a U-Net".
    fn name(&self) -> &'static str;

    /// Checks that the layers are possible and fit images of this shape.
    ///
    /// # Errors
    /// Widths of 0, layers that contradict each other, images that are too small.
    fn check(&self, image: ImageShape) -> Result<()>;

    /// Number of images in one pass on one thread: enough to outweigh the overhead of a pass, few enough to leave work for
    /// other threads and to keep the activations in the cache. It depends on settings and shape alone, because it decides the
    /// order in which gradients are summed.
    fn micro_batch(&self, image: ImageShape) -> usize;

    /// Size of the largest layer's output for one image, in numbers.
    fn largest_layer(&self, image: ImageShape) -> usize;

    /// For each layer, the number of weights of one output (without its bias) and the number of outputs.
    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]>;

    /// Whether the model has a code.
    fn has_code(&self) -> bool;

    /// Size of the code of one image, if the model has a code.
    fn code_size(&self, image: ImageShape) -> Option<usize>;

    /// Channels of the feature map that is the code, row by row with channels last, if one is.
    fn code_channels(&self) -> Option<usize> {
        None
    }

    /// How far the model looks with convolutions as this method has it, if it can be applied to images of any size: if its weights depend
    /// on no size, as those of a dense layer do.
    fn reach_by(&self, method: Method) -> Option<Reach>;

    /// [`Self::reach_by`] with direct convolutions.
    fn reach(&self) -> Option<Reach> {
        self.reach_by(Method::Direct)
    }

    /// Adds the nodes that compute `code` from `images`, both flat, to an ONNX graph; none if there is no code.
    fn encoder_graph(&self, graph: &mut Graph, image: ImageShape);

    /// Adds the nodes that compute flat logits from `code`, or from `images` if there is no code, and returns the name of the
    /// logits.
    fn decoder_graph(&self, graph: &mut Graph, image: ImageShape) -> String;
}

/// How far a model looks that can be applied to images of any size: what a part of an image has to have around it to become, bit
/// for bit, what it becomes in the whole.
///
/// A part is cut where poolings begin anew: its sides lie at multiples of `multiple`, or are those of the image. What was cut off
/// is missed by the pixels within some distance of such a side; `halo` is this distance after the last layer. A 3×3 convolution
/// adds 1 to it, a residual block 2. A pooling, whose windows begin at the side, halves it and rounds up; an upsampling doubles
/// it. A sum, as that with a skip connection, has the greater distance of its terms.
///
/// A pixel that is not next to such a side may see up to `multiple - 1` pixels further: the receptive field has at most the radius
/// `halo + multiple - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Pixels along a side of a part that differ from those in the whole.
    pub halo: usize,
    /// What the sides of parts are multiples of: 2 to the number of poolings, times the method's blocks.
    pub multiple: usize,
    /// Least side of an image that the model takes.
    pub least: usize,
}

/// A model of a family with its weights.
pub trait Network: Sized {
    /// The settings of the family.
    type Settings;

    /// A model with initial weights, for images of this shape. The settings have passed [`Family::check`].
    fn new(settings: &Self::Settings, image: ImageShape, initializer: &mut Initializer) -> Self;

    /// The same weights, shared and not copied, for images of another size; none if the family has no [`Family::reach`].
    fn resized(&self, image: ImageShape) -> Option<Self>;

    /// The steps from images to logits; none if a dense layer is between them.
    fn steps(&self) -> Option<Vec<Step>>;

    /// Images `[n, pixels]` in [0, 1] to codes `[n, code]`, if the family has them.
    fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>>;

    /// Codes `[n, code]` to logits `[n, pixels]`, if the family has codes.
    fn decode(&self, codes: Tensor<2>) -> Option<Tensor<2>>;

    /// Images `[n, pixels]` in [0, 1] to codes and logits.
    fn forward(&self, images: Tensor<2>) -> Made;
}

/// The output of a model.
pub struct Made {
    /// `[n, code]`, if the model has a code.
    pub codes: Option<Tensor<2>>,
    /// Logits `[n, pixels]`, whose sigmoid is the image; or what is added to the input, as [`super::predict`] says.
    pub logits: Tensor<2>,
}

/// Most weights of one layer: 2^28, which take 1 GiB.
pub const MOST_WEIGHTS: usize = 1 << 28;

/// Checks the widths of layers: numbers or channels of their outputs.
///
/// # Errors
/// A width of 0 or above [`MOST_WEIGHTS`].
pub fn check_widths(widths: impl IntoIterator<Item = usize>) -> Result<()> {
    match widths.into_iter().find(|width| !(1..=MOST_WEIGHTS).contains(width)) {
        Some(width) => {
            Err(error::settings(format!("a layer of the model has the width {width}; use 1 to {MOST_WEIGHTS}")))
        }
        None => Ok(()),
    }
}
