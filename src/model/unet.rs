//! A denoiser with skip connections (U-Net, Ronneberger et al. 2015): 3×3 convolutions and 2×2 max-pooling in the encoder,
//! nearest upsampling and convolutions in the decoder; at each size the encoder's output is added to the decoder's.
//!
//! There is no code, because the skip connections carry detail past the smallest feature map. Skips are added (as in LinkNet,
//! Chaurasia & Culurciello 2017) rather than concatenated, which halves the input channels of the decoder's convolutions.
//! Residual blocks follow at each size of both.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convolutional::{self, check_image, check_layers, upsampled};
use super::family::{Family, Made, Network, Reach};
use super::layer::{Convolution, Initializer, Residual};
use super::onnx::graph::Graph;
use super::settings::widths;
use super::shuffle::unshuffled;
use super::steps::{self, Step, level};
use crate::image::ImageShape;
use crate::kernel::{Activation, Method};
use crate::setting::{Choice, Section};

/// Settings of a U-Net.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Unet {
    /// Channels at each size of the feature maps, from the image's down.
    pub channels: Vec<usize>,
    /// Residual blocks at each size, on the way down and on the way up.
    pub residual_blocks: usize,
    /// Whether each 2×2 pixels are one with four times the channels inside (pixel-unshuffle).
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub unshuffle: bool,
}

/// Convolutions with skip connections, without a code.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawUnet {
    /// Channels at each size of the feature maps, from the image's down, each from 1 to 4,096.
    #[schemars(length(min = 1, max = 17), inner(range(min = 1, max = 4096)))]
    channels: Option<Vec<i64>>,
    /// Residual blocks at each size, on the way down and on the way up.
    #[schemars(range(min = 0, max = 64))]
    residual_blocks: Option<i64>,
    /// Whether each 2×2 pixels are one with four times the channels inside (pixel-unshuffle).
    unshuffle: Option<bool>,
}

impl Choice for Unet {
    type Written = RawUnet;

    fn resolve(written: RawUnet, section: &mut Section<'_>) -> Option<Self> {
        let RawUnet { channels, residual_blocks, unshuffle } = written;
        Some(Self {
            unshuffle: section.required("unshuffle", unshuffle)?,
            channels: widths(section.required("channels", channels)?),
            residual_blocks: section.required("residual-blocks", residual_blocks)? as usize,
        })
    }
}

impl Unet {
    fn poolings(&self) -> usize {
        self.channels.len().saturating_sub(1)
    }

    /// The image as the layers see it.
    fn inside(&self, image: ImageShape) -> ImageShape {
        if self.unshuffle { unshuffled(image) } else { image }
    }
}

impl Family for Unet {
    fn name(&self) -> &'static str {
        "a U-Net"
    }

    fn check(&self, image: ImageShape) -> Result<()> {
        let Self { channels, residual_blocks, unshuffle: _ } = self;
        check_layers("unet", channels, 1, *residual_blocks, channels)?;
        check_image("unet", image, self.poolings() + usize::from(self.unshuffle), channels.len())
    }

    fn micro_batch(&self, image: ImageShape) -> usize {
        convolutional::micro_batch(self.inside(image), self.channels.first())
    }

    fn largest_layer(&self, image: ImageShape) -> usize {
        let image = self.inside(image);
        // The output of an upsampling that is not fused with its convolution.
        let inputs = self.channels.iter().skip(1).rev();
        let up = upsampled(image, self.poolings()).into_iter().zip(inputs);
        let up = up.map(|([height, width], inputs)| height * width * inputs);
        up.max().unwrap_or(1).max(convolutional::largest_before_pooling(image, &self.channels)).max(image.len())
    }

    fn layers(&self, image: ImageShape) -> Vec<[usize; 2]> {
        let down = [&[self.inside(image).channels], self.channels.as_slice()].concat();
        let up = down.iter().rev().copied().collect::<Vec<_>>();
        let blocks = [self.channels.as_slice(), &up[1..up.len() - 1]].concat();
        let up = convolutional::layers(&up, &blocks, self.residual_blocks);
        convolutional::layers(&down, &[], 0).chain(up).collect()
    }

    fn has_code(&self) -> bool {
        false
    }

    fn code_size(&self, _image: ImageShape) -> Option<usize> {
        None
    }

    fn reach_by(&self, method: Method) -> Option<Reach> {
        let first = 1 + 2 * self.residual_blocks;
        let reach = convolutional::reach(first, self.poolings(), self.residual_blocks, method);
        Some(if self.unshuffle { reach.of_halves(method) } else { reach })
    }

    fn encoder_graph(&self, _graph: &mut Graph, _image: ImageShape) {}

    fn decoder_graph(&self, graph: &mut Graph, image: ImageShape) -> String {
        let (sizes, blocks) = (upsampled(self.inside(image), self.poolings()), self.residual_blocks);
        let x = if self.unshuffle {
            graph.unshuffle("images", image, "images")
        } else {
            graph.unflatten("images", image, "images")
        };
        let x = graph.convolution(&x, "first.convolution");
        let x = graph.relu(&x, "first.convolution.relu");
        let mut x = graph.residual_blocks(&x, "first.blocks", blocks);
        let mut skips = Vec::new();
        for level in 0..sizes.len() {
            skips.push(x.clone());
            x = graph.convolution_max_pool(&x, &format!("down.{level}.convolution"));
            x = graph.residual_blocks(&x, &format!("down.{level}.blocks"), blocks);
        }
        for (level, (size, skip)) in sizes.into_iter().zip(skips.iter().rev()).enumerate() {
            let y = graph.upsample_convolution(&x, size, &format!("up.{level}.convolution"));
            let y = graph.add(&y, skip, &format!("up.{level}.sum"));
            x = graph.residual_blocks(&y, &format!("up.{level}.blocks"), blocks);
        }
        let x = graph.convolution(&x, "last");
        if self.unshuffle {
            graph.shuffle(&x, image, ["images", "image"], "logits")
        } else {
            graph.flatten(&x, image.len(), "image", "logits")
        }
    }
}

/// The layers with weights. A ReLU follows each convolution, except the second of a residual block and the last, which computes
/// the logits.
#[derive(Module, Debug)]
pub struct UnetNetwork {
    first: Level,
    /// From each size to the next smaller one.
    down: Vec<Level>,
    /// From each size to the next larger one.
    up: Vec<Level>,
    last: Convolution,
    #[module(skip)]
    image: ImageShape,
    #[module(skip)]
    unshuffle: bool,
}

/// The layers of one size.
#[derive(Module, Debug)]
struct Level {
    convolution: Convolution,
    blocks: Vec<Residual>,
}

impl Network for UnetNetwork {
    type Settings = Unet;

    fn new(settings: &Unet, image: ImageShape, initializer: &mut Initializer) -> Self {
        let Unet { channels, residual_blocks, unshuffle } = settings;
        let inside = settings.inside(image).channels;
        let new_level = |inputs: usize, outputs: usize, initializer: &mut Initializer| Level {
            convolution: Convolution::new(inputs, outputs, initializer),
            blocks: Residual::blocks(outputs, *residual_blocks, initializer),
        };
        let widest = channels.first().copied().unwrap_or(inside);
        Self {
            first: new_level(inside, widest, initializer),
            down: channels.windows(2).map(|pair| new_level(pair[0], pair[1], initializer)).collect(),
            up: channels.windows(2).rev().map(|pair| new_level(pair[1], pair[0], initializer)).collect(),
            last: Convolution::last(widest, inside, initializer),
            image,
            unshuffle: *unshuffle,
        }
    }

    fn resized(&self, image: ImageShape) -> Option<Self> {
        Some(Self { image, ..self.clone() })
    }

    fn steps(&self) -> Option<Vec<Step>> {
        let mut steps: Vec<_> = self.unshuffle.then_some(Step::Unshuffle).into_iter().collect();
        let Level { convolution, blocks } = &self.first;
        steps.extend(level(Step::Convolution(convolution.clone(), Activation::Relu), blocks));
        for Level { convolution, blocks } in &self.down {
            steps.push(Step::Keep);
            steps.extend(level(Step::MaxPool(convolution.clone()), blocks));
        }
        for Level { convolution, blocks } in &self.up {
            steps.push(Step::Upsample(convolution.clone()));
            steps.extend(level(Step::Add, blocks));
        }
        steps.push(Step::Convolution(self.last.clone(), Activation::Identity));
        steps.extend(self.unshuffle.then_some(Step::Shuffle));
        Some(steps)
    }

    fn encode(&self, _images: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    fn decode(&self, _codes: Tensor<2>) -> Option<Tensor<2>> {
        None
    }

    fn forward(&self, images: Tensor<2>) -> Made {
        let [n, _] = images.dims();
        let ImageShape { height, width, channels } = self.image;
        let x = images.reshape([n, height, width, channels]);
        let logits = steps::run(self.steps().into_iter().flatten(), x, &mut Vec::new());
        Made { codes: None, logits: logits.reshape([n, self.image.len()]) }
    }
}
