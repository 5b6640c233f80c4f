//! Where the images come from, resolved.

use std::path::Path;

use super::raw::{RawFolder, RawIdx, RawNpy, RawNpz, RawParquet, RawSource};
use crate::image::ImageShape;
use crate::setting::{Problems, Section};
use crate::source::settings::{Arrays, Faults, Fit, FolderSettings, ParquetSettings, Size, SourceSettings};

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
    Section::new("source", folder, problems).one_of(&made, false);
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
