//! Reads any Parquet file: its footer, and some of its columns.
//!
//! The `parquet` crate trusts what a file claims about the size of the footer, the number of rows and their sizes. Here each
//! is checked before memory is allocated for it, and missing rows are an error.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::Length;

use super::bytes::TableBytes;
use super::contain::{contained, contained_items};
use super::writer::parquet_message;
use super::{footer as guard, pages};
use crate::error;

/// Largest footer: enough for tens of thousands of row groups.
const MOST_FOOTER: u32 = 128 << 20;

/// The same batches, followed by an error if they do not add up to `rows` rows.
pub fn counted(
    mut batches: impl Iterator<Item = Result<RecordBatch, String>>,
    rows: u64,
) -> impl Iterator<Item = Result<RecordBatch, String>> {
    let mut left = Some(rows);
    std::iter::from_fn(move || match batches.next() {
        Some(Ok(batch)) => {
            left = left.and_then(|left| left.checked_sub(batch.num_rows() as u64));
            Some(if left.is_some() { Ok(batch) } else { Err(format!("it has more than {rows} rows")) })
        }
        Some(Err(cause)) => {
            left = None;
            Some(Err(cause))
        }
        None => {
            let missing = left.take().filter(|left| *left > 0)?;
            Some(Err(format!("{missing} of {rows} rows are missing")))
        }
    })
}

/// The footer of any Parquet file.
///
/// # Errors
/// A file that cannot be read or is not Parquet, or whose row groups do not have the rows that it claims.
pub fn footer(path: &Path) -> Result<ArrowReaderMetadata> {
    opened(path).map(|(_, footer)| footer)
}

/// Opens any Parquet file and reads its footer, as [`footer`] does.
pub fn opened(path: &Path) -> Result<(TableBytes, ArrowReaderMetadata)> {
    let bytes = TableBytes::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    check_footer(path, &bytes)?;
    let load = || ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::default());
    let footer = contained(|| load().map_err(|cause| parquet_message(&cause)))
        .map_err(|cause| bad(path, &format!("it is not a whole Parquet file ({cause})")))?;
    guard::check(&bytes, footer.metadata().file_metadata()).map_err(|cause| bad(path, &cause))?;
    let mut groups = footer.metadata().row_groups().iter();
    let all = groups.try_fold(0_i64, |all, group| {
        let rows = group.num_rows();
        // Only without lists is the number of values that of rows.
        let flat = |column: &&ColumnChunkMetaData| column.column_descr().max_rep_level() == 0;
        let same = group.columns().iter().filter(flat).all(|column| column.num_values() == rows);
        all.checked_add(rows).filter(|_| same && rows >= 0)
    });
    if all == Some(footer.metadata().file_metadata().num_rows()) {
        return Ok((bytes, footer));
    }
    Err(bad(path, "its footer is damaged: file, row groups and columns differ in their number of rows"))
}

/// Refuses a footer that is too large, before it is read.
fn check_footer(path: &Path, bytes: &TableBytes) -> Result<()> {
    let mut end = [0; 8];
    // The reader reports a file that is too short.
    let Some(start) = bytes.len().checked_sub(end.len() as u64) else { return Ok(()) };
    bytes.at(start).read_exact(&mut end).with_context(|| format!("cannot read {}", path.display()))?;
    let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]);
    if length > MOST_FOOTER && end.ends_with(b"PAR1") {
        let most = MOST_FOOTER >> 20;
        return Err(bad(path, &format!("its footer claims {} MiB; limpid reads up to {most}", length >> 20)));
    }
    Ok(())
}

/// Some columns of any Parquet file, by position and in the order of the file, in batches of about `bytes`, but of no more than
/// `most` rows.
///
/// # Errors
/// A file that cannot be read or claims too much; damage that shows later is the last item, as text.
pub fn columns(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    positions: &[usize],
    bytes: u64,
    most: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch, String>> + use<>> {
    let rows = metadata.metadata().file_metadata().num_rows().max(0) as u64;
    columns_in(path, metadata, positions, (bytes, most), 0..rows)
}

/// As [`columns`], in batches of about so many bytes and at most so many rows, of some rows alone: row groups without any of them are not
/// read.
///
/// # Errors
/// As [`columns`].
pub fn columns_in(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    positions: &[usize],
    (bytes, most): (u64, usize),
    rows: Range<u64>,
) -> Result<impl Iterator<Item = Result<RecordBatch, String>> + use<>> {
    check_compression(path, metadata)?;
    let file = TableBytes::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mask = ProjectionMask::roots(metadata.parquet_schema(), positions.iter().copied());
    let guarded = guard::is_guarded(metadata.metadata().file_metadata());
    let (mut groups, mut read, mut before, mut skipped) = (Vec::new(), Vec::new(), 0, 0);
    for (index, group) in metadata.metadata().row_groups().iter().enumerate() {
        let end = before + group.num_rows().max(0) as u64;
        if end <= rows.start {
            skipped = end;
        } else if before < rows.end {
            groups.push(group.clone());
            read.push(index);
        }
        before = end;
    }
    let file = file.holding(&groups, |leaf| mask.leaf_included(leaf));
    let (file, mut at_once) = (file.with_context(|| unusable(path))?, most.max(1));
    for group in &groups {
        let rows = pages::check(&file, group, |leaf| mask.leaf_included(leaf), bytes, guarded);
        at_once = at_once.min(rows.with_context(|| unusable(path))?);
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let builder = builder.with_projection(mask).with_batch_size(at_once);
    let (offset, count) = (rows.start - skipped, rows.end.saturating_sub(rows.start));
    // The reader need not select what it reads whole.
    let all = offset == 0 && count == groups.iter().map(|group| group.num_rows().max(0) as u64).sum::<u64>();
    let builder = builder.with_row_groups(read);
    let builder = if all { builder } else { builder.with_offset(offset as usize).with_limit(count as usize) };
    let reader = contained(|| builder.build());
    Ok(counted(contained_items(reader.map_err(|cause| bad(path, &cause))?), count))
}

pub fn check_compression(path: &Path, metadata: &ArrowReaderMetadata) -> Result<()> {
    let unknown = |codec: &Compression| match codec {
        Compression::BROTLI(_) => Some("brotli"),
        Compression::LZO => Some("lzo"),
        _ => None,
    };
    let mut chunks = metadata.metadata().row_groups().iter().flat_map(|group| group.columns());
    match chunks.find_map(|chunk| unknown(&chunk.compression())) {
        Some(name) => Err(bad(path, &format!("it is compressed with {name}; limpid reads zstd, snappy, gzip and lz4"))),
        None => Ok(()),
    }
}

pub fn bad(path: &Path, what: &str) -> anyhow::Error {
    error::reading(format!("{}: {what}", unusable(path)))
}

pub fn unusable(path: &Path) -> String {
    format!("cannot use {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    #[test]
    fn batches_that_do_not_add_up_end_with_an_error() {
        let batch = |rows: i64| {
            let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
            Ok(RecordBatch::try_from_iter([("id", ids)]).expect("fits"))
        };
        let read = |sizes: &[i64], rows: u64| -> Result<usize, String> {
            let batches = counted(sizes.iter().map(|size| batch(*size)), rows).collect::<Result<Vec<_>, _>>()?;
            Ok(batches.len())
        };
        assert_eq!(read(&[4, 4, 1], 9), Ok(3));
        assert_eq!(read(&[], 0), Ok(0));
        assert_eq!(read(&[4, 4], 9), Err("1 of 9 rows are missing".to_owned()));
        assert_eq!(read(&[4, 4, 4], 9), Err("it has more than 9 rows".to_owned()));
        // A failure is reported once.
        let mut failed = counted([batch(4), Err("a bad page".to_owned())].into_iter(), 9);
        assert!(failed.next().is_some_and(|first| first.is_ok()));
        assert_eq!(
            (failed.next().and_then(Result::err), failed.next().is_none()),
            (Some("a bad page".to_owned()), true)
        );
    }
}
