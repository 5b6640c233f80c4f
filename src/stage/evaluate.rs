//! evaluate: how good the images of the test split are, as written, beside baselines that cost nothing.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext};
use crate::config::Pipeline;
use crate::error;
use crate::interrupt;
use crate::quality::{DEFINITIONS, ImageScore, Scorer, Scores, entropy};
use crate::table::{Split, TableFile, ids, lists, pixels};

/// The stage.
pub struct Evaluate;

/// The file that holds the scores.
const METRICS: &str = "metrics.json";
/// The format of `metrics.json`.
const FORMAT: u32 = 1;

/// What `metrics.json` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metrics {
    /// Version of this file's format.
    pub format: u32,
    /// `denoising` or `reconstruction`.
    pub task: String,
    /// The split that was scored.
    pub split: Split,
    /// Number of its images.
    pub images: u64,
    /// Mean entropy of a clean pixel in nats: what the cross-entropy of a perfect image would be.
    pub cross_entropy_floor: f64,
    /// The model's images first, then the baselines.
    pub scores: Vec<Scores>,
    /// What the scores mean.
    pub definitions: std::collections::BTreeMap<String, String>,
}

impl Metrics {
    /// Reads what evaluate wrote to `folder`; none if it has not.
    ///
    /// # Errors
    /// A file that cannot be read, or that it did not write.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(METRICS);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", path.display())),
        };
        let metrics = serde_json::from_str(&text);
        metrics
            .map(Some)
            .map_err(|cause| error::data(format!("{} is not what evaluate wrote: {cause}", path.display())))
    }
}

impl Stage for Evaluate {
    fn name(&self) -> &'static str {
        "evaluate"
    }

    fn version(&self) -> u32 {
        1
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<&'static str> {
        match pipeline.corruption {
            Some(_) => vec!["ingest", "corrupt", "denoise"],
            None => vec!["ingest", "denoise"],
        }
    }

    fn settings(&self, _pipeline: &Pipeline) -> Value {
        json!({})
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let clean = context.table("ingest", Split::Test)?;
        let mean = mean_pixel(&context.table("ingest", Split::Train)?)?;
        let denoising = context.pipeline.corruption.is_some();
        let mut tables = vec![context.table("denoise", Split::Test)?];
        if denoising {
            tables.push(context.table("corrupt", Split::Test)?);
        }
        let shape = clean.image_shape()?;
        let constant = vec![mean as f32; shape.len()];
        let mut scorers = vec![Scorer::new(shape); tables.len() + 1];
        let mut floor = 0.0;
        let task = context.progress.task("evaluate", clean.rows(), "images");
        let mut readers: Vec<_> = tables.iter().map(TableFile::all).collect();
        for batch in clean.all() {
            let batch = batch?;
            let images = pixels::values(lists(&batch, "image")?);
            let mut made: Vec<Vec<f32>> = Vec::new();
            for (reader, table) in readers.iter_mut().zip(&tables) {
                made.push(matching(reader.next().transpose()?, &batch, table, &clean)?);
            }
            let scores: Vec<(f64, Vec<ImageScore>)> = images
                .par_chunks(shape.len())
                .enumerate()
                .map(|(row, clean)| {
                    let made = made.iter().map(|made| &made[row * shape.len()..][..shape.len()]);
                    let score = |made: &[f32]| ImageScore::of(made, clean, shape);
                    (entropy(clean), made.chain([constant.as_slice()]).map(score).collect())
                })
                .collect();
            for (entropy, scores) in &scores {
                floor += entropy;
                scorers.iter_mut().zip(scores).for_each(|(scorer, score)| scorer.add(score));
            }
            task.advance(batch.num_rows() as u64);
            interrupt::check()?;
        }
        let floor = floor / (clean.rows() as f64 * shape.len() as f64);
        let names: &[&str] = if denoising {
            &["denoised", "noisy input", "constant mean"]
        } else {
            &["reconstruction", "constant mean"]
        };
        let metrics = Metrics {
            format: FORMAT,
            task: if denoising { "denoising" } else { "reconstruction" }.to_owned(),
            split: Split::Test,
            images: clean.rows(),
            cross_entropy_floor: floor,
            scores: scorers.iter().zip(names).map(|(scorer, name)| scorer.scores(name, floor)).collect(),
            definitions: DEFINITIONS.map(|(name, meaning)| (name.to_owned(), meaning.to_owned())).into(),
        };
        let mut text = serde_json::to_string_pretty(&metrics)?;
        text.push('\n');
        Ok(vec![context.write(METRICS, text.as_bytes())?].into())
    }
}

/// Mean of all pixels of a table of images.
fn mean_pixel(table: &TableFile) -> Result<f64> {
    let mut sum = 0.0;
    for batch in table.all() {
        let batch = batch?;
        sum += pixels::values(lists(&batch, "image")?).iter().map(|&pixel| f64::from(pixel)).sum::<f64>();
        interrupt::check()?;
    }
    Ok(sum / (table.rows() as f64 * table.image_shape()?.len() as f64))
}

/// The images of a batch that has the same ids as the clean one.
fn matching(
    batch: Option<RecordBatch>,
    clean: &RecordBatch,
    table: &TableFile,
    clean_table: &TableFile,
) -> Result<Vec<f32>> {
    let different = || {
        let (table, clean) = (table.path().display(), clean_table.path().display());
        error::data(format!("{table} and {clean} do not hold the same rows"))
    };
    let batch = batch.ok_or_else(different)?;
    if ids(&batch)? != ids(clean)? {
        return Err(different());
    }
    Ok(pixels::values(lists(&batch, "image")?))
}
