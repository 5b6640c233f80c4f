//! The columns `id` and `split`, which commands keep: they are read before anything is made of the images, and not kept if a value in them
//! is no id or no split.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, RecordBatch};

use super::kinds::{integer, text};
use super::part::{Part, damaged};
use crate::image::Split;
use crate::{error, interrupt};

/// Rows that are read at a time.
const ROWS: usize = 1 << 16;

/// Leaves those columns of a file out of what is read, with a `note`, that cannot be kept.
///
/// # Errors
/// A file that cannot be read; interruption.
pub fn check(part: &mut Part, note: &dyn Fn(&str)) -> Result<()> {
    let path = part.path.display().to_string();
    if let Some(column) = part.columns.id
        && let Some(cause) = first_cause(part, column, |ids, row| integer(ids, row).err())?
    {
        note(&format!("the column id of {path} is not kept: {cause}; the images are numbered by their rows"));
        part.columns.id = None;
    }
    if let Some(column) = part.columns.split
        && let Some(cause) = first_cause(part, column, |names, row| split(names, row).err())?
    {
        note(&format!("the column split of {path} is not kept: {cause}; all images are in the split test"));
        part.columns.split = None;
    }
    Ok(())
}

/// What `cause` says of the first row of a column for which it says anything, with the row.
fn first_cause(part: &Part, column: usize, cause: fn(&ArrayRef, usize) -> Option<String>) -> Result<Option<String>> {
    let mut first = 0;
    for batch in part.read(&[column], ROWS)? {
        let batch = batch.map_err(|cause| damaged(&part.path.display().to_string(), first, &cause))?;
        for row in 0..batch.num_rows() {
            // Sliced to one row, since reading a dictionary converts the keys of all rows.
            if let Some(cause) = cause(&batch.column(0).slice(row, 1), 0) {
                return Ok(Some(format!("that of row {} {cause}", first + row as u64)));
            }
        }
        first += batch.num_rows() as u64;
        interrupt::check()?;
    }
    Ok(None)
}

/// The split that a row names.
///
/// # Errors
/// It names none; as text that follows the name of the value.
pub fn split(column: &ArrayRef, row: usize) -> Result<Split, String> {
    let name = text(column, row).ok_or("is null")?;
    let named = Split::ALL.into_iter().find(|split| split.name() == name);
    named.ok_or_else(|| format!("is {:?}, and not train, test or validation", crate::text::shortened(name, 40)))
}

/// The batch with these splits in its column `split`.
///
/// # Errors
/// Another number of rows.
pub fn with_splits(batch: &RecordBatch, splits: impl Iterator<Item = Split>) -> Result<RecordBatch> {
    let splits: DictionaryArray<Int32Type> = splits.map(Split::name).collect();
    let mut columns = batch.columns().to_vec();
    columns[batch.schema_ref().index_of("split")?] = Arc::new(splits);
    RecordBatch::try_new(batch.schema(), columns).map_err(|cause| error::bug(format!("cannot keep splits: {cause}")))
}
