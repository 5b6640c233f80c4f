//! Settings of the sources `npz` and `npy`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Numpy;
use crate::image::Levels;
use crate::progress::Progress;
use crate::setting::{Choice, Section};
use crate::source::pairs::Pairs;
use crate::source::settings::{Arrays, NoisyArrays, RawArrays, drawn};
use crate::source::{Outside, Source, SourceKind};

/// The source of these arrays, in pairs with those of noisy versions if there are any.
fn opened<T: Clone + PartialEq>(
    clean: &Arrays<T>,
    noisy: Option<&NoisyArrays<T>>,
    open: impl Fn(&Arrays<T>) -> Result<Numpy>,
) -> Result<Box<dyn Source>> {
    Ok(match noisy {
        None => Box::new(open(clean)?),
        Some(noisy) => Box::new(Pairs::new(open(clean)?, open(&noisy.beside(clean))?)?),
    })
}

/// Arrays in a NumPy archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NpzSettings {
    /// The archive.
    pub path: PathBuf,
    /// Names of the arrays.
    pub arrays: Arrays<String>,
    /// Names of those of noisy versions, if there are any.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub noisy: Option<NoisyArrays<String>>,
}

/// Arrays in a NumPy archive (`.npz`): images `[n, rows, columns]` or `[n, rows, columns, channels]`, labels `[n]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNpz {
    /// The archive.
    path: Option<String>,
    /// The array of training images.
    train: Option<String>,
    /// For pairs: the array of a noisy version of each training image.
    train_noisy: Option<String>,
    /// For pairs: that of the test images.
    test_noisy: Option<String>,
    /// The array of training labels; `y_train` if there is one, unless given.
    train_labels: Option<String>,
    /// The array of test images; `x_test` unless given, or unless they are drawn.
    test: Option<String>,
    /// The array of test labels; `y_test` if there is one, unless given.
    test_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Number of channels; needed where there are more than four, which may be volumes.
    #[schemars(range(min = 1, max = 65_536))]
    channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    transpose: Option<bool>,
    /// The numbers that stand for black and white, as [0, 4095] for 12 bits; those of the type of the numbers unless given.
    #[schemars(length(min = 2, max = 2))]
    levels: Option<Vec<f64>>,
}

impl Choice for NpzSettings {
    type Written = RawNpz;

    fn resolve(written: RawNpz, section: &mut Section<'_>) -> Option<Self> {
        let RawNpz { path, train, train_labels, test, test_labels, test_fraction, channels, transpose, .. } = written;
        let RawNpz { train_noisy, test_noisy, levels, .. } = written;
        let path = section.required("path", path)?;
        let test = test.or(test_fraction.is_none().then(|| "x_test".to_owned()));
        let names = RawArrays { train, train_labels, test, test_labels, test_fraction, channels, transpose, levels };
        let arrays = names.resolve(|_, name| name, section);
        let noisy = NoisyArrays::resolve(train_noisy, test_noisy, arrays.as_ref(), section);
        Some(Self { path: section.file(path), arrays: arrays?, noisy })
    }
}

impl SourceKind for NpzSettings {
    // The names of arrays say which of those of one file are meant.
    fn decisive(&self, seed: u64) -> Value {
        let Self { path: _, arrays, noisy } = self;
        let mut settings = json!(arrays);
        if let Some(noisy) = noisy {
            settings["noisy"] = json!(noisy);
        }
        drawn(settings, arrays.test_fraction, seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        vec![("source.npz.path", &self.path)]
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        Ok(vec![("source.npz.path", Outside::File(self.path.clone()))])
    }

    fn levels(&self) -> Option<Levels> {
        self.arrays.levels
    }

    fn is_paired(&self) -> bool {
        self.noisy.is_some()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        let note = |note: &str| progress.note(note);
        let open = |arrays: &Arrays<String>| Numpy::open_archive(&self.path, arrays, seed, &note);
        opened(&self.arrays, self.noisy.as_ref(), open)
    }
}

/// NumPy's files of one array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NpySettings {
    /// The files.
    pub arrays: Arrays<PathBuf>,
    /// Those of noisy versions, if there are any.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub noisy: Option<NoisyArrays<PathBuf>>,
}

/// NumPy's files of one array (`.npy`), as those of an archive.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawNpy {
    /// The training images.
    train: Option<String>,
    /// For pairs: a noisy version of each training image.
    train_noisy: Option<String>,
    /// For pairs: one of each test image.
    test_noisy: Option<String>,
    /// The training labels.
    train_labels: Option<String>,
    /// The test images.
    test: Option<String>,
    /// The test labels.
    test_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Number of channels; needed where there are more than four, which may be volumes.
    #[schemars(range(min = 1, max = 65_536))]
    channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    transpose: Option<bool>,
    /// The numbers that stand for black and white, as [0, 4095] for 12 bits; those of the type of the numbers unless given.
    #[schemars(length(min = 2, max = 2))]
    levels: Option<Vec<f64>>,
}

impl Choice for NpySettings {
    type Written = RawNpy;

    fn resolve(written: RawNpy, section: &mut Section<'_>) -> Option<Self> {
        let RawNpy { train, train_labels, test, test_labels, test_fraction, channels, transpose, .. } = written;
        let RawNpy { train_noisy, test_noisy, levels, .. } = written;
        let files = RawArrays { train, train_labels, test, test_labels, test_fraction, channels, transpose, levels };
        let arrays = files.resolve(|section, file| section.file(file), section);
        let [train, test] = [train_noisy, test_noisy].map(|file| file.map(|file| section.file(file)));
        let noisy = NoisyArrays::resolve(train, test, arrays.as_ref(), section);
        Some(Self { arrays: arrays?, noisy })
    }
}

/// The settings of the files.
const SETTINGS: [&str; 4] =
    ["source.npy.train", "source.npy.train-labels", "source.npy.test", "source.npy.test-labels"];

impl SourceKind for NpySettings {
    fn decisive(&self, seed: u64) -> Value {
        // The files of noisy images are digested.
        let Self { arrays, noisy: _ } = self;
        arrays.decisive(seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        self.arrays.places(SETTINGS)
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let noisy = self.noisy.iter().flat_map(|NoisyArrays { train, test }| {
            let test = test.as_ref().map(|test| ("source.npy.test-noisy", test));
            [("source.npy.train-noisy", train)].into_iter().chain(test)
        });
        let noisy = noisy.map(|(setting, file)| (setting, Outside::File(file.clone())));
        Ok(self.arrays.files(SETTINGS).into_iter().chain(noisy).collect())
    }

    fn levels(&self) -> Option<Levels> {
        self.arrays.levels
    }

    fn is_paired(&self) -> bool {
        self.noisy.is_some()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        self.arrays.tell_labels("source.npy", &|note| progress.note(note));
        opened(&self.arrays, self.noisy.as_ref(), |arrays: &Arrays<PathBuf>| Numpy::open_files(arrays, seed))
    }
}
