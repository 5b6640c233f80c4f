//! Resolves settings as written, [`RawPipeline`], to settings as used, [`Pipeline`].
//!
//! A [`Pipeline`] is complete, consistent and immutable, so that no later code checks settings; the run directory stores it.
//! Whether the model fits the images is checked here if their size is known, and by ingest if files have to be opened to find
//! it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::document::Places;
use super::pairs::check_pairs;
use super::raw::{RawGate, RawOutput, RawPipeline, RawTraining};
use super::together::{check_clipping, check_code, check_corruption, check_noise, check_patches};
use super::vectors::check_vectors;
use crate::corruption::Corruption;
use crate::engine::codes::Codes;
use crate::image::{Class, ImageShape, Pixels};
use crate::model::{Model, RawModel};
use crate::quality::gate::Gate;
use crate::setting::{Problem, Problems, Section};
use crate::source::SourceSettings;
use crate::table::layout::{Layout, PictureDepth, Profile, StoredPixels};
use crate::training::blind_spot::BlindSpot;
use crate::training::patches::Patches;
use crate::training::settings::{InputImages, TargetImages, Training};

/// The resolved settings of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pipeline {
    /// Names the run directory.
    pub name: String,
    /// Seeds everything that is random.
    pub seed: u64,
    /// Where the images come from.
    pub source: SourceSettings,
    /// Labels whose images are left out of the training split, sorted.
    pub held_out: Vec<Class>,
    /// The corruption, if there is one.
    pub corruption: Option<Corruption>,
    /// The autoencoder.
    pub model: Model,
    /// How the model is trained.
    pub training: Training,
    /// Settings of the stage `encode`.
    pub encode: Encode,
    /// Settings of the stage `denoise`.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub denoise: Denoise,
    /// Settings of the stage `evaluate`.
    pub evaluate: Evaluate,
    /// The scores that are required.
    pub gate: Gate,
    /// How results are stored.
    pub output: Output,
    /// The layout of exported tables, if tables are exported.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub export: Option<Layout>,
    /// The depth of exported pictures, if images are exported as pictures.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub pictures: Option<PictureDepth>,
    /// Where the settings are written, for messages.
    #[serde(skip)]
    pub places: Places,
}

impl Pipeline {
    /// Whether there are clean images to compare with: unless training sees noisy images alone, and those come from the source.
    pub fn has_clean_images(&self) -> bool {
        self.training.blind_spot.is_none() || self.corruption.is_some()
    }

    /// Whether there are noisy images: those of a corruption, or the source's own.
    pub fn has_noisy_images(&self) -> bool {
        self.corruption.is_some() || self.source.kind().is_paired()
    }

    /// Whether the stage encode gives each image one code.
    pub fn has_codes_of_images(&self) -> bool {
        self.model.architecture.family().has_code() && self.encode.codes.is_one_each()
    }
}

/// Settings of the stage `encode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encode {
    /// The images whose features are written.
    pub input: InputImages,
    /// What has a code.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub codes: Codes,
    /// Whether each code has the error of its reconstruction.
    #[serde(default = "crate::setting::on", skip_serializing_if = "crate::setting::is_on")]
    pub error: bool,
}

/// Settings of the stage `denoise`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Denoise {
    /// Whether each image is the mean of what the model makes of its eight orientations.
    pub ensemble: bool,
}

/// Settings of the stage `evaluate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluate {
    /// Most training images that baselines and classifiers are fitted on.
    pub fit_rows: u64,
}

/// How results are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// How corrupt and denoise store pixels.
    pub pixels: Pixels,
    /// Compression level of zstd, 1 to 22.
    pub compression_level: i32,
    /// Most rows of a file of a table; as many as row groups of a gigabyte of floats have unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_rows: Option<u64>,
}

/// Resolves settings that have passed the check against the schema and were completed with the defaults. Relative paths
/// start at `folder`.
///
/// # Errors
/// Every inconsistency, with the key that it belongs to.
pub fn resolve(raw: RawPipeline, stem: &str, folder: &Path) -> Result<Pipeline, Vec<Problem>> {
    let mut problems = Problems::default();
    let pipeline = resolve_sections(raw, stem, folder, &mut problems);
    pipeline.filter(|_| problems.is_empty()).ok_or(problems.0)
}

/// Resolves each section and checks them against each other; none if a section cannot be resolved.
fn resolve_sections(raw: RawPipeline, stem: &str, folder: &Path, problems: &mut Problems) -> Option<Pipeline> {
    let RawPipeline { name, seed, source, corruption, model, training, encode, denoise, evaluate, gate, output } = raw;
    let name = resolve_name(name, stem, problems);
    let held_out = held_out(source.hold_out.as_deref());
    let source = source.resolve(&mut Section::new("source", folder, problems));
    let image = source.as_ref().and_then(|source| source.kind().known_shape());
    let corruption = corruption.resolve(&mut Section::new("corruption", folder, problems));
    let model = resolve_model(model, folder, image, problems);
    let gate = resolve_gate(gate, problems);
    let codes = problems.required("encode.codes", encode.codes);
    let error = problems.required("encode.error", encode.error);
    check_code(model.as_ref(), codes.unwrap_or_default(), gate.as_ref(), problems);
    let training = resolve_training(training, corruption.is_some(), problems);
    let encode_input = problems.required("encode.input", encode.input);
    let fit_rows = problems.required("evaluate.fit-rows", evaluate.fit_rows);
    let ensemble = problems.required("denoise.ensemble", denoise.ensemble);
    let pictures = output.pictures;
    let vectors = source.as_ref().is_some_and(|source| source.kind().has_vectors());
    let output = resolve_output(output, vectors, problems);
    let seed = problems.required("seed", seed);
    let paired = source.as_ref().is_some_and(|source| source.kind().is_paired());
    if paired {
        check_pairs(corruption.as_ref(), training.as_ref(), problems);
    } else {
        check_corruption(corruption.as_ref(), image, training.as_ref(), encode_input, problems);
    }
    if let Some(corruption) = &corruption {
        let (output, loss) = (output.map(|(output, _)| output), model.as_ref().map(|model| model.loss));
        check_clipping(
            corruption,
            output.map(|output| output.pixels),
            loss,
            training.as_ref(),
            "corruption".into(),
            problems,
        );
    }
    check_noise(model.as_ref(), training.as_ref(), problems);
    check_patches(model.as_ref(), training.as_ref(), image, problems);
    let (output, export) = output?;
    let ensemble = ensemble?;
    if vectors {
        let outputs = (export.as_ref(), pictures);
        check_vectors(model.as_ref(), corruption.as_ref(), training.as_ref(), ensemble, outputs, problems);
    }
    Some(Pipeline {
        name,
        seed: seed? as u64,
        source: source?,
        held_out,
        corruption,
        model: model?,
        training: training?,
        encode: Encode { input: encode_input?, codes: codes?, error: error? },
        denoise: Denoise { ensemble },
        evaluate: Evaluate { fit_rows: fit_rows? as u64 },
        gate: gate?,
        output,
        export,
        pictures,
        places: Places::default(),
    })
}

/// Checks the name of the run, which is the stem of the pipeline file unless given.
fn resolve_name(name: Option<String>, stem: &str, problems: &mut Problems) -> String {
    let advice = if name.is_none() { "give it a `name`: " } else { "" };
    let name = name.unwrap_or_else(|| stem.to_owned());
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(usable) {
        let rule = "use letters, digits, '.', '_' and '-', and do not start with '.'";
        problems.add("name", format!("{name:?} cannot name a run directory: {advice}{rule}"));
    }
    name
}

/// Resolves the model and checks that it fits images of this shape, if that is known.
fn resolve_model(raw: RawModel, folder: &Path, image: Option<ImageShape>, problems: &mut Problems) -> Option<Model> {
    let loss = problems.required("model.loss", raw.loss);
    let predict = problems.required("model.predict", raw.predict);
    let sparsity = problems.required("model.sparsity", raw.sparsity);
    let architecture = raw.resolve(&mut Section::new("model", folder, problems))?;
    if let Some(image) = image
        && !problems.any_within("model")
        && let Err(cause) = architecture.check(image)
    {
        problems.add(&format!("model.{}", architecture.key()), cause.to_string());
    }
    let (loss, predict) = (loss?, predict?);
    if let Err(cause) = predict.check(&architecture, loss) {
        problems.add("model.predict", cause.to_string());
    }
    Some(Model { architecture, loss, predict, sparsity: sparsity? })
}

/// The storage of the run's own tables, and the layout of exported tables, if tables are exported.
fn resolve_output(raw: RawOutput, vectors: bool, problems: &mut Problems) -> Option<(Output, Option<Layout>)> {
    let RawOutput { pixels, compression_level, shard_rows, profile, pictures: _, lists, part_rows, part_mib } = raw;
    if profile.is_none() {
        let exported = [
            ("pixels", pixels == Some(StoredPixels::Png)),
            ("lists", lists.is_some()),
            ("part-rows", part_rows.is_some()),
            ("part-mib", part_mib.is_some()),
        ];
        for (key, _) in exported.into_iter().filter(|(_, set)| *set) {
            let message =
                "is how tables are exported: say for whom with output.profile = \"default\", \"hf\" or \"spark\"";
            problems.add(&format!("output.{key}"), message);
        }
    }
    let own = if pixels == Some(StoredPixels::F32) { Pixels::F32 } else { Pixels::U8 };
    let compression_level = problems.required("output.compression-level", compression_level)? as i32;
    let most = |number: Option<i64>| number.map(|number| number as u64);
    // Bytes would round scaled numbers.
    let pixels = pixels.or((vectors && profile != Some(Profile::Hf)).then_some(StoredPixels::F32));
    let layout = |profile| Layout::new(profile, pixels, lists, most(part_rows), most(part_mib));
    Some((Output { pixels: own, compression_level, shard_rows: most(shard_rows) }, profile.map(layout)))
}

fn resolve_gate(raw: RawGate, problems: &mut Problems) -> Option<Gate> {
    let RawGate { baselines, margin, least_psnr, least_ssim, probe_margin } = raw;
    Some(Gate {
        baselines: problems.required("gate.baselines", baselines)?,
        margin: problems.required("gate.margin", margin)?,
        least_psnr,
        least_ssim,
        probe_margin,
    })
}

/// The classes, sorted and without duplicates.
fn held_out(classes: Option<&[Class]>) -> Vec<Class> {
    classes.unwrap_or_default().iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

fn resolve_training(raw: RawTraining, corrupted: bool, problems: &mut Problems) -> Option<Training> {
    let epochs = problems.required("training.epochs", raw.epochs)? as u64;
    let warm_up_epochs = problems.required("training.warm-up-epochs", raw.warm_up_epochs)?;
    if warm_up_epochs >= epochs as f64 {
        let message = format!("is {warm_up_epochs}, which leaves nothing of the {epochs} epochs");
        problems.add("training.warm-up-epochs", message);
    }
    let augment = problems.required("training.augment", raw.augment)?;
    let input = problems.required("training.input", raw.input)?;
    let target = problems.required("training.target", raw.target)?;
    let blind_spot = match target {
        TargetImages::Clean | TargetImages::Noisy => None,
        TargetImages::BlindSpot => Some(BlindSpot {
            fraction: problems.required("training.blind-spot.fraction", raw.blind_spot.fraction)?,
            radius: problems.required("training.blind-spot.radius", raw.blind_spot.radius)? as usize,
            constant_noise: problems.required("training.blind-spot.constant-noise", raw.blind_spot.constant_noise)?,
        }),
    };
    // A training on noisy images alone sees no others: those of the corruption, or those of the source if there is none.
    let noisy = if corrupted { InputImages::Noisy } else { InputImages::Clean };
    Some(Training {
        input: if blind_spot.is_some() { noisy } else { input },
        target,
        blind_spot,
        noise: problems.required("training.noise", raw.noise)?,
        patches: Patches {
            patch: raw.patch.map(|side| side as usize),
            patches_per_image: raw.patches_per_image.map(|count| count as u64),
            augment: augment.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        },
        epochs,
        batch_size: problems.required("training.batch-size", raw.batch_size)? as usize,
        learning_rate: problems.required("training.learning-rate", raw.learning_rate)?,
        schedule: problems.required("training.schedule", raw.schedule)?,
        warm_up_epochs,
        precision: problems.required("training.precision", raw.precision)?,
        average: raw.average,
        weights: problems.required("training.weights", raw.weights)?,
        patience: raw.patience.map(|epochs| epochs as u64),
        memory_mib: problems.required("training.memory-mib", raw.memory_mib)? as u64,
        cache_mib: raw.cache_mib.map(|mib| mib as u64),
        checkpoint_seconds: problems.required("training.checkpoint-seconds", raw.checkpoint_seconds)? as u64,
    })
}
