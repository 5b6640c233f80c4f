//! The rows of a split, in one file or in several shards that hold one part after the other.
//!
//! Row groups are numbered through all files. Everything that holds of one file, such as the content, holds of all: files that
//! differ in it are not the shards of one table.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, FieldRef, SchemaRef};
use rayon::prelude::*;

use super::convert::converted;
use super::parquet_file::{bad, columns};
use super::reader::TableFile;
use super::schema::Content;
use crate::image::{Classes, Extent, ImageShape, Shapes};
use crate::store::Room;
use crate::{error, interrupt};

/// A table of one or several files.
#[derive(Clone)]
pub struct Table {
    /// At least one.
    files: Vec<TableFile>,
}

impl From<TableFile> for Table {
    fn from(file: TableFile) -> Self {
        Self { files: vec![file] }
    }
}

impl Table {
    /// Opens the table that these files hold, in order.
    ///
    /// # Errors
    /// No file, one that cannot be read or is not a limpid table, files of different tables.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        // Side by side, since a store takes its time for each.
        let files = paths.par_iter().map(|path| TableFile::open(path)).collect::<Result<Vec<_>>>()?;
        let first = files.first().ok_or_else(|| error::bug("a table without files"))?;
        if let Some(other) = files.iter().find(|file| file.schema() != first.schema()) {
            let [first, other] = [first, other].map(|file| file.path().display());
            return Err(error::data(format!("{first} and {other} do not hold parts of one table")));
        }
        Ok(Self { files })
    }

    /// As [`TableFile::kept`].
    ///
    /// # Errors
    /// As [`TableFile::kept`].
    pub fn kept(self, room: &Arc<Room>) -> Result<Self> {
        Ok(Self { files: self.files.into_iter().map(|file| file.kept(room)).collect::<Result<_>>()? })
    }

    /// The first file, which stands for all in whatever they have in common.
    fn first_file(&self) -> &TableFile {
        &self.files[0]
    }

    /// Its files, in order.
    pub fn files(&self) -> &[TableFile] {
        &self.files
    }

    /// The path of its first file, for messages.
    pub fn path(&self) -> &Path {
        self.first_file().path()
    }

    /// As [`TableFile::content`].
    pub fn content(&self) -> Content {
        self.first_file().content()
    }

    /// As [`TableFile::classes`].
    pub fn classes(&self) -> Classes {
        self.first_file().classes()
    }

    /// As [`TableFile::label_lists`].
    pub fn label_lists(&self) -> Option<FieldRef> {
        self.first_file().label_lists()
    }

    /// As [`TableFile::schema`].
    pub fn schema(&self) -> SchemaRef {
        self.first_file().schema()
    }

    /// As [`TableFile::extent`].
    ///
    /// # Errors
    /// It holds no images.
    pub fn extent(&self) -> Result<Extent> {
        self.first_file().extent()
    }

    /// As [`TableFile::code_size`].
    ///
    /// # Errors
    /// It holds images.
    pub fn code_size(&self) -> Result<usize> {
        self.first_file().code_size()
    }

    /// As [`TableFile::image_shape`].
    ///
    /// # Errors
    /// It holds no images, or such of different sizes.
    pub fn image_shape(&self) -> Result<ImageShape> {
        self.first_file().image_shape()
    }

    /// Whether all of its files say that their rows are in the order of their ids.
    pub fn is_sorted(&self) -> bool {
        self.files.iter().all(TableFile::is_sorted)
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(TableFile::rows).sum()
    }

    /// The labels that any of its rows has, of which the other columns are not read.
    ///
    /// # Errors
    /// It is unreadable; interruption.
    pub fn labels(&self) -> Result<BTreeSet<i64>> {
        let mut labels = BTreeSet::new();
        for file in &self.files {
            let position =
                file.metadata().schema().index_of("label").map_err(|cause| bad(file.path(), &cause.to_string()))?;
            for batch in columns(file.path(), file.metadata(), &[position], 1 << 20, 1 << 16)? {
                let column = batch.and_then(|batch| converted(batch.column(0), &DataType::Int64));
                let column = column.map_err(|cause| bad(file.path(), &cause))?;
                labels.extend(column.as_primitive::<Int64Type>().iter().flatten());
                interrupt::check()?;
            }
        }
        Ok(labels)
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.files.iter().map(TableFile::row_groups).sum()
    }

    /// The file that has a row group, and the number of the row group in it.
    fn at(&self, index: usize) -> (&TableFile, usize) {
        let mut index = index;
        for file in &self.files {
            if index < file.row_groups() {
                return (file, index);
            }
            index -= file.row_groups();
        }
        panic!("a table has no row group beyond its last");
    }

    /// As [`TableFile::shapes`].
    ///
    /// # Errors
    /// It holds no images, or is unreadable.
    pub fn shapes(&self, index: usize) -> Result<Shapes> {
        let (file, index) = self.at(index);
        file.shapes(index)
    }

    /// As [`TableFile::row_group_numbers`].
    pub fn row_group_numbers(&self, index: usize) -> u64 {
        let (file, index) = self.at(index);
        file.row_group_numbers(index)
    }

    /// As [`TableFile::row_group_rows`].
    pub fn row_group_rows(&self, index: usize) -> u64 {
        let (file, index) = self.at(index);
        file.row_group_rows(index)
    }

    /// As [`TableFile::row_group`].
    ///
    /// # Errors
    /// As [`TableFile::row_group`].
    pub fn row_group(&self, index: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let (file, index) = self.at(index);
        file.row_group(index)
    }

    /// As [`TableFile::all`].
    pub fn all(&self) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        self.batches(0..self.row_groups())
    }

    /// As [`TableFile::batches`].
    pub fn batches(&self, row_groups: Range<usize>) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        let table = self.clone();
        row_groups.flat_map(move |index| {
            let (file, index) = table.at(index);
            file.batches(index..index + 1)
        })
    }

    /// Hands the first `count` rows, or all if there are fewer, to `take`, batch by batch, each checked.
    ///
    /// # Errors
    /// As [`Self::row_group`], and what `take` fails with.
    pub fn first(&self, count: u64, mut take: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
        let mut left = count;
        for batch in self.all() {
            let batch = batch?;
            let rows = left.min(batch.num_rows() as u64);
            left -= rows;
            take(&batch.slice(0, rows as usize))?;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }
}
