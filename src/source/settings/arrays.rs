//! Settings of sources of arrays of images and labels: IDX and NumPy.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{drawn, refuse_given, resolve_levels, resolve_validation};
use crate::image::{Levels, PerSplit, RawLevels, Split};
use crate::setting::Section;
use crate::source::Outside;
use crate::source::draw::Draw;
use crate::store;

/// Images and labels of each split in two arrays, or in two from which those of other splits are drawn. A `T` locates an array.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Validation images, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<T>,
    /// Validation labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_labels: Option<T>,
    /// Share of the training images that are drawn for testing instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_fraction: Option<f64>,
    /// Share of them that are drawn for validation.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
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
    /// Of the validation images, if they are not drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<T>,
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
    /// Validation images.
    pub validation: Option<String>,
    /// Validation labels.
    pub validation_labels: Option<String>,
    /// Share of the training images that are drawn for testing.
    pub test_fraction: Option<f64>,
    /// Share of them that are drawn for validation.
    pub validation_fraction: Option<f64>,
    /// Number of channels, where it is large.
    pub channels: Option<i64>,
    /// Whether rows and columns are exchanged.
    pub transpose: Option<bool>,
    /// The numbers that stand for black and white.
    pub levels: Option<RawLevels>,
}

impl RawArrays {
    /// Resolves the arrays; `place` makes the location of an array from its text.
    pub fn resolve<T: PartialEq>(
        self,
        place: impl Fn(&Section<'_>, String) -> T,
        section: &mut Section<'_>,
    ) -> Option<Arrays<T>> {
        let Self { train, train_labels, test, test_labels, validation, validation_labels, test_fraction, .. } = self;
        let Self { validation_fraction, channels, transpose, levels, .. } = self;
        let levels = resolve_levels(levels, section);
        let (channels, transpose) = (channels.map(|channels| channels as usize), transpose.unwrap_or_default());
        let train = section.required("train", train).map(|train| place(section, train));
        if test_fraction.is_some() {
            refuse_given(&[("test", test.is_some()), ("test-labels", test_labels.is_some())], section);
        } else if test.is_none() {
            section.add("test", "is missing: name the test images, or let them be drawn with `test-fraction = 0.1`");
        }
        let given = [("validation", validation.is_some()), ("validation-labels", validation_labels.is_some())];
        let validation_fraction = resolve_validation(validation_fraction, &given, test_fraction, section);
        let placed = |text: Option<String>| text.map(|text| place(section, text));
        let (train_labels, test, test_labels) = (placed(train_labels), placed(test), placed(test_labels));
        let (validation, validation_labels) = (placed(validation), placed(validation_labels));
        if validation.is_some() && (validation == train || validation == test) {
            section.add("validation", "names the images of another split: weights are chosen by images of their own");
        }
        if test.is_some() && test == train {
            let message = "names the training images: a model must not be tested on what it has seen; have some of them drawn \
                 for testing with `test-fraction = 0.1` instead";
            section.add("test", message);
        }
        Some(Arrays {
            train: train?,
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
        })
    }
}

impl<T> Arrays<T> {
    /// The arrays of images and of labels that are named for a split.
    pub fn of(&self, split: Split) -> (Option<&T>, Option<&T>) {
        match split {
            Split::Train => (Some(&self.train), self.train_labels.as_ref()),
            Split::Test => (self.test.as_ref(), self.test_labels.as_ref()),
            Split::Validation => (self.validation.as_ref(), self.validation_labels.as_ref()),
        }
    }

    /// All arrays: of each split those of images and of labels, or none.
    pub fn all(&self) -> impl Iterator<Item = Option<&T>> {
        Split::ALL.into_iter().map(|split| self.of(split)).flat_map(|(images, labels)| [images, labels])
    }

    /// The draw of splits that have no arrays of their own.
    pub fn draw(&self, seed: u64) -> Draw {
        Draw::new(seed, self.test_fraction.unwrap_or_default(), self.validation_fraction)
    }

    /// The same arrays, located otherwise.
    ///
    /// # Errors
    /// Those of `place`.
    pub fn located<U>(&self, place: impl Fn(&T) -> Result<U>) -> Result<Arrays<U>> {
        let some = |array: &Option<T>| array.as_ref().map(&place).transpose();
        Ok(Arrays {
            train: place(&self.train)?,
            train_labels: some(&self.train_labels)?,
            test: some(&self.test)?,
            test_labels: some(&self.test_labels)?,
            validation: some(&self.validation)?,
            validation_labels: some(&self.validation_labels)?,
            test_fraction: self.test_fraction,
            validation_fraction: self.validation_fraction,
            channels: self.channels,
            transpose: self.transpose,
            levels: self.levels,
        })
    }
}

impl<T: Clone + PartialEq> NoisyArrays<T> {
    /// Resolves the settings `train-noisy`, `test-noisy` and `validation-noisy` beside those of the clean images; none if there are
    /// none.
    pub fn resolve(
        [train, test, validation]: PerSplit<Option<T>>,
        clean: Option<&Arrays<T>>,
        section: &mut Section<'_>,
    ) -> Option<Self> {
        let clean = clean.filter(|_| train.is_some() || test.is_some() || validation.is_some())?;
        if train.is_none() {
            section.add(
                "train-noisy",
                "is missing: the training images need noisy versions too, as those for testing have",
            );
        }
        let others = [("test", &test, &clean.test), ("validation", &validation, &clean.validation)];
        for (split, noisy, clean) in others {
            let key = format!("{split}-noisy");
            match (noisy, clean) {
                (None, Some(_)) => section.add(&key, format!("is missing: the {split} images need noisy versions too")),
                (Some(_), None) => section.add(
                    &key,
                    format!(
                        "is given, but the {split} images are drawn from the others, if there are any: leave it out"
                    ),
                ),
                _ => {}
            }
        }
        if train.as_ref() == Some(&clean.train) {
            section.add("train-noisy", "names the clean images: there is no noise to be learnt from them");
        }
        Some(Self { train: train?, test, validation })
    }

    /// The arrays of the noisy images, with the labels and splits of the clean ones.
    pub fn beside(&self, clean: &Arrays<T>) -> Arrays<T> {
        let Self { train, test, validation } = self.clone();
        Arrays { train, test, validation, ..clean.clone() }
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
            validation: _,
            validation_labels: _,
            test_fraction,
            validation_fraction,
            channels: _,
            transpose,
            levels,
        } = self;
        let mut settings = if *transpose { json!({ "transpose": true }) } else { json!({}) };
        if let Some(levels) = levels {
            settings["levels"] = json!(levels);
        }
        drawn(settings, *test_fraction, *validation_fraction, seed)
    }

    /// The files that must be there, each with the name of its setting.
    pub fn places(&self, settings: [&'static str; 6]) -> Vec<(&'static str, &Path)> {
        settings.into_iter().zip(self.all()).filter_map(|(setting, path)| Some((setting, path?.as_path()))).collect()
    }

    /// Says which file beside that of the training images may hold their labels, where none is named.
    pub fn tell_labels(&self, section: &str, note: &dyn Fn(&str)) {
        let Some(name) = self.train.file_name().and_then(|name| name.to_str()) else { return };
        let other =
            name.replace("images", "labels").replace("imgs", "labels").replace("idx3", "idx1").replace("x_", "y_");
        let path = self.train.with_file_name(&other);
        if self.train_labels.is_none() && other != name && store::is_file(&path) {
            let path = path.display().to_string();
            note(&format!(
                "no labels: none are named, but there is {path}; {section}.train-labels = {path:?} would read it"
            ));
        }
    }

    /// The files, each with the name of its setting.
    pub fn files(&self, settings: [&'static str; 6]) -> Vec<(&'static str, Outside)> {
        let places = self.places(settings).into_iter();
        places.map(|(setting, path)| (setting, Outside::File(path.to_owned()))).collect()
    }
}
