//! Converts columns of images and codes to and from numbers.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, UInt8Array};
use arrow_schema::{DataType, Field};

use crate::error;
use crate::image::{Pixels, Samples, to_bytes, to_unit};

/// The numbers of images as they are stored.
pub fn column(samples: Samples) -> ArrayRef {
    match samples {
        Samples::Bytes(bytes) => Arc::new(UInt8Array::from(bytes)),
        Samples::Floats(floats) => Arc::new(Float32Array::from(floats)),
    }
}

/// Pixels as they are stored.
pub fn stored(values: Vec<f32>, pixels: Pixels) -> ArrayRef {
    match pixels {
        Pixels::U8 => Arc::new(UInt8Array::from(to_bytes(&values))),
        Pixels::F32 | Pixels::Unclipped => Arc::new(Float32Array::from(values)),
    }
}

/// A column of lists of `len` numbers each.
pub fn fixed_size_list(values: ArrayRef, len: usize) -> ArrayRef {
    let field = Arc::new(Field::new("element", values.data_type().clone(), false));
    Arc::new(FixedSizeListArray::new(field, len as i32, values, None))
}

/// Downcasts a column to lists.
///
/// # Errors
/// It has another type.
pub fn as_list(column: &ArrayRef) -> Result<&FixedSizeListArray> {
    column.as_fixed_size_list_opt().ok_or_else(|| error::bug("a column of images is not a list"))
}

/// The numbers of a column of lists, one list after the other: bytes scaled to [0, 1], floats unchanged.
pub fn values(column: &FixedSizeListArray) -> Vec<f32> {
    let (start, end) = (column.value_offset(0) as usize, column.value_offset(column.len()) as usize);
    numbers(&column.values().slice(start, end - start))
}

/// Stored numbers: bytes scaled to [0, 1], floats unchanged.
pub fn numbers(values: &ArrayRef) -> Vec<f32> {
    match values.data_type() {
        DataType::UInt8 => {
            let bytes = values.as_primitive::<UInt8Type>().values();
            let mut out = vec![0.0; bytes.len()];
            to_unit(bytes, &mut out);
            out
        }
        _ => values.as_primitive::<Float32Type>().values().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_column_gives_its_own_values() {
        let column = fixed_size_list(Arc::new(UInt8Array::from(vec![0, 255, 51, 0])), 2).slice(1, 1);
        assert_eq!(values(column.as_fixed_size_list()), [0.2, 0.0]);
    }
}
