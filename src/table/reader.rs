//! Reads a table from Parquet, one row group at a time; the file is checked when it is opened.
//!
//! Files are untrusted, since `limpid encode` and `limpid denoise` take any: the schema, the nulls and the lengths of
//! the lists are checked before a value is used. Another program that rewrites a table may use another compression,
//! reorder its columns, add some, declare all of them nullable and store their values in related types;
//! batches from this file have exactly the columns of their [`Content`], in that order and of its types.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, FieldRef, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::Length;

use super::bytes::TableBytes;
use super::chunk;
use super::contain::{contained, contained_items};
use super::convert::{conformed, converted};
use super::cut::{batch_rows, mean_batch_rows, row_group_rows};
use super::images::Images;
use super::label_lists::{label_lists_of, with_label_lists};
use super::parquet_file::{bad, check_compression, columns, counted, opened, unusable};
use super::schema::{Content, classes};
use super::writer::parquet_message;
use super::{footer as guard, pages};
use crate::error;
use crate::image::{Classes, Extent, ImageShape, Shapes};
use crate::store::{Room, digest_of, failpoint};

/// An opened table.
#[derive(Clone)]
pub struct TableFile {
    path: PathBuf,
    bytes: TableBytes,
    metadata: ArrowReaderMetadata,
    content: Content,
}

impl TableFile {
    /// Opens a table and checks that limpid wrote it.
    ///
    /// # Errors
    /// A file that cannot be read, is not Parquet, or is not a limpid table.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(path, opened(path)?)
    }

    fn of(path: &Path, (bytes, metadata): (TableBytes, ArrowReaderMetadata)) -> Result<Self> {
        let content = Content::of(metadata.schema()).map_err(|cause| bad(path, &cause.to_string()))?;
        check_compression(path, &metadata)?;
        Ok(Self { path: path.to_owned(), bytes, metadata, content })
    }

    /// Opens a table that says that limpid wrote it; none if it does not.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_own(path: &Path) -> Result<Option<Self>> {
        let opened = opened(path)?;
        if Content::is_of(opened.1.schema()) { Self::of(path, opened).map(Some) } else { Ok(None) }
    }

    /// Opens a table of images that limpid wrote, or one with the same columns whose lists are as long as images of the shape
    /// `usual`: programs that rewrite tables drop the metadata of the footer. None if it is any other table.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_rewritten(path: &Path, usual: ImageShape) -> Result<Option<Self>> {
        let (bytes, metadata) = opened(path)?;
        if Content::is_of(metadata.schema()) {
            return Self::of(path, (bytes, metadata)).map(Some);
        }
        let Some(content) = Content::of_columns(metadata.schema(), usual) else { return Ok(None) };
        check_compression(path, &metadata)?;
        let table = Self { path: path.to_owned(), bytes, metadata, content };
        // Reads the first batch, since the types alone do not show whether lists and other columns fit.
        let fits = table.all().next().is_none_or(|first| first.is_ok());
        Ok((fits && table.names_all_rows()?).then_some(table))
    }

    /// Whether every row has an id and a split, which another program may have stored as columns with nulls.
    fn names_all_rows(&self) -> Result<bool> {
        let fields = self.metadata.schema().fields().iter().enumerate();
        let nullable =
            fields.filter(|(_, field)| ["id", "split"].contains(&field.name().as_str()) && field.is_nullable());
        let nullable: Vec<_> = nullable.map(|(at, _)| at).collect();
        if nullable.is_empty() {
            return Ok(true);
        }
        let mut rows = columns(&self.path, &self.metadata, &nullable, 1 << 20, 1 << 16)?;
        // Damage is reported where it is read again.
        Ok(rows.all(|batch| {
            batch.is_ok_and(|batch| batch.columns().iter().all(|column| column.logical_null_count() == 0))
        }))
    }

    /// The same table, for a reader of all of it again and again: what it reads of an object is kept on the local disk, while there is
    /// room.
    ///
    /// # Errors
    /// There can be no temporary file.
    pub fn kept(self, room: &Arc<Room>) -> Result<Self> {
        let bytes = self.bytes.kept(room).with_context(|| format!("cannot keep {}", self.path.display()))?;
        Ok(Self { bytes, ..self })
    }

    /// The kind of table.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The names of its labels.
    pub fn classes(&self) -> Classes {
        classes(self.metadata.schema())
    }

    /// The field of its lists of labels, if it has any.
    pub fn label_lists(&self) -> Option<FieldRef> {
        label_lists_of(self.metadata.schema())
    }

    /// The schema of its batches, with the names of its labels.
    pub fn schema(&self) -> SchemaRef {
        with_label_lists(self.content.named_schema(&self.classes()), self.label_lists().as_ref())
    }

    /// The sizes of its images.
    ///
    /// # Errors
    /// It holds no images.
    pub fn extent(&self) -> Result<Extent> {
        self.content.extent().ok_or_else(|| bad(&self.path, "it holds features, not images"))
    }

    /// Numbers of a code.
    ///
    /// # Errors
    /// It holds images.
    pub fn code_size(&self) -> Result<usize> {
        match self.content {
            Content::Features(codes) | Content::PatchFeatures(codes) => Ok(codes.size),
            _ => Err(bad(&self.path, "it holds images, not features")),
        }
    }

    /// The one size of its images.
    ///
    /// # Errors
    /// It holds no images, or such of different sizes.
    pub fn image_shape(&self) -> Result<ImageShape> {
        self.extent()?.fixed().ok_or_else(|| bad(&self.path, "its images have different sizes"))
    }

    /// The shapes of the images of a row group.
    ///
    /// # Errors
    /// It holds no images, or is unreadable.
    pub fn shapes(&self, index: usize) -> Result<Shapes> {
        let channels = match self.extent()? {
            Extent::Fixed(shape) => return Ok(Shapes::Equal(shape, self.row_group_rows(index) as usize)),
            Extent::Mixed { channels } => channels,
        };
        let columns = ProjectionMask::columns(self.metadata.parquet_schema(), ["height", "width"]);
        let group = self.metadata.metadata().row_group(index);
        let is_read = |leaf| columns.leaf_included(leaf);
        let bytes = self.bytes.holding(std::slice::from_ref(group), is_read).with_context(|| unusable(&self.path))?;
        pages::check(&bytes, group, is_read, u64::MAX, self.is_guarded()).with_context(|| unusable(&self.path))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
            .with_row_groups(vec![index])
            .with_projection(columns);
        let reader = contained(|| builder.build().map_err(|cause| parquet_message(&cause)));
        let reader = contained_items(reader.map_err(|cause| bad(&self.path, &cause))?);
        let mut shapes = Vec::new();
        for batch in counted(reader, self.row_group_rows(index)) {
            let batch = batch.map_err(|cause| bad(&self.path, &cause))?;
            let side = |name: &str| -> Result<ArrayRef> {
                let side = batch.column_by_name(name).ok_or_else(|| bad(&self.path, "a column is missing"))?;
                converted(side, &DataType::Int32).map_err(|cause| bad(&self.path, &format!("column `{name}` {cause}")))
            };
            let (heights, widths) = (side("height")?, side("width")?);
            let sides = heights.as_primitive::<Int32Type>().iter().zip(widths.as_primitive::<Int32Type>());
            for (height, width) in sides {
                let side = |side: Option<i32>| side.and_then(|side| usize::try_from(side).ok()).unwrap_or(0);
                let shape = ImageShape::picture(side(height), side(width), channels);
                shapes.push(shape.ok_or_else(|| bad(&self.path, "an image has sides that no image has"))?);
            }
        }
        Ok(Shapes::Each(shapes))
    }

    /// Numbers of the images or codes of a row group.
    pub fn row_group_numbers(&self, index: usize) -> u64 {
        if let Some(width) = self.content.width() {
            return self.row_group_rows(index).saturating_mul(width as u64);
        }
        let columns = self.metadata.metadata().row_group(index).columns();
        let image =
            columns.iter().find(|column| column.column_path().parts().first().is_some_and(|name| name == "image"));
        image.map_or(0, |image| image.num_values().max(0) as u64)
    }

    /// Whether a row group is larger than limpid's, so that it cannot be held in memory.
    pub fn is_oversized(&self, index: usize) -> bool {
        let rows = self.row_group_rows(index);
        match self.content.width() {
            Some(_) => rows > row_group_rows(self.content, self.rows()) as u64,
            None => rows > 1 && self.row_group_numbers(index) > 2 * ImageShape::MAX_PICTURE_LEN as u64,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// blake3 of the file that was opened, in hexadecimal, even if its path has been replaced meanwhile.
    ///
    /// # Errors
    /// Interruption, or the file system.
    pub fn digest(&self) -> Result<String> {
        digest_of(self.bytes.at(0), self.bytes.len()).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Whether checksums cover all of it, as in files that limpid wrote.
    pub fn is_guarded(&self) -> bool {
        guard::is_guarded(self.metadata.metadata().file_metadata())
    }

    /// Whether its footer says that the rows of each row group are in the order of their ids.
    pub fn is_sorted(&self) -> bool {
        self.metadata.metadata().row_groups().iter().all(|group| {
            let first = group.sorting_columns().and_then(|columns| columns.first());
            first.is_some_and(|first| {
                let column = group.columns().get(first.column_idx.max(0) as usize);
                !first.descending && column.is_some_and(|column| column.column_path().string() == "id")
            })
        })
    }

    /// Its footer.
    pub fn metadata(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// Number of row groups.
    pub fn row_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Rows of one row group.
    pub fn row_group_rows(&self, index: usize) -> u64 {
        self.metadata.metadata().row_group(index).num_rows().max(0) as u64
    }

    /// The batches of one row group, in order, each checked and with the columns of the content, in their order.
    ///
    /// # Errors
    /// A file that has become unreadable; each batch can fail where its pages are damaged.
    pub fn row_group(&self, index: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let (path, extent) = (self.path.clone(), self.content.extent());
        let schema = with_label_lists(self.content.schema(), self.label_lists().as_ref());
        failpoint::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let group = self.metadata.metadata().row_group(index);
        let bytes = self.bytes.holding(std::slice::from_ref(group), |_| true).with_context(|| unusable(&path))?;
        let at_once =
            pages::check(&bytes, group, |_| true, u64::MAX, self.is_guarded()).with_context(|| unusable(&path))?;
        let lists = self.lists(&bytes, index);
        let read_apart = lists.as_ref().map(|(name, _)| name.as_str());
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let names = names.filter(|name| Some(*name) != read_apart);
        let columns = ProjectionMask::columns(self.metadata.parquet_schema(), names);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, self.metadata.clone())
            .with_row_groups(vec![index])
            .with_projection(columns)
            .with_batch_size(self.batch_rows(index).min(at_once));
        let reader = contained(|| builder.build().map_err(|cause| parquet_message(&cause)));
        let reader = contained_items(reader.map_err(|cause| bad(&path, &cause))?);
        let first = (0..index).map(|group| self.row_group_rows(group)).sum::<u64>();
        let mut row = 0;
        Ok(counted(reader, self.row_group_rows(index)).map(move |batch| {
            let damaged = |cause: &dyn std::fmt::Display| {
                bad(&path, &format!("damaged near row {}: {cause}", first + row as u64))
            };
            let batch = batch.map_err(|cause| damaged(&cause))?;
            let columns = schema.fields().iter().map(|field| {
                if let Some((name, lists)) = lists.as_ref().filter(|(name, _)| name == field.name()) {
                    let missing = || damaged(&format!("column `{name}` has only {} rows", lists.len()));
                    return (row + batch.num_rows() <= lists.len())
                        .then(|| lists.slice(row, batch.num_rows()))
                        .ok_or_else(missing);
                }
                conformed(&batch, field).map_err(|cause| damaged(&cause))
            });
            let batch = RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?);
            let batch = batch.map_err(|cause| damaged(&cause))?;
            if let Some(extent @ Extent::Mixed { .. }) = extent {
                Images::of(&batch, extent).map_err(|cause| damaged(&cause))?;
            }
            row += batch.num_rows();
            Ok(batch)
        }))
    }

    /// Rows of the batches of a row group.
    fn batch_rows(&self, index: usize) -> usize {
        match self.content.width() {
            Some(_) => batch_rows(self.content),
            None => mean_batch_rows(self.row_group_rows(index), self.row_group_numbers(index)),
        }
    }

    /// All batches, in order, each checked, as [`Self::row_group`] gives them.
    ///
    /// # Errors
    /// None itself; each batch can fail as those of [`Self::row_group`] can.
    pub fn all(&self) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        self.batches(0..self.row_groups())
    }

    /// As [`Self::all`], of these row groups.
    pub fn batches(&self, row_groups: Range<usize>) -> impl Iterator<Item = Result<RecordBatch>> + use<> {
        let table = self.clone();
        row_groups.flat_map(move |index| {
            let (batches, failure) = match table.row_group(index) {
                Ok(batches) => (Some(batches), None),
                Err(cause) => (None, Some(Err(cause))),
            };
            failure.into_iter().chain(batches.into_iter().flatten())
        })
    }

    /// The name and the values of the list column of a row group, if the row group is small enough to be read at once and is
    /// stored in limpid's own form.
    fn lists(&self, bytes: &TableBytes, index: usize) -> Option<(String, ArrayRef)> {
        if self.is_oversized(index) {
            return None;
        }
        let schema = self.content.schema();
        let column = schema.fields().iter().find_map(|field| match field.data_type() {
            DataType::FixedSizeList(item, _) | DataType::List(item) => Some((field.name(), item.data_type())),
            _ => None,
        });
        let (name, item) = column?;
        let group = self.metadata.metadata().row_group(index);
        let read = contained(|| Ok::<_, String>(chunk::read(bytes, group, name, item, self.content.width())));
        Some((name.clone(), read.ok().flatten()?))
    }
}

/// The `id` column of a limpid batch.
pub fn ids(batch: &RecordBatch) -> Result<&Int64Array> {
    column(batch, "id")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("id"))
}

/// The `label` column of a limpid batch.
pub fn labels(batch: &RecordBatch) -> Result<&Int64Array> {
    column(batch, "label")?.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type("label"))
}

/// The `error` column of a limpid batch.
pub fn errors(batch: &RecordBatch) -> Result<&Float32Array> {
    column(batch, "error")?.as_primitive_opt::<Float32Type>().ok_or_else(|| wrong_type("error"))
}

/// The `code` column of a limpid batch.
pub fn lists<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a FixedSizeListArray> {
    column(batch, name)?.as_fixed_size_list_opt().ok_or_else(|| wrong_type(name))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a dyn Array> {
    let column = batch.column_by_name(name).ok_or_else(|| error::data(format!("the column `{name}` is missing")))?;
    Ok(column.as_ref())
}

fn wrong_type(name: &str) -> anyhow::Error {
    error::data(format!("the column `{name}` has another type than limpid writes"))
}
