//! Settings of the source `vectors`: tables whose rows are the numbers of some columns.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::{Choice, Section};
use crate::source::settings::{refuse_given, resolve_validation};

/// Tables whose rows are the numbers of some columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VectorsSettings {
    /// A pattern of paths of tables of training rows.
    pub train: PathBuf,
    /// A pattern of paths of tables of test rows, unless they are drawn.
    pub test: Option<PathBuf>,
    /// A pattern of paths of tables of validation rows, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Share of the rows that are drawn for testing.
    pub test_fraction: Option<f64>,
    /// Share of the rows that are drawn for validation.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
    /// Names or patterns of the columns of numbers; all of them if there are none.
    pub columns: Vec<String>,
    /// Names or patterns of columns that are not read.
    pub exclude: Vec<String>,
    /// The column of labels; one with a usual name if none.
    pub label: Option<String>,
    /// How columns are scaled to [0, 1].
    pub scale: Scale,
    /// What is done with missing numbers.
    pub missing: Missing,
}

/// How a column is scaled to [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Scale {
    /// From its least to its greatest number in the training rows.
    MinMax,
    /// From four standard deviations below to four above its mean in the training rows.
    Standard,
}

/// What is done with missing numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Missing {
    /// They end the run, with their row and column.
    Error,
    /// The mean of the column in the training rows takes their place.
    Mean,
}

/// Tables (CSV, also gzip, or Parquet) whose rows are the numbers of some columns, each scaled to [0, 1].
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawVectors {
    /// The table of training rows: a path, in which `*`, `?` and `**` may stand for parts of names.
    train: Option<String>,
    /// The table of test rows, likewise.
    test: Option<String>,
    /// The table of validation rows, likewise.
    validation: Option<String>,
    /// Share of the rows that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training rows, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// The columns of numbers, by names in which `*` and `?` may stand for parts, or one column of lists; all unless given.
    #[schemars(length(min = 1, max = 65_536))]
    columns: Option<Vec<String>>,
    /// Columns that are left out, likewise.
    #[schemars(length(max = 65_536))]
    exclude: Option<Vec<String>>,
    /// The column of labels, or "none"; `label`, `labels` or `class` unless given.
    label: Option<String>,
    /// Which numbers of a column become 0 and 1: the least and the greatest of the training rows, or the mean less and plus four
    /// standard deviations.
    scale: Option<Scale>,
    /// Whether a missing number ends the run, or the mean of its column takes its place.
    missing: Option<Missing>,
}

impl Choice for VectorsSettings {
    type Written = RawVectors;

    fn resolve(written: RawVectors, section: &mut Section<'_>) -> Option<Self> {
        let RawVectors { train, test, validation, test_fraction, validation_fraction, .. } = written;
        let RawVectors { columns, exclude, label, scale, missing, .. } = written;
        let train = section.required("train", train).map(|train| section.file(train));
        if test_fraction.is_some() {
            refuse_given(&[("test", test.is_some())], section);
        } else if test.is_none() {
            section.add("test", "is missing: name the test rows, or let them be drawn with `test-fraction = 0.1`");
        }
        let given = [("validation", validation.is_some())];
        let validation_fraction = resolve_validation(validation_fraction, &given, test_fraction, section);
        let [test, validation] = [test, validation].map(|path| path.map(|path| section.file(path)));
        if validation.is_some() && (validation == train || validation == test) {
            section.add("validation", "names the rows of another split: weights are chosen by rows of their own");
        }
        if test.is_some() && test == train {
            section.add("test", "names the training rows: a model must not be tested on what it has seen");
        }
        Some(Self {
            train: train?,
            test,
            validation,
            test_fraction,
            validation_fraction,
            columns: columns.unwrap_or_default(),
            exclude: exclude.unwrap_or_default(),
            label,
            scale: section.required("scale", scale)?,
            missing: section.required("missing", missing)?,
        })
    }
}
