//! Columns that another program has stored in related types.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Field};

/// The column of a batch for this field, converted.
///
/// # Errors
/// It is missing, has nulls where there must be none, or cannot be converted; as text.
pub fn conformed(batch: &RecordBatch, field: &Field) -> Result<ArrayRef, String> {
    let column = batch.column_by_name(field.name()).ok_or("a column is missing")?;
    if !field.is_nullable() && column.logical_null_count() > 0 {
        return Err(format!("column `{}` has nulls", field.name()));
    }
    converted(column, field.data_type()).map_err(|cause| format!("column `{}` {cause}", field.name()))
}

/// Converts a column from a related type of another program.
///
/// # Errors
/// Lists of other lengths or with nulls, numbers that are too large; as text.
pub fn converted(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    let cast = |wanted: &DataType| {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(column, wanted, &options).map_err(|cause| format!("cannot be {wanted}: {cause}"))
    };
    if let DataType::List(item) = wanted {
        let nullable = DataType::List(Arc::new(item.as_ref().clone().with_nullable(true)));
        let list = if *column.data_type() == nullable { column.clone() } else { cast(&nullable)? };
        let list = list.as_list::<i32>();
        if list.values().logical_null_count() > 0 {
            return Err("has nulls".to_owned());
        }
        let list = ListArray::try_new(item.clone(), list.offsets().clone(), list.values().clone(), None);
        return Ok(Arc::new(list.map_err(|cause| cause.to_string())?));
    }
    let DataType::FixedSizeList(item, size) = wanted else {
        return if column.data_type() == wanted { Ok(column.clone()) } else { cast(wanted) };
    };
    let list = match column.data_type() {
        DataType::FixedSizeList(found, _) if found.data_type() == item.data_type() => column.clone(),
        _ => cast(&DataType::FixedSizeList(Arc::new(item.as_ref().clone().with_nullable(true)), *size))?,
    };
    // The items were declared nullable, but may have no nulls.
    let values = list.as_fixed_size_list().values().clone();
    if values.null_count() > 0 {
        return Err("has nulls".to_owned());
    }
    let list = FixedSizeListArray::try_new(item.clone(), *size, values, None);
    Ok(Arc::new(list.map_err(|cause| cause.to_string())?))
}
