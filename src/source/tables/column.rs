//! Decodes columns of images of any supported type.

use std::collections::BTreeSet;
use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::choice::{Columns, Wanted};
use super::kinds::integer;
use crate::image::{ImageShape, Levels, Pixels, Samples};
use crate::source::picture::{self, Picture, pages};
use crate::source::settings::Fit;
use crate::source::{Asker, check_channels, check_volume};

/// The content of a column of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Images {
    /// Encoded picture files.
    Encoded,
    /// Pixels, row by row, channels last.
    Numbers(ImageShape),
    /// The same of different sizes, which columns beside them say.
    Sided {
        /// Numbers per pixel.
        channels: usize,
    },
}

impl Images {
    /// The content of these columns of a schema; `first` is the first row of those that make the images.
    ///
    /// # Errors
    /// A type that images do not have, or lists without a shape; as text.
    pub fn of(schema: &Schema, columns: Columns, wanted: &Wanted, first: Option<&RecordBatch>) -> Result<Self, String> {
        let field = schema.field(columns.image);
        let (name, found) = (field.name(), field.data_type());
        if is_binary(found) || matches!(found, DataType::Struct(fields) if fields.iter().any(|f| is_bytes(f))) {
            return Ok(Images::Encoded);
        }
        let Some((element, sides_of_lists)) = element(found) else {
            let expected = "pictures in binary, a struct with `bytes`, or lists of uint8 or float32";
            return Err(format!("its column `{name}` is {found}, expected {expected}"));
        };
        if !(element.is_integer() || element.is_floating() || *element == DataType::Boolean) {
            return Err(format!(
                "its column `{name}` holds lists of {element}; images are lists of integers or floats"
            ));
        }
        let own = |key: &str| {
            let text = field.metadata().get(key).or(schema.metadata().get(key))?;
            text.parse::<usize>().ok()
        };
        if columns.sides.is_some() {
            let channels = own("limpid.channels").map(Ok).or_else(|| first.map(|row| channels_of(row.columns())));
            let channels = channels.unwrap_or_else(|| Err("has no rows".to_owned()));
            return channels.map(|channels| Images::Sided { channels }).map_err(|cause| {
                format!("the first of its lists `{name}` {cause}, by its columns height and width; where these say something else, set \
                         source.parquet.shape = [rows, columns]")
            });
        }
        let limpid = || Some(vec![own("limpid.height")?, own("limpid.width")?, own("limpid.channels")?]);
        let tensor = tensor(field)?;
        // A flat list shows no rows and columns.
        let first = first.and_then(|row| nested(row.column(0).clone()).ok()).map(|(sizes, _)| sizes);
        let nested = sides_of_lists.or(first).filter(|sides| sides.len() > 1);
        let usual = wanted.usual.map(|usual| vec![usual.height, usual.width, usual.channels]);
        if let Some(asked) = &wanted.shape
            && let Some(found) = [&tensor, &nested].into_iter().flatten().find(|found| !agrees(found, asked))
        {
            return Err(format!("its column `{name}` has {}", contradiction(found, asked)));
        }
        let told = wanted.shape.is_some() || wanted.usual.is_some() || limpid().is_some();
        let said = wanted.shape.clone().or(tensor).or_else(limpid).or(nested).or(usual);
        let sides = said.ok_or_else(|| {
            format!(
                "nothing says the shape of its lists `{name}`: set source.parquet.shape = [rows, columns], or have integers in \
                 columns called height and width say it of each"
            )
        })?;
        let shape = match sides[..] {
            [height, width] => ImageShape::new(height, width, 1),
            [height, width, channels] => ImageShape::new(height, width, channels),
            _ => None,
        };
        let shape = shape.ok_or_else(|| format!("no image has the shape {sides:?}"))?;
        check_channels(shape).map_err(|cause| format!("its column `{name}` {cause}"))?;
        if !told {
            let advice =
                |channels| format!("source.parquet.shape = {sides:?} takes them for images of {channels} channels");
            check_volume(shape, advice).map_err(|cause| format!("its column `{name}` {cause}"))?;
        }
        Ok(Images::Numbers(shape))
    }

    /// The shape of an image as it is stored and how its pixels will be stored, as far as that can be told without decoding it; lists of
    /// numbers are all stored as the first is.
    pub fn header(self, columns: &[ArrayRef], row: usize, fit: &Fit) -> Option<(ImageShape, Pixels)> {
        match self {
            Images::Encoded => picture::shape_of(Cursor::new(encoded(&columns[0], row)?), fit),
            Images::Numbers(_) => None,
            Images::Sided { channels } => {
                let ImageShape { height, width, channels } = sides(columns, row, channels).ok()?;
                let channels = fit.grey.map_or(channels, |grey| if grey { 1 } else { 3 });
                Some((ImageShape::picture(height, width, channels)?, Pixels::U8))
            }
        }
    }

    /// Decodes one image of the columns that make the images.
    ///
    /// # Errors
    /// The reason why it cannot be used, as text.
    pub fn image(self, columns: &[ArrayRef], row: usize, fit: &Fit, asker: Asker) -> Result<Picture, String> {
        let column = &columns[0];
        if column.is_null(row) {
            return Err("it is null".to_owned());
        }
        let shape = match self {
            Images::Encoded => {
                let bytes = encoded(column, row).ok_or("it has no bytes")?;
                pages::check(pages::pages(&mut Cursor::new(bytes)).len(), fit.pages, asker)?;
                return picture::decode(bytes, fit);
            }
            Images::Numbers(shape) => shape,
            Images::Sided { channels } => sides(columns, row, channels)?,
        };
        let (nested, samples) = numbers(column.slice(row, 1), fit.levels)?;
        let sides = [shape.height, shape.width, shape.channels];
        if nested.len() > 1 && samples.len() == shape.len() && !agrees(&nested, &sides) {
            return Err(format!("it has {}", contradiction(&nested, &sides)));
        }
        if samples.len() != shape.len() {
            return Err(format!("it has {} numbers, expected {} for {shape}", samples.len(), shape.len()));
        }
        picture::of_pixels(shape, samples, fit)
    }
}

/// The shape of an image whose rows and columns are in the columns after its own.
fn sides(columns: &[ArrayRef], row: usize, channels: usize) -> Result<ImageShape, String> {
    let side = |at: usize, name: &str| integer(&columns[at], row).map_err(|cause| format!("its {name} {cause}"));
    let (height, width) = (side(1, "height")?, side(2, "width")?);
    let sides = [height, width].map(|side| usize::try_from(side).unwrap_or(0));
    let shape = ImageShape::picture(sides[0], sides[1], channels);
    shape.ok_or_else(|| format!("no image has the shape {height}×{width}×{channels}"))
}

/// Numbers per pixel of the first image, whose rows and columns are in the columns after its own: grey or colour.
fn channels_of(first: &[ArrayRef]) -> Result<usize, String> {
    let (pixels, numbers) = (sides(first, 0, 1)?.len(), nested(first[0].clone())?.1.len());
    let channels = [1, 3].into_iter().find(|channels| channels * pixels == numbers);
    channels.ok_or_else(|| format!("has {numbers} numbers, but {pixels} pixels"))
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

/// The shape in the metadata of a column of tensors: Arrow's, or those of Hugging Face's `datasets`.
///
/// # Errors
/// Tensors whose numbers are not stored row by row; as text.
fn tensor(field: &Field) -> Result<Option<Vec<usize>>, String> {
    let metadata = field.metadata().get("ARROW:extension:metadata");
    let Some(value) = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return Ok(None) };
    let list = |value: &Value| -> Option<Vec<usize>> {
        value.as_array()?.iter().map(|side| side.as_u64().map(|side| side as usize)).collect()
    };
    if list(&value["permutation"]).is_some_and(|axes| !axes.is_sorted()) {
        let name = field.name();
        return Err(format!(
            "the tensors of its column `{name}` are stored with permuted axes; write numpy.ascontiguousarray of them"
        ));
    }
    Ok(list(&value["shape"]).or_else(|| list(&value[0])))
}

/// Whether lists nested with these sizes, the outermost first, hold an image of these sides row by row: a list then ends only where a
/// row, a column or all of an image does.
fn agrees(nested: &[usize], sides: &[usize]) -> bool {
    let ends = |sizes: &[usize]| -> BTreeSet<usize> {
        let product = |product: &mut usize, size: &usize| {
            *product = product.saturating_mul(*size);
            Some(*product)
        };
        sizes.iter().scan(1, product).chain([1]).collect()
    };
    let (nested, sides) = (ends(nested), ends(sides));
    nested.last() == sides.last() && nested.is_subset(&sides)
}

/// What is wrong where [`agrees`] is false.
fn contradiction(nested: &[usize], sides: &[usize]) -> String {
    let of = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>();
    let (lists, image) = (of(nested).join(" of "), of(sides).join("×"));
    let advice = match (nested, sides) {
        ([channels, rows @ ..], [height, width, last]) if channels == last && rows == [*height, *width] => {
            "the channels come first and must come last: numpy.moveaxis(image, 0, -1)"
        }
        _ => "rows, columns and channels must be nested in this order",
    };
    format!("lists of {lists}, which are no images of {image}: {advice}")
}

/// The sizes of nested lists, the outermost first, and all numbers in them.
fn nested(mut values: ArrayRef) -> Result<(Vec<usize>, ArrayRef), String> {
    let mut sizes = Vec::new();
    loop {
        if values.null_count() > 0 {
            return Err("it has nulls".to_owned());
        }
        let (lengths, inner) = match values.data_type() {
            DataType::List(_) => {
                let list = values.as_list::<i32>();
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                let lengths = list.offsets().lengths().collect::<BTreeSet<_>>();
                (lengths, list.values().slice(start as usize, (end - start) as usize))
            }
            DataType::LargeList(_) => {
                let list = values.as_list::<i64>();
                let (start, end) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
                let lengths = list.offsets().lengths().collect::<BTreeSet<_>>();
                (lengths, list.values().slice(start as usize, (end - start) as usize))
            }
            DataType::FixedSizeList(_, size) => {
                let list = values.as_fixed_size_list();
                let start = list.value_offset(0) as usize;
                (BTreeSet::from([*size as usize]), list.values().slice(start, list.len() * *size as usize))
            }
            _ => return Ok((sizes, values)),
        };
        if let (Some(least), Some(most)) = (lengths.first(), lengths.last())
            && least != most
        {
            return Err(format!("its rows differ: lists of {least} and of {most} are side by side"));
        }
        sizes.extend(lengths.first());
        values = inner;
    }
}

/// The sizes of nested lists, the outermost first, and all pixels in them: by `levels`, if given; else integers from 0 to 255 and
/// floats from [0, 1] unchanged, true as 255.
fn numbers(values: ArrayRef, levels: Option<Levels>) -> Result<(Vec<usize>, Samples), String> {
    let (sizes, values) = nested(values)?;
    let cast = |wanted: &DataType| arrow_cast::cast(&values, wanted).map_err(|cause| cause.to_string());
    let float = |&value: &f64| match levels {
        Some(levels) => levels.pixel(value),
        None if (0.0..=1.0).contains(&value) => Ok(value as f32),
        None => Err(format!("it holds {value}; floats must lie in [0, 1], unless `levels` says another range")),
    };
    let no_byte = |at: usize| {
        // Not of the cast, to which a u64 may be too large.
        let value = array_value_to_string(&values, at).unwrap_or_default();
        let advice = "unless `levels` says another range, as levels = [0, 65535]";
        format!("it holds {value}; integers must lie between 0 and 255, {advice}")
    };
    let byte =
        |(at, value): (usize, Option<i64>)| value.and_then(|value| u8::try_from(value).ok()).ok_or_else(|| no_byte(at));
    let found = values.data_type();
    if found.is_floating() || (levels.is_some() && found.is_integer()) {
        let floats = cast(&DataType::Float64)?;
        let floats = floats.as_primitive::<Float64Type>().values().iter().map(float).collect::<Result<Vec<f32>, _>>();
        return Ok((sizes, floats?.into()));
    }
    let bytes: Result<Vec<u8>, String> = match found {
        DataType::UInt8 => Ok(values.as_primitive::<UInt8Type>().values().to_vec()),
        DataType::Boolean => {
            let bits = values.as_boolean().values().iter();
            Ok(bits.map(|bit| if bit { 255 } else { 0 }).collect())
        }
        found if found.is_integer() => {
            cast(&DataType::Int64)?.as_primitive::<Int64Type>().iter().enumerate().map(byte).collect()
        }
        other => Err(format!("it holds numbers of type {other}")),
    };
    Ok((sizes, bytes?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lists_agree_with_a_shape_only_row_by_row() {
        for (nested, sides) in [
            (&[9, 12, 3][..], &[9, 12, 3][..]),
            (&[108, 3], &[9, 12, 3]),
            (&[9, 36], &[9, 12, 3]),
            (&[324], &[9, 12, 3]),
            (&[1, 28, 28], &[28, 28]),
            (&[28, 28, 1], &[28, 28, 1]),
        ] {
            assert!(agrees(nested, sides), "{nested:?} {sides:?}");
        }
        for (nested, sides) in [
            (&[3, 9, 12][..], &[9, 12, 3][..]),
            (&[9, 3, 12], &[9, 12, 3]),
            (&[12, 9, 3], &[9, 12, 3]),
            (&[12, 9], &[9, 12]),
            (&[9, 12], &[9, 12, 3]),
            (&[usize::MAX, 2], &[9, 12]),
        ] {
            assert!(!agrees(nested, sides), "{nested:?} {sides:?}");
        }
        let message = contradiction(&[3, 9, 12], &[9, 12, 3]);
        assert!(message.starts_with("lists of 3 of 9 of 12, which are no images of 9×12×3: "), "{message}");
        assert!(message.ends_with("numpy.moveaxis(image, 0, -1)"), "{message}");
    }
}
