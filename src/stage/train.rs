//! train: an autoencoder that gives the clean images back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use burn::module::Module;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext, record};
use crate::config::{InputImages, Pipeline, Schedule, Weights};
use crate::model::{ModelDescription, named_tensors, write_tensors};
use crate::pipeline::fingerprint::{Parts, flatten};
use crate::table::{Split, write_batch};
use crate::training::Trainer;
use crate::training::batches::TrainingImages;
use crate::training::checkpoint::{CheckpointFile, EpochRecord};

/// The stage.
pub struct Train;

impl Stage for Train {
    fn name(&self) -> &'static str {
        "train"
    }

    fn version(&self) -> u32 {
        2
    }

    fn inputs(&self, _pipeline: &Pipeline) -> Vec<&'static str> {
        // Noise is drawn again from its keys, not read: the stored noisy images are the same.
        vec!["ingest"]
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = trajectory_settings(pipeline);
        settings["training"]["epochs"] = json!(pipeline.training.epochs);
        settings["training"]["weights"] = json!(pipeline.training.weights);
        settings
    }

    fn checkpoint(
        &self,
        pipeline: &Pipeline,
        inputs: &BTreeMap<String, String>,
        path: PathBuf,
    ) -> Option<CheckpointFile> {
        Some(self.checkpoint_file(pipeline, inputs, path))
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let train = context.table("ingest", Split::Train)?;
        let test = context.table("ingest", Split::Test)?;
        let image = train.image_shape()?;
        let limit = pipeline.training.memory_mib << 20;
        let trainer = Trainer {
            pipeline,
            image,
            images: TrainingImages::open(train, pipeline.seed, limit)?,
            test,
            checkpoint: self.checkpoint_file(pipeline, &context.inputs, context.checkpoint.clone()),
            device: context.device.training(),
            progress: context.progress,
        };
        let (state, speeds) = trainer.train()?;
        let weights = match pipeline.training.weights {
            Weights::Last => "last.safetensors",
            Weights::Best => "best.safetensors",
        };
        let parameters = state.model.num_params();
        let description =
            ModelDescription::new(image, &pipeline.model.architecture, pipeline.model.loss, weights, parameters);
        let mut description = serde_json::to_string_pretty(&description)?;
        description.push('\n');
        let none = BTreeMap::new;
        let history = &state.position.history;
        write_batch(&context.scratch.join("history.parquet"), &history_batch(history)?)?;
        let files = vec![
            context.write("model.json", description.as_bytes())?,
            context.write("last.safetensors", &write_tensors(&named_tensors(&state.model), none())?)?,
            context.write("best.safetensors", &write_tensors(&state.best, none())?)?,
            record(&context.scratch, "history.parquet", Some(history.len() as u64))?,
        ];
        let speed = |(epoch, seconds, images): &(u64, f64, u64)| json!({ "epoch": epoch, "seconds": seconds, "images-per-second": (*images as f64 / seconds).round() });
        let details = json!({
            "parameters": parameters,
            "best-epoch": state.position.best_epoch,
            "speed": speeds.iter().map(speed).collect::<Vec<_>>(),
        });
        Ok(Outputs { files, details })
    }
}

impl Train {
    fn checkpoint_file(&self, pipeline: &Pipeline, inputs: &BTreeMap<String, String>, path: PathBuf) -> CheckpointFile {
        let settings = flatten(&trajectory_settings(pipeline));
        let key = Parts { code: self.version(), settings, inputs: inputs.clone() };
        CheckpointFile::new(path, key.digest(), pipeline.training.epochs)
    }
}

/// The settings that decide every step of the training; a checkpoint is good as long as they stay the same. How many steps
/// there will be is among them only if the schedule looks ahead.
fn trajectory_settings(pipeline: &Pipeline) -> Value {
    let training = &pipeline.training;
    let mut settings = json!({
        "seed": pipeline.seed,
        "model": pipeline.model,
        "training": {
            "input": training.input,
            "batch-size": training.batch_size,
            "learning-rate": training.learning_rate,
            "schedule": training.schedule,
            "warm-up-epochs": training.warm_up_epochs,
            "memory-mib": training.memory_mib,
        },
    });
    if training.schedule == Schedule::Cosine {
        // Every step then depends on where the last one is.
        settings["training"]["epochs"] = json!(training.epochs);
    }
    if training.input == InputImages::Noisy {
        settings["corruption"] = json!(pipeline.corruption);
        settings["training"]["noise"] = json!(training.noise);
        // The inputs of the test split, and of training with fixed noise, are those on disk.
        settings["output"] = json!({ "pixels": pipeline.output.pixels });
    }
    settings
}

fn history_batch(history: &[EpochRecord]) -> Result<RecordBatch> {
    let float = |name: &str| Field::new(name, DataType::Float64, false);
    let fields = vec![Field::new("epoch", DataType::Int64, false), float("train_loss"), float("test_loss")];
    let column = |value: fn(&EpochRecord) -> f64| Arc::new(Float64Array::from_iter_values(history.iter().map(value)));
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        vec![
            Arc::new(Int64Array::from_iter_values(history.iter().map(|record| record.epoch as i64))),
            column(|record| record.train_loss),
            column(|record| record.test_loss),
        ],
    )?)
}
