//! The dense autoencoder: image → hidden layers → code → the same layers mirrored → logits.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::family::{Family, Made, Network, Reach, check_widths};
use super::layer::{Initializer, Linear};
use super::onnx::graph::Graph;
use super::settings::{CodeActivation, widths};
use super::steps::Step;
use crate::image::ImageShape;
use crate::kernel::{Activation, Method};
use crate::setting::{Choice, Section};

/// A micro-batch has as many images, within limits, as take this many multiplications, which outweigh the overhead of a pass.
const MULTIPLICATIONS: usize = 10 << 20;
const IMAGES: [usize; 2] = [25, 100];

/// Settings of a dense autoencoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Dense {
    /// Widths of the layers between the image and the code.
    pub hidden: Vec<usize>,
    /// Size of the code.
    pub code: usize,
    /// Activation applied after the layer that makes the code.
    pub code_activation: CodeActivation,
}

/// Fully connected layers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawDense {
    /// Widths of the layers between the image and the code, each from 1 to 65,536.
    #[schemars(length(max = 64), inner(range(min = 1, max = 65_536)))]
    hidden: Option<Vec<i64>>,
    /// Size of the code.
    #[schemars(range(min = 1, max = 65_536))]
    code: Option<i64>,
    /// Activation after the layer that makes the code.
    code_activation: Option<CodeActivation>,
}

impl Choice for Dense {
    type Written = RawDense;

    fn resolve(written: RawDense, section: &mut Section<'_>) -> Option<Self> {
        let RawDense { hidden, code, code_activation } = written;
        Some(Self {
            hidden: widths(section.required("hidden", hidden)?),
            code: section.required("code", code)? as usize,
            code_activation: section.required("code-activation", code_activation)?,
        })
    }
}

impl Dense {
    /// The widths of the encoder, from the image to the code.
    fn widths(&self, image: ImageShape) -> Vec<usize> {
        [&[image.len()], self.hidden.as_slice(), &[self.code]].concat()
    }
}

impl Family for Dense {
    fn name(&self) -> &'static str {
        "a dense autoencoder"
    }

    fn check(&self, _image: ImageShape) -> Result<()> {
        check_widths(self.hidden.iter().copied().chain([self.code]))
    }

    fn micro_batch(&self, image: ImageShape) -> usize {
        let weights: usize = self.widths(image).windows(2).map(|pair| pair[0].saturating_mul(pair[1])).sum();
        (MULTIPLICATIONS / (2 * weights).max(1)).clamp(IMAGES[0], IMAGES[1])
    }

    fn largest_layer(&self, image: ImageShape) -> usize {
        self.widths(image).into_iter().max().unwrap_or(1)
    }

    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]> {
        let down = self.widths(image);
        let up = down.iter().rev().copied().collect::<Vec<_>>();
        [down, up].iter().flat_map(|widths| widths.windows(2)).map(|pair| [pair[0], pair[1]]).collect()
    }

    fn has_code(&self) -> bool {
        true
    }

    fn code_size(&self, _image: ImageShape) -> Option<usize> {
        Some(self.code)
    }

    fn reach_by(&self, _method: Method) -> Option<Reach> {
        None
    }

    fn encoder_graph(&self, graph: &mut Graph, _image: ImageShape) {
        let x = linear_layers(graph, "images", "encoder", self.hidden.len());
        graph.code(&x, self.code_activation);
    }

    fn decoder_graph(&self, graph: &mut Graph, _image: ImageShape) -> String {
        linear_layers(graph, "code", "decoder", self.hidden.len())
    }
}

/// Adds `hidden` layers with a ReLU and one without, starting at `x`, and returns the name of the output.
fn linear_layers(graph: &mut Graph, x: &str, layers: &str, hidden: usize) -> String {
    let mut x = x.to_owned();
    for layer in 0..=hidden {
        let name = format!("{layers}.{layer}");
        x = graph.linear(&x, &name, &format!("{name}.linear"));
        if layer < hidden {
            x = graph.relu(&x, &format!("{name}.relu"));
        }
    }
    x
}

/// The layers with weights. A ReLU follows each, except the code, which has its own activation, and the logits.
#[derive(Module, Debug)]
pub struct DenseNetwork {
    encoder: Vec<Linear>,
    decoder: Vec<Linear>,
    #[module(skip)]
    code_activation: Activation,
}

impl Network for DenseNetwork {
    type Settings = Dense;

    fn new(settings: &Dense, image: ImageShape, initializer: &mut Initializer) -> Self {
        let widths = settings.widths(image);
        let mut layer = |pair: &[usize]| Linear::new(pair[0], pair[1], initializer);
        let encoder = widths.windows(2).map(&mut layer).collect();
        let decoder = widths.iter().rev().copied().collect::<Vec<_>>().windows(2).map(&mut layer).collect();
        Self { encoder, decoder, code_activation: settings.code_activation.kernel() }
    }

    fn resized(&self, _image: ImageShape) -> Option<Self> {
        None
    }

    fn steps(&self) -> Option<Vec<Step>> {
        None
    }

    fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>> {
        Some(forward(&self.encoder, images, self.code_activation))
    }

    fn decode(&self, codes: Tensor<2>) -> Option<Tensor<2>> {
        Some(forward(&self.decoder, codes, Activation::Identity))
    }

    fn forward(&self, images: Tensor<2>) -> Made {
        let codes = forward(&self.encoder, images, self.code_activation);
        let logits = forward(&self.decoder, codes.clone(), Activation::Identity);
        Made { codes: Some(codes), logits }
    }
}

fn forward(layers: &[Linear], x: Tensor<2>, last: Activation) -> Tensor<2> {
    layers
        .iter()
        .enumerate()
        .fold(x, |x, (index, layer)| layer.forward(x, if index + 1 == layers.len() { last } else { Activation::Relu }))
}
