//! The section `[source]` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::source::settings::{FolderLabels, OnError};

/// Where the images come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawSource {
    /// The MNIST handwritten digits.
    pub mnist: Option<RawMnist>,
    /// Any IDX image files.
    pub idx: Option<RawIdx>,
    /// Image files in a folder.
    pub folder: Option<RawFolder>,
    /// A column of images in Parquet files.
    pub parquet: Option<RawParquet>,
    /// Arrays in a NumPy archive.
    pub npz: Option<RawNpz>,
    /// NumPy's files of one array.
    pub npy: Option<RawNpy>,
    /// Digits that limpid draws itself.
    pub strokes: Option<RawStrokes>,
    /// Labels whose images the training split leaves out, so that evaluate can tell whether their error betrays them.
    pub hold_out: Option<Vec<i64>>,
}

/// The MNIST handwritten digits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawMnist {
    /// The folder that holds the four files; searched for in the usual places unless given.
    pub path: Option<String>,
    /// Where the files are downloaded from, one after the other until one works; each URL ends with '/'.
    pub mirrors: Option<Vec<String>>,
}

/// Any IDX image files, raw or gzip. Relative paths start at the pipeline file's folder.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawIdx {
    /// The training images.
    pub train: Option<String>,
    /// The training labels.
    pub train_labels: Option<String>,
    /// The test images.
    pub test: Option<String>,
    /// The test labels.
    pub test_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    pub test_fraction: Option<f64>,
}

/// Image files (PNG, JPEG, WebP, BMP, TIFF) in a folder and its sub-folders.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawFolder {
    /// The folder.
    pub path: Option<String>,
    /// Where labels come from.
    pub labels: Option<FolderLabels>,
    /// A CSV file with a column of files, and optionally `label` and `split`: only the files that it lists are read.
    pub csv: Option<String>,
    /// Whether a table may list files outside of the folder.
    pub outside: Option<bool>,
    /// The sub-folder of the training images.
    pub train: Option<String>,
    /// The sub-folder of the test images.
    pub test: Option<String>,
    /// Share of the images that are for testing, where there are no such sub-folders.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    pub test_fraction: Option<f64>,
    /// Scale every image to these rows and columns.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    pub resize: Option<Vec<i64>>,
    /// Scale every image until it covers these rows and columns, and keep the middle.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    pub crop: Option<Vec<i64>>,
    /// Make every image grey (true) or RGB (false); unless given, all must be of one kind.
    pub grey: Option<bool>,
    /// What a file does that cannot be read.
    pub on_error: Option<OnError>,
    /// How many may be skipped.
    #[schemars(range(min = 0))]
    pub max_rejected: Option<i64>,
}

/// A column of images in Parquet files.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawParquet {
    /// A folder whose files, or their folders, are called train… and test… (or validation…).
    pub path: Option<String>,
    /// The training images: a path, in which `*`, `?` and `**` may stand for parts of names.
    pub train: Option<String>,
    /// The test images, likewise.
    pub test: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    pub test_fraction: Option<f64>,
    /// The column of images; `image`, `img`, `images`, `pixels` or `picture` unless given.
    pub image: Option<String>,
    /// The column of labels; `label` or `labels` if there is one, unless given.
    pub label: Option<String>,
    /// Rows, columns and, for colour, channels of images that are lists of numbers, where the file does not say.
    #[schemars(length(min = 2, max = 3), inner(range(min = 1, max = 16_384)))]
    pub shape: Option<Vec<i64>>,
    /// Scale every picture to these rows and columns.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    pub resize: Option<Vec<i64>>,
    /// Scale every picture until it covers these rows and columns, and keep the middle.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    pub crop: Option<Vec<i64>>,
    /// Make every picture grey (true) or RGB (false); unless given, all must be of one kind.
    pub grey: Option<bool>,
    /// What a picture does that cannot be read.
    pub on_error: Option<OnError>,
    /// How many may be skipped.
    #[schemars(range(min = 0))]
    pub max_rejected: Option<i64>,
}

/// Arrays in a NumPy archive (`.npz`): images `[n, rows, columns]` or `[n, rows, columns, channels]`, labels `[n]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNpz {
    /// The archive.
    pub path: Option<String>,
    /// The array of training images.
    pub train: Option<String>,
    /// The array of training labels; `y_train` if there is one, unless given.
    pub train_labels: Option<String>,
    /// The array of test images; `x_test` unless given, or unless they are drawn.
    pub test: Option<String>,
    /// The array of test labels; `y_test` if there is one, unless given.
    pub test_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    pub test_fraction: Option<f64>,
}

/// NumPy's files of one array (`.npy`), as those of an archive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNpy {
    /// The training images.
    pub train: Option<String>,
    /// The training labels.
    pub train_labels: Option<String>,
    /// The test images.
    pub test: Option<String>,
    /// The test labels.
    pub test_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    pub test_fraction: Option<f64>,
}

/// Digits that limpid draws itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawStrokes {
    /// Number of training images.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub train: Option<i64>,
    /// Number of test images.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub test: Option<i64>,
    /// Whether they are coloured digits on coloured ground.
    pub colour: Option<bool>,
}
