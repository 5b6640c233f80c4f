//! What has the rows of a source: the files of its settings, the file of a command, or batches in memory.

use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::Tables;
use super::choice::Wanted;
use super::part::Origin;
use crate::image::{ImageShape, PerSplit};
use crate::source::draw::Draw;
use crate::source::rejected::Rejections;
use crate::source::settings::{Faults, Fit};

impl Tables {
    /// The images of one file, in the test split, resized by `fit`: from the column `image`, or from one with a usual name.
    /// Lists without a shape have that of `usual`. An integer column `id` is kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_file(
        path: &Path,
        image: Option<&str>,
        fit: Fit,
        usual: ImageShape,
        faults: Faults,
        note: &dyn Fn(&str),
    ) -> Result<Self> {
        Self::of_one((path.to_owned(), Origin::open(path)?), image, fit, usual, Rejections::of_command(faults), note)
    }

    /// As [`Self::of_file`], of batches in memory that are called `name` in messages.
    ///
    /// # Errors
    /// Columns that are missing or of another type, and no rows.
    pub fn held(
        name: &str,
        (schema, batches): (SchemaRef, Vec<RecordBatch>),
        image: Option<&str>,
        fit: Fit,
        usual: ImageShape,
        note: &dyn Fn(&str),
    ) -> Result<Self> {
        Self::of_one(
            (name.into(), Origin::Held(schema, batches.into())),
            image,
            fit,
            usual,
            Rejections::of_call(),
            note,
        )
    }

    fn of_one(
        from: (PathBuf, Origin),
        image: Option<&str>,
        fit: Fit,
        usual: ImageShape,
        rejections: Rejections,
        note: &dyn Fn(&str),
    ) -> Result<Self> {
        let (image, usual) = (image.map(str::to_owned), Some(usual));
        let wanted = Wanted { image, noisy: None, label: None, shape: None, usual, asker: rejections.asker() };
        Self::of([Vec::new(), vec![from], Vec::new()], Draw::new(0, 0.0, 0.0), &wanted, fit, rejections, note)
    }

    /// Opens the files of each split.
    pub(super) fn opened(paths: PerSplit<Vec<PathBuf>>) -> Result<PerSplit<Vec<(PathBuf, Origin)>>> {
        let mut opened = PerSplit::<Vec<(PathBuf, Origin)>>::default();
        for (opened, paths) in opened.iter_mut().zip(paths) {
            *opened = paths
                .into_iter()
                .map(|path| Origin::open(&path).map(|origin| (path, origin)))
                .collect::<Result<_>>()?;
        }
        Ok(opened)
    }
}
