//! The settings as they are written in a pipeline file.
//!
//! Every key is optional here, because defaults come from `default.toml` and `resolve.rs` checks that none is missing. A file
//! is checked against the JSON schema derived from these types, with types, ranges and documentation; `limpid schema` prints
//! it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::corruption::RawCorruption;
use crate::device::Precision;
use crate::engine::codes::Codes;
use crate::model::RawModel;
use crate::quality::Baseline;
use crate::source::RawSource;
use crate::table::layout::{Lists, PictureDepth, Profile, StoredPixels};
use crate::training::blind_spot::RawBlindSpot;
use crate::training::patches::Augmentation;
use crate::training::settings::{InputImages, Noise, Schedule, TargetImages, Weights};

/// A limpid pipeline: where images come from, how they are corrupted, and which autoencoder learns from them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "limpid pipeline")]
pub struct RawPipeline {
    /// Names the run directory: letters, digits, '.', '_' and '-'. The file's stem unless given.
    pub name: Option<String>,
    /// Seeds everything that is random.
    #[schemars(range(min = 0))]
    pub seed: Option<i64>,
    /// Where the images come from: exactly one of the tables.
    #[serde(default)]
    pub source: RawSource,
    /// How images are corrupted: at most one of the tables; none leaves the corrupt stage out.
    #[serde(default)]
    pub corruption: RawCorruption,
    /// Which autoencoder: exactly one of the tables, and the loss.
    #[serde(default)]
    pub model: RawModel,
    /// How it is trained.
    #[serde(default)]
    pub training: RawTraining,
    /// Which images the features are computed from.
    #[serde(default)]
    pub encode: RawEncode,
    /// How images are denoised.
    #[serde(default)]
    pub denoise: RawDenoise,
    /// Baselines and classifiers that scores are compared with.
    #[serde(default)]
    pub evaluate: RawEvaluate,
    /// What the scores must reach.
    #[serde(default)]
    pub gate: RawGate,
    /// How results are stored.
    #[serde(default)]
    pub output: RawOutput,
}

/// How the model is trained.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawTraining {
    /// The images that the model gets as input.
    pub input: Option<InputImages>,
    /// The images that the model is trained to output.
    pub target: Option<TargetImages>,
    /// Which pixels are hidden with the target "blind-spot".
    #[serde(default)]
    pub blind_spot: RawBlindSpot,
    /// Where the noise of noisy input comes from.
    pub noise: Option<Noise>,
    /// Rows and columns of the patches that are cut out of the images to train on; whole images unless given.
    #[schemars(range(min = 8, max = 1024))]
    pub patch: Option<i64>,
    /// Patches of each image in an epoch; as many as cover its area unless given.
    #[schemars(range(min = 1, max = 1024))]
    pub patches_per_image: Option<i64>,
    /// What changes about the images, or their patches, each time.
    pub augment: Option<Vec<Augmentation>>,
    /// Passes over the training images.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: Option<i64>,
    /// Images in one optimizer step.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: Option<i64>,
    /// Adam's step size.
    #[schemars(range(min = 1e-9, max = 10.0))]
    pub learning_rate: Option<f64>,
    /// How the learning rate changes over the training.
    pub schedule: Option<Schedule>,
    /// Epochs, of which fractions count, over which it first grows from 0.
    #[schemars(range(min = 0.0, max = 1e6))]
    pub warm_up_epochs: Option<f64>,
    /// How precise the layers are while they train.
    pub precision: Option<Precision>,
    /// How much of the averages of the weights is kept in each step; not averaged unless given.
    #[schemars(range(min = 0.5, max = 0.999_999))]
    pub average: Option<f64>,
    /// Which weights the later stages use.
    pub weights: Option<Weights>,
    /// Epochs without a lower loss of the validation split, or of the test split where there is none, after which training ends.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub patience: Option<i64>,
    /// Largest size of the training images to hold in memory, in MiB.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub memory_mib: Option<i64>,
    /// Most of the images of a run in an object store that are kept on the local disk while it trains, in MiB; 0 for none.
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub cache_mib: Option<i64>,
    /// Longest time between checkpoints, in seconds; 0 for one after every step.
    #[schemars(range(min = 0, max = 86_400))]
    pub checkpoint_seconds: Option<i64>,
}

/// Which images the features are computed from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawEncode {
    /// The images that are encoded.
    pub input: Option<InputImages>,
    /// What has a code: each image as a whole, each by the mean over its patches, or each patch.
    pub codes: Option<Codes>,
    /// Whether each code has the error of its reconstruction, for which the decoder is needed.
    pub error: Option<bool>,
}

/// How images are denoised.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawDenoise {
    /// Whether each is the mean of what the model makes of its eight orientations.
    pub ensemble: Option<bool>,
}

/// How results are stored, and for whom they are exported.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawOutput {
    /// How corrupt and denoise store pixels, and how they are exported: "png" only the latter.
    pub pixels: Option<StoredPixels>,
    /// Compression level of zstd.
    #[schemars(range(min = 1, max = 22))]
    pub compression_level: Option<i64>,
    /// Most rows of a file of a run's own tables, which map stages and clusters work on file by file.
    #[schemars(range(min = 1))]
    pub shard_rows: Option<i64>,
    /// The kind of reader that a last stage exports tables for; nothing is exported unless given.
    pub profile: Option<Profile>,
    /// Whether a last stage exports the images as picture files too, and how deep.
    pub pictures: Option<PictureDepth>,
    /// How exported lists are stored; as the profile has them unless given.
    pub lists: Option<Lists>,
    /// Most rows of an exported file.
    #[schemars(range(min = 1))]
    pub part_rows: Option<i64>,
    /// Most content of an exported file before it is compressed, in MiB.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub part_mib: Option<i64>,
}

/// Baselines and classifiers that scores are compared with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawEvaluate {
    /// Training images that baselines and classifiers are fitted on, at most: the first ones.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub fit_rows: Option<i64>,
}

/// What the scores must reach; a run that misses it ends with exit code 3.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawGate {
    /// The baselines that the model's images must beat in pooled PSNR; those of noise are passed over where there is none.
    pub baselines: Option<Vec<Baseline>>,
    /// By more than how many dB.
    #[schemars(range(min = -100, max = 100))]
    pub margin: Option<f64>,
    /// Least pooled PSNR of the model's images, in dB.
    #[schemars(range(min = 0, max = 200))]
    pub least_psnr: Option<f64>,
    /// Least SSIM of the model's images.
    #[schemars(range(min = -1, max = 1))]
    pub least_ssim: Option<f64>,
    /// The accuracy of the linear classifier on the codes must exceed that on as many principal components by more than this
    /// share, and that of the nearest neighbours too.
    #[schemars(range(min = -1, max = 1))]
    pub probe_margin: Option<f64>,
}
