//! From settings as written to settings as used.
//!
//! Past this file nothing is checked again: a [`Pipeline`] is complete, consistent and immutable, and it is what the run
//! directory keeps. Whether the model fits the images is checked here if their size is known, and by ingest if files have to
//! be opened for it.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::raw::{RawConv, RawDense, RawGate, RawModel, RawOutput, RawPipeline, RawUnet};
use crate::corruption::Corruption;
use crate::image::Pixels;
use crate::model::Architecture;
use crate::model::settings::{CodeActivation, Model};
use crate::quality::Baseline;
use crate::quality::gate::Gate;
use crate::setting::{Problem, Problems, Section};
use crate::source;
use crate::source::settings::SourceSettings;
use crate::table::layout::{Layout, StoredPixels};
use crate::training::settings::{InputImages, Training};

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
    /// Labels whose images the training split leaves out.
    pub held_out: Vec<i64>,
    /// How images are corrupted, if they are.
    pub corruption: Option<Corruption>,
    /// The autoencoder.
    pub model: Model,
    /// How the model is trained.
    pub training: Training,
    /// What is encoded.
    pub encode: Encode,
    /// What scores are computed beside.
    pub evaluate: Evaluate,
    /// What the scores must reach.
    pub gate: Gate,
    /// How results are stored.
    pub output: Output,
    /// How they are exported, if they are.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub export: Option<Layout>,
}

/// What is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encode {
    /// The images whose features are written.
    pub input: InputImages,
}

/// What scores are computed beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluate {
    /// Training images that baselines and classifiers are fitted on, at most.
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
}

/// Resolves settings that have passed the check against the schema and were completed with the defaults. Relative paths
/// start at `folder`.
///
/// # Errors
/// Every inconsistency, with the key that it belongs to.
pub fn resolve(raw: RawPipeline, stem: &str, folder: &Path) -> Result<Pipeline, Vec<Problem>> {
    let mut problems = Problems::default();
    let advice = if raw.name.is_none() { "give it a `name`: " } else { "" };
    let name = raw.name.unwrap_or_else(|| stem.to_owned());
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(usable) {
        let rule = "use letters, digits, '.', '_' and '-', and do not start with '.'";
        problems.add("name", format!("{name:?} cannot name a run directory: {advice}{rule}"));
    }
    let held_out = held_out(raw.source.hold_out.as_deref());
    let source = super::source::resolve(raw.source, folder, &mut problems);
    let corruption = raw.corruption.resolve(&mut Section::new("corruption", folder, &mut problems));
    let loss = problems.required("model.loss", raw.model.loss);
    let sparsity = problems.required("model.sparsity", raw.model.sparsity);
    let model = resolve_model(raw.model, &mut problems);
    let gate = resolve_gate(raw.gate, &mut problems);
    if let (Some(model), Some(image)) = (&model, source.as_ref().and_then(source::known_shape))
        && !problems.0.iter().any(|problem| problem.path.is_within(&"model".into()))
        && let Err(cause) = model.check(image)
    {
        problems.add(&format!("model.{}", model.family()), cause.to_string());
    }
    if sparsity.is_some_and(|sparsity| sparsity > 0.0) && model.as_ref().is_some_and(|model| !model.has_code()) {
        problems.add("model.sparsity", "needs a code, which a U-Net does not have");
    }
    if model.as_ref().is_some_and(|model| !model.has_code())
        && let Some(gate) = &gate
    {
        let asked =
            [("baselines", gate.baselines.contains(&Baseline::Pca)), ("probe-margin", gate.probe_margin.is_some())];
        for (key, _) in asked.into_iter().filter(|(_, asked)| *asked) {
            problems.add(&format!("gate.{key}"), "asks for what needs a code, which a U-Net does not have");
        }
    }
    let training = resolve_training(raw.training, &mut problems);
    let encode_input = problems.required("encode.input", raw.encode.input);
    let fit_rows = problems.required("evaluate.fit-rows", raw.evaluate.fit_rows);
    let output = resolve_output(raw.output, &mut problems);
    let seed = problems.required("seed", raw.seed);
    if let (Some(corruption), Some(image)) = (&corruption, source.as_ref().and_then(source::known_shape))
        && let Err(cause) = corruption.kind().check(image)
    {
        problems.add("corruption", cause.to_string());
    }
    if let Some(Training { input, target: InputImages::Noisy, .. }) = &training {
        if *input == InputImages::Clean {
            problems.add(
                "training.target",
                "\"noisy\" needs training.input = \"noisy\": one image with noise as input, one as target",
            );
        } else if corruption.is_some_and(|corruption| corruption.kind().is_fixed()) {
            problems.add(
                "training.target",
                "\"noisy\" needs noise that is drawn: this corruption makes the same of an image each time",
            );
        }
    }
    if corruption.is_none() {
        let advice = "needs noise: add a [corruption] table, for example gaussian = { std = 0.5 }";
        if training.as_ref().is_some_and(|training| training.input == InputImages::Noisy) {
            problems.add("training.input", format!("\"noisy\" {advice}"));
        }
        if encode_input == Some(InputImages::Noisy) {
            problems.add("encode.input", format!("\"noisy\" {advice}"));
        }
    }
    match (source, model, loss, sparsity, training, encode_input, fit_rows, gate, output, seed) {
        (
            Some(source),
            Some(model),
            Some(loss),
            Some(sparsity),
            Some(training),
            Some(encode_input),
            Some(fit_rows),
            Some(gate),
            Some((output, export)),
            Some(seed),
        ) if problems.is_empty() => {
            let (model, encode) = (Model { architecture: model, loss, sparsity }, Encode { input: encode_input });
            let (seed, evaluate) = (seed as u64, Evaluate { fit_rows: fit_rows as u64 });
            Ok(Pipeline {
                name,
                seed,
                source,
                held_out,
                corruption,
                model,
                training,
                encode,
                evaluate,
                gate,
                output,
                export,
            })
        }
        _ => Err(problems.0),
    }
}

/// How the run's own tables are stored, and the layout of those that are exported, if any are.
fn resolve_output(raw: RawOutput, problems: &mut Problems) -> Option<(Output, Option<Layout>)> {
    let RawOutput { pixels, compression_level, profile, lists, part_rows, part_mib } = raw;
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
    let layout = |profile| Layout::new(profile, pixels, lists, most(part_rows), most(part_mib));
    Some((Output { pixels: own, compression_level }, profile.map(layout)))
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

/// The labels, each once, in order.
fn held_out(labels: Option<&[i64]>) -> Vec<i64> {
    labels.unwrap_or_default().iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

fn resolve_model(raw: RawModel, problems: &mut Problems) -> Option<Architecture> {
    let RawModel { dense, conv, unet, loss: _, sparsity: _ } = raw;
    let made = [("dense", dense.is_some()), ("conv", conv.is_some()), ("unet", unet.is_some())];
    Section::new("model", Path::new(""), problems).one_of(&made, false);
    let widths = |list: Vec<i64>| list.into_iter().map(|width| width as usize).collect::<Vec<_>>();
    if let Some(RawDense { hidden, code, code_activation }) = dense {
        return Some(Architecture::Dense {
            hidden: widths(problems.required("model.dense.hidden", hidden)?),
            code: problems.required("model.dense.code", code)? as usize,
            code_activation: problems.required("model.dense.code-activation", code_activation)?,
        });
    }
    if let Some(RawUnet { channels, residual_blocks }) = unet {
        return Some(Architecture::Unet {
            channels: widths(problems.required("model.unet.channels", channels)?),
            residual_blocks: problems.required("model.unet.residual-blocks", residual_blocks)? as usize,
        });
    }
    let RawConv { channels, decoder_channels, residual_blocks, code, code_activation } = conv?;
    let channels = widths(problems.required("model.conv.channels", channels)?);
    let mirror = || channels.iter().rev().copied().collect();
    let decoder_channels = decoder_channels.map_or_else(mirror, widths);
    if decoder_channels.len() != channels.len() {
        let (found, expected) = (decoder_channels.len(), channels.len());
        let message = format!("has {found} entries, but the encoder has {expected}: each pooling needs its upsampling");
        problems.add("model.conv.decoder-channels", message);
    }
    let code_activation: CodeActivation = problems.required("model.conv.code-activation", code_activation)?;
    Some(Architecture::Conv {
        channels,
        decoder_channels,
        residual_blocks: problems.required("model.conv.residual-blocks", residual_blocks)? as usize,
        code: code.map(|code| code as usize),
        code_activation,
    })
}

fn resolve_training(raw: super::raw::RawTraining, problems: &mut Problems) -> Option<Training> {
    let epochs = problems.required("training.epochs", raw.epochs)? as u64;
    let warm_up_epochs = problems.required("training.warm-up-epochs", raw.warm_up_epochs)?;
    if warm_up_epochs >= epochs as f64 {
        let message = format!("is {warm_up_epochs}, which leaves nothing of the {epochs} epochs");
        problems.add("training.warm-up-epochs", message);
    }
    Some(Training {
        input: problems.required("training.input", raw.input)?,
        target: problems.required("training.target", raw.target)?,
        noise: problems.required("training.noise", raw.noise)?,
        epochs,
        batch_size: problems.required("training.batch-size", raw.batch_size)? as usize,
        learning_rate: problems.required("training.learning-rate", raw.learning_rate)?,
        schedule: problems.required("training.schedule", raw.schedule)?,
        warm_up_epochs,
        precision: problems.required("training.precision", raw.precision)?,
        weights: problems.required("training.weights", raw.weights)?,
        memory_mib: problems.required("training.memory-mib", raw.memory_mib)? as u64,
        checkpoint_seconds: problems.required("training.checkpoint-seconds", raw.checkpoint_seconds)? as u64,
    })
}
