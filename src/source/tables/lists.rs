//! Columns of lists of labels: several labels of an image.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema};

use super::kinds::{Labels, hugging_face};
use crate::table::{classes_of, label_lists};

/// Most labels of an image.
const MOST_LABELS: usize = 1 << 16;
/// Labels that fill a row group, since an image may have many more of them than pixels.
const FULL: usize = 1 << 22;

/// The content of a column of lists of labels.
pub struct LabelLists {
    /// That of all their items.
    items: Labels,
}

impl LabelLists {
    /// Whether a column of this type may hold lists of labels.
    pub fn can_be(found: &DataType) -> bool {
        item(found).is_some_and(|item| Labels::can_be(item.data_type()))
    }

    /// The content of the column `field` of a schema, or why it cannot be lists of labels; `columns` reads it in every file.
    ///
    /// # Errors
    /// As [`Labels::of`].
    pub fn of<R, I>(field: &Field, schema: &Schema, columns: impl Fn() -> I) -> Result<Result<Self, String>>
    where
        R: Iterator<Item = Result<RecordBatch, String>>,
        I: Iterator<Item = Result<(PathBuf, R)>>,
    {
        let kind = item(field.data_type()).map_or(DataType::Null, |item| item.data_type().clone());
        let of_items =
            || columns().map(|column| column.map(|(path, reader)| (path, reader.map(|batch| items(&batch?)))));
        let labels = Labels::of(Some(&Field::new(field.name(), kind, true)), schema, of_items)?;
        Ok(labels
            .map(|items| match items {
                // The names of `label` are not those of its lists.
                Labels::Numbers(_) => Labels::Numbers(classes_of(field).or(hugging_face(schema, field.name()))),
                items => items,
            })
            .map(|items| Self { items }))
    }

    /// The field of the column of limpid's tables.
    pub fn field(&self) -> FieldRef {
        label_lists(&self.items.classes())
    }

    /// The labels of a row; none if it is null.
    ///
    /// # Errors
    /// Too many, or a number that is too large; as text.
    pub fn labels(&self, column: &ArrayRef, row: usize) -> Result<Vec<i64>, String> {
        if column.is_null(row) {
            return Ok(Vec::new());
        }
        let items = items_of(&lists(&column.slice(row, 1))?);
        if items.len() > MOST_LABELS {
            return Err(format!("it has {} labels; at most {MOST_LABELS} work", items.len()));
        }
        let labels = (0..items.len()).map(|at| self.items.label(Some(&items), at));
        labels.filter_map(Result::transpose).collect()
    }
}

/// The number of rows whose lists fill a row group, of lists of these lengths; none if all do not.
pub fn full(lengths: impl Iterator<Item = usize>) -> Option<usize> {
    let sums = lengths.scan(0, |sum, length| {
        *sum += length;
        Some(*sum)
    });
    sums.zip(1..).find(|(sum, _)| *sum >= FULL).map(|(_, rows)| rows)
}

/// The field of the items of a list type.
fn item(found: &DataType) -> Option<&FieldRef> {
    match found {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// A column of lists of any type as one of lists of any length.
fn lists(column: &ArrayRef) -> Result<ListArray, String> {
    let Some(item) = item(column.data_type()) else { return Err(format!("it is {}", column.data_type())) };
    let wanted = DataType::List(Arc::clone(item));
    arrow_cast::cast(column, &wanted).map(|lists| lists.as_list().clone()).map_err(|cause| cause.to_string())
}

/// The items of all lists.
fn items_of(lists: &ListArray) -> ArrayRef {
    let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
    lists.values().slice(start, end - start)
}

/// The items of the lists in a batch of one column, as a batch.
fn items(batch: &RecordBatch) -> Result<RecordBatch, String> {
    let column = items_of(&lists(batch.column(0))?);
    let field = Field::new("item", column.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).map_err(|cause| cause.to_string())
}
