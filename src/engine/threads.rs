//! Jobs on the threads of this process.
//!
//! A row group is the unit of work of a thread, from reading to encoding; their results are appended in order, so that the bytes do
//! not depend on the number of threads.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;

use super::operation::{Mapping, Operation, Prepared};
use super::{Engine, Job};
use crate::error;
use crate::table::{Emit, FileRecord, RowGroup, TableFile, WriteOptions, batch_rows, ids, row_group_rows, write_table};

/// This process.
pub struct Threads {
    /// Number of threads.
    pub threads: usize,
    /// The device for models.
    pub device: Device,
}

impl Engine for Threads {
    fn run(&self, jobs: &[Job], rows_done: &(dyn Fn(u64) + Sync)) -> Result<Vec<FileRecord>> {
        // Loaded once for jobs of the same operation that follow each other, as the splits of a stage do.
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
            let options = WriteOptions { compression_level, threads: self.threads, sorted: true, classes: None };
            let mapping = prepared.on(&table)?;
            files.push(map_table(part, (&output.folder, &output.name), options, mapping, rows_done)?);
        }
        Ok(files)
    }
}

/// Row groups of a table, and of a table with the same rows that are seen beside them.
#[derive(Clone)]
pub struct MapInput<'a> {
    /// The table whose batches are mapped.
    pub table: &'a TableFile,
    /// Which of its row groups.
    pub row_groups: Range<usize>,
    /// The table with the same rows.
    pub companion: Option<&'a TableFile>,
}

/// Writes the table that `mapping` makes of each batch of the input to a file in a folder; `rows_done` is called with the number
/// of rows whenever some are finished.
///
/// The order of the rows, declared only if the input declares it, and the names of the labels are the input's. So are the row
/// groups, each the work of one thread, unless they are larger than limpid makes them: those of another program are read one batch
/// after the other and cut, since a row group that is written is held in memory.
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
    let options = WriteOptions { sorted: options.sorted && table.is_sorted(), classes: table.classes(), ..options };
    let map = |batch: &RecordBatch, other: Option<&RecordBatch>, emit: Emit<'_>| {
        let batch = map(batch, other)?;
        let rows = batch.num_rows() as u64;
        emit(batch)?;
        rows_done(rows);
        Ok(())
    };
    let map = &map;
    let most = row_group_rows(table.content(), table.rows()) as u64;
    if companion.is_none() && row_groups.clone().any(|index| table.row_group_rows(index) > most) {
        // Rows in order within each of its row groups need not be so in what is cut across them.
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

/// Row groups of limpid's size, whatever those of the table are.
fn recut<'a>(
    table: &TableFile,
    row_groups: Range<usize>,
    map: &'a (impl Fn(&RecordBatch, Option<&RecordBatch>, Emit<'_>) -> Result<()> + Sync),
) -> Result<impl Iterator<Item = Result<RowGroup<'a>>> + Send> {
    let count = row_group_rows(table.content(), table.rows()) / batch_rows(table.content());
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
