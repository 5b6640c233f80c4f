//! Settings that several kinds of source have.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Outside;
use crate::image::ImageShape;
use crate::setting::Section;

/// Four arrays, or where they are; or two, of which the test images are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Arrays<T> {
    /// Training images.
    pub train: T,
    /// Training labels.
    pub train_labels: Option<T>,
    /// Test images, unless they are drawn.
    pub test: Option<T>,
    /// Test labels.
    pub test_labels: Option<T>,
    /// Share of the training images that are drawn for testing instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
}

/// Size and channels that a picture is converted to before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fit {
    /// Its size.
    pub size: Size,
    /// Grey, or RGB; none if all are of one kind anyway.
    pub grey: Option<bool>,
}

/// The size that pictures get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// The one that all of them have.
    #[default]
    Same,
    /// Scaled to these rows and columns.
    Resize([usize; 2]),
    /// Scaled until it covers these rows and columns, of which the middle is kept.
    Crop([usize; 2]),
}

/// What is done with pictures that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// What the first one does.
    pub on_error: OnError,
    /// How many may be skipped.
    pub most: u64,
}

/// What is done with a picture that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnError {
    /// It ends the run, with its name.
    Fail,
    /// It is left out and listed in `rejected.parquet`.
    Skip,
}

/// Adds to settings that decide a result what is made of pictures.
pub fn of_pictures(mut settings: Value, fit: &Fit, faults: &Faults) -> Value {
    let (Fit { size, grey }, Faults { on_error, most }) = (fit, faults);
    match size {
        Size::Same => {}
        Size::Resize(size) => settings["resize"] = json!(size),
        Size::Crop(size) => settings["crop"] = json!(size),
    }
    if let Some(grey) = grey {
        settings["grey"] = json!(grey);
    }
    settings["on-error"] = json!(on_error);
    settings["max-rejected"] = json!(most);
    settings
}

/// Adds what decides which images are drawn for testing, if they are drawn.
pub fn drawn(mut settings: Value, test_fraction: Option<f64>, seed: u64) -> Value {
    if let Some(test_fraction) = test_fraction {
        settings["test-fraction"] = json!(test_fraction);
        settings["seed"] = json!(seed);
    }
    settings
}

/// Four arrays, or where they are, as a pipeline file has them.
pub struct RawArrays {
    /// Training images.
    pub train: Option<String>,
    /// Training labels.
    pub train_labels: Option<String>,
    /// Test images.
    pub test: Option<String>,
    /// Test labels.
    pub test_labels: Option<String>,
    /// Share of the training images that are drawn for testing.
    pub test_fraction: Option<f64>,
}

impl RawArrays {
    /// The arrays, with the place that each text stands for.
    pub fn resolve<T: PartialEq>(
        self,
        place: impl Fn(&Section<'_>, String) -> T,
        section: &mut Section<'_>,
    ) -> Option<Arrays<T>> {
        let Self { train, train_labels, test, test_labels, test_fraction } = self;
        let train = section.required("train", train).map(|train| place(section, train));
        if test_fraction.is_some() {
            refuse_given(&[("test", test.is_some()), ("test-labels", test_labels.is_some())], section);
        } else if test.is_none() {
            section.add("test", "is missing: name the test images, or let them be drawn with `test-fraction = 0.1`");
        }
        let placed = |text: Option<String>| text.map(|text| place(section, text));
        let (train_labels, test, test_labels) = (placed(train_labels), placed(test), placed(test_labels));
        if test.is_some() && test == train {
            let message = "names the training images: a model must not be tested on what it has seen; have some of them drawn \
                 for testing with `test-fraction = 0.1` instead";
            section.add("test", message);
        }
        Some(Arrays { train: train?, train_labels, test, test_labels, test_fraction })
    }
}

impl Arrays<PathBuf> {
    /// What decides besides the files.
    pub fn decisive(&self, seed: u64) -> Value {
        let Arrays { train: _, train_labels: _, test: _, test_labels: _, test_fraction } = self;
        drawn(json!({}), *test_fraction, seed)
    }

    /// The files, under these names of their settings.
    pub fn files(&self, settings: [&'static str; 4]) -> Vec<(&'static str, Outside)> {
        let Arrays { train, train_labels, test, test_labels, test_fraction: _ } = self;
        let files = [Some(train), train_labels.as_ref(), test.as_ref(), test_labels.as_ref()];
        let named = settings.into_iter().zip(files);
        named.filter_map(|(setting, path)| Some((setting, Outside::File(path?.clone())))).collect()
    }
}

/// Adds a problem of each key of test images that is given although they are drawn from the others.
pub fn refuse_given(keys: &[(&str, bool)], section: &mut Section<'_>) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        section.add(key, "is given although `test-fraction` has the test images drawn from the others; keep one");
    }
}

/// Size and channels of pictures as they are written.
pub fn resolve_fit(
    resize: Option<Vec<i64>>,
    crop: Option<Vec<i64>>,
    grey: Option<bool>,
    section: &mut Section<'_>,
) -> Fit {
    let sides = |sides: &[i64]| [sides[0] as usize, sides[1] as usize];
    let size = match (&resize, &crop) {
        (Some(_), Some(_)) => {
            section.add("crop", "both it and `resize` say the size; keep one");
            Size::Same
        }
        (Some(resize), None) => Size::Resize(sides(resize)),
        (None, Some(crop)) => Size::Crop(sides(crop)),
        (None, None) => Size::Same,
    };
    if let Size::Resize([rows, columns]) | Size::Crop([rows, columns]) = size
        && ImageShape::new(rows, columns, if grey == Some(false) { 3 } else { 1 }).is_none()
    {
        let (key, most) = (if resize.is_some() { "resize" } else { "crop" }, ImageShape::MAX_LEN);
        section.add(key, format!("{rows}×{columns} is too large: images have at most {most} numbers"));
    }
    Fit { size, grey }
}
