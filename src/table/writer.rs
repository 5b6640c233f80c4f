//! Writes Parquet: row groups are encoded in parallel, appended in order, and digested while they are written.
//!
//! A row group is the unit of work. Its size follows from the table alone, so that the bytes of the file do not depend on
//! the number or speed of threads.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use serde::{Deserialize, Serialize};

use super::WriteOptions;
use super::checksum::{Chunk, Collector, Pages};
use super::chunk::ListWriter;
use super::footer;
use super::label_lists::with_label_lists;
use super::schema::{Content, with_metadata};
use crate::error;
use crate::ordered::in_order;
use crate::store;

/// Receives the next batch of a row group.
pub type Emit<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<()>;
/// Produces one row group: called on a worker thread, it passes its batches, in order, to the function given.
pub type RowGroup<'a> = Box<dyn FnOnce(Emit<'_>) -> Result<()> + Send + 'a>;

/// A file that was written, as a receipt records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path within the stage's folder.
    pub name: String,
    /// Rows, for tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Size in bytes.
    pub bytes: u64,
    /// blake3 of the bytes, in hexadecimal.
    pub digest: String,
    /// Time of the last modification, in nanoseconds since 1970. Quick checks compare it and the size.
    pub modified: u64,
}

/// Writes a table to `folder/name` and waits until it is on disk.
///
/// # Errors
/// The errors of `row_groups`, and those of the file system.
pub fn write_table<'a>(
    folder: &Path,
    name: &str,
    content: Content,
    options: WriteOptions,
    row_groups: impl Iterator<Item = Result<RowGroup<'a>>> + Send,
) -> Result<FileRecord> {
    write_table_if((folder, name), content, options, row_groups, || Ok(()))
}

/// As [`write_table`], if `check` allows it when all row groups are written: the file is not finished otherwise.
///
/// # Errors
/// As [`write_table`], and those of `check`.
pub fn write_table_if<'a>(
    (folder, name): (&Path, &str),
    content: Content,
    options: WriteOptions,
    row_groups: impl Iterator<Item = Result<RowGroup<'a>>> + Send,
    check: impl FnOnce() -> Result<()>,
) -> Result<FileRecord> {
    let schema = with_label_lists(content.named_schema(&options.classes), options.label_lists.as_ref());
    write_if((folder, name), &schema, &options, None, row_groups, check)
}

/// Like [`write_table`] for any schema; `compression` replaces the usual one.
///
/// # Errors
/// As [`write_table`].
pub fn write_rows<'a>(
    folder: &Path,
    name: &str,
    schema: &SchemaRef,
    options: &WriteOptions,
    compression: Option<Compression>,
    row_groups: impl Iterator<Item = Result<RowGroup<'a>>> + Send,
) -> Result<FileRecord> {
    write_if((folder, name), schema, options, compression, row_groups, || Ok(()))
}

fn write_if<'a>(
    (folder, name): (&Path, &str),
    schema: &SchemaRef,
    options: &WriteOptions,
    compression: Option<Compression>,
    row_groups: impl Iterator<Item = Result<RowGroup<'a>>> + Send,
    check: impl FnOnce() -> Result<()>,
) -> Result<FileRecord> {
    let schema = &with_metadata(schema, &options.metadata);
    let path = folder.join(name);
    let failed = |cause: ParquetError| write_error(&path, cause);
    let store = store::of(&path);
    let file = if options.at_once { store.create_once(&path) } else { store.create(&path) };
    let sink = DigestWriter::new(BufWriter::with_capacity(1 << 20, file?));
    let properties = properties(schema, options, compression).map_err(failed)?;
    let writer = ArrowWriter::try_new(sink, schema.clone(), Some(properties));
    let (mut writer, factory) = writer.and_then(ArrowWriter::into_serialized_writer).map_err(failed)?;
    let columns = writer.schema_descr().columns().to_vec();
    let pages = Arc::new(Collector::default());
    let factory = factory.with_page_store_factory(Arc::clone(&pages) as _);
    let encoder = Encoder { factory, pages, columns, schema: schema.clone(), options, blocks: compression.is_none() };
    let mut rows = 0;
    in_order(
        options.threads,
        row_groups.enumerate().map(|(index, group)| group.map(|group| (index, group))),
        |(index, group)| encoder.encode(index, group),
        |(group_rows, chunks)| {
            if group_rows == 0 {
                return Ok(());
            }
            rows += group_rows;
            let mut group = writer.next_row_group().map_err(failed)?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group).map_err(failed)?;
            }
            group.close().map_err(failed)?;
            Ok(())
        },
    )?;
    check()?;
    // From here on the footer is written; it is held back until its digest is known.
    writer.flush().with_context(|| format!("cannot write {}", path.display()))?;
    writer.inner_mut().held = Some(Vec::new());
    let mut sink = writer.into_inner().map_err(failed)?;
    let mut end = sink.held.take().unwrap_or_default();
    footer::seal(&mut end)?;
    sink.write_all(&end).with_context(|| format!("cannot write {}", path.display()))?;
    let (digest, bytes) = (sink.hasher.finalize().to_hex().to_string(), sink.bytes);
    let file = sink.inner.into_inner().map_err(io::IntoInnerError::into_error);
    let modified = file.with_context(|| format!("cannot write {}", path.display()))?.finish()?;
    Ok(FileRecord { name: name.to_owned(), rows: Some(rows), bytes, digest, modified })
}

/// Encodes row groups, on any thread.
struct Encoder<'a> {
    factory: ArrowRowGroupWriterFactory,
    /// Receives the pages of the columns that the factory's writers encode.
    pages: Arc<Collector>,
    /// One for each leaf.
    columns: Vec<ColumnDescPtr>,
    schema: SchemaRef,
    options: &'a WriteOptions,
    /// Whether lists are encoded by [`ListWriter`], which supports limpid's own compression only.
    blocks: bool,
}

/// The writer of a column of a row group.
enum ColumnWriter {
    /// Lists.
    Lists(Box<ListWriter>),
    /// Anything else.
    Other(Vec<(ArrowColumnWriter, Pages)>),
}

impl Encoder<'_> {
    fn encode(&self, index: usize, group: RowGroup<'_>) -> Result<(u64, Vec<Chunk>)> {
        let mut writers = self.writers(index)?;
        let mut rows = 0;
        group(&mut |batch: RecordBatch| {
            rows += batch.num_rows() as u64;
            for ((writer, field), array) in writers.iter_mut().zip(self.schema.fields()).zip(batch.columns()) {
                match writer {
                    ColumnWriter::Lists(writer) => writer.write(array)?,
                    ColumnWriter::Other(writers) => {
                        let leaves = compute_leaves(field, array).map_err(unexpected)?;
                        let mut leaves = writers.iter_mut().zip(leaves);
                        leaves.try_for_each(|((writer, _), leaf)| writer.write(&leaf)).map_err(unexpected)?;
                    }
                }
            }
            crate::interrupt::check()
        })?;
        let mut chunks = Vec::with_capacity(self.columns.len());
        for writer in writers {
            match writer {
                ColumnWriter::Lists(writer) => chunks.push(writer.close()?),
                ColumnWriter::Other(writers) => {
                    for (writer, pages) in writers {
                        let close = writer.close().map_err(unexpected)?.close().clone();
                        chunks.push(Chunk::of(&pages.take(), close)?);
                    }
                }
            }
        }
        Ok((rows, chunks))
    }

    fn writers(&self, index: usize) -> Result<Vec<ColumnWriter>> {
        let level = zstd_level(self.options);
        let created = self.pages.during(|| self.factory.create_column_writers(index));
        let (writers, pages) = created.map_err(unexpected)?;
        let mut others = writers.into_iter().zip(pages).zip(&self.columns);
        let writer = |field: &FieldRef| {
            let others: Vec<_> = others.by_ref().take(leaves(field.data_type())).collect();
            // Nullable columns have other levels, which `ListWriter` does not write.
            if self.blocks
                && !field.is_nullable()
                && let DataType::FixedSizeList(item, _) | DataType::List(item) = field.data_type()
                && !item.is_nullable()
                && let [(_, column)] = others[..]
                && let Some(lists) = ListWriter::new(field.data_type(), Arc::clone(column), level)?
            {
                return Ok(ColumnWriter::Lists(Box::new(lists)));
            }
            Ok(ColumnWriter::Other(others.into_iter().map(|(writer, _)| writer).collect()))
        };
        self.schema.fields().iter().map(writer).collect()
    }
}

/// Number of Parquet's leaf columns for a field of this type.
fn leaves(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        _ => 1,
    }
}

fn unexpected(cause: ParquetError) -> anyhow::Error {
    error::bug(format!("cannot encode a row group: {cause}"))
}

fn zstd_level(options: &WriteOptions) -> ZstdLevel {
    ZstdLevel::try_new(options.compression_level).unwrap_or_default()
}

fn properties(
    schema: &SchemaRef,
    options: &WriteOptions,
    compression: Option<Compression>,
) -> parquet::errors::Result<WriterProperties> {
    // No dictionary for columns with few equal values; pixels have many, as floats too.
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let differ =
        |path: &&ColumnPath| path.parts().first().is_some_and(|name| ["id", "code", "error"].contains(&name.as_str()));
    let differing: Vec<_> = columns.columns().iter().map(|column| column.path()).filter(differ).cloned().collect();
    let mut metadata: Vec<_> =
        schema.metadata().iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect();
    metadata.push(footer::entry());
    metadata.sort_by(|a, b| a.key.cmp(&b.key));
    // Rows are sorted by `split` and `id`; since a file holds one split, `id` alone sorts it.
    let sorted_by = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let builder = WriterProperties::builder()
        .set_created_by(footer::CREATED_BY.to_owned())
        .set_compression(compression.unwrap_or_else(|| Compression::ZSTD(zstd_level(options))))
        .set_key_value_metadata(Some(metadata))
        .set_sorting_columns(options.sorted.then(|| vec![sorted_by]))
        .set_max_row_group_row_count(None);
    let builder =
        differing.into_iter().fold(builder, |builder, path| builder.set_column_dictionary_enabled(path, false));
    Ok(builder.build())
}

/// An error of writing, which is never due to bad data, since every batch was made here.
fn write_error(path: &Path, cause: ParquetError) -> anyhow::Error {
    error::io(format!("cannot write {}: {}", path.display(), parquet_message(&cause)))
}

/// The innermost message of a Parquet error.
pub fn parquet_message(cause: &ParquetError) -> String {
    match cause {
        ParquetError::External(source) => source.to_string(),
        ParquetError::General(message) | ParquetError::EOF(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Digests the bytes that are written.
struct DigestWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Receives the bytes instead, if set.
    held: Option<Vec<u8>>,
}

impl<W> DigestWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), bytes: 0, held: None }
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Some(held) = &mut self.held {
            held.extend_from_slice(buffer);
            return Ok(buffer.len());
        }
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a small table in one piece to `folder/name`, for tables that are not one of limpid's three kinds.
///
/// # Errors
/// The file system.
pub fn write_batch(folder: &Path, name: &str, batch: &RecordBatch) -> Result<FileRecord> {
    let compression_level = ZstdLevel::default().compression_level();
    let options = WriteOptions { compression_level, threads: 1, ..WriteOptions::default() };
    let group: RowGroup<'_> = Box::new(|emit| emit(batch.clone()));
    write_rows(folder, name, batch.schema_ref(), &options, None, std::iter::once(Ok(group)))
}

/// Writes a small file to `folder/name`, waits until it is on disk, and records it.
///
/// # Errors
/// The file system.
pub fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<FileRecord> {
    record(name, bytes, store::write(&folder.join(name), bytes)?)
}

/// As [`write_file`], of a file that several processes may write, and whose folder the caller syncs.
///
/// # Errors
/// As [`store::Store::create_once`].
pub fn write_file_once(folder: &Path, name: &str, bytes: &[u8]) -> Result<FileRecord> {
    record(name, bytes, store::write_once(&folder.join(name), bytes)?)
}

fn record(name: &str, bytes: &[u8], modified: u64) -> Result<FileRecord> {
    let digest = blake3::hash(bytes).to_hex().to_string();
    Ok(FileRecord { name: name.to_owned(), rows: None, bytes: bytes.len() as u64, digest, modified })
}

/// The columns that every table starts with.
pub fn leading_columns(
    split: crate::image::Split,
    ids: impl Iterator<Item = u64>,
    labels: Vec<Option<i64>>,
) -> LeadingColumns {
    use arrow_array::{DictionaryArray, Int32Array, Int64Array, StringArray};
    let rows = labels.len();
    let names = Arc::new(StringArray::from(vec![split.name()]));
    [
        Arc::new(Int64Array::from_iter_values(ids.map(|id| id as i64))),
        Arc::new(DictionaryArray::new(Int32Array::from(vec![0; rows]), names)),
        Arc::new(Int64Array::from(labels)),
    ]
}

/// `id`, `split` and `label`.
pub type LeadingColumns = [arrow_array::ArrayRef; 3];
