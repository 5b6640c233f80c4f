//! Runs jobs on the threads of this process.
//!
//! A thread processes one row group at a time, from reading to encoding; results are appended in order, so that the bytes do
//! not depend on the number of threads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;

use super::Job;
use super::mapping::Mapping;
use super::operation::{Operation, Prepared};
use crate::error;
use crate::store;
use crate::table::{
    Emit, FileRecord, RowGroup, TableFile, WriteOptions, batch_rows, carry_label_lists, ids, row_group_rows,
    write_table,
};

/// Runs jobs in this process.
pub struct Threads {
    threads: usize,
    device: Device,
    /// The last operation: the jobs of a stage share it, with its model.
    prepared: Mutex<Option<(Operation, Arc<Prepared>)>>,
}

impl Threads {
    /// So many threads, and the device for models.
    pub fn new(threads: usize, device: Device) -> Self {
        Self { threads, device, prepared: Mutex::new(None) }
    }

    /// Writes the file of a job; `rows_done` is called with the number of rows of each finished batch. The file appears under its
    /// name when it is whole.
    ///
    /// # Errors
    /// Unreadable input, a companion with other rows, errors of the operation or of the store.
    pub fn run(&self, job: &Job, rows_done: &(dyn Fn(u64) + Sync)) -> Result<FileRecord> {
        let Job { operation, input, companion, output } = job;
        let prepared = self.prepare(operation)?;
        let table = TableFile::open(&input.path)?;
        let companion = companion.as_ref().map(|companion| TableFile::open(&companion.path)).transpose()?;
        let options = WriteOptions { at_once: true, ..WriteOptions::new(output.compression_level, self.threads) };
        let input = MapInput { table: &table, companion: companion.as_ref() };
        let file = map_table(input, (&output.folder, &output.name), options, prepared.on(&table)?, rows_done)?;
        store::of(&output.folder).sync_folder(&output.folder).map(|()| file)
    }

    fn prepare(&self, operation: &Operation) -> Result<Arc<Prepared>> {
        let mut last = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, prepared)) = last.as_ref().filter(|(other, _)| other == operation) {
            return Ok(Arc::clone(prepared));
        }
        let prepared = Arc::new(operation.prepare(&self.device)?);
        *last = Some((operation.clone(), Arc::clone(&prepared)));
        Ok(prepared)
    }
}

/// The input of a map: a file, and a companion with the same rows, if there is one.
#[derive(Clone, Copy)]
pub struct MapInput<'a> {
    /// The table whose batches are mapped.
    pub table: &'a TableFile,
    /// The table with the same rows.
    pub companion: Option<&'a TableFile>,
}

/// Applies `mapping` to each batch of the input and writes the results to a file in a folder; `rows_done` is called with the
/// number of rows of each finished batch.
///
/// The output has the input's order of rows, declared as sorted only if the input declares it, and its names of labels. It also
/// has the input's row groups, unless they are larger than limpid's: those of another program are read in sequence and split,
/// since a row group is held in memory while it is written.
///
/// # Errors
/// As [`Threads::run`].
pub fn map_table(
    input: MapInput<'_>,
    (folder, name): (&Path, &str),
    options: WriteOptions,
    mapping: Mapping<'_>,
    rows_done: &(dyn Fn(u64) + Sync),
) -> Result<FileRecord> {
    let MapInput { table, companion } = input;
    let row_groups = 0..table.row_groups();
    let Mapping { content, map } = mapping;
    let (classes, label_lists) = (table.classes(), table.label_lists());
    let options = WriteOptions { sorted: options.sorted && table.is_sorted(), classes, label_lists, ..options };
    let map = |batch: &RecordBatch, other: Option<&RecordBatch>, emit: Emit<'_>| {
        let rows = batch.num_rows() as u64;
        emit(carry_label_lists(batch, map(batch, other)?)?)?;
        rows_done(rows);
        Ok(())
    };
    let map = &map;
    if companion.is_none() && row_groups.clone().any(|index| table.is_oversized(index)) {
        // Rows that are sorted within each row group of the input may be unsorted in one that spans several.
        let options = WriteOptions { sorted: false, ..options };
        return write_table(folder, name, content, options, recut(table, map)?);
    }
    if let Some(companion) = companion
        && (companion.row_groups() != table.row_groups()
            || row_groups.clone().any(|index| table.row_group_rows(index) != companion.row_group_rows(index)))
    {
        return Err(mismatch(table, companion));
    }
    let row_groups = row_groups.map(|index| {
        let group: RowGroup<'_> = Box::new(move |emit| {
            let mut beside = companion.map(|companion| companion.row_group(index)).transpose()?;
            for batch in table.row_group(index)? {
                let batch = batch?;
                let other = beside.as_mut().and_then(Iterator::next).transpose()?;
                if let (Some(other), Some(companion)) = (&other, companion)
                    && ids(other)? != ids(&batch)?
                {
                    return Err(mismatch(table, companion));
                }
                map(&batch, other.as_ref(), emit)?;
            }
            Ok(())
        });
        Ok(group)
    });
    write_table(folder, name, content, options, row_groups)
}

/// Splits the rows into row groups of limpid's size, mapped by `map`.
fn recut<'a>(
    table: &TableFile,
    map: &'a (impl Fn(&RecordBatch, Option<&RecordBatch>, Emit<'_>) -> Result<()> + Sync),
) -> Result<impl Iterator<Item = Result<RowGroup<'a>>> + Send> {
    // A batch of images of different sizes may be as large as a row group.
    let content = table.content();
    let count = content.width().map_or(1, |_| row_group_rows(content, table.rows()) / batch_rows(content));
    let mut batches = table.all();
    Ok(std::iter::from_fn(move || {
        let group = batches.by_ref().take(count).collect::<Result<Vec<_>>>();
        if group.as_ref().is_ok_and(Vec::is_empty) {
            return None;
        }
        Some(group.map(|group| -> RowGroup<'a> {
            Box::new(move |emit| group.iter().try_for_each(|batch| map(batch, None, emit)))
        }))
    }))
}

fn mismatch(table: &TableFile, companion: &TableFile) -> anyhow::Error {
    let (table, companion) = (table.path().display(), companion.path().display());
    error::data(format!("{table} and {companion} do not hold the same rows"))
}
