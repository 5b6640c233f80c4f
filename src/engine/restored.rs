//! Rows of numbers that a model made, in the units of their columns again.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use arrow_schema::{Field, Schema, SchemaRef};

use crate::error;
use crate::image::{Classes, Pixels};
use crate::scaler::Scaler;
use crate::table::{Content, Images, list, pixels};

/// The schema of such a table: that of limpid's tables, with the columns that the rows had, as 32-bit floats, in place of `image`.
pub fn schema(columns: &Scaler, classes: &Classes) -> SchemaRef {
    use arrow_schema::DataType::Float32;
    let own = Content::Denoised(columns.shape().into(), Pixels::F32).named_schema(classes);
    let mut fields = Vec::new();
    for field in own.fields() {
        match (field.name().as_str(), columns.list()) {
            ("image", Some(name)) => fields.push(Field::new(name, list(Float32, columns.columns().len()), false)),
            ("image", None) => {
                fields.extend(columns.columns().iter().map(|column| Field::new(&column.column, Float32, false)));
            }
            _ => fields.push(field.as_ref().clone()),
        }
    }
    // It is none of limpid's tables of images.
    Arc::new(Schema::new_with_metadata(fields, HashMap::new()))
}

/// The rows of a batch of denoised ones, with this [`schema`].
///
/// # Errors
/// A batch of something else.
pub fn restored(columns: &Scaler, made: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let (numbers, width) = (Images::of(made, columns.shape().into())?.numbers(), columns.columns().len());
    let mut arrays = made.columns()[..3].to_vec();
    if columns.list().is_some() {
        let rows = numbers.chunks_exact(width).flat_map(|row| row.iter().zip(columns.columns()));
        let values: Float32Array = rows.map(|(number, column)| column.original(*number)).collect::<Vec<_>>().into();
        arrays.push(pixels::fixed_size_list(Arc::new(values), width));
    } else {
        arrays.extend(columns.columns().iter().enumerate().map(|(at, column)| -> ArrayRef {
            let numbers = numbers.iter().skip(at).step_by(width);
            Arc::new(Float32Array::from_iter_values(numbers.map(|number| column.original(*number))))
        }));
    }
    arrays.extend(made.column_by_name("error").cloned());
    RecordBatch::try_new(schema.clone(), arrays).map_err(|cause| error::bug(format!("cannot restore rows: {cause}")))
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float32Type;

    use super::*;
    use crate::image::Split;
    use crate::scaler::ScaledColumn;
    use crate::table::leading_columns;

    #[test]
    fn rows_have_their_columns_and_units_again() {
        let column =
            |name: &str, place, zero, one| ScaledColumn { column: name.to_owned(), place, zero, one, missing: None };
        let flat = vec![column("a", None, 0.0, 10.0), column("b", None, -1.0, 1.0)];
        let lists = vec![column("e", Some(0), 0.0, 10.0), column("e", Some(1), -1.0, 1.0)];
        let [flat, lists] = [flat, lists].map(|columns| Scaler::try_from(columns).expect("is one"));
        let mut arrays = leading_columns(Split::Test, 0..2, vec![None, Some(1)]).to_vec();
        arrays.push(pixels::fixed_size_list(Arc::new(Float32Array::from(vec![0.5, 0.5, 1.0, 0.0])), 2));
        arrays.push(Arc::new(Float32Array::from(vec![0.0, 0.1])));
        let made =
            RecordBatch::try_new(Content::Denoised(flat.shape().into(), Pixels::F32).schema(), arrays).expect("fits");
        let numbers = |array: &ArrayRef| array.as_primitive::<Float32Type>().values().to_vec();
        let of = |columns: &Scaler| restored(columns, &made, &schema(columns, &None)).expect("fits");
        let rows = of(&flat);
        assert_eq!((numbers(rows.column(3)), numbers(rows.column(4))), (vec![5.0, 10.0], vec![0.0, -1.0]));
        assert_eq!(
            rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>(),
            ["id", "split", "label", "a", "b", "error"]
        );
        assert_eq!(numbers(of(&lists)["e"].as_fixed_size_list().values()), [5.0, 0.0, 10.0, -1.0]);
    }
}
