//! Where map stages run: a table in, the table that a function makes of its batches out.
//!
//! It hides reading, parallelism, order and writing, so that a map stage is a function from record batch to record batch. A row
//! group is the unit of work, from reading to encoding, here on the threads of this process.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;

use crate::error;
use crate::table::{
    Content, Emit, FileRecord, RowGroup, TableFile, WriteOptions, batch_rows, ids, row_group_rows, write_table,
};

/// What a map stage reads.
#[derive(Clone, Copy)]
pub struct MapInput<'a> {
    /// The table whose batches are mapped.
    pub table: &'a TableFile,
    /// A table with the same rows, which `map` sees beside it.
    pub companion: Option<&'a TableFile>,
}

/// Writes the table that `map` makes of each batch of the input (and of the companion's rows); `rows_done` hears of the
/// rows as they are finished.
///
/// The order of the rows, declared only if the input declares it, and the names of the labels are the input's. So are the row
/// groups, each the work of one thread from reading to encoding, unless they are larger than limpid makes them: those of another
/// program are read one batch after the other and cut, since a row group that is written is held in memory.
///
/// # Errors
/// Unreadable input, a companion with other rows, what `map` fails with, or the file system.
pub fn map_table(
    input: MapInput<'_>,
    path: (&Path, &str),
    content: Content,
    options: WriteOptions,
    map: impl Fn(&RecordBatch, Option<&RecordBatch>) -> Result<RecordBatch> + Sync,
    rows_done: impl Fn(u64) + Sync,
) -> Result<FileRecord> {
    let MapInput { table, companion } = input;
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
    if companion.is_none() && (0..table.row_groups()).any(|index| table.row_group_rows(index) > most) {
        // Rows in order within each of its row groups need not be so in what is cut across them.
        let options = WriteOptions { sorted: false, ..options };
        return write_table(path.0, path.1, content, options, recut(table, map)?);
    }
    if let Some(companion) = companion
        && (0..table.row_groups().max(companion.row_groups())).any(|index| {
            index >= table.row_groups().min(companion.row_groups())
                || table.row_group_rows(index) != companion.row_group_rows(index)
        })
    {
        return Err(mismatch(table, companion));
    }
    let row_groups = (0..table.row_groups()).map(|index| {
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
    write_table(path.0, path.1, content, options, row_groups)
}

/// Row groups of limpid's size, whatever those of the table are.
fn recut<'a>(
    table: &TableFile,
    map: &'a (impl Fn(&RecordBatch, Option<&RecordBatch>, Emit<'_>) -> Result<()> + Sync),
) -> Result<impl Iterator<Item = Result<RowGroup<'a>>> + Send> {
    let count = row_group_rows(table.content(), table.rows()) / batch_rows(table.content());
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
