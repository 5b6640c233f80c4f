//! Sources: where images come from.
//!
//! A source knows its shape and counts at once and hands out row groups, each a closure that makes the record batches of
//! one when a worker thread gets to it. To add a kind of source: a file here, a line in [`open`], its settings in
//! `config/raw.rs` and `config/resolve.rs`.

mod gzip;
mod idx;
mod mnist;
mod strokes;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow_array::RecordBatch;

pub use idx::{Header as IdxHeader, ImageReader};

use crate::config::{Pixels, SourceSettings};
use crate::error;
use crate::progress::Progress;
use crate::table::{Content, ImageShape, RowGroup, Split, batch_rows, leading_columns, pixels};

/// Images in two splits.
pub trait Source: Sync {
    /// Size of every image.
    fn shape(&self) -> ImageShape;

    /// Number of images of a split, at least 1.
    fn count(&self, split: Split) -> u64;

    /// The images of a split, `rows` to a row group.
    ///
    /// # Errors
    /// Opening fails; each row group can fail too.
    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>>;
}

/// Opens a source, downloading it first if that is what it takes.
///
/// # Errors
/// Missing, damaged or inconsistent files; no network.
pub fn open(settings: &SourceSettings, seed: u64, data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
    Ok(match settings {
        SourceSettings::Mnist { path, mirrors } => {
            Box::new(mnist::Mnist::open(path.as_deref(), mirrors, data, progress)?)
        }
        SourceSettings::Idx { train, train_labels, test, test_labels } => {
            Box::new(idx::Idx::open([(train, train_labels.as_deref()), (test, test_labels.as_deref())])?)
        }
        SourceSettings::Strokes { train, test } => Box::new(strokes::Strokes::new(seed, [*train, *test])),
    })
}

/// The size of the images, where it is known without opening a file.
pub fn known_shape(settings: &SourceSettings) -> Option<ImageShape> {
    match settings {
        SourceSettings::Mnist { .. } => Some(mnist::SHAPE),
        SourceSettings::Strokes { .. } => Some(strokes::SHAPE),
        SourceSettings::Idx { .. } => None,
    }
}

/// The files whose content decides what a source yields, by setting. MNIST and made-up images are known without looking.
pub fn files(settings: &SourceSettings) -> Vec<(&'static str, PathBuf)> {
    match settings {
        SourceSettings::Idx { train, train_labels, test, test_labels } => {
            let files = [
                ("source.idx.train", Some(train)),
                ("source.idx.train-labels", train_labels.as_ref()),
                ("source.idx.test", Some(test)),
                ("source.idx.test-labels", test_labels.as_ref()),
            ];
            files.into_iter().filter_map(|(setting, path)| Some((setting, path?.clone()))).collect()
        }
        SourceSettings::Mnist { .. } | SourceSettings::Strokes { .. } => Vec::new(),
    }
}

/// Consecutive images as bytes.
pub struct ImageBytes<'a> {
    /// The split they belong to.
    pub split: Split,
    /// Size of each.
    pub shape: ImageShape,
    /// Position of the first one in the split.
    pub first: u64,
    /// Their pixels, one image after the other.
    pub bytes: Cow<'a, [u8]>,
    /// Their labels, if there are any.
    pub labels: Option<&'a [u8]>,
}

/// The row group that these images make.
pub fn row_group_of(images: ImageBytes<'_>) -> RowGroup<'_> {
    Box::new(move |emit| {
        let ImageBytes { split, shape, first, bytes, labels } = images;
        let mut done = 0;
        for chunk in bytes.chunks(batch_rows(Content::Images(shape, Pixels::U8)) * shape.len()) {
            let rows = done..done + chunk.len() / shape.len();
            let label = |row: usize| labels.map(|labels| i64::from(labels[row]));
            done = rows.end;
            emit(batch(split, shape, first + rows.start as u64, rows.map(label).collect(), chunk.to_vec())?)?;
        }
        Ok(())
    })
}

/// A batch of images with consecutive ids.
pub fn batch(
    split: Split,
    shape: ImageShape,
    first: u64,
    labels: Vec<Option<i64>>,
    bytes: Vec<u8>,
) -> Result<RecordBatch> {
    let ids = first..first + labels.len() as u64;
    let mut columns = leading_columns(split, ids, labels).to_vec();
    columns.push(pixels::byte_column(bytes, shape.len()));
    let schema = Content::Images(shape, Pixels::U8).schema();
    RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|cause| error::bug(format!("a source made a malformed batch: {cause}")))
}
