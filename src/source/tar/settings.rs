//! Settings of the source `tar`: pictures in tar archives.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::{RawLevels, Split};
use crate::setting::{Choice, Section};
use crate::source::settings::{Faults, Fit, OnError, Pages, refuse_given, resolve_fit, resolve_validation};

/// Pictures in tar archives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TarSettings {
    /// A pattern of paths of the training archives.
    pub train: PathBuf,
    /// A pattern of paths of the test archives, unless the test images are drawn.
    pub test: Option<PathBuf>,
    /// A pattern of paths of the validation archives, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Share of the pictures that are drawn for testing.
    pub test_fraction: Option<f64>,
    /// Share of the pictures that are drawn for validation.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
    /// The end of the names of files with labels; none if there are no labels.
    pub label: Option<String>,
    /// Size and channels that pictures are converted to.
    pub fit: Fit,
    /// What is done with pictures that cannot be decoded.
    pub faults: Faults,
}

impl TarSettings {
    /// The patterns of archives of each split that has some, with their settings.
    pub fn patterns(&self) -> impl Iterator<Item = (Split, &'static str, &PathBuf)> {
        let patterns = [
            (Split::Train, "source.tar.train", Some(&self.train)),
            (Split::Test, "source.tar.test", self.test.as_ref()),
            (Split::Validation, "source.tar.validation", self.validation.as_ref()),
        ];
        patterns.into_iter().filter_map(|(split, setting, pattern)| Some((split, setting, pattern?)))
    }
}

/// Pictures in tar archives, as WebDataset has them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawTar {
    /// The training archives: a path, in which `*`, `?`, `**`, `{000..009}` and `{a,b}` may stand for parts of names.
    train: Option<String>,
    /// The test archives, likewise.
    test: Option<String>,
    /// The validation archives, likewise.
    validation: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training images, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// The end of the names of the files with labels, or "none".
    label: Option<String>,
    /// Scale every picture to these rows and columns.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    resize: Option<Vec<i64>>,
    /// Scale every picture until it covers these rows and columns, and keep the middle.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    crop: Option<Vec<i64>>,
    /// Make every picture grey (true) or RGB (false); unless given, all must be of one kind.
    grey: Option<bool>,
    /// Which pages of a TIFF are read: "error" refuses one that has several.
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

impl Choice for TarSettings {
    type Written = RawTar;

    fn resolve(raw: RawTar, section: &mut Section<'_>) -> Option<Self> {
        let fit = resolve_fit(raw.resize, raw.crop, raw.grey, raw.pages, raw.levels, section);
        if fit.pages == Pages::All {
            section.add("pages", "cannot be \"all\": a sample is one image; \"first\" leaves the others out");
        }
        let train = section.required("train", raw.train).map(|train| section.file(train));
        if raw.test_fraction.is_some() {
            refuse_given(&[("test", raw.test.is_some())], section);
        } else if raw.test.is_none() {
            section
                .add("test", "is missing: name the test archives, or let images be drawn with `test-fraction = 0.1`");
        }
        let given = [("validation", raw.validation.is_some())];
        let validation_fraction = resolve_validation(raw.validation_fraction, &given, raw.test_fraction, section);
        Some(Self {
            train: train?,
            test: raw.test.map(|test| section.file(test)),
            validation: raw.validation.map(|validation| section.file(validation)),
            test_fraction: raw.test_fraction,
            validation_fraction,
            label: Some(section.required("label", raw.label)?).filter(|label| label != "none"),
            fit,
            faults: Faults {
                on_error: section.required("on-error", raw.on_error)?,
                most: section.required("max-rejected", raw.max_rejected)? as u64,
            },
        })
    }
}
