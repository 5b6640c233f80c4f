//! The column `labels`: all labels of an image, where the source has lists of them; `label` is empty unless the source has both.
//!
//! Tables of other sources lack the column, and no stage looks at it: it is carried from table to table, as the last column, so that
//! features and denoised images have it too. A label is a number, or the position of its name among those in the field's metadata.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Int64Array, ListArray, RecordBatch};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::schema::{classes_of, named};
use crate::error;
use crate::image::Classes;

/// Its name.
const NAME: &str = "labels";

/// The field of the column, of labels with these names.
pub fn label_lists(classes: &Classes) -> FieldRef {
    Arc::new(named(Field::new(NAME, DataType::List(item()), false), classes))
}

fn item() -> FieldRef {
    Arc::new(Field::new("element", DataType::Int64, false))
}

/// The field of the column, if a table has it, which another program may have stored in a related type.
pub fn label_lists_of(schema: &Schema) -> Option<FieldRef> {
    let field = schema.field_with_name(NAME).ok()?;
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) = field.data_type()
    else {
        return None;
    };
    item.data_type().is_integer().then(|| label_lists(&classes_of(field)))
}

/// The schema with the column, if there is one.
pub fn with_label_lists(schema: SchemaRef, lists: Option<&FieldRef>) -> SchemaRef {
    let Some(lists) = lists else { return schema };
    let fields: Vec<_> = schema.fields().iter().chain([lists]).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The batch with the column, of the labels of each row.
///
/// # Errors
/// Another number of rows.
pub fn add_label_lists(batch: &RecordBatch, field: &FieldRef, labels: &[&[i64]]) -> Result<RecordBatch> {
    let offsets = OffsetBuffer::from_lengths(labels.iter().map(|labels| labels.len()));
    let values: ArrayRef = Arc::new(Int64Array::from(labels.concat()));
    let lists = ListArray::try_new(item(), offsets, values, None);
    with_column(batch, field, Arc::new(lists.map_err(|cause| error::bug(cause.to_string()))?))
}

/// A batch that was made of another one, with that one's column, if that has one and the batch does not have it yet.
///
/// # Errors
/// Another number of rows.
pub fn carry_label_lists(from: &RecordBatch, made: RecordBatch) -> Result<RecordBatch> {
    match from.schema_ref().column_with_name(NAME) {
        Some((at, field)) if made.column_by_name(NAME).is_none() => {
            with_column(&made, &Arc::new(field.clone()), from.column(at).clone())
        }
        _ => Ok(made),
    }
}

fn with_column(batch: &RecordBatch, field: &FieldRef, column: ArrayRef) -> Result<RecordBatch> {
    let schema = with_label_lists(batch.schema(), Some(field));
    let columns = batch.columns().iter().cloned().chain([column]).collect();
    RecordBatch::try_new(schema, columns).map_err(|cause| error::bug(format!("cannot carry labels: {cause}")))
}
