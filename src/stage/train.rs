//! train: trains an autoencoder to reconstruct the clean images.

use std::collections::BTreeMap;

use anyhow::Result;
use burn::module::Module;
use serde_json::{Value, json};

use super::{Outputs, Past, Resume, ResumeFrom, Resumption, Stage, StageContext, ingest};
use crate::config::{Output, Pipeline};
use crate::error;
use crate::image::Split;
use crate::model::ModelDescription;
use crate::quality::metrics::Course;
use crate::quality::noise_level::median_level;
use crate::record::fingerprint::Parts;
use crate::record::{StageName, TableSet};
use crate::setting::flatten;
use crate::source::{level_table, read_scaler};
use crate::store::Room;
use crate::table::{Table, write_batch};
use crate::training::batches::{InputSettings, TrainingImages};
use crate::training::blind_spot::BlindSpot;
use crate::training::checkpoint::{CheckpointFile, Standing};
use crate::training::history::{self, EpochRecord, HISTORY};
use crate::training::image_table::ImageTable;
use crate::training::patches::Cutter;
use crate::training::settings::{InputImages, Weights};
use crate::training::test_images::TestImages;
use crate::training::{Start, Step, Trainer, published};

/// Its name.
pub const NAME: StageName = StageName::new("train");

/// The stage.
pub struct Train;

impl Stage for Train {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        8
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        vec![images(pipeline).stage]
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = trajectory_settings(pipeline);
        settings["training"]["epochs"] = json!(pipeline.training.epochs);
        settings["training"]["weights"] = json!(pipeline.training.weights);
        if let Some(patience) = pipeline.training.patience {
            settings["training"]["patience"] = json!(patience);
        }
        if let Some(blind_spot) = pipeline.training.blind_spot {
            settings["training"]["blind-spot"]["constant-noise"] = json!(blind_spot.constant_noise);
        }
        settings
    }

    fn resume(&self, pipeline: &Pipeline, parts: &Parts, past: Past<'_>) -> Result<Resumption> {
        let end = pipeline.training.end();
        let trajectory = self.trajectory(pipeline, &parts.inputs);
        let mut resumption = Resumption::default();
        if let Some(receipt) = past.published {
            match published::position(past.folder) {
                _ if !same_steps(&trajectory, &receipt.parts) => {
                    resumption.unused.push("a new training: that decides its every step".to_owned());
                }
                None => resumption.unused.push("a new training: the finished one cannot be read".to_owned()),
                Some(position) => match position.beyond(end) {
                    Some(last) => {
                        resumption.unused.push(format!("a new training: the finished one is beyond epoch {last}"));
                    }
                    None => {
                        let epochs = position.epochs;
                        resumption.from = Some(Resume { from: ResumeFrom::Result, epochs, steps: 0 });
                    }
                },
            }
        }
        match CheckpointFile::new(past.checkpoint.to_owned(), trajectory, end).standing()? {
            Standing::Fits { epochs, steps }
                if resumption.from.is_none_or(|from| (from.epochs, 0) < (epochs, steps)) =>
            {
                resumption.from = Some(Resume { from: ResumeFrom::Checkpoint, epochs, steps });
            }
            Standing::Unfit(reason) => resumption.unused.push(format!("its checkpoint is not used: {reason}")),
            Standing::Fits { .. } | Standing::Missing => {}
        }
        Ok(resumption)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        context.device.check(pipeline.training.precision)?;
        let tables = images(pipeline);
        let paired = tables == ingest::NOISY;
        let room = Room::new(pipeline.training.cache_mib.unwrap_or(CACHE_MIB) << 20);
        let open = |tables: TableSet, split| context.table(tables, split)?.kept(&room);
        let table = |split: Split| -> Result<_> {
            let images = open(tables, split)?;
            // Of pairs, the noisy images are beside the clean ones.
            let (clean, noisy) =
                if paired { (open(ingest::NAME.into(), split)?, Some(images)) } else { (images, None) };
            ImageTable::new(clean, noisy)
        };
        let (train, test) = (table(Split::Train)?, table(Split::Test)?);
        let validation = tables.splits(context.inputs).any(|split| split == Split::Validation);
        let validation = validation.then(|| table(Split::Validation)).transpose()?;
        let patches = &pipeline.training.patches;
        // ingest has checked the patches that were set when it ran, and the test images have the same shape.
        let image = patches.model_image(&pipeline.model.architecture, train.target()?)?;
        let cutter = |patches, split| Cutter::new(patches, pipeline.seed, split);
        // ingest has checked the corruption that was set when it ran.
        if let Some(corruption) = &pipeline.corruption {
            corruption.kind().check(image)?;
        }
        let limit = pipeline.training.memory_mib << 20;
        let scored = |table, split| TestImages::open(table, cutter(patches.of_test(), split), limit);
        let noise_level = match pipeline.training.blind_spot {
            Some(BlindSpot { constant_noise: true, .. }) => Some(noise_level(&context.table(tables, Split::Train)?)?),
            _ => None,
        };
        let folder = context.folder(self.name());
        let published = context.workspace.receipt(self.name())?;
        let start = match (context.resume, &published) {
            (Some(ResumeFrom::Checkpoint), _) => Start::Checkpoint,
            (Some(ResumeFrom::Result), Some(receipt)) => Start::Published(&folder, receipt),
            (Some(ResumeFrom::Result), None) | (None, _) => Start::Beginning,
        };
        let trainer = Trainer {
            settings: &pipeline.training,
            model: &pipeline.model,
            inputs: InputSettings {
                image,
                seed: pipeline.seed,
                corruption: pipeline.corruption.clone(),
                paired,
                input: pipeline.training.input,
                target: pipeline.training.target,
                blind_spot: pipeline.training.blind_spot,
                stored: pipeline.output.pixels.as_deep_as(train.content().pixels()),
            },
            image,
            images: TrainingImages::open(train, cutter(patches.clone(), Split::Train), pipeline.seed, limit)?,
            test: scored(test, Split::Test)?,
            validation: validation.map(|validation| scored(validation, Split::Validation)).transpose()?,
            checkpoint: CheckpointFile::new(
                context.checkpoint.clone(),
                self.trajectory(pipeline, context.inputs),
                pipeline.training.end(),
            ),
            start,
            step: Step::new(&pipeline.model, pipeline.training.precision, image, context.device.training()),
            device: context.device.described(),
            progress: context.progress,
        };
        let (state, speeds) = trainer.train()?;
        let weights = match pipeline.training.weights {
            Weights::Last => published::LAST,
            Weights::Best => published::BEST,
        };
        let parameters = state.model.num_params();
        let description = ModelDescription::new(image, &pipeline.model, weights, parameters);
        let levels = level_table::of_ingest(pipeline.source.kind(), &context.folder(ingest::NAME))?;
        let has_columns = pipeline.source.kind().has_vectors();
        let columns = has_columns.then(|| read_scaler(&context.folder(ingest::NAME))).transpose()?;
        let description = ModelDescription { noise_level, levels, columns, ..description };
        let mut description = serde_json::to_string_pretty(&description)?;
        description.push('\n');
        let history = &state.position.history;
        let mut files = vec![
            context.write("model.json", description.as_bytes())?,
            write_batch(&context.scratch, HISTORY, &history::table(history)?)?,
        ];
        for (name, bytes) in published::serialise(&state)? {
            files.push(context.write(name, &bytes)?);
        }
        let speed = |(epoch, seconds, images): &(u64, f64, u64)| json!({ "epoch": epoch, "seconds": seconds, "images-per-second": (*images as f64 / seconds).round() });
        let mut details = json!({
            "parameters": parameters,
            "best-epoch": state.position.best_epoch,
            "speed": speeds.iter().map(speed).collect::<Vec<_>>(),
        });
        if let Some(Course { epochs, chosen_by, .. }) = course(pipeline, history) {
            details["epochs"] = json!(epochs);
            details["chosen-by"] = json!(chosen_by);
        }
        // Empty if no step of a known device was taken.
        let devices = state.position.devices.join(", then ");
        Ok(Outputs { files, details, device: (!devices.is_empty()).then_some(devices) })
    }
}

/// Room on the local disk for images of a run in a store, unless the settings say otherwise, in MiB.
const CACHE_MIB: u64 = 10 << 10;

/// The course of the training, if there is more to tell than its settings do.
pub fn course(pipeline: &Pipeline, history: &[EpochRecord]) -> Option<Course> {
    history::course(history, pipeline.training.patience.is_some())
}

/// The images that are read. Noise is generated again from its keys and not read, the same as in the stored noisy images; but a
/// training on noisy images alone knows no others, and the noise of pairs is that of the source.
fn images(pipeline: &Pipeline) -> TableSet {
    match super::images(pipeline, pipeline.training.input) {
        noisy if pipeline.training.blind_spot.is_some() || noisy == ingest::NOISY => noisy,
        _ => ingest::NAME.into(),
    }
}

/// Training images whose noise is estimated, at most: the first ones.
const NOISY_IMAGES: u64 = 100;

/// The standard deviation of the noise in the training images.
fn noise_level(images: &Table) -> Result<f64> {
    median_level(images, NOISY_IMAGES)?.ok_or_else(|| {
        let advice = "leave training.blind-spot.constant-noise out";
        error::settings(format!("the images are too small for the strength of their noise to be estimated; {advice}"))
    })
}

impl Train {
    /// The fingerprint parts that decide every step of the training, whatever the number of steps.
    fn trajectory(&self, pipeline: &Pipeline, inputs: &BTreeMap<String, String>) -> Parts {
        Parts { code: self.version(), settings: flatten(&trajectory_settings(pipeline)), inputs: inputs.clone() }
    }
}

/// Whether a training takes the same steps as the finished one whose parts are `old`.
fn same_steps(trajectory: &Parts, old: &Parts) -> bool {
    let mut old = old.clone();
    old.settings.retain(|key, _| trajectory.settings.contains_key(key) || !ENDS.contains(&key.as_str()));
    *trajectory == old
}

/// Settings that decide the end of a training and the weights that are used, unless they decide its steps too.
const ENDS: [&str; 4] =
    ["training.epochs", "training.patience", "training.weights", "training.blind-spot.constant-noise"];

/// The settings that decide every step of the training: a finished training or a checkpoint can be resumed from as long as they
/// are unchanged. The number of epochs is among them only if the schedule depends on it.
fn trajectory_settings(pipeline: &Pipeline) -> Value {
    let Pipeline { seed, model, training, corruption, output, .. } = pipeline;
    let mut settings = json!({ "seed": seed, "model": model, "training": training.decisive() });
    if training.input == InputImages::Noisy && training.blind_spot.is_none() && corruption.is_some() {
        let Output { pixels, compression_level: _, shard_rows: _ } = output;
        settings["corruption"] = json!(corruption);
        // The inputs of the test split, and those with fixed noise, are as rounded as the stored images.
        settings["output"] = json!({ "pixels": pixels });
    }
    settings
}
