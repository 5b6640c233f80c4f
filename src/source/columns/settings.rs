//! Settings of the source `columns`: tables with a column for each pixel.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::setting::{Choice, Section};
use crate::source::settings::{refuse_given, resolve_validation};

/// Tables with a column for each pixel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ColumnsSettings {
    /// The table of the training images.
    pub train: PathBuf,
    /// The table of the test images, unless they are drawn.
    pub test: Option<PathBuf>,
    /// The table of the validation images, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Share of the images that are drawn for testing.
    pub test_fraction: Option<f64>,
    /// Share of the images that are drawn for validation.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
    /// The column of labels; one with a usual name if none.
    pub label: Option<String>,
    /// Rows, columns and channels; a grey square if none.
    pub shape: Option<Vec<usize>>,
}

/// Tables (CSV, also gzip, or Parquet) with a column for each pixel.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawColumns {
    /// The table of the training images.
    train: Option<String>,
    /// The table of the test images.
    test: Option<String>,
    /// The table of the validation images.
    validation: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training images, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// The column of labels, or "none"; `label`, `labels` or `class` unless given.
    label: Option<String>,
    /// Rows, columns and, for colour, channels; a grey square unless given.
    #[schemars(length(min = 2, max = 3), inner(range(min = 1, max = 16_384)))]
    shape: Option<Vec<i64>>,
}

impl Choice for ColumnsSettings {
    type Written = RawColumns;

    fn resolve(written: RawColumns, section: &mut Section<'_>) -> Option<Self> {
        let RawColumns { train, test, validation, test_fraction, validation_fraction, label, shape } = written;
        let train = section.required("train", train).map(|train| section.file(train));
        if test_fraction.is_some() {
            refuse_given(&[("test", test.is_some())], section);
        } else if test.is_none() {
            section.add("test", "is missing: name the test images, or let them be drawn with `test-fraction = 0.1`");
        }
        let given = [("validation", validation.is_some())];
        let validation_fraction = resolve_validation(validation_fraction, &given, test_fraction, section);
        let [test, validation] = [test, validation].map(|path| path.map(|path| section.file(path)));
        if validation.is_some() && (validation == train || validation == test) {
            section.add("validation", "names the images of another split: weights are chosen by images of their own");
        }
        if test.is_some() && test == train {
            section.add("test", "names the training images: a model must not be tested on what it has seen");
        }
        let shape = shape.map(|sides| sides.into_iter().map(|side| side as usize).collect());
        Some(Self { train: train?, test, validation, test_fraction, validation_fraction, label, shape })
    }
}
