//! The settings of every kind of source.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the images come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum SourceSettings {
    /// MNIST, from this folder or found.
    Mnist {
        /// The folder that holds the four files.
        path: Option<PathBuf>,
        /// Where they are downloaded from if they are not found.
        mirrors: Vec<String>,
    },
    /// IDX files.
    Idx(Arrays<PathBuf>),
    /// Image files in a folder.
    Folder(FolderSettings),
    /// A column of images in Parquet files.
    Parquet(ParquetSettings),
    /// Arrays in a NumPy archive.
    Npz {
        /// The archive.
        path: PathBuf,
        /// Names of the arrays.
        arrays: Arrays<String>,
    },
    /// NumPy's files of one array.
    Npy {
        /// The files.
        arrays: Arrays<PathBuf>,
    },
    /// Digits that limpid draws itself.
    Strokes {
        /// Number of training images.
        train: u64,
        /// Number of test images.
        test: u64,
        /// Whether they are coloured.
        colour: bool,
    },
}

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

/// Image files in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FolderSettings {
    /// The folder.
    pub path: PathBuf,
    /// Where labels come from without a `csv`.
    pub labels: FolderLabels,
    /// The table that lists files, labels and splits.
    pub csv: Option<PathBuf>,
    /// Whether a table may list files outside of the folder.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub outside: bool,
    /// The sub-folder of the training images.
    pub train: String,
    /// The sub-folder of the test images.
    pub test: String,
    /// Share of the images that are for testing if there are no such sub-folders.
    pub test_fraction: f64,
    /// What is made of each picture.
    pub fit: Fit,
    /// What becomes of files that cannot be read.
    pub faults: Faults,
}

/// A column of images in Parquet files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ParquetSettings {
    /// A folder whose files say in their names which split they are.
    pub path: Option<PathBuf>,
    /// A pattern of paths of training images.
    pub train: Option<PathBuf>,
    /// A pattern of paths of test images.
    pub test: Option<PathBuf>,
    /// Share of the images that are drawn for testing, where the files do not say which are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// The column of images; the usual names are tried if none.
    pub image: Option<String>,
    /// The column of labels; `label` if there is one, if none.
    pub label: Option<String>,
    /// Rows, columns and channels of images that are plain lists of numbers.
    pub shape: Option<Vec<usize>>,
    /// What is made of each picture.
    pub fit: Fit,
    /// What becomes of pictures that cannot be read.
    pub faults: Faults,
}

/// What is made of a picture before it is stored.
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

/// What becomes of pictures that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Faults {
    /// What the first one does.
    pub on_error: OnError,
    /// How many may be skipped.
    pub most: u64,
}

/// Where the labels of image files come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum FolderLabels {
    /// The sub-folder that a file lies in, numbered in the order of the names.
    Folders,
    /// Nowhere.
    None,
}

/// What becomes of a picture that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum OnError {
    /// It ends the run, with its name.
    Fail,
    /// It is left out and listed in `rejected.parquet`.
    Skip,
}

impl SourceSettings {
    /// What decides the images, by the keys that the user knows: the fingerprint of ingest is made of it. Every setting is named,
    /// so that a new one cannot be forgotten. Where files are decides nothing: MNIST is always the same, and others are digested.
    pub fn decisive(&self, seed: u64) -> Value {
        match self {
            SourceSettings::Mnist { path: _, mirrors: _ } => json!({ "mnist": {} }),
            SourceSettings::Idx(files) => json!({ "idx": drawn(json!({}), files.of_files(), seed) }),
            SourceSettings::Folder(settings) => json!({ "folder": settings.decisive(seed) }),
            SourceSettings::Parquet(settings) => json!({ "parquet": settings.decisive(seed) }),
            // The names of arrays say which of those of one file are meant.
            SourceSettings::Npz { path: _, arrays } => {
                json!({ "npz": drawn(json!(arrays), arrays.test_fraction, seed) })
            }
            SourceSettings::Npy { arrays } => json!({ "npy": drawn(json!({}), arrays.of_files(), seed) }),
            SourceSettings::Strokes { train, test, colour } => {
                let mut strokes = json!({ "train": train, "test": test, "seed": seed });
                if *colour {
                    strokes["colour"] = json!(true);
                }
                json!({ "strokes": strokes })
            }
        }
    }
}

impl Arrays<PathBuf> {
    /// What decides besides the files.
    fn of_files(&self) -> Option<f64> {
        let Arrays { train: _, train_labels: _, test: _, test_labels: _, test_fraction } = self;
        *test_fraction
    }
}

impl FolderSettings {
    fn decisive(&self, seed: u64) -> Value {
        // Which files a table may list is decided before any is read.
        let Self { path: _, labels, csv: _, outside: _, train, test, test_fraction, fit, faults } = self;
        let settings =
            json!({ "labels": labels, "train": train, "test": test, "test-fraction": test_fraction, "seed": seed });
        of_pictures(settings, fit, faults)
    }
}

impl ParquetSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { path: _, train: _, test: _, test_fraction, image, label, shape, fit, faults } = self;
        let settings = json!({ "image": image, "label": label, "shape": shape });
        drawn(of_pictures(settings, fit, faults), *test_fraction, seed)
    }
}

/// Adds what is made of pictures.
fn of_pictures(mut settings: Value, fit: &Fit, faults: &Faults) -> Value {
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

/// Adds what decides which images are drawn for testing, where they are.
fn drawn(mut settings: Value, test_fraction: Option<f64>, seed: u64) -> Value {
    if let Some(test_fraction) = test_fraction {
        settings["test-fraction"] = json!(test_fraction);
        settings["seed"] = json!(seed);
    }
    settings
}
