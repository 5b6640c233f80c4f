//! Columns of images and labels, whatever their types.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, RecordBatch, downcast_integer_array};
use arrow_schema::{DataType, Field, Schema};

use super::choice::Wanted;
use crate::error;
use crate::image::{Classes, ImageShape, to_byte};
use crate::source::picture::{self, Picture};
use crate::source::settings::Fit;
use crate::source::{check_channels, check_classes};
use crate::table;

/// What a column of images holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Files of pictures.
    Encoded,
    /// Numbers, row by row, channels last.
    Numbers(ImageShape),
}

impl Images {
    /// What the column at this position of a schema holds.
    ///
    /// # Errors
    /// Nothing that could be images, or lists whose shape nobody says; in words.
    pub fn of(schema: &Schema, column: usize, wanted: &Wanted) -> Result<Self, String> {
        let field = schema.field(column);
        let (name, found) = (field.name(), field.data_type());
        if is_binary(found) || matches!(found, DataType::Struct(fields) if fields.iter().any(|f| is_bytes(f))) {
            return Ok(Images::Encoded);
        }
        let Some((element, nested)) = element(found) else {
            let expected = "pictures in binary, a struct with `bytes`, or lists of uint8 or float32";
            return Err(format!("its column `{name}` is {found}, expected {expected}"));
        };
        if !matches!(element, DataType::UInt8 | DataType::Float32 | DataType::Float64 | DataType::Int64) {
            return Err(format!("its column `{name}` holds numbers of type {element}; limpid reads uint8 and float32"));
        }
        let own = |key: &str| {
            let text = field.metadata().get(key).or(schema.metadata().get(key))?;
            text.parse::<usize>().ok()
        };
        let limpid = || Some(vec![own("limpid.height")?, own("limpid.width")?, own("limpid.channels")?]);
        let tensor = || {
            let text = field.metadata().get("ARROW:extension:metadata")?;
            let value: serde_json::Value = serde_json::from_str(text).ok()?;
            value["shape"].as_array()?.iter().map(|side| side.as_u64().map(|side| side as usize)).collect()
        };
        // One list of numbers says nothing about rows and columns.
        let nested = nested.filter(|sides| sides.len() > 1);
        let usual = wanted.usual.map(|usual| vec![usual.height, usual.width, usual.channels]);
        let said = wanted.shape.clone().or_else(tensor).or_else(limpid).or(nested).or(usual);
        let sides = said.ok_or_else(|| {
            format!("nothing says the shape of its lists `{name}`: set source.parquet.shape = [rows, columns]")
        })?;
        let shape = match sides[..] {
            [height, width] => ImageShape::new(height, width, 1),
            [height, width, channels] => ImageShape::new(height, width, channels),
            _ => None,
        };
        let shape = shape.ok_or_else(|| format!("no image has the shape {sides:?}"))?;
        check_channels(shape).map_err(|cause| format!("its column `{name}` {cause}"))?;
        Ok(Images::Numbers(shape))
    }

    /// One image of such a column.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn image(self, column: &ArrayRef, row: usize, fit: &Fit) -> Result<Picture, String> {
        if column.is_null(row) {
            return Err("it is null".to_owned());
        }
        match self {
            Images::Encoded => picture::decode(encoded(column, row).ok_or("it has no bytes")?, fit),
            Images::Numbers(shape) => {
                let bytes = numbers(column.slice(row, 1))?;
                if bytes.len() != shape.len() {
                    return Err(format!("it has {} numbers, expected {} for {shape}", bytes.len(), shape.len()));
                }
                picture::of_pixels(shape, bytes, fit)
            }
        }
    }
}

fn is_binary(found: &DataType) -> bool {
    matches!(found, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_bytes(field: &Field) -> bool {
    field.name() == "bytes" && is_binary(field.data_type())
}

/// The type of the numbers in lists, however deep, and the sides of lists in lists if all are fixed.
fn element(found: &DataType) -> Option<(&DataType, Option<Vec<usize>>)> {
    let (inner, side) = match found {
        DataType::List(inner) | DataType::LargeList(inner) => (inner, None),
        DataType::FixedSizeList(inner, size) => (inner, Some(*size as usize)),
        _ => return None,
    };
    Some(match element(inner.data_type()) {
        Some((element, sides)) => {
            let sides = side.zip(sides).map(|(side, sides)| [vec![side], sides].concat());
            (element, sides)
        }
        None => (inner.data_type(), side.map(|side| vec![side])),
    })
}

/// The bytes of a picture.
fn encoded(column: &ArrayRef, row: usize) -> Option<&[u8]> {
    let bytes = match column.as_struct_opt() {
        Some(fields) => fields.column_by_name("bytes")?,
        None => column,
    };
    if bytes.is_null(row) {
        return None;
    }
    match bytes.data_type() {
        DataType::Binary => Some(bytes.as_binary::<i32>().value(row)),
        DataType::LargeBinary => Some(bytes.as_binary::<i64>().value(row)),
        DataType::BinaryView => Some(bytes.as_binary_view().value(row)),
        _ => None,
    }
}

/// All numbers in a list of lists, as bytes.
fn numbers(mut values: ArrayRef) -> Result<Vec<u8>, String> {
    loop {
        if values.null_count() > 0 {
            return Err("it has nulls".to_owned());
        }
        values = match values.data_type() {
            DataType::List(_) => {
                let list = values.as_list::<i32>();
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                list.values().slice(start as usize, (end - start) as usize)
            }
            DataType::LargeList(_) => {
                let list = values.as_list::<i64>();
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                list.values().slice(start as usize, (end - start) as usize)
            }
            DataType::FixedSizeList(_, size) => {
                let list = values.as_fixed_size_list();
                list.values().slice(list.value_offset(0) as usize, list.len() * *size as usize)
            }
            _ => break,
        };
    }
    let float = |value: f64| {
        let pixel = (0.0..=1.0).contains(&value).then(|| to_byte(value as f32));
        pixel.ok_or_else(|| format!("it holds {value}; floats must lie in [0, 1]"))
    };
    match values.data_type() {
        DataType::UInt8 => Ok(values.as_primitive::<UInt8Type>().values().to_vec()),
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().values().iter().map(|value| float(f64::from(*value))).collect()
        }
        DataType::Float64 => values.as_primitive::<Float64Type>().values().iter().map(|value| float(*value)).collect(),
        DataType::Int64 => {
            let byte = |&value: &i64| {
                u8::try_from(value).map_err(|_| format!("it holds {value}; integers must lie between 0 and 255"))
            };
            values.as_primitive::<Int64Type>().values().iter().map(byte).collect()
        }
        other => Err(format!("it holds numbers of type {other}")),
    }
}

/// What to do about labels that are none.
const ADVICE: &str = "name another column with source.parquet.label";

/// What a column of labels holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// There is none.
    None,
    /// Numbers, and what they are called if anybody says it.
    Numbers(Classes),
    /// Names, sorted: a label is the position of its name.
    Names(Vec<String>),
}

impl Labels {
    /// What the column `field` of a schema holds; `columns` reads it alone in every file, where it must be known which names
    /// there are.
    ///
    /// # Errors
    /// A type that is neither numbers nor text, and what `columns` fails with.
    pub fn of<R, I>(field: Option<&Field>, schema: &Schema, columns: impl Fn() -> I) -> Result<Self>
    where
        R: Iterator<Item = Result<RecordBatch, String>>,
        I: Iterator<Item = Result<(PathBuf, R)>>,
    {
        let Some(field) = field else { return Ok(Labels::None) };
        if field.data_type().is_integer() {
            return Ok(Labels::Numbers(table::classes(schema).or(hugging_face(schema, field.name()))));
        }
        if !Self::can_be(field.data_type()) {
            let (name, found) = (field.name(), field.data_type());
            return Err(error::data(format!("the labels `{name}` are {found}, expected integers or text; {ADVICE}")));
        }
        let mut names = BTreeSet::new();
        for column in columns() {
            let (path, reader) = column?;
            for batch in reader {
                let bad = |cause: String| error::reading(format!("{} is damaged: {cause}", path.display()));
                let batch = batch.map_err(bad)?;
                let column = batch.column(0);
                for row in 0..batch.num_rows() {
                    if let Some(name) = text(&column.slice(row, 1), 0).filter(|name| !names.contains(*name)) {
                        names.insert(name.to_owned());
                        check_classes(names.len()).map_err(|cause| {
                            let (path, name) = (path.display(), field.name());
                            error::data(format!("{path}: the column `{name}` {cause}; {ADVICE}"))
                        })?;
                    }
                }
                crate::interrupt::check()?;
            }
        }
        Ok(Labels::Names(names.into_iter().collect()))
    }

    /// Whether a column of this type may hold labels.
    pub fn can_be(found: &DataType) -> bool {
        found.is_integer() || is_text(found)
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
    /// A number that is too large, in words.
    pub fn label(&self, column: Option<&ArrayRef>, row: usize) -> Result<Option<i64>, String> {
        let Some(column) = column.filter(|column| !column.is_null(row)) else { return Ok(None) };
        match self {
            Labels::None => Ok(None),
            Labels::Names(names) => {
                let position = |name: &str| names.binary_search_by(|known| known.as_str().cmp(name)).ok();
                // Keys of a dictionary are made usable all at once: of one row, not of all rows for each.
                Ok(text(&column.slice(row, 1), 0).and_then(position).map(|at| at as i64))
            }
            Labels::Numbers(_) => integer(column, row).map(Some).map_err(|cause| format!("its label {cause}")),
        }
    }
}

/// The number in a row of a column of integers.
///
/// # Errors
/// It is null or too large, in words that follow what it is.
pub fn integer(column: &ArrayRef, row: usize) -> Result<i64, String> {
    if column.is_null(row) {
        return Err("is null".to_owned());
    }
    let column = column.as_ref();
    downcast_integer_array!(
        column => i64::try_from(i128::from(column.value(row))).map_err(|_| "is too large".to_owned()),
        other => Err(format!("is {other}")),
    )
}

/// The names that Hugging Face's metadata give to the labels of a column.
fn hugging_face(schema: &Schema, column: &str) -> Classes {
    let value: serde_json::Value = serde_json::from_str(schema.metadata().get("huggingface")?).ok()?;
    let feature = &value["info"]["features"][column];
    let names: Vec<String> = serde_json::from_value(feature["names"].clone()).ok()?;
    (feature["_type"] == "ClassLabel").then(|| names.into())
}

fn is_text(found: &DataType) -> bool {
    match found {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The text in a row; none if it is null.
fn text(column: &ArrayRef, row: usize) -> Option<&str> {
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
