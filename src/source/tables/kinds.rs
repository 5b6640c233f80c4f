//! Reads columns of labels, texts and integers of the types that other programs use.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_integer_array};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::error;
use crate::image::Classes;
use crate::source::check_classes;
use crate::table;

/// Advice for a column that cannot be labels.
pub const ADVICE: &str = "name another column with source.parquet.label, or none: label = \"none\"";

/// The content of a column of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// There are no labels.
    None,
    /// Numbers, and their class names if the metadata has any.
    Numbers(#[serde(with = "names")] Classes),
    /// Names, sorted: a label is the position of its name.
    Names(Vec<String>),
}

/// Names of classes as a list.
mod names {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::image::Classes;

    pub fn serialize<S: Serializer>(names: &Classes, serializer: S) -> Result<S::Ok, S::Error> {
        names.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Classes, D::Error> {
        Ok(Option::<Vec<String>>::deserialize(deserializer)?.map(Into::into))
    }
}

impl Labels {
    /// The content of the column `field` of a schema, or why it cannot be labels. Of text and floats, `columns` reads the column in
    /// every file, to collect the names, and to see whether all are whole.
    ///
    /// # Errors
    /// Errors of `columns`, and texts that are no names of classes.
    pub fn of<R, I>(field: Option<&Field>, schema: &Schema, columns: impl Fn() -> I) -> Result<Result<Self, String>>
    where
        R: Iterator<Item = Result<RecordBatch, String>>,
        I: Iterator<Item = Result<(PathBuf, R)>>,
    {
        let Some(field) = field else { return Ok(Ok(Labels::None)) };
        let (name, found) = (field.name(), field.data_type());
        if found.is_integer() || *found == DataType::Boolean {
            return Ok(Ok(Labels::Numbers(table::classes(schema).or(hugging_face(schema, name)))));
        }
        if !Self::can_be(found) {
            return Ok(Err(format!("the labels `{name}` are {found}, expected integers or text, or lists of them")));
        }
        let mut names = BTreeSet::new();
        for column in columns() {
            let (path, reader) = column?;
            for batch in reader {
                let bad = |cause: String| error::reading(format!("{} is damaged: {cause}", path.display()));
                let batch = batch.map_err(bad)?;
                let column = batch.column(0);
                for row in 0..batch.num_rows() {
                    if found.is_floating() {
                        if let Err(cause) = number(column, row) {
                            return Ok(Err(format!("the labels `{name}` are {found}, of which one {cause}")));
                        }
                    } else if let Some(text) = text(&column.slice(row, 1), 0).filter(|text| !names.contains(*text)) {
                        names.insert(text.to_owned());
                        check_classes(names.len()).map_err(|cause| {
                            let path = path.display();
                            error::data(format!("{path}: the column `{name}` {cause}; {ADVICE}"))
                        })?;
                    }
                }
                crate::interrupt::check()?;
            }
        }
        Ok(Ok(if found.is_floating() { Labels::Numbers(None) } else { Labels::Names(names.into_iter().collect()) }))
    }

    /// Whether a column of this type may hold labels.
    pub fn can_be(found: &DataType) -> bool {
        found.is_integer() || found.is_floating() || *found == DataType::Boolean || is_text(found)
    }

    /// The names of the labels.
    pub fn classes(&self) -> Classes {
        match self {
            Labels::None => None,
            Labels::Numbers(classes) => classes.clone(),
            Labels::Names(names) => Some(names.clone().into()),
        }
    }

    /// The label of a row.
    ///
    /// # Errors
    /// A number that is too large; as text.
    pub fn label(&self, column: Option<&ArrayRef>, row: usize) -> Result<Option<i64>, String> {
        let Some(column) = column.filter(|column| !column.is_null(row)) else { return Ok(None) };
        match self {
            Labels::None => Ok(None),
            Labels::Names(names) => {
                let position = |name: &str| names.binary_search_by(|known| known.as_str().cmp(name)).ok();
                // Sliced to one row, since reading a dictionary converts the keys of all rows.
                Ok(text(&column.slice(row, 1), 0).and_then(position).map(|at| at as i64))
            }
            Labels::Numbers(_) => number(column, row).map_err(|cause| format!("its label {cause}")),
        }
    }
}

/// The label in a row of a column of integers, whole floats or booleans; none if it is null or, as pandas has gaps, NaN.
///
/// # Errors
/// It is not whole or too large; as text that follows the name of the value.
fn number(column: &ArrayRef, row: usize) -> Result<Option<i64>, String> {
    if column.is_null(row) {
        return Ok(None);
    }
    match float(column, row) {
        Some(gap) if gap.is_nan() => Ok(None),
        Some(float) => whole(float).map(Some),
        None if *column.data_type() == DataType::Boolean => Ok(Some(i64::from(column.as_boolean().value(row)))),
        None => integer(column, row).map(Some),
    }
}

/// The number in a row of a column of floats.
fn float(column: &ArrayRef, row: usize) -> Option<f64> {
    Some(match column.data_type() {
        DataType::Float16 => column.as_primitive::<Float16Type>().value(row).to_f64(),
        DataType::Float32 => f64::from(column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row),
        _ => return None,
    })
}

/// A float as the integer that it is.
fn whole(float: f64) -> Result<i64, String> {
    // Up to 2^53, every whole number is a float.
    let is_whole = float.trunc() == float && float.abs() <= (1_u64 << 53) as f64;
    if is_whole { Ok(float as i64) } else { Err(format!("is {float}, no whole number")) }
}

/// The number in a row of a column of integers, or of floats that are whole, as data frames make them of integers with gaps.
///
/// # Errors
/// It is null, too large or no whole number; as text that follows the name of the value.
pub fn integer(column: &ArrayRef, row: usize) -> Result<i64, String> {
    if column.is_null(row) {
        return Err("is null".to_owned());
    }
    if let Some(float) = float(column, row) {
        return whole(float);
    }
    let column = column.as_ref();
    downcast_integer_array!(
        column => i64::try_from(i128::from(column.value(row))).map_err(|_| "is too large".to_owned()),
        other => Err(format!("is {other}")),
    )
}

/// The class names of a column in Hugging Face's metadata.
pub fn hugging_face(schema: &Schema, column: &str) -> Classes {
    let value: serde_json::Value = serde_json::from_str(schema.metadata().get("huggingface")?).ok()?;
    let feature = &value["info"]["features"][column];
    // Of a list, `feature` is that of its items; in older files a list is one of these.
    let feature =
        [feature, &feature["feature"], &feature[0]].into_iter().find(|found| found["_type"] == "ClassLabel")?;
    Some(serde_json::from_value::<Vec<String>>(feature["names"].clone()).ok()?.into())
}

pub fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The text in a row; none if it is null.
pub fn text(column: &ArrayRef, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary_opt()?;
            text(dictionary.values(), *dictionary.normalized_keys().get(row)?)
        }
        _ => None,
    }
}
