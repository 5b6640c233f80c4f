//! Arrow tables and the Parquet files that hold them.
//!
//! Everything that passes between stages is a table of one of three kinds ([`Content`]). Tables are read and written one row
//! group at a time; functions are mapped over them in `engine`.

mod bytes;
mod checksum;
mod chunk;
mod contain;
mod convert;
mod cut;
mod footer;
mod held;
mod images;
mod label_lists;
pub mod layout;
mod pages;
mod parquet_file;
pub mod pixels;
mod reader;
mod schema;
mod sharded;
mod writer;

use std::collections::BTreeMap;

use arrow_schema::FieldRef;

use crate::image::Classes;

pub use cut::{Shards, batch_rows, batches_of, mean_row_groups, row_group_rows, row_groups_of, shard_row_group_rows};
pub use held::HeldTable;
pub use images::{Images, image_columns, shared_columns};
pub use label_lists::{add_label_lists, carry_label_lists, label_lists, label_lists_of, with_label_lists};
pub use parquet_file::{columns, columns_in, footer};
pub use reader::{TableFile, errors, ids, labels, lists};
pub use schema::{CodeColumns, Content, SCHEMA_VERSION, classes, classes_of, is_unclipped, list, with_metadata};
pub use sharded::Table;
pub use writer::{
    Emit, FileRecord, RowGroup, leading_columns, write_batch, write_file, write_file_once, write_rows, write_table,
    write_table_if,
};

/// How tables are written.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Compression level of zstd.
    pub compression_level: i32,
    /// Threads that read, compute and encode.
    pub threads: usize,
    /// Whether the rows are in the order of their ids; if so, the footer says it.
    pub sorted: bool,
    /// The names of the labels.
    pub classes: Classes,
    /// Whether the file appears under its name only when it is whole, since several processes may write it. The caller then syncs its
    /// folder.
    pub at_once: bool,
    /// The field of the column of lists of labels, if the batches have one.
    pub label_lists: Option<FieldRef>,
    /// Further entries of the metadata of the footer.
    pub metadata: BTreeMap<String, String>,
}

impl WriteOptions {
    /// Rows in the order of their ids, by so many threads.
    pub fn new(compression_level: i32, threads: usize) -> Self {
        Self { compression_level, threads, sorted: true, ..Self::default() }
    }
}
