//! The settings of a training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::Precision;

/// How the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Training {
    /// What the model sees.
    pub input: InputImages,
    /// What it shall give back: the clean images, or others with as much noise (Lehtinen et al. 2018, Noise2Noise).
    pub target: InputImages,
    /// Where the noise of noisy input comes from.
    pub noise: Noise,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images in one optimizer step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Epochs over which it first grows from 0.
    pub warm_up_epochs: f64,
    /// How precise the layers are while they train.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub precision: Precision,
    /// Which weights the later stages use.
    pub weights: Weights,
    /// Largest size of the training images to hold in memory, in MiB.
    pub memory_mib: u64,
    /// Longest time between checkpoints, in seconds.
    pub checkpoint_seconds: u64,
}

/// Which version of the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum InputImages {
    /// As they came from the source.
    Clean,
    /// As the corrupt stage made them.
    Noisy,
}

/// Where the noise of noisy training input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Noise {
    /// Drawn anew every epoch.
    Fresh,
    /// The stored noisy images, every epoch the same.
    Fixed,
}

/// How Adam's step size changes over the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// It falls to 0 at the end, along half a period of the cosine.
    Cosine,
}

/// Which weights the stages after training use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Weights {
    /// Those after the last epoch.
    Last,
    /// Those of the epoch with the lowest test loss.
    Best,
}
