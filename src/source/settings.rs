//! Settings that several kinds of source share.

mod arrays;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use arrays::{Arrays, NoisyArrays, RawArrays};

use crate::image::{ImageShape, Levels, RawLevels};
use crate::setting::Section;

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

impl Fit {
    /// The same with other levels, and pictures of their own size if `own_size`.
    pub fn with_levels(self, levels: Levels, own_size: bool) -> Self {
        Self { levels: Some(levels), size: if own_size { Size::Same } else { self.size }, ..self }
    }
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

/// Adds the settings of the draw of test and validation images, if they are drawn, to settings for a fingerprint.
pub fn drawn(mut settings: Value, test_fraction: Option<f64>, validation_fraction: f64, seed: u64) -> Value {
    let validation_fraction = (validation_fraction > 0.0).then_some(validation_fraction);
    for (key, fraction) in [("test-fraction", test_fraction), ("validation-fraction", validation_fraction)] {
        if let Some(fraction) = fraction {
            settings[key] = json!(fraction);
            settings["seed"] = json!(seed);
        }
    }
    settings
}

/// Adds a problem for each key of test images that is given although `test-fraction` draws them.
pub fn refuse_given(keys: &[(&str, bool)], section: &mut Section<'_>) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        section.add(key, "is given although `test-fraction` has the test images drawn from the others; keep one");
    }
}

/// Resolves the share of the images that are drawn for validation, 0 unless given. Adds a problem for each key of validation images
/// that is given although they are drawn, and one if nothing is left to train on.
pub fn resolve_validation(
    fraction: Option<f64>,
    keys: &[(&str, bool)],
    test_fraction: Option<f64>,
    section: &mut Section<'_>,
) -> f64 {
    let fraction = fraction.unwrap_or_default();
    for (key, _) in keys.iter().filter(|(_, given)| *given && fraction > 0.0) {
        section.add(key, "is given although `validation-fraction` has the validation images drawn; keep one");
    }
    if fraction + test_fraction.unwrap_or_default() >= 1.0 {
        section.add("validation-fraction", "leaves nothing to train on beside `test-fraction`");
    }
    fraction
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
    levels: Option<RawLevels>,
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

/// Checks the numbers that stand for black and white.
fn resolve_levels(levels: Option<RawLevels>, section: &mut Section<'_>) -> Option<Levels> {
    let levels = match levels? {
        RawLevels::Between(levels) => Levels::Between(levels),
        RawLevels::Table { clip: Some(clip), percentile: None } => Levels::Clip { clip },
        RawLevels::Table { clip: None, percentile: Some(percentile) } => Levels::Percentile { percentile },
        RawLevels::Table { .. } => {
            section.add("levels", "needs either `clip` or `percentile`");
            return None;
        }
    };
    if levels.are_possible() {
        return Some(levels);
    }
    let message = match levels.percentile() {
        Some([low, high]) => format!("[{low}, {high}] must be two shares in percent, 0 to 100, the first the smaller"),
        None => "must be two finite numbers, black and white, the first the smaller".to_owned(),
    };
    section.add("levels", message);
    None
}
