//! Where the images come from, resolved.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::raw::{FolderLabels, OnError, RawFolder, RawIdx, RawNpy, RawNpz, RawParquet, RawSource};
use super::resolve::Problems;
use crate::image::ImageShape;

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

/// Resolves the choice of a source. Relative paths start at `folder`.
pub(super) fn resolve(raw: RawSource, folder: &Path, problems: &mut Problems) -> Option<SourceSettings> {
    let RawSource { mnist, idx, folder: images, parquet, npz, npy, strokes, hold_out: _ } = raw;
    let made = [
        ("mnist", mnist.is_some()),
        ("idx", idx.is_some()),
        ("folder", images.is_some()),
        ("parquet", parquet.is_some()),
        ("npz", npz.is_some()),
        ("npy", npy.is_some()),
        ("strokes", strokes.is_some()),
    ];
    problems.one_of("source", &made, false);
    let path = |path: String| folder.join(path);
    if let Some(mnist) = mnist {
        let mirrors = problems.required("source.mnist.mirrors", mnist.mirrors)?;
        return Some(SourceSettings::Mnist { path: mnist.path.map(path), mirrors });
    }
    if let Some(RawIdx { train, train_labels, test, test_labels, test_fraction }) = idx {
        let files = Written { train, train_labels, test, test_labels, test_fraction };
        return Some(SourceSettings::Idx(files.resolve("source.idx", path, problems)?));
    }
    if let Some(images) = images {
        return resolve_folder(images, folder, problems);
    }
    if let Some(tables) = parquet {
        return resolve_parquet(tables, folder, problems);
    }
    if let Some(RawNpz { path: archive, train, train_labels, test, test_labels, test_fraction }) = npz {
        let archive = path(problems.required("source.npz.path", archive)?);
        let test = test.or(test_fraction.is_none().then(|| "x_test".to_owned()));
        let names = Written { train, train_labels, test, test_labels, test_fraction };
        let arrays = names.resolve("source.npz", |name| name, problems)?;
        return Some(SourceSettings::Npz { path: archive, arrays });
    }
    if let Some(RawNpy { train, train_labels, test, test_labels, test_fraction }) = npy {
        let files = Written { train, train_labels, test, test_labels, test_fraction };
        return Some(SourceSettings::Npy { arrays: files.resolve("source.npy", path, problems)? });
    }
    let strokes = strokes?;
    let train = problems.required("source.strokes.train", strokes.train)? as u64;
    let test = problems.required("source.strokes.test", strokes.test)? as u64;
    let colour = problems.required("source.strokes.colour", strokes.colour)?;
    Some(SourceSettings::Strokes { train, test, colour })
}

/// Where four arrays are, as it is written.
struct Written {
    train: Option<String>,
    train_labels: Option<String>,
    test: Option<String>,
    test_labels: Option<String>,
    test_fraction: Option<f64>,
}

impl Written {
    /// What is written in `section`, with `place` of each.
    fn resolve<T: PartialEq>(
        self,
        section: &str,
        place: impl Fn(String) -> T,
        problems: &mut Problems,
    ) -> Option<Arrays<T>> {
        let Self { train, train_labels, test, test_labels, test_fraction } = self;
        let train = problems.required(&format!("{section}.train"), train).map(&place);
        if test_fraction.is_some() {
            refuse_given(section, &[("test", test.is_some()), ("test-labels", test_labels.is_some())], problems);
        } else if test.is_none() {
            let message = "is missing: name the test images, or let them be drawn with `test-fraction = 0.1`";
            problems.add(&format!("{section}.test"), message);
        }
        let (train_labels, test, test_labels) = (train_labels.map(&place), test.map(&place), test_labels.map(&place));
        if test.is_some() && test == train {
            let message = "names the training images: a model must not be tested on what it has seen; have some of them drawn \
                 for testing with `test-fraction = 0.1` instead";
            problems.add(&format!("{section}.test"), message);
        }
        Some(Arrays { train: train?, train_labels, test, test_labels, test_fraction })
    }
}

/// Refuses keys of a section that speak of test images besides those that are drawn.
fn refuse_given(section: &str, keys: &[(&str, bool)], problems: &mut Problems) {
    for (key, _) in keys.iter().filter(|(_, given)| *given) {
        let message = "is given although `test-fraction` has the test images drawn from the others; keep one";
        problems.add(&format!("{section}.{key}"), message);
    }
}

fn resolve_folder(raw: RawFolder, folder: &Path, problems: &mut Problems) -> Option<SourceSettings> {
    let fit = resolve_fit("source.folder", raw.resize, raw.crop, raw.grey, problems);
    Some(SourceSettings::Folder(FolderSettings {
        path: folder.join(problems.required("source.folder.path", raw.path)?),
        labels: problems.required("source.folder.labels", raw.labels)?,
        csv: raw.csv.map(|csv| folder.join(csv)),
        outside: problems.required("source.folder.outside", raw.outside)?,
        train: problems.required("source.folder.train", raw.train)?,
        test: problems.required("source.folder.test", raw.test)?,
        test_fraction: problems.required("source.folder.test-fraction", raw.test_fraction)?,
        fit,
        faults: Faults {
            on_error: problems.required("source.folder.on-error", raw.on_error)?,
            most: problems.required("source.folder.max-rejected", raw.max_rejected)? as u64,
        },
    }))
}

fn resolve_parquet(raw: RawParquet, folder: &Path, problems: &mut Problems) -> Option<SourceSettings> {
    let fit = resolve_fit("source.parquet", raw.resize, raw.crop, raw.grey, problems);
    if raw.test_fraction.is_some() {
        refuse_given("source.parquet", &[("test", raw.test.is_some())], problems);
        if raw.path.is_some() == raw.train.is_some() {
            problems.add("source.parquet", "needs either `path`, a folder, or `train`, with `test-fraction`");
        }
    } else if raw.path.is_some() == (raw.train.is_some() || raw.test.is_some())
        || raw.train.is_some() != raw.test.is_some()
    {
        let message = "needs either `path`, a folder whose files are called train… and test…, or both `train` and `test`, \
             or one of `path` and `train` with `test-fraction`";
        problems.add("source.parquet", message.to_owned());
    }
    let path = |path: String| folder.join(path);
    Some(SourceSettings::Parquet(ParquetSettings {
        path: raw.path.map(path),
        train: raw.train.map(path),
        test: raw.test.map(path),
        test_fraction: raw.test_fraction,
        image: raw.image,
        label: raw.label,
        shape: raw.shape.map(|sides| sides.into_iter().map(|side| side as usize).collect()),
        fit,
        faults: Faults {
            on_error: problems.required("source.parquet.on-error", raw.on_error)?,
            most: problems.required("source.parquet.max-rejected", raw.max_rejected)? as u64,
        },
    }))
}

fn resolve_fit(
    section: &str,
    resize: Option<Vec<i64>>,
    crop: Option<Vec<i64>>,
    grey: Option<bool>,
    problems: &mut Problems,
) -> Fit {
    let sides = |sides: &[i64]| [sides[0] as usize, sides[1] as usize];
    let size = match (&resize, &crop) {
        (Some(_), Some(_)) => {
            problems.add(&format!("{section}.crop"), "both it and `resize` say the size; keep one".to_owned());
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
        problems.add(
            &format!("{section}.{key}"),
            format!("{rows}×{columns} is too large: images have at most {most} numbers"),
        );
    }
    Fit { size, grey }
}
