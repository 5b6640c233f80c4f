//! The convolutional autoencoder: 3×3 convolutions and 2×2 max-pooling down, nearest upsampling and convolutions up.
//!
//! Residual blocks may follow each of these layers. The code is the last feature map, row-major with channels last, or the
//! output of a dense layer after it.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolutional::{self, check_image, check_layers, feature_map, upsampled};
use super::family::{Family, Made, Network, Reach};
use super::layer::{Convolution, Initializer, Linear, Residual};
use super::onnx::graph::Graph;
use super::settings::{CodeActivation, widths};
use super::steps::{self, Step, level};
use crate::error;
use crate::image::ImageShape;
use crate::kernel::{Activation, Method};
use crate::setting::{Choice, Section};

/// Settings of a convolutional autoencoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Conv {
    /// Channels of each convolution of the encoder, each followed by a pooling.
    pub channels: Vec<usize>,
    /// Channels of each convolution of the decoder, each preceded by an upsampling.
    pub decoder_channels: Vec<usize>,
    /// Residual blocks after each pooling and after each convolution that follows an upsampling.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub residual_blocks: usize,
    /// Size of the dense code; none if the feature map is the code.
    pub code: Option<usize>,
    /// Activation applied after the layer that makes the dense code.
    pub code_activation: CodeActivation,
}

/// Convolutions and pooling.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawConv {
    /// Channels of each convolution of the encoder, each from 1 to 4,096.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 4096)))]
    channels: Option<Vec<i64>>,
    /// Channels of each convolution of the decoder; the mirror of `channels` unless given.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 4096)))]
    decoder_channels: Option<Vec<i64>>,
    /// Residual blocks after each pooling and after each convolution that follows an upsampling.
    #[schemars(range(min = 0, max = 64))]
    residual_blocks: Option<i64>,
    /// Size of the dense code; the last feature map is the code unless given.
    #[schemars(range(min = 1, max = 65_536))]
    code: Option<i64>,
    /// Activation after the layer that makes the dense code.
    code_activation: Option<CodeActivation>,
}

impl Choice for Conv {
    type Written = RawConv;

    fn resolve(written: RawConv, section: &mut Section<'_>) -> Option<Self> {
        let RawConv { channels, decoder_channels, residual_blocks, code, code_activation } = written;
        let channels = widths(section.required("channels", channels)?);
        let mirror = || channels.iter().rev().copied().collect();
        let decoder_channels = decoder_channels.map_or_else(mirror, widths);
        if decoder_channels.len() != channels.len() {
            let (found, expected) = (decoder_channels.len(), channels.len());
            let message = format!("has {found} entries, but the encoder has {expected}: {EACH_ITS_UPSAMPLING}");
            section.add("decoder-channels", message);
        }
        Some(Self {
            code_activation: section.required("code-activation", code_activation)?,
            residual_blocks: section.required("residual-blocks", residual_blocks)? as usize,
            channels,
            decoder_channels,
            code: code.map(|code| code as usize),
        })
    }
}

const EACH_ITS_UPSAMPLING: &str = "each pooling needs its upsampling";

impl Conv {
    fn map(&self, image: ImageShape) -> ImageShape {
        feature_map(image, self.channels.len(), &self.channels)
    }
}

impl Family for Conv {
    fn name(&self) -> &'static str {
        "a convolutional autoencoder"
    }

    fn check(&self, image: ImageShape) -> Result<()> {
        let Self { channels, decoder_channels, residual_blocks, code, code_activation: _ } = self;
        if channels.len() != decoder_channels.len() {
            let (found, expected) = (decoder_channels.len(), channels.len());
            let message = format!("model.conv.decoder-channels has {found} entries, but the encoder has {expected}");
            return Err(error::settings(format!("{message}: {EACH_ITS_UPSAMPLING}")));
        }
        let code: Vec<_> = code.iter().copied().collect();
        check_layers("conv", channels, 1, *residual_blocks, &[channels, decoder_channels.as_slice(), &code].concat())?;
        check_image("conv", image, channels.len(), channels.len())
    }

    fn micro_batch(&self, image: ImageShape) -> usize {
        convolutional::micro_batch(image, self.channels.first().max(self.decoder_channels.last()))
    }

    fn largest_layer(&self, image: ImageShape) -> usize {
        // The outputs of an upsampling that is not fused with its convolution, and of that convolution.
        let inputs = self.channels.last().into_iter().chain(&self.decoder_channels);
        let up = upsampled(image, self.channels.len()).into_iter().zip(inputs.zip(&self.decoder_channels));
        let up = up.map(|([height, width], (inputs, outputs))| height * width * inputs.max(outputs));
        up.max().unwrap_or(1).max(convolutional::largest_before_pooling(image, &self.channels)).max(image.len())
    }

    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]> {
        let (channels, decoder_channels) = (self.channels.as_slice(), self.decoder_channels.as_slice());
        let widths = [&[image.channels], channels, decoder_channels, &[image.channels]].concat();
        let map = self.map(image).len();
        let dense = self.code.map(|code| [[map, code], [code, map]]);
        let blocks = [channels, decoder_channels].concat();
        convolutional::layers(&widths, &blocks, self.residual_blocks).chain(dense.into_iter().flatten()).collect()
    }

    fn has_code(&self) -> bool {
        true
    }

    fn code_size(&self, image: ImageShape) -> Option<usize> {
        Some(self.code.unwrap_or_else(|| self.map(image).len()))
    }

    fn code_channels(&self) -> Option<usize> {
        self.channels.last().copied().filter(|_| self.code.is_none())
    }

    fn reach_by(&self, method: Method) -> Option<Reach> {
        // A dense code has weights for each pixel of the feature map.
        self.code.is_none().then(|| convolutional::reach(0, self.channels.len(), self.residual_blocks, method))
    }

    fn encoder_graph(&self, graph: &mut Graph, image: ImageShape) {
        let mut x = graph.unflatten("images", image, "images");
        for layer in 0..self.channels.len() {
            x = graph.convolution_max_pool(&x, &format!("encoder.{layer}"));
            x = graph.residual_blocks(&x, &format!("encoder_blocks.{layer}"), self.residual_blocks);
        }
        let map = self.map(image);
        match self.code {
            None => _ = graph.flatten(&x, map.len(), "code", "code"),
            Some(_) => {
                let flat = graph.flatten(&x, map.len(), "map", "map.flat");
                let x = graph.linear(&flat, "encoder_code", "encoder_code.linear");
                graph.code(&x, self.code_activation);
            }
        }
    }

    fn decoder_graph(&self, graph: &mut Graph, image: ImageShape) -> String {
        let flat = match self.code {
            None => "code".to_owned(),
            Some(_) => {
                let x = graph.linear("code", "decoder_code", "decoder_code.linear");
                graph.relu(&x, "decoder_code.relu")
            }
        };
        let mut x = graph.unflatten(&flat, self.map(image), "map.decoded");
        for (layer, size) in upsampled(image, self.channels.len()).into_iter().enumerate() {
            x = graph.upsample_convolution(&x, size, &format!("decoder.{layer}"));
            x = graph.residual_blocks(&x, &format!("decoder_blocks.{layer}"), self.residual_blocks);
        }
        let x = graph.convolution(&x, &format!("decoder.{}", self.channels.len()));
        graph.flatten(&x, image.len(), "image", "logits")
    }
}

/// The layers with weights. A ReLU follows each, except a dense code, which has its own activation, and the logits.
#[derive(Module, Debug)]
pub struct ConvNetwork {
    encoder: Vec<Convolution>,
    /// The residual blocks after each layer of the encoder.
    encoder_blocks: Vec<Vec<Residual>>,
    encoder_code: Option<Linear>,
    decoder_code: Option<Linear>,
    decoder: Vec<Convolution>,
    /// The residual blocks after each layer of the decoder, except the last, which computes the logits.
    decoder_blocks: Vec<Vec<Residual>>,
    #[module(skip)]
    image: ImageShape,
    #[module(skip)]
    map: ImageShape,
    #[module(skip)]
    code_activation: Activation,
}

impl Network for ConvNetwork {
    type Settings = Conv;

    fn new(settings: &Conv, image: ImageShape, initializer: &mut Initializer) -> Self {
        let Conv { channels, decoder_channels, residual_blocks, code, code_activation } = settings;
        let map = settings.map(image);
        let down = [&[image.channels], channels.as_slice()].concat();
        let up = [&[map.channels], decoder_channels.as_slice()].concat();
        let convolutions = |widths: &[usize], initializer: &mut Initializer| -> Vec<_> {
            widths.windows(2).map(|pair| Convolution::new(pair[0], pair[1], initializer)).collect()
        };
        let decoder = |initializer: &mut Initializer| {
            let mut layers = convolutions(&up, initializer);
            layers.push(Convolution::last(up[up.len() - 1], image.channels, initializer));
            layers
        };
        let blocks = |widths: &[usize], initializer: &mut Initializer| {
            widths.iter().map(|width| Residual::blocks(*width, *residual_blocks, initializer)).collect()
        };
        Self {
            encoder: convolutions(&down, initializer),
            encoder_blocks: blocks(channels, initializer),
            encoder_code: code.map(|code| Linear::new(map.len(), code, initializer)),
            decoder_code: code.map(|code| Linear::new(code, map.len(), initializer)),
            decoder: decoder(initializer),
            decoder_blocks: blocks(decoder_channels, initializer),
            image,
            map,
            code_activation: code.map_or(Activation::Identity, |_| code_activation.kernel()),
        }
    }

    fn resized(&self, image: ImageShape) -> Option<Self> {
        let map = feature_map(image, self.encoder.len(), &[self.map.channels]);
        self.encoder_code.is_none().then(|| Self { image, map, ..self.clone() })
    }

    fn steps(&self) -> Option<Vec<Step>> {
        self.encoder_code.is_none().then(|| self.encoder_steps().chain(self.decoder_steps()).collect())
    }

    fn encode(&self, images: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.code(images))
    }

    fn decode(&self, codes: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.logits(codes))
    }

    fn forward(&self, images: Tensor<2>) -> Made {
        let codes = self.code(images);
        let logits = self.logits(codes.clone());
        Made { codes: Some(codes), logits }
    }
}

impl ConvNetwork {
    fn encoder_steps(&self) -> impl Iterator<Item = Step> {
        let levels = self.encoder.iter().zip(&self.encoder_blocks);
        levels.flat_map(|(layer, blocks)| level(Step::MaxPool(layer.clone()), blocks))
    }

    /// The last layer, which computes the logits, has no blocks.
    fn decoder_steps(&self) -> impl Iterator<Item = Step> {
        let levels = self.decoder.iter().zip(&self.decoder_blocks);
        let last = self.decoder.last().map(|layer| Step::Convolution(layer.clone(), Activation::Identity));
        levels.flat_map(|(layer, blocks)| level(Step::Upsample(layer.clone()), blocks)).chain(last)
    }

    /// `[n, pixels]` to `[n, code]`
    fn code(&self, images: Tensor<2>) -> Tensor<2> {
        let [n, _] = images.dims();
        let ImageShape { height, width, channels } = self.image;
        let x = images.reshape([n, height, width, channels]);
        let map = steps::run(self.encoder_steps(), x, &mut Vec::new());
        let map = map.reshape([n, self.map.len()]);
        match &self.encoder_code {
            Some(layer) => layer.forward(map, self.code_activation),
            None => map,
        }
    }

    /// `[n, code]` to logits `[n, pixels]`
    fn logits(&self, code: Tensor<2>) -> Tensor<2> {
        let [n, _] = code.dims();
        let map = match &self.decoder_code {
            Some(layer) => layer.forward(code, Activation::Relu),
            None => code,
        };
        let ImageShape { height, width, channels } = self.map;
        let x = map.reshape([n, height, width, channels]);
        let mut sizes = upsampled(self.image, self.encoder.len());
        sizes.reverse();
        let logits = steps::run(self.decoder_steps(), x, &mut sizes);
        logits.reshape([n, self.image.len()])
    }
}
