//! A trained model as ONNX: `images` [n, pixels] in [0, 1] to `code` [n, size] and `image` [n, pixels].
//!
//! The graph computes what limpid computes: pixels row by row with the channels last outside, and channels first inside, as
//! ONNX defines convolutions. Inputs and outputs are as flat as limpid's tables have them; their sizes are in the metadata.

use anyhow::Result;

use super::proto::Message;
use crate::error;
use crate::image::ImageShape;
use crate::model::settings::CodeActivation;
use crate::model::{Architecture, ModelDescription, NamedTensor};

/// The version of the operators: the first whose `Resize` has axes, of 2022, since most programs that read ONNX are not new.
const OPSET: i64 = 18;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// Numbers that stand for types in the format.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
/// A message has at most 2 GiB; some are for all but the weights.
const MOST_BYTES: usize = (2 << 30) - (1 << 20);

/// Which part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Images to codes and images.
    Whole,
    /// Images to codes.
    Encoder,
    /// Codes to images.
    Decoder,
}

/// The bytes of an ONNX file.
///
/// # Errors
/// A model too large for the format.
pub fn model(description: &ModelDescription, weights: &[NamedTensor], part: Part) -> Result<Vec<u8>> {
    let bytes: usize = weights.iter().map(|tensor| tensor.values.len() * size_of::<f32>()).sum();
    if bytes > MOST_BYTES {
        return Err(error::data(format!("the model has {bytes} bytes of weights; an ONNX file holds at most 2 GiB")));
    }
    let (image, architecture) = (description.image, &description.architecture);
    let (images, made, code) = (("images", image.len()), ("image", image.len()), architecture.code_size(image));
    let mut graph = Graph::default();
    let (inputs, outputs) = match (part, code.map(|size| ("code", size))) {
        (Part::Whole, Some(code)) => (vec![images], vec![code, made]),
        (Part::Whole, None) => (vec![images], vec![made]),
        (Part::Encoder, Some(code)) => (vec![images], vec![code]),
        (Part::Decoder, Some(code)) => (vec![code], vec![made]),
        (Part::Encoder | Part::Decoder, None) => {
            return Err(error::settings("a U-Net has no code, and so no encoder and no decoder: export it whole"));
        }
    };
    if part != Part::Decoder {
        graph.encoder(architecture, image);
    }
    if part != Part::Encoder {
        graph.decoder(architecture, image);
    }
    let used = |name: &str| graph.inputs.iter().any(|input| input == name);
    let value = |name: &str, size: usize| {
        let dimensions = Message::default()
            .message(1, Message::default().text(2, "n"))
            .message(1, Message::default().integer(1, size as i64));
        let tensor = Message::default().integer(1, FLOAT).message(2, dimensions);
        Message::default().text(1, name).message(2, Message::default().message(1, tensor))
    };
    let tensors = weights.iter().filter(|tensor| used(&tensor.name)).map(|tensor| {
        let bytes: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        initializer(&tensor.name, tensor.shape.iter().map(|size| *size as i64), FLOAT, &bytes)
    });
    let graph_message = Message::default()
        .each(graph.nodes, |graph, node| graph.message(1, node))
        .text(2, "limpid")
        .each(tensors, |graph, tensor| graph.message(5, tensor))
        .each(graph.constants, |graph, constant| graph.message(5, constant))
        .each(inputs, |graph, (name, size)| graph.message(11, value(name, size)))
        .each(outputs, |graph, (name, size)| graph.message(12, value(name, size)));
    let sides = [("height", image.height), ("width", image.width), ("channels", image.channels)];
    let model = Message::default()
        .integer(1, IR_VERSION)
        .text(2, "limpid")
        .text(3, env!("CARGO_PKG_VERSION"))
        .message(7, graph_message)
        .message(8, Message::default().text(1, "").integer(2, OPSET))
        .each(sides, |model, (name, side)| {
            let entry = Message::default().text(1, &format!("limpid.{name}")).text(2, &side.to_string());
            model.message(14, entry)
        });
    Ok(model.into_bytes())
}

/// A constant tensor.
fn initializer(name: &str, sizes: impl Iterator<Item = i64>, kind: i64, bytes: &[u8]) -> Message {
    Message::default()
        .each(sizes, |tensor, size| tensor.integer(1, size))
        .integer(2, kind)
        .text(8, name)
        .bytes(9, bytes)
}

/// The value of an attribute.
enum Attribute<'a> {
    Integer(i64),
    Integers(&'a [i64]),
    Text(&'a str),
}

/// A graph under construction.
#[derive(Default)]
struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    /// Everything that a node reads.
    inputs: Vec<String>,
}

impl Graph {
    /// Adds an operation and returns the name of its result.
    fn node(&mut self, kind: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute<'_>)]) -> String {
        self.inputs.extend(inputs.iter().map(|input| (*input).to_owned()));
        let node = Message::default()
            .each(inputs, |node, input| node.text(1, input))
            .text(2, output)
            .text(3, output)
            .text(4, kind)
            .each(attributes, |node, (name, value)| {
                let attribute = Message::default().text(1, name);
                node.message(
                    5,
                    match value {
                        Attribute::Integer(value) => attribute.integer(3, *value).integer(20, 2),
                        Attribute::Text(text) => attribute.text(4, text).integer(20, 3),
                        Attribute::Integers(values) => {
                            attribute.each(*values, |attribute, value| attribute.integer(8, *value)).integer(20, 7)
                        }
                    },
                )
            });
        self.nodes.push(node);
        output.to_owned()
    }

    /// Adds a list of integers.
    fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constants.push(initializer(name, std::iter::once(values.len() as i64), INT64, &bytes));
    }

    /// A dense layer, `[n, inputs]` to `[n, outputs]`.
    fn linear(&mut self, x: &str, layer: &str, output: &str) -> String {
        let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
        self.node("Gemm", &[x, &weight, &bias], output, &[("transB", Attribute::Integer(1))])
    }

    fn relu(&mut self, x: &str, output: &str) -> String {
        self.node("Relu", &[x], output, &[])
    }

    /// What follows the layer that makes a code, under the name `code`.
    fn code(&mut self, x: &str, activation: CodeActivation) {
        match activation {
            CodeActivation::Relu => self.relu(x, "code"),
            CodeActivation::Linear => self.node("Identity", &[x], "code", &[]),
        };
    }

    fn convolution(&mut self, x: &str, layer: &str) -> String {
        let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
        let attributes = [("kernel_shape", Attribute::Integers(&[3, 3])), ("pads", Attribute::Integers(&[1, 1, 1, 1]))];
        self.node("Conv", &[x, &weight, &bias], &format!("{layer}.convolved"), &attributes)
    }

    /// A convolution with a ReLU, and a 2×2 max-pooling.
    fn convolution_max_pool(&mut self, x: &str, layer: &str) -> String {
        let y = self.convolution(x, layer);
        let y = self.relu(&y, &format!("{layer}.relu"));
        let two = || Attribute::Integers(&[2, 2]);
        let attributes = [("kernel_shape", two()), ("strides", two()), ("ceil_mode", Attribute::Integer(1))];
        self.node("MaxPool", &[&y], &format!("{layer}.pool"), &attributes)
    }

    /// Nearest upsampling to so many rows and columns, and a convolution with a ReLU.
    fn upsample_convolution(&mut self, x: &str, [height, width]: [usize; 2], layer: &str) -> String {
        let size = format!("{layer}.size");
        self.integers(&size, &[height as i64, width as i64]);
        let attributes = [
            ("axes", Attribute::Integers(&[2, 3])),
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let y = self.node("Resize", &[x, "", "", &size], &format!("{layer}.resized"), &attributes);
        let y = self.convolution(&y, layer);
        self.relu(&y, &format!("{layer}.relu"))
    }

    /// Residual blocks, one after the other.
    fn residual_blocks(&mut self, x: &str, blocks: &str, count: usize) -> String {
        (0..count).fold(x.to_owned(), |x, block| {
            let (first, second) = (format!("{blocks}.{block}.first"), format!("{blocks}.{block}.second"));
            let y = self.convolution(&x, &first);
            let y = self.relu(&y, &format!("{first}.relu"));
            let y = self.convolution(&y, &second);
            self.node("Add", &[&x, &y], &format!("{blocks}.{block}.sum"), &[])
        })
    }

    /// Flat with channels last to channels first.
    fn unflatten(&mut self, x: &str, shape: ImageShape, name: &str) -> String {
        let sides = [-1, shape.height as i64, shape.width as i64, shape.channels as i64];
        self.integers(&format!("{name}.sides"), &sides);
        let image = self.node("Reshape", &[x, &format!("{name}.sides")], &format!("{name}.last"), &[]);
        let order = [("perm", Attribute::Integers(&[0, 3, 1, 2]))];
        self.node("Transpose", &[&image], &format!("{name}.first"), &order)
    }

    /// Channels first to flat with channels last.
    fn flatten(&mut self, x: &str, len: usize, name: &str, output: &str) -> String {
        self.integers(&format!("{name}.len"), &[-1, len as i64]);
        let order = [("perm", Attribute::Integers(&[0, 2, 3, 1]))];
        let image = self.node("Transpose", &[x], &format!("{name}.flat.last"), &order);
        self.node("Reshape", &[&image, &format!("{name}.len")], output, &[])
    }

    /// `images` to `code`, if there is one.
    fn encoder(&mut self, architecture: &Architecture, image: ImageShape) {
        match architecture {
            Architecture::Dense { hidden, code_activation, .. } => {
                let mut x = "images".to_owned();
                for layer in 0..=hidden.len() {
                    let name = format!("encoder.{layer}");
                    x = self.linear(&x, &name, &format!("{name}.linear"));
                    if layer < hidden.len() {
                        x = self.relu(&x, &format!("{name}.relu"));
                    }
                }
                self.code(&x, *code_activation);
            }
            Architecture::Conv { channels, residual_blocks, code, code_activation, .. } => {
                let mut x = self.unflatten("images", image, "images");
                for layer in 0..channels.len() {
                    x = self.convolution_max_pool(&x, &format!("encoder.{layer}"));
                    x = self.residual_blocks(&x, &format!("encoder_blocks.{layer}"), *residual_blocks);
                }
                let map = architecture.feature_map(image);
                match code {
                    None => _ = self.flatten(&x, map.len(), "code", "code"),
                    Some(_) => {
                        let flat = self.flatten(&x, map.len(), "map", "map.flat");
                        let x = self.linear(&flat, "encoder_code", "encoder_code.linear");
                        self.code(&x, *code_activation);
                    }
                }
            }
            Architecture::Unet { .. } => {}
        }
    }

    /// `code`, or `images` if there is none, to `image`.
    fn decoder(&mut self, architecture: &Architecture, image: ImageShape) {
        let logits = match architecture {
            Architecture::Dense { hidden, .. } => {
                let mut x = "code".to_owned();
                for layer in 0..=hidden.len() {
                    let name = format!("decoder.{layer}");
                    x = self.linear(&x, &name, &format!("{name}.linear"));
                    if layer < hidden.len() {
                        x = self.relu(&x, &format!("{name}.relu"));
                    }
                }
                x
            }
            Architecture::Conv { channels, residual_blocks, code, .. } => {
                let flat = match code {
                    None => "code".to_owned(),
                    Some(_) => {
                        let x = self.linear("code", "decoder_code", "decoder_code.linear");
                        self.relu(&x, "decoder_code.relu")
                    }
                };
                let mut x = self.unflatten(&flat, architecture.feature_map(image), "map.decoded");
                for (layer, size) in architecture.upsampled(image).into_iter().enumerate() {
                    x = self.upsample_convolution(&x, size, &format!("decoder.{layer}"));
                    x = self.residual_blocks(&x, &format!("decoder_blocks.{layer}"), *residual_blocks);
                }
                let x = self.convolution(&x, &format!("decoder.{}", channels.len()));
                self.flatten(&x, image.len(), "image", "logits")
            }
            Architecture::Unet { residual_blocks, .. } => self.unet(architecture, *residual_blocks, image),
        };
        self.node("Sigmoid", &[&logits], "image", &[]);
    }

    /// `images` to the logits.
    fn unet(&mut self, architecture: &Architecture, blocks: usize, image: ImageShape) -> String {
        let sizes = architecture.upsampled(image);
        let x = self.unflatten("images", image, "images");
        let x = self.convolution(&x, "first.convolution");
        let x = self.relu(&x, "first.convolution.relu");
        let mut x = self.residual_blocks(&x, "first.blocks", blocks);
        let mut skips = Vec::new();
        for level in 0..sizes.len() {
            skips.push(x.clone());
            x = self.convolution_max_pool(&x, &format!("down.{level}.convolution"));
            x = self.residual_blocks(&x, &format!("down.{level}.blocks"), blocks);
        }
        for (level, (size, skip)) in sizes.into_iter().zip(skips.iter().rev()).enumerate() {
            let y = self.upsample_convolution(&x, size, &format!("up.{level}.convolution"));
            let y = self.node("Add", &[&y, skip], &format!("up.{level}.sum"), &[]);
            x = self.residual_blocks(&y, &format!("up.{level}.blocks"), blocks);
        }
        let x = self.convolution(&x, "last");
        self.flatten(&x, image.len(), "image", "logits")
    }
}
