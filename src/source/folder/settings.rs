//! Settings of the source `folder`: image files in a folder.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::RawLevels;
use crate::setting::{Choice, Section};
use crate::source::settings::{Faults, Fit, OnError, Pages, refuse_skips, resolve_fit, resolve_validation};

/// Image files in a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FolderSettings {
    /// The folder; of the clean images, if there are pairs.
    pub path: PathBuf,
    /// The noisy version of each image, if there are pairs.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub pairs: Option<FolderPairs>,
    /// Where labels come from if there is no `csv`.
    pub labels: FolderLabels,
    /// The table that lists files, labels and splits.
    pub csv: Option<PathBuf>,
    /// The column of labels of a table; one with a usual name if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Whether a table may list files outside of the folder.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub outside: bool,
    /// The sub-folder of the training images.
    pub train: String,
    /// The sub-folder of the test images.
    pub test: String,
    /// The sub-folder of the validation images; one whose name says so if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// Share of the images that are for testing if there are no such sub-folders.
    pub test_fraction: f64,
    /// Share of the images, or of the training images if only these are drawn from, that are for validation if no others are.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation_fraction: f64,
    /// Size and channels that pictures are converted to.
    pub fit: Fit,
    /// What is done with files that cannot be decoded.
    pub faults: Faults,
}

/// The noisy images, and how their names and those of the clean ones show what belongs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FolderPairs {
    /// The folder of the noisy images.
    pub noisy: PathBuf,
    /// The pattern of their names: `{part}` stands for text that both names of a pair have, `*` for any text.
    pub noisy_name: String,
    /// The pattern of the names of clean images, with the same parts.
    pub clean_name: String,
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

/// Image files (PNG, JPEG, WebP, GIF, BMP, TIFF) in a folder and its sub-folders.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawFolder {
    /// The folder.
    path: Option<String>,
    /// For pairs, in place of `path`: the folder of the noisy images.
    noisy: Option<String>,
    /// For pairs: the folder of the clean images.
    clean: Option<String>,
    /// For pairs: the names of noisy images without extension, with the parts that clean ones have too in braces: `{page}_Noise*`.
    noisy_name: Option<String>,
    /// For pairs: the names of clean images, likewise: `{page}_Clean`.
    clean_name: Option<String>,
    /// Where labels come from.
    labels: Option<FolderLabels>,
    /// A CSV file with a column of files (of pairs: `noisy` and `clean`), and optionally `label` and `split`: only the files that it
    /// lists are read.
    csv: Option<String>,
    /// The column of labels of that table; `label`, `class` or `category` unless given.
    label: Option<String>,
    /// Whether a table may list files outside of the folder.
    outside: Option<bool>,
    /// The sub-folder of the training images.
    train: Option<String>,
    /// The sub-folder of the test images.
    test: Option<String>,
    /// The sub-folder of the validation images, or "none"; one called val, valid, validation or dev, in any spelling, unless given.
    validation: Option<String>,
    /// Share of the images that are for testing, where there are no such sub-folders.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation, where there are no others for it; of the training images, where there are others for
    /// testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// Scale every image to these rows and columns.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    resize: Option<Vec<i64>>,
    /// Scale every image until it covers these rows and columns, and keep the middle.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    crop: Option<Vec<i64>>,
    /// Make every image grey (true) or RGB (false); unless given, all must be of one kind.
    grey: Option<bool>,
    /// Which pages of a TIFF are read: "error" refuses a file that has several.
    pages: Option<Pages>,
    /// The numbers that stand for black and white: two, as [0, 4095] for 12 bits, or a table with `clip`, beyond which numbers become black
    /// or white, or with `percentile`; those of the type of the numbers unless given.
    levels: Option<RawLevels>,
    /// What is done with a file that cannot be read.
    on_error: Option<OnError>,
    /// How many may be skipped.
    #[schemars(range(min = 0))]
    max_rejected: Option<i64>,
}

impl Choice for FolderSettings {
    type Written = RawFolder;

    fn resolve(raw: RawFolder, section: &mut Section<'_>) -> Option<Self> {
        let fit = resolve_fit(raw.resize, raw.crop, raw.grey, raw.pages, raw.levels, section);
        let (path, pairs) = match (raw.path, raw.noisy, raw.clean) {
            (None, Some(noisy), Some(clean)) => {
                let named = [("noisy-name", raw.noisy_name.is_some()), ("clean-name", raw.clean_name.is_some())];
                for (key, _) in named.into_iter().filter(|(_, given)| *given && raw.csv.is_some()) {
                    section.add(key, "is given although `csv` says which images are pairs; keep one");
                }
                refuse_skips(raw.on_error, section);
                let noisy = section.file(noisy);
                (clean, Some(FolderPairs::resolve(noisy, raw.noisy_name, raw.clean_name, section)?))
            }
            (path, noisy, clean) => {
                let given = [
                    ("noisy", noisy.is_some()),
                    ("clean", clean.is_some()),
                    ("noisy-name", raw.noisy_name.is_some()),
                    ("clean-name", raw.clean_name.is_some()),
                ];
                for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                    section
                        .add(key, "is for pairs, which have both `noisy` and `clean`, two folders, in place of `path`");
                }
                (section.required("path", path)?, None)
            }
        };
        if raw.validation.is_some() && [&raw.train, &raw.test].contains(&&raw.validation) {
            section.add("validation", "names the folder of another split: weights are chosen by images of their own");
        }
        Some(Self {
            path: section.file(path),
            pairs,
            labels: section.required("labels", raw.labels)?,
            csv: raw.csv.map(|csv| section.file(csv)),
            label: raw.label,
            outside: section.required("outside", raw.outside)?,
            train: section.required("train", raw.train)?,
            test: section.required("test", raw.test)?,
            validation: raw.validation,
            test_fraction: section.required("test-fraction", raw.test_fraction)?,
            validation_fraction: resolve_validation(raw.validation_fraction, &[], raw.test_fraction, section),
            fit,
            faults: Faults {
                on_error: section.required("on-error", raw.on_error)?,
                most: section.required("max-rejected", raw.max_rejected)? as u64,
            },
        })
    }
}
