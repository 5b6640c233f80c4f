//! The settings of every kind of source.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
