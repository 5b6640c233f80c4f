//! Tables of limpid's for Python: Arrow for whoever takes it, and columns as NumPy arrays.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Float32Type, Int32Type, Int64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use limpid::command::library::{self, Rows};
use limpid::table::TableFile;
use numpy::{Element, PyArray1};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList};
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

use crate::errors::exception;

/// Rows with named columns.
#[pyclass(module = "limpid", frozen)]
pub struct Table {
    schema: SchemaRef,
    origin: Origin,
}

enum Origin {
    Memory(Vec<RecordBatch>),
    /// They are read whenever the rows are.
    Files(Vec<TableFile>),
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

impl Table {
    /// Rows in memory.
    pub fn held(rows: Rows) -> Self {
        Self { schema: rows.schema, origin: Origin::Memory(rows.batches) }
    }

    fn batches(&self) -> Batches {
        match &self.origin {
            Origin::Memory(batches) => Box::new(batches.clone().into_iter().map(Ok)),
            Origin::Files(files) => {
                let schema = self.schema.clone();
                let batches = files.clone().into_iter().flat_map(|file| file.all());
                Box::new(batches.map(move |batch| {
                    let batch =
                        batch.map_err(|cause| ArrowError::ExternalError(limpid::error::message(&cause).into()))?;
                    // The names of labels are in the schema of the table alone.
                    RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
                }))
            }
        }
    }

    fn collected(&self, py: Python<'_>) -> PyResult<Vec<RecordBatch>> {
        match &self.origin {
            Origin::Memory(batches) => Ok(batches.clone()),
            Origin::Files(files) => {
                let read = || files.iter().flat_map(TableFile::all).collect::<anyhow::Result<Vec<_>>>();
                py.detach(read).map_err(|cause| exception(py, &cause))
            }
        }
    }

    /// The numbers of some columns, one after the other in each row, as an array of one row each.
    pub fn stacked<'py>(&self, py: Python<'py>, columns: &[&str]) -> PyResult<Bound<'py, PyAny>> {
        let batches = self.collected(py)?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let mut numbers = Vec::with_capacity(rows * columns.len());
        for batch in &batches {
            let columns: Vec<_> = columns
                .iter()
                .filter_map(|name| Some(batch.column_by_name(name)?.as_primitive_opt::<Float32Type>()?.values()))
                .collect();
            numbers.extend((0..batch.num_rows()).flat_map(|row| columns.iter().map(move |column| column[row])));
        }
        shaped(PyArray1::from_vec(py, numbers).into_any(), &[rows, columns.len()])
    }

    /// The images, or the codes, or another column, as NumPy has it; images of one size with these sizes of one.
    pub fn column<'py>(&self, py: Python<'py>, name: &str, sizes: Option<&[usize]>) -> PyResult<Bound<'py, PyAny>> {
        let field = self.schema.field_with_name(name).map_err(|_| {
            let names: Vec<_> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
            PyKeyError::new_err(format!("there is no column {name}; the columns: {}", names.join(", ")))
        })?;
        let batches = self.collected(py)?;
        let columns: Vec<&ArrayRef> = batches.iter().filter_map(|batch| batch.column_by_name(name)).collect();
        let rows: usize = columns.iter().map(|column| column.len()).sum();
        match field.data_type() {
            DataType::FixedSizeList(item, width) => {
                let values: Vec<ArrayRef> = columns
                    .iter()
                    .map(|column| {
                        let lists = column.as_fixed_size_list();
                        let (start, end) = (lists.value_offset(0) as usize, lists.value_offset(lists.len()) as usize);
                        lists.values().slice(start, end - start)
                    })
                    .collect();
                let side = |key: &str| field.metadata().get(key)?.parse::<usize>().ok();
                let own = [side("limpid.height"), side("limpid.width"), side("limpid.channels")];
                let own: Option<Vec<usize>> = own.into_iter().collect();
                let own = own.map(|own| if own[2] == 1 { own[..2].to_vec() } else { own });
                let sizes = sizes.map(<[usize]>::to_vec).or(own).unwrap_or(vec![*width as usize]);
                shaped(numbers(py, item.data_type(), &values)?, &[vec![rows], sizes].concat())
            }
            DataType::List(item) if name == "image" => self.pictures(py, item.data_type(), &batches),
            kind => {
                let null = columns.iter().any(|column| column.null_count() > 0);
                if null && *kind == DataType::Int64 {
                    let values = columns.iter().flat_map(|column| column.as_primitive::<Int64Type>().iter());
                    let floats = values.map(|value| value.map_or(f64::NAN, |value| value as f64)).collect();
                    return Ok(PyArray1::from_vec(py, floats).into_any());
                }
                let columns: Vec<ArrayRef> = columns.into_iter().cloned().collect();
                numbers(py, kind, &columns)
            }
        }
    }

    /// Whether a column holds a list in each row.
    pub fn is_list(&self, column: &str) -> bool {
        let field = self.schema.field_with_name(column);
        field.is_ok_and(|field| matches!(field.data_type(), DataType::FixedSizeList(..) | DataType::List(_)))
    }

    /// Pictures of different sizes, an array each.
    fn pictures<'py>(&self, py: Python<'py>, item: &DataType, batches: &[RecordBatch]) -> PyResult<Bound<'py, PyAny>> {
        let field = self.schema.field_with_name("image").map_err(|cause| PyKeyError::new_err(cause.to_string()))?;
        let channels = field.metadata().get("limpid.channels").and_then(|text| text.parse().ok()).unwrap_or(1);
        let pictures = PyList::empty(py);
        for batch in batches {
            let side = |name: &str| batch.column_by_name(name).and_then(|side| side.as_primitive_opt::<Int32Type>());
            let (Some(heights), Some(widths), Some(images)) =
                (side("height"), side("width"), batch.column_by_name("image"))
            else {
                return Err(PyTypeError::new_err("the images have no sides"));
            };
            let images = images.as_list::<i32>();
            for row in 0..batch.num_rows() {
                let sizes = [heights.value(row) as usize, widths.value(row) as usize, channels];
                let sizes = if channels == 1 { &sizes[..2] } else { &sizes[..] };
                pictures.append(shaped(numbers(py, item, &[images.value(row)])?, sizes)?)?;
            }
        }
        Ok(pictures.into_any())
    }
}

#[pymethods]
impl Table {
    /// The rows of tables that limpid wrote, which are read when they are asked for.
    #[staticmethod]
    fn of_files(py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<Self> {
        let files = py.detach(|| paths.iter().map(|path| library::table(path)).collect::<anyhow::Result<Vec<_>>>());
        let files = files.map_err(|cause| exception(py, &cause))?;
        let schema = files.first().map_or_else(|| Arc::new(Schema::empty()), TableFile::schema);
        Ok(Self { schema, origin: Origin::Files(files) })
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        Ok(to_schema_pycapsule(py, self.schema.as_ref())?)
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let arrays =
            self.batches().map(|batch| -> Result<ArrayRef, ArrowError> { Ok(Arc::new(StructArray::from(batch?))) });
        let field =
            Field::new_struct("", self.schema.fields().clone(), false).with_metadata(self.schema.metadata.clone());
        Ok(to_stream_pycapsule(py, Box::new(ArrayIterator::new(arrays, field.into())), requested_schema)?)
    }

    fn __len__(&self) -> usize {
        match &self.origin {
            Origin::Memory(batches) => batches.iter().map(RecordBatch::num_rows).sum(),
            Origin::Files(files) => files.iter().map(|file| file.rows() as usize).sum(),
        }
    }

    #[getter]
    fn column_names(&self) -> Vec<&str> {
        self.schema.fields().iter().map(|field| field.name().as_str()).collect()
    }

    /// A column as a NumPy array, with a row for each of the table's.
    fn numpy<'py>(&self, py: Python<'py>, column: &str) -> PyResult<Bound<'py, PyAny>> {
        self.column(py, column, None)
    }

    fn __repr__(&self) -> String {
        format!("limpid.Table({} rows: {})", self.__len__(), self.column_names().join(", "))
    }
}

/// The numbers of several arrays of a type as one of NumPy's, which takes them over.
fn numbers<'py>(py: Python<'py>, kind: &DataType, arrays: &[ArrayRef]) -> PyResult<Bound<'py, PyAny>> {
    fn joined<'py, T>(py: Python<'py>, arrays: &[ArrayRef]) -> Bound<'py, PyAny>
    where
        T: ArrowPrimitiveType,
        T::Native: Element,
    {
        let mut numbers = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
        arrays.iter().for_each(|array| numbers.extend_from_slice(array.as_primitive::<T>().values()));
        PyArray1::from_vec(py, numbers).into_any()
    }
    match kind {
        DataType::UInt8 => Ok(joined::<UInt8Type>(py, arrays)),
        DataType::Float32 => Ok(joined::<Float32Type>(py, arrays)),
        DataType::Int64 => Ok(joined::<Int64Type>(py, arrays)),
        DataType::Int32 => Ok(joined::<Int32Type>(py, arrays)),
        _ => Err(PyTypeError::new_err(format!("a column of {kind} is no array of numbers; read the table as Arrow"))),
    }
}

/// The array with these sizes.
pub fn shaped<'py>(array: Bound<'py, PyAny>, sizes: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    array.call_method1("reshape", (sizes.to_vec(),))
}
