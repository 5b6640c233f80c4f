//! Settings of the sources `npz` and `npy`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Numpy, names_in_npz};
use crate::image::{Levels, RawLevels};
use crate::progress::Progress;
use crate::setting::{Choice, Section};
use crate::source::pairs::Pairs;
use crate::source::settings::{Arrays, NoisyArrays, RawArrays, drawn};
use crate::source::split_name::{Role, twins};
use crate::source::{Outside, Source, SourceKind};

/// The source of these arrays, in pairs with those of noisy versions if there are any.
fn opened<T: Clone + PartialEq>(
    clean: &Arrays<T>,
    noisy: Option<&NoisyArrays<T>>,
    open: impl Fn(&Arrays<T>) -> Result<Numpy>,
) -> Result<Box<dyn Source>> {
    Ok(match noisy {
        None => Box::new(open(clean)?),
        Some(noisy) => Box::new(Pairs::new(Box::new(open(clean)?), Box::new(open(&noisy.beside(clean))?))?),
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
    /// For pairs: that of the validation images.
    validation_noisy: Option<String>,
    /// The array of training labels; `y_train` if there is one, unless given.
    train_labels: Option<String>,
    /// The array of test images; `x_test` unless given, or unless they are drawn.
    test: Option<String>,
    /// The array of test labels; `y_test` if there is one, unless given.
    test_labels: Option<String>,
    /// The array of validation images; one that is called as that of the training images, with `val` or the like for `train`, unless
    /// given.
    validation: Option<String>,
    /// The array of validation labels, likewise.
    validation_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training images, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// Number of channels; needed where there are more than four, which may be volumes.
    #[schemars(range(min = 1, max = 65_536))]
    channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    transpose: Option<bool>,
    /// The numbers that stand for black and white: two, as [0, 4095] for 12 bits, or a table with `clip`, beyond which numbers become black
    /// or white, or with `percentile`; those of the type of the numbers unless given.
    levels: Option<RawLevels>,
}

impl Choice for NpzSettings {
    type Written = RawNpz;

    fn resolve(written: RawNpz, section: &mut Section<'_>) -> Option<Self> {
        let RawNpz { path, train, train_labels, test, test_labels, validation, validation_labels, .. } = written;
        let RawNpz { test_fraction, validation_fraction, channels, transpose, levels, .. } = written;
        let noisy = [written.train_noisy, written.test_noisy, written.validation_noisy];
        let path = section.required("path", path)?;
        let test = test.or(test_fraction.is_none().then(|| "x_test".to_owned()));
        let names = RawArrays {
            train,
            train_labels,
            test,
            test_labels,
            validation,
            validation_labels,
            test_fraction,
            validation_fraction,
            channels,
            transpose,
            levels,
        };
        let arrays = names.resolve(|_, name| name, section);
        let noisy = NoisyArrays::resolve(noisy, arrays.as_ref(), section);
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
        drawn(settings, arrays.test_fraction, arrays.validation_fraction, seed)
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

    fn with_levels(&self, levels: Levels, _own_size: bool) -> Option<Box<dyn SourceKind>> {
        let arrays = Arrays { levels: Some(levels), ..self.arrays.clone() };
        Some(Box::new(Self { arrays, ..self.clone() }))
    }

    fn is_paired(&self) -> bool {
        self.noisy.is_some()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        let note = |note: &str| progress.note(note);
        let open = |arrays: &Arrays<String>| Numpy::open_archive(&self.path, arrays, seed, &note);
        let found = if self.noisy.is_none() { with_validation(&self.path, &self.arrays, &note)? } else { None };
        opened(found.as_ref().unwrap_or(&self.arrays), self.noisy.as_ref(), open)
    }
}

/// The arrays with those of validation images and labels in an archive, if none are named or drawn, and those of training images and
/// labels have a counterpart.
fn with_validation(path: &Path, arrays: &Arrays<String>, note: &dyn Fn(&str)) -> Result<Option<Arrays<String>>> {
    if arrays.validation.is_some() || arrays.validation_fraction > 0.0 {
        return Ok(None);
    }
    let names = names_in_npz(path)?;
    let beside = |name: &str| {
        let twins = twins(name, Role::Validation, names.iter().map(String::as_str));
        if let [twin] = twins[..] { Some(twin.to_owned()) } else { None }
    };
    let Some(validation) = beside(&arrays.train) else { return Ok(None) };
    note(&format!("the array {validation} of {} is for validation", path.display()));
    let labels = arrays.train_labels.as_deref().unwrap_or("y_train");
    let labels = arrays.validation_labels.clone().or_else(|| beside(labels));
    Ok(Some(Arrays { validation: Some(validation), validation_labels: labels, ..arrays.clone() }))
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
    /// For pairs: one of each validation image.
    validation_noisy: Option<String>,
    /// The training labels.
    train_labels: Option<String>,
    /// The test images.
    test: Option<String>,
    /// The test labels.
    test_labels: Option<String>,
    /// The validation images.
    validation: Option<String>,
    /// The validation labels.
    validation_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training images, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// Number of channels; needed where there are more than four, which may be volumes.
    #[schemars(range(min = 1, max = 65_536))]
    channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    transpose: Option<bool>,
    /// The numbers that stand for black and white: two, as [0, 4095] for 12 bits, or a table with `clip`, beyond which numbers become black
    /// or white, or with `percentile`; those of the type of the numbers unless given.
    levels: Option<RawLevels>,
}

impl Choice for NpySettings {
    type Written = RawNpy;

    fn resolve(written: RawNpy, section: &mut Section<'_>) -> Option<Self> {
        let RawNpy { train, train_labels, test, test_labels, validation, validation_labels, .. } = written;
        let RawNpy { test_fraction, validation_fraction, channels, transpose, levels, .. } = written;
        let noisy = [written.train_noisy, written.test_noisy, written.validation_noisy];
        let files = RawArrays {
            train,
            train_labels,
            test,
            test_labels,
            validation,
            validation_labels,
            test_fraction,
            validation_fraction,
            channels,
            transpose,
            levels,
        };
        let arrays = files.resolve(|section, file| section.file(file), section);
        let noisy = noisy.map(|file| file.map(|file| section.file(file)));
        let noisy = NoisyArrays::resolve(noisy, arrays.as_ref(), section);
        Some(Self { arrays: arrays?, noisy })
    }
}

/// The settings of the files.
const SETTINGS: [&str; 6] = [
    "source.npy.train",
    "source.npy.train-labels",
    "source.npy.test",
    "source.npy.test-labels",
    "source.npy.validation",
    "source.npy.validation-labels",
];

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
        let noisy = self.noisy.iter().flat_map(|NoisyArrays { train, test, validation }| {
            let settings = ["source.npy.train-noisy", "source.npy.test-noisy", "source.npy.validation-noisy"];
            let files = [Some(train), test.as_ref(), validation.as_ref()];
            settings.into_iter().zip(files).filter_map(|(setting, file)| Some((setting, file?)))
        });
        let noisy = noisy.map(|(setting, file)| (setting, Outside::File(file.clone())));
        Ok(self.arrays.files(SETTINGS).into_iter().chain(noisy).collect())
    }

    fn levels(&self) -> Option<Levels> {
        self.arrays.levels
    }

    fn with_levels(&self, levels: Levels, _own_size: bool) -> Option<Box<dyn SourceKind>> {
        let arrays = Arrays { levels: Some(levels), ..self.arrays.clone() };
        Some(Box::new(Self { arrays, ..self.clone() }))
    }

    fn is_paired(&self) -> bool {
        self.noisy.is_some()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        self.arrays.tell_labels("source.npy", &|note| progress.note(note));
        opened(&self.arrays, self.noisy.as_ref(), |arrays: &Arrays<PathBuf>| Numpy::open_files(arrays, seed))
    }
}
