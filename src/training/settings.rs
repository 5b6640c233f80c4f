//! The settings of a training.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::blind_spot::BlindSpot;
use super::history::End;
use super::patches::Patches;
use crate::device::Precision;

/// How the model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Training {
    /// The images that the model gets as input.
    pub input: InputImages,
    /// The images that it is trained to output: the clean ones, or others with as much noise (Lehtinen et al. 2018, Noise2Noise).
    pub target: TargetImages,
    /// What is hidden of noisy images to train on them alone, if that is the target.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub blind_spot: Option<BlindSpot>,
    /// Where the noise of noisy input comes from.
    pub noise: Noise,
    /// What is cut out of the images to train on.
    #[serde(flatten)]
    pub patches: Patches,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images in one optimizer step.
    pub batch_size: usize,
    /// Adam's step size.
    pub learning_rate: f64,
    /// How the step size changes.
    pub schedule: Schedule,
    /// Epochs over which it first grows from 0.
    pub warm_up_epochs: f64,
    /// How precise the layers are while they train.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub precision: Precision,
    /// How much of the average of the weights is kept in each step, if averages are scored and published in their place.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub average: Option<f64>,
    /// Which weights the later stages use.
    pub weights: Weights,
    /// Epochs without a lower loss after which the training ends, if it may end before its last epoch.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub patience: Option<u64>,
    /// Largest size of the training images to hold in memory, in MiB.
    pub memory_mib: u64,
    /// Most of the images of a run in a store that are kept on the local disk, in MiB.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub cache_mib: Option<u64>,
    /// Longest time between checkpoints, in seconds.
    pub checkpoint_seconds: u64,
}

impl Training {
    /// When the training ends.
    pub fn end(&self) -> End {
        End { epochs: self.epochs, patience: self.patience }
    }

    /// The settings that decide every step of a training. Every setting is named, so that a new one cannot be forgotten: the
    /// choice of weights, the patience, what is done after training, the cache and the time between checkpoints never count, the number of epochs
    /// only if the schedule depends on it.
    pub fn decisive(&self) -> Value {
        let Self {
            input,
            target,
            blind_spot,
            noise,
            patches: Patches { patch, patches_per_image, augment },
            epochs,
            batch_size,
            learning_rate,
            schedule,
            warm_up_epochs,
            precision,
            average,
            weights: _,
            patience: _,
            memory_mib,
            cache_mib: _,
            checkpoint_seconds: _,
        } = self;
        let mut settings = json!({
            "input": input,
            "batch-size": batch_size,
            "learning-rate": learning_rate,
            "schedule": schedule,
            "warm-up-epochs": warm_up_epochs,
            "memory-mib": memory_mib,
        });
        // Left out if off, as in the settings.
        if *precision != Precision::F32 {
            settings["precision"] = json!(precision);
        }
        if let Some(patch) = patch {
            settings["patch"] = json!(patch);
        }
        if let Some(count) = patches_per_image {
            settings["patches-per-image"] = json!(count);
        }
        if !augment.is_empty() {
            settings["augment"] = json!(augment);
        }
        if let Some(average) = average {
            settings["average"] = json!(average);
        }
        if *schedule == Schedule::Cosine {
            // Every step then depends on the number of epochs.
            settings["epochs"] = json!(epochs);
        }
        if let Some(blind_spot) = blind_spot {
            let BlindSpot { fraction, radius, constant_noise: _ } = blind_spot;
            settings["blind-spot"] = json!({ "fraction": fraction, "radius": radius });
        } else if *input == InputImages::Noisy {
            settings["noise"] = json!(noise);
            if *target == TargetImages::Noisy {
                settings["target"] = json!(target);
            }
        }
        settings
    }
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

/// What the model is trained to output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum TargetImages {
    /// The images as they came from the source.
    Clean,
    /// The same with other noise.
    Noisy,
    /// Pixels of the noisy image that it does not see.
    BlindSpot,
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
    /// Those of the epoch with the lowest loss of the validation split or, where there is none, of the test split.
    Best,
}
