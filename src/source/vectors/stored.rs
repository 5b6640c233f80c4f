//! The scaling of columns as a table, which ingest writes beside the rows and train puts into the model.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};

use crate::scaler::{ScaledColumn, Scaler};
use crate::{error, table};

/// The table: a row for each number of a vector.
pub const SCALER: &str = "columns.parquet";
/// Bytes and rows that are read at a time.
const READ: (u64, usize) = (4 << 20, 1 << 16);

/// A scaling as a table.
///
/// # Errors
/// Arrow's, which no content causes.
pub fn table_of(scaler: &Scaler) -> Result<RecordBatch> {
    let fields = vec![
        Field::new("column", DataType::Utf8, false),
        Field::new("place", DataType::Int64, true),
        Field::new("zero", DataType::Float64, false),
        Field::new("one", DataType::Float64, false),
        Field::new("missing", DataType::Float64, true),
    ];
    let columns = || scaler.columns().iter();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(columns().map(|column| &column.column))),
        Arc::new(columns().map(|column| column.place.map(|place| place as i64)).collect::<Int64Array>()),
        Arc::new(Float64Array::from_iter_values(columns().map(|column| column.zero))),
        Arc::new(Float64Array::from_iter_values(columns().map(|column| column.one))),
        Arc::new(columns().map(|column| column.missing).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|cause| error::bug(format!("cannot make a table of columns: {cause}")))
}

/// The scaling that ingest has written to `folder`.
///
/// # Errors
/// A file that cannot be read, or that ingest has not written.
pub fn read_scaler(folder: &Path) -> Result<Scaler> {
    let path = folder.join(SCALER);
    let bad = |cause: &str| error::reading(format!("{} is not what ingest wrote: {cause}", path.display()));
    let footer = table::footer(&path)?;
    let all: Vec<usize> = (0..footer.schema().fields().len()).collect();
    let mut columns = Vec::new();
    for batch in table::columns(&path, &footer, &all, READ.0, READ.1)? {
        let batch = batch.map_err(|cause| bad(&cause))?;
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| bad(&format!("no column {name}")));
        let floats = |name: &str| {
            column(name)?.as_primitive_opt::<Float64Type>().cloned().ok_or_else(|| bad(&format!("{name} is no float")))
        };
        let names = column("column")?.as_string_opt::<i32>().ok_or_else(|| bad("column is no text"))?;
        let places = column("place")?.as_primitive_opt::<Int64Type>().ok_or_else(|| bad("place is no number"))?;
        let (zero, one, missing) = (floats("zero")?, floats("one")?, floats("missing")?);
        columns.extend((0..batch.num_rows()).map(|row| ScaledColumn {
            column: names.value(row).to_owned(),
            place: places.is_valid(row).then(|| places.value(row) as usize),
            zero: zero.value(row),
            one: one.value(row),
            missing: missing.is_valid(row).then(|| missing.value(row)),
        }));
    }
    Scaler::try_from(columns).map_err(|cause| bad(&cause))
}
