//! A trained model as ONNX: `images` [n, pixels] in [0, 1] to `code` [n, size] and `image` [n, pixels].
//!
//! Inputs and outputs are flat, row by row with the channels last, as in limpid's tables; their sizes are in the metadata. A model for
//! images of any size has `images` and `image` [n, height, width, channels] instead, and its code is a map likewise.
//! Inside the graph channels come first, as ONNX defines convolutions. The output image is clipped as limpid clips it.

pub mod graph;
mod proto;

use anyhow::Result;

use super::predict::Predict;
use super::{ModelDescription, NamedTensor};
use crate::error;
use graph::{FLOAT, Graph, initializer};
use proto::Message;

/// Version of the operators: the first whose `Resize` has axes (2022), so that older programs can read the file.
const OPSET: i64 = 18;
/// Version of the file format that belongs to it.
const IR_VERSION: i64 = 8;
/// Most bytes of weights: a message has at most 2 GiB, of which 1 MiB is kept for the rest.
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

/// The size of a tensor along an axis.
enum Size {
    /// Any, under this name.
    Name(&'static str),
    /// This one.
    Number(usize),
}
use Size::{Name, Number};

/// The bytes of an ONNX file. A model that `is_of_patches` takes images of any size, if its weights depend on no size.
///
/// # Errors
/// A model too large for the format, or without this part.
pub fn model(
    description: &ModelDescription,
    weights: &[NamedTensor],
    part: Part,
    is_of_patches: bool,
) -> Result<Vec<u8>> {
    let bytes: usize = weights.iter().map(|tensor| tensor.values.len() * size_of::<f32>()).sum();
    if bytes > MOST_BYTES {
        return Err(error::data(format!("the model has {bytes} bytes of weights; an ONNX file holds at most 2 GiB")));
    }
    let (image, architecture) = (description.image, &description.architecture);
    let family = architecture.family();
    let any_size = is_of_patches && family.reach().is_some();
    let pixels = || match any_size {
        true => vec![Name("height"), Name("width"), Number(image.channels)],
        false => vec![Number(image.len())],
    };
    let code = match family.code_channels().filter(|_| any_size) {
        Some(channels) => Some(vec![Name("code-height"), Name("code-width"), Number(channels)]),
        None => family.code_size(image).map(|size| vec![Number(size)]),
    };
    let (images, made, code) = (("images", pixels()), ("image", pixels()), code.map(|sizes| ("code", sizes)));
    if description.noise_level.is_some() && part != Part::Encoder {
        let reason = "its images are combined with the noisy ones, for which the graph has no nodes";
        let advice = "train with training.blind-spot.constant-noise = false, or denoise with limpid";
        return Err(error::settings(format!("the model cannot be exported to ONNX: {reason}; {advice}")));
    }
    let mut graph = Graph::new(any_size);
    let (inputs, outputs) = match (part, code) {
        (Part::Whole, Some(code)) => (vec![images], vec![code, made]),
        (Part::Whole, None) => (vec![images], vec![made]),
        (Part::Encoder, Some(code)) => (vec![images], vec![code]),
        (Part::Decoder, Some(_)) if description.predict == Predict::Noise => {
            let reason = "the image is its input plus what is made of the code";
            return Err(error::settings(format!(
                "a model that predicts noise has no decoder: {reason}; export it whole"
            )));
        }
        (Part::Decoder, Some(_)) if any_size => {
            let reason = "a code does not tell whether the sides of its image are odd";
            return Err(error::settings(format!(
                "a model that was trained on patches, for images of any size, has no decoder in ONNX: {reason}; export it whole"
            )));
        }
        (Part::Decoder, Some(code)) => (vec![code], vec![made]),
        (Part::Encoder | Part::Decoder, None) => {
            return Err(error::settings(format!(
                "{} has no code, and so no encoder and no decoder: export it whole",
                family.name()
            )));
        }
    };
    if part != Part::Decoder {
        family.encoder_graph(&mut graph, image);
    }
    if part != Part::Encoder {
        let logits = family.decoder_graph(&mut graph, image);
        description.predict.graph(&mut graph, &logits);
    }
    let used = |name: &str| graph.inputs.iter().any(|input| input == name);
    let value = |name: &str, sizes: Vec<Size>| {
        let dimensions = [Name("n")].into_iter().chain(sizes).fold(Message::default(), |dimensions, size| {
            dimensions.message(
                1,
                match size {
                    Name(name) => Message::default().text(2, name),
                    Number(size) => Message::default().integer(1, size as i64),
                },
            )
        });
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
        .each(inputs, |graph, (name, sizes)| graph.message(11, value(name, sizes)))
        .each(outputs, |graph, (name, sizes)| graph.message(12, value(name, sizes)));
    let sides = [("height", image.height), ("width", image.width), ("channels", image.channels)];
    let sides = &sides[if any_size { 2 } else { 0 }..];
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
