//! One of the Parquet files of a source, or a table in memory.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::choice::Columns;
use crate::error;
use crate::image::Split;
use crate::source::explained;
use crate::source::rejected::Reject;
use crate::table;

/// Bytes that are read from a file at a time, before compression.
const READ_BYTES: u64 = 16 << 20;
/// What has the rows.
pub enum Origin {
    /// A file with this footer.
    File(Box<ArrowReaderMetadata>),
    /// Batches in memory.
    Held(SchemaRef, Arc<[RecordBatch]>),
    /// A file of so many rows, whose footer is read when its rows are. Its columns are known, and not here.
    Closed(u64, Schema),
}

impl Origin {
    /// Reads the footer of a file.
    ///
    /// # Errors
    /// A file that cannot be read or is not Parquet.
    pub fn open(path: &Path) -> Result<Self> {
        let footer = table::footer(path).map_err(|cause| explained(path, "a Parquet file", cause))?;
        Ok(Self::File(Box::new(footer)))
    }

    /// Its columns.
    pub fn schema(&self) -> &Schema {
        match self {
            Self::File(metadata) => metadata.schema(),
            Self::Held(schema, _) => schema,
            Self::Closed(_, schema) => schema,
        }
    }
}

/// Batches of a file, or the reason why there are no more.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// One file.
pub struct Part {
    /// Its path, or the name of what is in memory.
    pub path: PathBuf,
    /// What has its rows.
    pub origin: Origin,
    /// Which of its columns are read.
    pub columns: Columns,
    /// The label of all its rows, if the folder says it.
    pub label: Option<i64>,
}

impl Part {
    /// Its columns.
    pub fn schema(&self) -> &Schema {
        self.origin.schema()
    }

    /// Number of its rows.
    pub fn rows(&self) -> u64 {
        match &self.origin {
            Origin::File(metadata) => metadata.metadata().file_metadata().num_rows().max(0) as u64,
            Origin::Held(_, batches) => batches.iter().map(|batch| batch.num_rows() as u64).sum(),
            Origin::Closed(rows, _) => *rows,
        }
    }

    /// The types of the columns that are read.
    pub fn types(&self) -> String {
        let types = self.columns.all().into_iter().map(|column| self.schema().field(column).data_type().to_string());
        types.collect::<Vec<_>>().join(" and ")
    }

    /// Reads some columns, in this order, at most so many rows at a time.
    ///
    /// # Errors
    /// As [`table::columns`].
    pub fn read(&self, columns: &[usize], most: usize) -> Result<Batches> {
        self.read_in(columns, most, 0..self.rows())
    }

    /// As [`Self::read`], of some rows alone.
    ///
    /// # Errors
    /// As [`table::columns`]; a file that has other rows than it had.
    pub fn read_in(&self, columns: &[usize], most: usize, rows: Range<u64>) -> Result<Batches> {
        let projected =
            |batch: &RecordBatch, positions: &[usize]| batch.project(positions).map_err(|cause| cause.to_string());
        match &self.origin {
            Origin::File(metadata) => {
                let rows = table::columns_in(&self.path, metadata, columns, (READ_BYTES, most), rows)?;
                // The reader returns columns in the order of the file, each once.
                let distinct = BTreeSet::from_iter(columns);
                let position = |wanted: &usize| distinct.iter().filter(|column| **column < wanted).count();
                let positions: Vec<usize> = columns.iter().map(position).collect();
                Ok(Box::new(rows.map(move |batch| projected(&batch?, &positions))))
            }
            Origin::Closed(expected, _) => {
                let opened = Self { path: self.path.clone(), origin: Origin::open(&self.path)?, ..*self };
                if opened.rows() == *expected {
                    return opened.read_in(columns, most, rows);
                }
                let (path, found) = (self.path.display(), opened.rows());
                Err(error::io(format!("{path} has {found} rows, and had {expected}; run the same command again")))
            }
            // Only files are read in part.
            Origin::Held(_, batches) => {
                let (batches, columns, most) = (batches.clone(), columns.to_vec(), most.max(1));
                let count = batches.len();
                Ok(Box::new((0..count).flat_map(move |at| {
                    let (batch, columns) = (batches[at].clone(), columns.clone());
                    let starts = (0..batch.num_rows()).step_by(most);
                    starts
                        .map(move |start| projected(&batch.slice(start, most.min(batch.num_rows() - start)), &columns))
                })))
            }
        }
    }

    /// Some rows of the columns that are read, with so many rows in the files `before` this one, at most so many rows at a time.
    pub fn pieces(
        &self,
        before: u64,
        most: usize,
        rows: Range<u64>,
    ) -> impl Iterator<Item = Result<Rows>> + Send + use<> {
        let (path, label, mut first) = (self.path.display().to_string(), self.label, rows.start);
        let (reader, failure) = match self.read_in(&self.columns.all(), most, rows) {
            Ok(reader) => (Some(reader), None),
            Err(cause) => (None, Some(Err(cause))),
        };
        let rows = reader.into_iter().flatten().map(move |batch| {
            let batch = batch.map_err(|cause| damaged(&path, first, &cause))?;
            let rows = Rows { path: path.clone(), before, first, label, batch };
            first += rows.batch.num_rows() as u64;
            Ok(rows)
        });
        failure.into_iter().chain(rows)
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
