//! What a job does with the batches of a table: a function, and the content of what it makes.

use anyhow::Result;
use arrow_array::RecordBatch;

use crate::table::Content;

/// Maps a batch, with the same rows of a companion if there is one, to a batch.
pub type BatchFunction<'a> = Box<dyn Fn(&RecordBatch, Option<&RecordBatch>) -> Result<RecordBatch> + Sync + 'a>;

/// The function that maps the batches of a table, and the content of the result.
pub struct Mapping<'a> {
    /// The content of the resulting table.
    pub content: Content,
    /// The function applied to each batch.
    pub map: BatchFunction<'a>,
}
