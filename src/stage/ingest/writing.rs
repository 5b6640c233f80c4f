//! Writes images of a source to a table, and learns from them what is judged when all are written.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;

use crate::error;
use crate::image::Split;
use crate::source::{Learned, Source};
use crate::table::{FileRecord, RowGroup, WriteOptions, labels, write_table_if};

/// Writes images of one version of a source.
pub struct Writer<'a> {
    /// The version.
    pub source: &'a dyn Source,
    /// Labels whose images are left out of all splits but the test split.
    pub held_out: &'a BTreeSet<i64>,
    /// Is told the number of images of each finished batch.
    pub rows_done: &'a (dyn Fn(u64) + Sync),
    /// Those of these labels that images have.
    labels: Mutex<BTreeSet<i64>>,
    brightest: AtomicU8,
}

impl<'a> Writer<'a> {
    /// One that has written nothing.
    pub fn new(source: &'a dyn Source, held_out: &'a BTreeSet<i64>, rows_done: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self { source, held_out, rows_done, labels: Mutex::default(), brightest: AtomicU8::default() }
    }

    /// Writes row groups of a split to the file `place`, a folder and a path in it, if `check` then allows it.
    ///
    /// # Errors
    /// Those of the images, of `check`, and of [`write_table_if`]; an image without a label, where some are held out.
    pub fn write<'g>(
        &self,
        place: (&Path, &str),
        split: Split,
        options: WriteOptions,
        groups: impl Iterator<Item = Result<RowGroup<'g>>> + Send,
        check: impl FnOnce() -> Result<()>,
    ) -> Result<FileRecord> {
        // Classes are held out of training and of what chooses its weights; the test split keeps them, to measure anomaly detection.
        let held_out = if split == Split::Test { &BTreeSet::new() } else { self.held_out };
        let groups = groups.map(|group| {
            group.map(|group| -> RowGroup<'_> {
                Box::new(move |emit| {
                    group(&mut |batch| {
                        let rows = batch.num_rows() as u64;
                        self.see(&batch)?;
                        let batch = without(batch, held_out)?;
                        if batch.num_rows() > 0 {
                            emit(batch)?;
                        }
                        (self.rows_done)(rows);
                        Ok(())
                    })
                })
            })
        });
        let (classes, label_lists) = (self.source.classes(), self.source.label_lists());
        write_table_if(place, self.source.content(), WriteOptions { classes, label_lists, ..options }, groups, check)
    }

    /// What the images have shown.
    pub fn learned(self) -> Learned {
        let labels = self.labels.into_inner().unwrap_or_else(PoisonError::into_inner);
        Learned { labels, brightest: self.brightest.into_inner(), ..self.source.learned() }
    }

    fn see(&self, batch: &RecordBatch) -> Result<()> {
        self.brightest.fetch_max(brightest_of(batch), Ordering::Relaxed);
        let mut seen = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.held_out.iter().all(|label| seen.contains(label)) {
            seen.extend(labels(batch)?.iter().flatten().filter(|label| self.held_out.contains(label)));
        }
        Ok(())
    }
}

/// The largest pixel of a batch, rounded up to a byte.
fn brightest_of(batch: &RecordBatch) -> u8 {
    let values = batch.column_by_name("image").map(|image| match image.data_type() {
        DataType::FixedSizeList(..) => image.as_fixed_size_list().values(),
        _ => image.as_list::<i32>().values(),
    });
    if let Some(bytes) = values.and_then(|values| values.as_primitive_opt::<UInt8Type>()) {
        return bytes.values().iter().copied().max().unwrap_or(0);
    }
    let floats = values.and_then(|values| values.as_primitive_opt::<Float32Type>());
    floats.map_or(u8::MAX, |floats| (255.0 * floats.values().iter().copied().fold(0.0, f32::max)).ceil() as u8)
}

/// The images of a batch that have none of these labels.
///
/// # Errors
/// An image without a label, which cannot be held out or kept.
fn without(batch: RecordBatch, held_out: &BTreeSet<i64>) -> Result<RecordBatch> {
    if held_out.is_empty() {
        return Ok(batch);
    }
    let kept = labels(&batch)?.iter().map(|label| {
        let label = label.ok_or_else(|| error::data("source.hold-out needs the label of every training image"))?;
        Ok(!held_out.contains(&label))
    });
    let kept: BooleanArray = kept.collect::<Result<Vec<_>>>()?.into();
    filter_record_batch(&batch, &kept).map_err(|cause| error::bug(format!("cannot hold images out: {cause}")))
}
