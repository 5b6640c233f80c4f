//! One of the Parquet files of a source.

use std::path::PathBuf;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::Schema;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::choice::Columns;
use crate::error;
use crate::image::Split;
use crate::source::rejected::Reject;
use crate::table;

/// Bytes that are read from a file at a time, before compression.
const READ_BYTES: u64 = 16 << 20;
/// One file.
pub struct Part {
    /// Its path.
    pub path: PathBuf,
    /// Its footer.
    pub metadata: ArrowReaderMetadata,
    /// Which of its columns are read.
    pub columns: Columns,
    /// The label of all its rows, if the folder says it.
    pub label: Option<i64>,
}

impl Part {
    /// Its columns.
    pub fn schema(&self) -> &Schema {
        self.metadata.schema()
    }

    /// Number of its rows.
    pub fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// The types of the columns that are read.
    pub fn types(&self) -> String {
        let types =
            self.columns.all().into_iter().map(|column| self.metadata.schema().field(column).data_type().to_string());
        types.collect::<Vec<_>>().join(" and ")
    }

    /// Reads some columns, in this order, at most so many rows at a time.
    pub fn read(
        &self,
        columns: &[usize],
        most: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, String>> + use<>> {
        let rows = table::columns(&self.path, &self.metadata, columns, READ_BYTES, most)?;
        // The reader returns columns in the order of the file.
        let position = |wanted: &usize| columns.iter().filter(|column| *column < wanted).count();
        let positions: Vec<usize> = columns.iter().map(position).collect();
        Ok(rows.map(move |batch| batch?.project(&positions).map_err(|cause| cause.to_string())))
    }
}

/// Consecutive rows of one file.
pub struct Rows {
    /// The name of the file in messages.
    pub path: String,
    /// Number of rows in the files before it.
    pub before: u64,
    /// The position of the first row in the file.
    pub first: u64,
    /// The label of all rows of the file, if its folder says it.
    pub label: Option<i64>,
    pub batch: RecordBatch,
}

/// The name of a row in messages.
pub fn row_name(path: &str, row: u64) -> String {
    format!("row {row} of {path}")
}

/// A row of a file with so many rows `before` it that cannot be used.
pub fn reject(split: Split, before: u64, path: &str, row: u64, reason: String) -> Reject {
    Reject { split, id: before + row, path: format!("{path}#{row}"), name: row_name(path, row), reason }
}

/// The error for rows that cannot be read.
pub fn damaged(path: &str, row: u64, cause: &dyn std::fmt::Display) -> anyhow::Error {
    error::reading(format!("{path} is damaged near row {row}: {cause}"))
}
