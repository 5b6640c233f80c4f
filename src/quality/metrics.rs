//! The files that evaluate writes: `metrics.json` with everything, `metrics.parquet` as a table of single numbers.
//!
//! Keys of `metrics.json` are those of [`Metrics`]. `metrics.parquet` is a long table: a row for each number, with `what` is
//! measured (images, features or code), on which `split`, the `metric`, the `class` (null for all together) and the `value`.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error;
use crate::image::Split;
use crate::quality::code::CodeHealth;
use crate::quality::{Baseline, Scores};
use crate::setting::flatten;
use crate::store::{MOST_TEXT, read_text};

/// The file of all metrics.
pub const METRICS: &str = "metrics.json";
/// The file that holds the numbers as a table.
pub const METRICS_TABLE: &str = "metrics.parquet";
/// The format version of both.
pub const FORMAT: u32 = 2;

/// The task of a model whose input has noise that its target has not.
pub const DENOISING: &str = "denoising";
/// The task of a model whose target is its input.
pub const RECONSTRUCTION: &str = "reconstruction";
/// The task of a model that learns from noisy images alone, and of which nobody can tell how close it comes to the clean ones.
pub const WITHOUT_CLEAN_IMAGES: &str = "denoising without clean images";

/// All scores of images, where they were left out.
pub const SCORES: &str = "scores";

/// The content of `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Metrics {
    /// Version of this file's format.
    pub format: u32,
    /// [`DENOISING`], [`RECONSTRUCTION`] or [`WITHOUT_CLEAN_IMAGES`].
    pub task: String,
    /// The split that was scored.
    pub split: Split,
    /// Number of its images.
    pub images: u64,
    /// Training images that baselines were fitted on.
    pub fit_rows: u64,
    /// Mean entropy of a clean pixel in nats: the cross-entropy of a perfect image; none without clean images.
    pub cross_entropy_floor: Option<f64>,
    /// The estimated noise, if training saw noisy images alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_levels: Option<NoiseLevels>,
    /// The model's images first, then the baselines; empty without clean images.
    pub scores: Vec<Scores>,
    /// The same for each class, in the order of the labels; empty without labels.
    pub classes: Vec<ClassScores>,
    /// The names of the labels 0, 1 and so on; none if they are numbers alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_names: Option<Vec<String>>,
    /// The scores of each column, if the images are rows of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnScore>,
    /// The model's images with the lowest error, the lowest first.
    pub best: Vec<ImageError>,
    /// Those with the highest, the highest first.
    pub worst: Vec<ImageError>,
    /// Statistics of the code; none if the model has none.
    pub code: Option<CodeHealth>,
    /// Classifiers on features; none if none can be fitted.
    pub probes: Option<Probes>,
    /// How well the error detects images of classes that training has not seen; none if there are none.
    pub anomaly: Option<Anomaly>,
    /// The course of the training, if a validation split chose its weights, or if it could end before its last epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Course>,
    /// Metrics that were left out, with reasons.
    pub omitted: Vec<Omitted>,
    /// Definitions of the scores.
    pub definitions: BTreeMap<String, String>,
}

/// The course of a training that may have ended before its last epoch, or whose weights a validation split chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Course {
    /// Epochs that were trained.
    pub epochs: u64,
    /// The epoch with the lowest loss.
    pub best_epoch: u64,
    /// The split whose loss that is.
    pub chosen_by: Split,
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epochs, best_epoch, chosen_by } = self;
        write!(f, "trained for {epochs} epochs; the lowest {} loss is that of epoch {best_epoch}", chosen_by.name())
    }
}

/// The standard deviation of the noise in the test images, estimated from these alone: the median over the images, whose pixels
/// are in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NoiseLevels {
    /// Of the noisy images.
    pub noisy: f64,
    /// Of the model's.
    pub made: f64,
}

/// Scores of the images of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClassScores {
    /// The label.
    pub class: i64,
    /// Number of its images.
    pub images: u64,
    /// As for all images; cross-entropy is over the floor of the class.
    pub scores: Vec<Scores>,
}

/// How close the model's numbers of a column are to the clean ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ColumnScore {
    /// The name of the column, with the place in its lists if it has lists.
    pub column: String,
    /// Square root of the mean squared error, in the unit of the column.
    pub rmse: f64,
    /// Share of the variance that is explained, at most 1; none of a column that is constant.
    pub r2: Option<f64>,
}

/// An image and how far the model's version of it is from the clean one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageError {
    /// Its `id`.
    pub id: i64,
    /// Its label, if it has one.
    pub label: Option<i64>,
    /// Mean squared error.
    pub mse: f64,
    /// In dB; none without any error.
    pub psnr: Option<f64>,
}

/// Classifiers on frozen features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Probes {
    /// Training images that the classifiers were fitted on.
    pub train_images: usize,
    /// Test images that they were tested on: those whose class occurs in the training split.
    pub test_images: usize,
    /// Number of classes.
    pub classes: usize,
    /// The codes first.
    pub features: Vec<Probe>,
}

/// Classifiers on one kind of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Probe {
    /// Name of the features.
    pub what: String,
    /// Origin of the features.
    pub kind: FeatureKind,
    /// Numbers for an image.
    pub size: usize,
    /// Bytes for an image, uncompressed.
    pub bytes_per_row: usize,
    /// Share of test images that logistic regression gets right.
    pub linear_accuracy: f64,
    /// Whether its fit has converged.
    pub linear_converged: bool,
    /// Share of test images that the nearest neighbours get right.
    pub neighbours_accuracy: f64,
}

/// Origin of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureKind {
    /// The model's codes, as encode wrote them.
    Codes,
    /// Principal components.
    Pca,
    /// The pixels.
    Pixels,
    /// Codes of the model before training.
    Untrained,
}

/// How well the error detects images of classes that training has not seen, held out or in the test split alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Anomaly {
    /// The classes.
    pub classes: Vec<i64>,
    /// Number of their test images.
    pub images: u64,
    /// Area under the receiver operating characteristic of the error.
    pub auroc: f64,
}

/// A metric that was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Omitted {
    /// The metric.
    pub what: String,
    /// The reason.
    pub reason: String,
}

impl Omitted {
    /// A metric, and the reason why it was left out.
    pub fn new(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { what: what.into(), reason: reason.into() }
    }
}

impl Metrics {
    /// Reads what evaluate wrote to `folder`; none if it has not.
    ///
    /// # Errors
    /// A file that cannot be read, or that evaluate did not write.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(METRICS);
        let text = match read_text(&path, MOST_TEXT) {
            Ok(text) => Ok(text),
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) if matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::FileTooLarge) => {
                Err(cause.to_string())
            }
            Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", path.display())),
        };
        let metrics = text.and_then(|text| serde_json::from_str(&text).map_err(|cause| cause.to_string()));
        metrics.and_then(Self::checked).map(Some).map_err(|cause| {
            let advice = "run the pipeline again with --only evaluate --force";
            error::data(format!("{} is not what this limpid's evaluate writes ({cause}); {advice}", path.display()))
        })
    }

    /// Checks the format and the invariants that readers of metrics rely on.
    fn checked(self) -> Result<Self, String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, expected {FORMAT}", self.format));
        }
        if self.scores.is_empty() && self.has_clean_images()
            || self.classes.iter().any(|class| class.scores.len() != self.scores.len())
        {
            return Err("it lacks scores".to_owned());
        }
        Ok(self)
    }

    /// Whether there were clean images to compare with.
    pub fn has_clean_images(&self) -> bool {
        self.task != WITHOUT_CLEAN_IMAGES
    }

    /// What the model's images are called.
    pub fn made(&self) -> &str {
        self.scores.first().map_or("denoised", |scores| &scores.what)
    }

    /// The estimated noise of the noisy images and of the model's, each with their name.
    pub fn noise(&self) -> impl Iterator<Item = (&str, f64)> {
        self.noise_levels.iter().flat_map(|levels| [("noisy input", levels.noisy), (self.made(), levels.made)])
    }

    /// The name of the class with this label, or the label if it has none.
    pub fn class_name(&self, label: i64) -> String {
        let name = || self.class_names.as_ref()?.get(usize::try_from(label).ok()?);
        name().map_or_else(|| label.to_string(), String::clone)
    }

    /// The scores of a baseline; the best ones if it occurs twice.
    pub fn baseline(&self, baseline: Baseline) -> Option<&Scores> {
        let scores = self.scores.iter().filter(|scores| scores.baseline == Some(baseline));
        scores.min_by(|a, b| a.mse.total_cmp(&b.mse))
    }

    /// The classifiers on one kind of features.
    pub fn probe(&self, kind: FeatureKind) -> Option<&Probe> {
        self.probes.as_ref()?.features.iter().find(|probe| probe.kind == kind)
    }

    /// Every number as a row: what, metric, class, value.
    fn numbers(&self) -> Vec<(String, String, Option<i64>, f64)> {
        let mut rows = Vec::new();
        let mut add = |what: &str, class: Option<i64>, values: serde_json::Value| {
            for (metric, value) in flatten(&values) {
                if let Some(value) = value.as_f64().or_else(|| value.as_bool().map(|value| f64::from(u8::from(value))))
                {
                    rows.push((what.to_owned(), metric, class, value));
                }
            }
        };
        for scores in &self.scores {
            add(&scores.what, None, json!(scores));
        }
        for class in &self.classes {
            for scores in &class.scores {
                add(&scores.what, Some(class.class), json!(scores));
            }
        }
        for ColumnScore { column, rmse, r2 } in &self.columns {
            add(self.made(), None, json!({ (format!("rmse of {column}")): rmse, (format!("r2 of {column}")): r2 }));
        }
        for (what, level) in self.noise() {
            add(what, None, json!({ "noise-level": level }));
        }
        if let Some(code) = &self.code {
            add("codes", None, json!(code));
        }
        for probe in self.probes.iter().flat_map(|probes| &probes.features) {
            add(&probe.what, None, json!(probe));
        }
        if let Some(anomaly) = &self.anomaly {
            add(self.made(), None, json!({ "anomaly-auroc": anomaly.auroc }));
        }
        // The size of the codes occurs twice, with the same value.
        let mut seen = HashSet::new();
        rows.retain(|(what, metric, class, _)| seen.insert((what.clone(), metric.clone(), *class)));
        rows
    }

    /// The numbers as a table.
    ///
    /// # Errors
    /// Arrow's, which no content causes.
    pub fn table(&self) -> Result<RecordBatch> {
        let rows = self.numbers();
        let text = |name: &str| Field::new(name, DataType::Utf8, false);
        let fields = vec![
            text("what"),
            text("split"),
            text("metric"),
            Field::new("class", DataType::Int64, true),
            Field::new("value", DataType::Float64, false),
        ];
        let split = self.split.name();
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            vec![
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|_| split))),
                Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1))),
                Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))),
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3))),
            ],
        )?)
    }
}
