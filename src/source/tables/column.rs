//! Decodes columns of images of any supported type.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field, Schema};

use super::choice::Wanted;
use crate::image::{ImageShape, to_byte};
use crate::source::picture::{self, Picture, pages};
use crate::source::settings::Fit;
use crate::source::{Asker, check_channels};

/// The content of a column of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Encoded picture files.
    Encoded,
    /// Pixels, row by row, channels last.
    Numbers(ImageShape),
}

impl Images {
    /// The content of the column at this position of a schema.
    ///
    /// # Errors
    /// A type that images do not have, or lists without a shape; as text.
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
        // A flat list shows no rows and columns.
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

    /// Decodes one image of the column.
    ///
    /// # Errors
    /// The reason why it cannot be used, as text.
    pub fn image(self, column: &ArrayRef, row: usize, fit: &Fit, asker: Asker) -> Result<Picture, String> {
        if column.is_null(row) {
            return Err("it is null".to_owned());
        }
        match self {
            Images::Encoded => {
                let bytes = encoded(column, row).ok_or("it has no bytes")?;
                pages::check(pages::pages(&mut Cursor::new(bytes)).len(), fit.pages, asker)?;
                picture::decode(bytes, fit)
            }
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

/// The type of the numbers in nested lists, and the sizes of the lists if all are fixed.
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

/// The bytes of an encoded picture.
pub fn encoded(column: &ArrayRef, row: usize) -> Option<&[u8]> {
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

/// All numbers in nested lists, as bytes.
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
