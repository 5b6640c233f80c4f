//! Arrow tables and the Parquet files that hold them.
//!
//! Everything that passes between stages is a table of one of three kinds ([`Content`]). They are read
//! one row group at a time and written row group by row group; where a function is mapped over one is `engine`'s business.

mod bytes;
mod checksum;
mod chunk;
mod contain;
mod footer;
pub mod layout;
mod pages;
mod parquet_file;
pub mod pixels;
mod reader;
mod schema;
mod writer;

use crate::image::Classes;

pub use parquet_file::{columns, footer};
pub use reader::{TableFile, errors, ids, labels, lists};
pub use schema::{Content, SCHEMA_VERSION, classes};
pub use writer::{
    Emit, FileRecord, RowGroup, batch_rows, leading_columns, row_group_rows, write_batch, write_file, write_rows,
    write_table,
};

/// How tables are written.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Compression level of zstd.
    pub compression_level: i32,
    /// Threads that read, compute and encode.
    pub threads: usize,
    /// Whether the rows come in the order of their ids, which the footer then says.
    pub sorted: bool,
    /// The names of the labels.
    pub classes: Classes,
}
