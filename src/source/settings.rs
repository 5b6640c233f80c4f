//! Settings that several kinds of source share.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Outside;
use crate::image::{ImageShape, Levels};
use crate::setting::Section;

/// Images and labels of both splits in four arrays, or in two from which the test images are drawn. A `T` locates an array.
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
    /// The number of channels, where there are so many that the arrays may hold volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// Whether rows and columns are exchanged, as in the files of EMNIST.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub transpose: bool,
    /// The numbers that stand for black and white; those of the type unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
}

/// The noisy versions of the images of [`Arrays`], as many and in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NoisyArrays<T> {
    /// Of the training images.
    pub train: T,
    /// Of the test images, unless they are drawn.
    pub test: Option<T>,
}

/// Size and channels that a picture is converted to before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fit {
    /// The size.
    pub size: Size,
    /// Converted to grey (true) or RGB (false); none if all pictures must be of one kind.
    pub grey: Option<bool>,
    /// Which pages are read.
    #[serde(default, skip_serializing_if = "Pages::is_usual")]
    pub pages: Pages,
    /// The numbers that stand for black and white; those of the type unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub levels: Option<Levels>,
}

/// Which pages of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Pages {
    /// The first; the others are left out.
    First,
    /// All, each as an image.
    All,
    /// The only one: a file of several cannot be used.
    #[default]
    Error,
}

impl Pages {
    fn is_usual(&self) -> bool {
        *self == Pages::Error
    }
}

/// The size that pictures are converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// No scaling: all pictures must have the same size.
    #[default]
    Same,
    /// Scaled to these rows and columns.
    Resize([usize; 2]),
    /// Scaled until it covers these rows and columns, then cropped to the middle.
    Crop([usize; 2]),
}

/// What is done with pictures that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// Whether such a picture ends the run or is skipped.
    pub on_error: OnError,
    /// Most pictures that may be skipped.
    pub most: u64,
}

/// What is done with a picture that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnError {
    /// It ends the run, with its name.
    Fail,
    /// It is left out and listed in `rejected.parquet`.
    Skip,
}

/// Adds the settings of the conversion of pictures, and of those that cannot be decoded, to settings for a fingerprint.
pub fn of_pictures(mut settings: Value, fit: &Fit, faults: &Faults) -> Value {
    let (Fit { size, grey, pages, levels }, Faults { on_error, most }) = (fit, faults);
    match size {
        Size::Same => {}
        Size::Resize(size) => settings["resize"] = json!(size),
        Size::Crop(size) => settings["crop"] = json!(size),
    }
    if let Some(grey) = grey {
        settings["grey"] = json!(grey);
    }
    if !pages.is_usual() {
        settings["pages"] = json!(pages);
    }
    if let Some(levels) = levels {
        settings["levels"] = json!(levels);
    }
    settings["on-error"] = json!(on_error);
    settings["max-rejected"] = json!(most);
    settings
}

/// Adds the settings of the draw of test images, if they are drawn, to settings for a fingerprint.
pub fn drawn(mut settings: Value, test_fraction: Option<f64>, seed: u64) -> Value {
    if let Some(test_fraction) = test_fraction {
        settings["test-fraction"] = json!(test_fraction);
        settings["seed"] = json!(seed);
    }
    settings
}

/// [`Arrays`] as written in a pipeline file.
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
    /// Number of channels, where it is large.
    pub channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    pub transpose: Option<bool>,
    /// The numbers that stand for black and white.
    pub levels: Option<Vec<f64>>,
}

impl RawArrays {
    /// Resolves the arrays; `place` makes the location of an array from its text.
    pub fn resolve<T: PartialEq>(
        self,
        place: impl Fn(&Section<'_>, String) -> T,
        section: &mut Section<'_>,
    ) -> Option<Arrays<T>> {
        let Self { train, train_labels, test, test_labels, test_fraction, channels, transpose, levels } = self;
        let levels = resolve_levels(levels, section);
        let (channels, transpose) = (channels.map(|channels| channels as usize), transpose.unwrap_or_default());
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
        Some(Arrays { train: train?, train_labels, test, test_labels, test_fraction, channels, transpose, levels })
    }
}

impl<T: Clone + PartialEq> NoisyArrays<T> {
    /// Resolves the settings `train-noisy` and `test-noisy` beside those of the clean images; none if there are none.
    pub fn resolve(
        train: Option<T>,
        test: Option<T>,
        clean: Option<&Arrays<T>>,
        section: &mut Section<'_>,
    ) -> Option<Self> {
        let clean = clean.filter(|_| train.is_some() || test.is_some())?;
        if train.is_none() {
            section.add(
                "train-noisy",
                "is missing: the training images need noisy versions too, as those for testing have",
            );
        }
        match (&test, &clean.test) {
            (None, Some(_)) => section.add("test-noisy", "is missing: the test images need noisy versions too"),
            (Some(_), None) => {
                section.add("test-noisy", "is given, but the test images are drawn from the others: leave it out")
            }
            _ => {}
        }
        if train.as_ref() == Some(&clean.train) {
            section.add("train-noisy", "names the clean images: there is no noise to be learnt from them");
        }
        Some(Self { train: train?, test })
    }

    /// The arrays of the noisy images, with the labels and splits of the clean ones.
    pub fn beside(&self, clean: &Arrays<T>) -> Arrays<T> {
        Arrays { train: self.train.clone(), test: self.test.clone(), ..clean.clone() }
    }
}

impl Arrays<PathBuf> {
    /// The settings that decide the images, besides the files.
    pub fn decisive(&self, seed: u64) -> Value {
        let Arrays {
            train: _,
            train_labels: _,
            test: _,
            test_labels: _,
            test_fraction,
            channels: _,
            transpose,
            levels,
        } = self;
        let mut settings = if *transpose { json!({ "transpose": true }) } else { json!({}) };
        if let Some(levels) = levels {
            settings["levels"] = json!(levels);
        }
        drawn(settings, *test_fraction, seed)
    }

    /// The files that must be there, each with the name of its setting.
    pub fn places(&self, settings: [&'static str; 4]) -> Vec<(&'static str, &Path)> {
        let Arrays { train, train_labels, test, test_labels, .. } = self;
        let files = [Some(train), train_labels.as_ref(), test.as_ref(), test_labels.as_ref()];
        settings.into_iter().zip(files).filter_map(|(setting, path)| Some((setting, path?.as_path()))).collect()
    }

    /// Says which file beside that of the training images may hold their labels, where none is named.
    pub fn tell_labels(&self, section: &str, note: &dyn Fn(&str)) {
        let Some(name) = self.train.file_name().and_then(|name| name.to_str()) else { return };
        let other =
            name.replace("images", "labels").replace("imgs", "labels").replace("idx3", "idx1").replace("x_", "y_");
        let path = self.train.with_file_name(&other);
        if self.train_labels.is_none() && other != name && path.is_file() {
            let path = path.display().to_string();
            note(&format!(
                "no labels: none are named, but there is {path}; {section}.train-labels = {path:?} would read it"
            ));
        }
    }

    /// The files, each with the name of its setting.
    pub fn files(&self, settings: [&'static str; 4]) -> Vec<(&'static str, Outside)> {
        let places = self.places(settings).into_iter();
        places.map(|(setting, path)| (setting, Outside::File(path.to_owned()))).collect()
    }
}

/// Adds a problem for each key of test images that is given although `test-fraction` draws them.
pub fn refuse_given(keys: &[(&str, bool)], section: &mut Section<'_>) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        section.add(key, "is given although `test-fraction` has the test images drawn from the others; keep one");
    }
}

/// Adds a problem if pictures of pairs may be skipped.
pub fn refuse_skips(on_error: Option<OnError>, section: &mut Section<'_>) {
    if on_error == Some(OnError::Skip) {
        section.add("on-error", "\"skip\" would leave the partners of such pictures alone: leave it out for pairs");
    }
}

/// Resolves the size and channels of pictures.
pub fn resolve_fit(
    resize: Option<Vec<i64>>,
    crop: Option<Vec<i64>>,
    grey: Option<bool>,
    pages: Option<Pages>,
    levels: Option<Vec<f64>>,
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
    let pages = section.required("pages", pages).unwrap_or_default();
    Fit { size, grey, pages, levels: resolve_levels(levels, section) }
}

/// Resolves the numbers that stand for black and white, which the schema has checked to be two.
fn resolve_levels(levels: Option<Vec<f64>>, section: &mut Section<'_>) -> Option<Levels> {
    let [black, white] = levels?[..] else { return None };
    if black < white && (white - black).is_finite() {
        return Some(Levels([black, white]));
    }
    section.add(
        "levels",
        format!("[{black}, {white}] must be two finite numbers, black and white, the first the smaller"),
    );
    None
}
