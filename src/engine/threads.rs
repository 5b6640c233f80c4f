//! Runs jobs on the threads of this process.
//!
//! A thread processes one row group at a time, from reading to encoding; results are appended in order, so that the bytes do
//! not depend on the number of threads.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;

use super::mapping::Mapping;
use super::operation::{Operation, Prepared};
use super::{Engine, Job};
use crate::error;
use crate::table::{
    Emit, FileRecord, RowGroup, TableFile, WriteOptions, batch_rows, carry_label_lists, ids, row_group_rows,
    write_table,
};

/// The engine that runs jobs in this process.
pub struct Threads {
    /// Number of threads.
    pub threads: usize,
    /// The device for models.
    pub device: Device,
}

impl Engine for Threads {
    fn run(&self, jobs: &[Job], rows_done: &(dyn Fn(u64) + Sync)) -> Result<Vec<FileRecord>> {
        // Loaded once for consecutive jobs with the same operation, such as the splits of a stage.
        let mut prepared: Option<(&Operation, Prepared)> = None;
        let mut files = Vec::with_capacity(jobs.len());
        for Job { operation, input, companion, output } in jobs {
            if prepared.as_ref().is_none_or(|(other, _)| *other != operation) {
                prepared = Some((operation, operation.prepare(&self.device)?));
            }
            let Some((_, prepared)) = &prepared else { continue };
            let table = TableFile::open(&input.path)?;
            let companion = companion.as_ref().map(|companion| TableFile::open(&companion.path)).transpose()?;
            let part = MapInput { table: &table, row_groups: input.row_groups.clone(), companion: companion.as_ref() };
            let compression_level = output.compression_level;
            let options = WriteOptions {
                compression_level,
                threads: self.threads,
                sorted: true,
                classes: None,
                label_lists: None,
            };
            let mapping = prepared.on(&table)?;
            files.push(map_table(part, (&output.folder, &output.name), options, mapping, rows_done)?);
        }
        Ok(files)
    }
}

/// The input of a map: row groups of a table, and a companion with the same rows, if there is one.
#[derive(Clone)]
pub struct MapInput<'a> {
    /// The table whose batches are mapped.
    pub table: &'a TableFile,
    /// Its row groups that are mapped.
    pub row_groups: Range<usize>,
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
/// As [`Engine::run`].
pub fn map_table(
    input: MapInput<'_>,
    (folder, name): (&Path, &str),
    options: WriteOptions,
    mapping: Mapping<'_>,
    rows_done: &(dyn Fn(u64) + Sync),
) -> Result<FileRecord> {
    let MapInput { table, row_groups, companion } = input;
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
        return write_table(folder, name, content, options, recut(table, row_groups, map)?);
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
    row_groups: Range<usize>,
    map: &'a (impl Fn(&RecordBatch, Option<&RecordBatch>, Emit<'_>) -> Result<()> + Sync),
) -> Result<impl Iterator<Item = Result<RowGroup<'a>>> + Send> {
    // A batch of images of different sizes may be as large as a row group.
    let content = table.content();
    let count = content.width().map_or(1, |_| row_group_rows(content, table.rows()) / batch_rows(content));
    let mut batches = table.batches(row_groups);
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
