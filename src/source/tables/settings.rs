//! Settings of the source `parquet`: a column of images in Parquet files.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::RawLevels;
use crate::setting::{Choice, Section};
use crate::source::settings::{
    Faults, Fit, OnError, Pages, refuse_given, refuse_skips, resolve_fit, resolve_validation,
};

/// A column of images in Parquet files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ParquetSettings {
    /// A folder whose files have the split in their names.
    pub path: Option<PathBuf>,
    /// A pattern of paths of training images.
    pub train: Option<PathBuf>,
    /// A pattern of paths of test images.
    pub test: Option<PathBuf>,
    /// A pattern of paths of validation images, if there are any beside those of `train`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Share of the images that are drawn for testing, if the files do not have splits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// Share of the images that are drawn for validation, if there are no others for it.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
    /// The column of images; the usual names are tried if none.
    pub image: Option<String>,
    /// The column of noisy versions of the images, if there are pairs.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub noisy: Option<String>,
    /// The column of labels; the usual names are tried if none.
    pub label: Option<String>,
    /// Rows, columns and channels of images that are plain lists of numbers.
    pub shape: Option<Vec<usize>>,
    /// Size and channels that pictures are converted to.
    pub fit: Fit,
    /// What is done with pictures that cannot be decoded.
    pub faults: Faults,
}

/// A column of images in Parquet files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawParquet {
    /// A folder whose files, or their folders, are called train… and test… (and validation…).
    path: Option<String>,
    /// The training images: a path, in which `*`, `?` and `**` may stand for parts of names.
    train: Option<String>,
    /// The test images, likewise.
    test: Option<String>,
    /// The validation images, likewise.
    validation: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation, where there are no others for it; of the training images, where there are others for
    /// testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// The column of images; `image`, `img`, `images`, `pixels` or `picture` unless given.
    image: Option<String>,
    /// For pairs: the column of a noisy version of each image.
    noisy: Option<String>,
    /// The column of labels; `label` or `labels` if there is one, unless given.
    label: Option<String>,
    /// Rows, columns and, for colour, channels of images that are lists of numbers, where the file does not say.
    #[schemars(length(min = 2, max = 3), inner(range(min = 1, max = 16_384)))]
    shape: Option<Vec<i64>>,
    /// Scale every picture to these rows and columns.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    resize: Option<Vec<i64>>,
    /// Scale every picture until it covers these rows and columns, and keep the middle.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    crop: Option<Vec<i64>>,
    /// Make every picture grey (true) or RGB (false); unless given, all must be of one kind.
    grey: Option<bool>,
    /// Which page of a TIFF is read, "first": "error" refuses one that has several.
    pages: Option<Pages>,
    /// The numbers that stand for black and white: two, as [0, 4095] for 12 bits, or a table with `clip`, beyond which numbers become black
    /// or white, or with `percentile`; those of the type of the numbers unless given.
    levels: Option<RawLevels>,
    /// What is done with a picture that cannot be read.
    on_error: Option<OnError>,
    /// How many may be skipped.
    #[schemars(range(min = 0))]
    max_rejected: Option<i64>,
}

impl Choice for ParquetSettings {
    type Written = RawParquet;

    fn resolve(raw: RawParquet, section: &mut Section<'_>) -> Option<Self> {
        let fit = resolve_fit(raw.resize, raw.crop, raw.grey, raw.pages, raw.levels, section);
        if fit.pages == Pages::All {
            section.add("pages", "cannot be \"all\": a row is one image; \"first\" leaves the others out");
        }
        if raw.test_fraction.is_some() {
            refuse_given(&[("test", raw.test.is_some())], section);
            if raw.path.is_some() == raw.train.is_some() {
                section.add_to_all("needs either `path`, a folder, or `train`, with `test-fraction`");
            }
        } else if raw.path.is_some() == (raw.train.is_some() || raw.test.is_some())
            || raw.train.is_some() != raw.test.is_some()
        {
            section.add_to_all(
                "needs either `path`, a folder whose files are called train… and test…, or both `train` and `test`, \
                 or one of `path` and `train` with `test-fraction`",
            );
        }
        if raw.validation.is_some() && raw.train.is_none() {
            section.add(
                "validation",
                "needs `train`, a pattern too; files of `path` say in their names that they are for it",
            );
        }
        let given = [("validation", raw.validation.is_some())];
        let validation_fraction = resolve_validation(raw.validation_fraction, &given, raw.test_fraction, section);
        if raw.noisy.is_some() {
            refuse_skips(raw.on_error, section);
            if raw.noisy == raw.image {
                section.add("noisy", "names the column of the clean images: there is no noise to be learnt from it");
            }
        }
        Some(Self {
            path: raw.path.map(|path| section.file(path)),
            train: raw.train.map(|path| section.file(path)),
            test: raw.test.map(|path| section.file(path)),
            validation: raw.validation.map(|path| section.file(path)),
            test_fraction: raw.test_fraction,
            validation_fraction,
            image: raw.image,
            noisy: raw.noisy,
            label: raw.label,
            shape: raw.shape.map(|sides| sides.into_iter().map(|side| side as usize).collect()),
            fit,
            faults: Faults {
                on_error: section.required("on-error", raw.on_error)?,
                most: section.required("max-rejected", raw.max_rejected)? as u64,
            },
        })
    }
}
