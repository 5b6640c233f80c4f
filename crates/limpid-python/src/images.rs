//! Images as Python has them: arrays, Arrow, and lists of paths or pictures.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use limpid::command::library::Images;
use limpid::error::Kind;
use limpid::source::HeldArray;
use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};
use pyo3_arrow::input::AnyArray;

use crate::errors::of_kind;

/// What images are called in messages.
const NAME: &str = "the array";
const TABLE: &str = "the table";

/// The form that the images had, which results take on.
pub enum Form {
    /// An array of these sizes.
    Array(Vec<usize>),
    /// Arrow.
    Arrow,
    /// A list.
    List,
}

/// Reads what a caller calls images; a column of Arrow that comes alone is called `alone`.
///
/// # Errors
/// `TypeError` for what is none, `DataError` for what is none that limpid reads.
pub fn images(given: &Bound<'_, PyAny>, alone: &str) -> PyResult<(Images, Form)> {
    // Pillow's have their numbers as Arrow too.
    if is_picture(given)? {
        return Err(PyTypeError::new_err("it is one picture: give a list of pictures, as [picture]"));
    }
    if given.hasattr("__arrow_c_array__")? || given.hasattr("__arrow_c_stream__")? {
        return Ok((arrow(given, alone)?, Form::Arrow));
    }
    if given.cast::<PyList>().is_ok() || given.cast::<PyTuple>().is_ok() {
        return list(given);
    }
    if given.cast::<PyString>().is_err() {
        if let Ok(view) = PyMemoryView::from(given) {
            return of_array(&view);
        }
        if given.hasattr("__array__")? {
            return of_array(&PyMemoryView::from(&given.call_method0("__array__")?)?);
        }
    }
    let (kind, wanted) = (given.get_type().name()?, "a NumPy array, Arrow data, or a list of paths, pictures or bytes");
    Err(PyTypeError::new_err(format!("images are {wanted}, and not {kind}")))
}

/// The numbers of an array, as rows of codes are too.
///
/// # Errors
/// As [`images`].
pub fn array(view: &Bound<'_, PyMemoryView>) -> PyResult<(HeldArray, Vec<usize>)> {
    let format: String = view.getattr("format")?.extract()?;
    let size: usize = view.getattr("itemsize")?.extract()?;
    let (order, code) = match format.split_at_checked(1) {
        Some((order @ ("<" | ">" | "=" | "@" | "!"), code)) => (order, code),
        _ => ("=", format.as_str()),
    };
    let kind = match code {
        "B" | "H" | "I" | "L" | "Q" | "N" => "u",
        "b" | "h" | "i" | "l" | "q" | "n" => "i",
        "e" | "f" | "d" => "f",
        "?" => "b",
        other => other,
    };
    let big = matches!(order, ">" | "!") || (cfg!(target_endian = "big") && order != "<");
    let order = if size == 1 {
        "|"
    } else if big {
        ">"
    } else {
        "<"
    };
    let sizes: Vec<usize> = view.getattr("shape")?.extract()?;
    let numbers = view.call_method0("tobytes")?.extract::<PyBackedBytes>()?;
    let held = HeldArray {
        name: NAME.to_owned(),
        description: format!("{order}{kind}{size}"),
        sizes: sizes.iter().map(|size| *size as u64).collect(),
        numbers: Bytes::from_owner(numbers),
    };
    Ok((held, sizes))
}

fn of_array(view: &Bound<'_, PyMemoryView>) -> PyResult<(Images, Form)> {
    array(view).map(|(held, sizes)| (Images::Array(held), Form::Array(sizes)))
}

/// Arrow data: a table, or a column of images alone.
fn arrow(given: &Bound<'_, PyAny>, alone: &str) -> PyResult<Images> {
    let bad = |cause: String| of_kind(given.py(), Kind::Data, format!("cannot use {TABLE}: {cause}"));
    let reader = given.extract::<AnyArray>()?.into_reader()?;
    let field = reader.field();
    // What makes the rows may need the interpreter on a thread of its own.
    let chunks = given.py().detach(move || reader.collect::<Result<Vec<ArrayRef>, _>>());
    let chunks = chunks.map_err(|cause| {
        let cause = cause.to_string();
        // Ctrl-C in what makes the rows comes as the text of an error alone.
        if cause.contains("KeyboardInterrupt") { PyKeyboardInterrupt::new_err(()) } else { bad(cause) }
    })?;
    let DataType::Struct(fields) = field.data_type() else {
        let schema = Arc::new(Schema::new(vec![field.as_ref().clone().with_name(alone)]));
        return table(schema, chunks.into_iter().map(|chunk| vec![chunk])).map_err(bad);
    };
    let schema = Arc::new(Schema::new_with_metadata(fields.clone(), field.metadata().clone()));
    if chunks.iter().any(|chunk| chunk.null_count() > 0) {
        return Err(bad("it has rows that are null".to_owned()));
    }
    table(schema, chunks.into_iter().map(|chunk| chunk.as_struct().columns().to_vec())).map_err(bad)
}

fn table(schema: SchemaRef, chunks: impl Iterator<Item = Vec<ArrayRef>>) -> Result<Images, String> {
    // What a batch declares may differ from what it holds.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<Field>>(), schema.metadata().clone()));
    let batches =
        chunks.map(|columns| RecordBatch::try_new(schema.clone(), columns).map_err(|cause| cause.to_string()));
    Ok(Images::Table { name: TABLE.to_owned(), schema: schema.clone(), batches: batches.collect::<Result<_, _>>()? })
}

/// A list of paths, of pictures, of bytes of picture files, or of anything that NumPy makes an array of.
fn list(given: &Bound<'_, PyAny>) -> PyResult<(Images, Form)> {
    let items: Vec<Bound<'_, PyAny>> = given.try_iter()?.collect::<PyResult<_>>()?;
    let Some(first) = items.first() else { return Ok((Images::Files(Vec::new()), Form::List)) };
    if first.cast::<PyString>().is_ok() || first.hasattr("__fspath__")? {
        return Ok((Images::Files(given.extract::<Vec<PathBuf>>()?), Form::List));
    }
    if first.cast::<PyBytes>().is_ok() || is_picture(first)? {
        let encoded = items.iter().map(|item| if is_picture(item)? { encoded(item) } else { Ok(item.extract()?) });
        let encoded = encoded.collect::<PyResult<Vec<PyBackedBytes>>>()?;
        let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(encoded.iter().map(AsRef::<[u8]>::as_ref)));
        let schema = Arc::new(Schema::new(vec![Field::new("image", DataType::Binary, false)]));
        let images = table(schema, std::iter::once(vec![column]));
        return images.map(|images| (images, Form::List)).map_err(PyTypeError::new_err);
    }
    let stacked = stacked(given).map_err(|cause| {
        if !cause.is_instance_of::<PyValueError>(given.py()) {
            return cause;
        }
        let message = "the arrays of the list have different sizes: give each by itself, or pictures of PIL's";
        of_kind(given.py(), Kind::Data, message.to_owned())
    })?;
    of_array(&PyMemoryView::from(&stacked)?)
}

/// A list as NumPy makes an array of it.
///
/// # Errors
/// Those of NumPy, as `ValueError` for lists of different lengths.
pub fn stacked<'py>(list: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    list.py().import("numpy")?.call_method1("asarray", (list,))
}

/// Whether it is a picture of PIL's.
fn is_picture(item: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(item.hasattr("getbands")? && item.hasattr("save")?)
}

/// A picture of PIL's as a PNG file, which holds its pixels as they are; as a TIFF if they are no bytes or words, and as PIL converts it
/// to RGB or to an alpha that the colours are not multiplied by if neither has its pixels.
fn encoded(picture: &Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    let py = picture.py();
    let saved = || -> PyResult<PyBackedBytes> {
        let mode = picture.getattr("mode")?.extract::<String>().unwrap_or_default();
        let (format, converted) = match mode.as_str() {
            "F" | "I" => ("TIFF", None),
            "CMYK" | "RGBX" | "YCbCr" | "HSV" | "LAB" => ("PNG", Some("RGB")),
            "La" => ("PNG", Some("LA")),
            "RGBa" | "PA" => ("PNG", Some("RGBA")),
            _ => ("PNG", None),
        };
        let picture = match converted {
            Some(mode) => picture.call_method1("convert", (mode,))?,
            None => picture.clone(),
        };
        let file = py.import("io")?.call_method0("BytesIO")?;
        let options = PyDict::new(py);
        options.set_item("format", format)?;
        if format == "PNG" {
            options.set_item("compress_level", 0)?;
        }
        picture.call_method("save", (&file,), Some(&options))?;
        file.call_method0("getvalue")?.extract().map_err(PyErr::from)
    };
    saved().map_err(|cause| of_kind(py, Kind::Data, format!("a picture cannot be read: {}", cause.value(py))))
}
