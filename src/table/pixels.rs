//! Pixels between disk (bytes) and memory (f32 in [0, 1]).
//!
//! This is the one place that scales in the host's memory (`training::placed` and `corruption::on_device` do so on devices): a byte b
//! stands for b / 255, and a number is stored as the nearest such step, half away from zero.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, UInt8Array};
use arrow_schema::{DataType, Field};

use crate::config::Pixels;
use crate::error;
use crate::kernel::{Loop, vectorise};

/// Writes the [0, 1] values of `bytes` to `out`, of the same length.
pub fn to_unit(bytes: &[u8], out: &mut [f32]) {
    struct Scale<'a>(&'a [u8], &'a mut [f32]);
    impl Loop for Scale<'_> {
        #[inline(always)]
        fn run(&mut self) {
            for (out, &byte) in self.1.iter_mut().zip(self.0) {
                // b / 255, correctly rounded for every byte, without a division: 1 / 255 in two parts, of which the product
                // with the first is exact.
                let byte = f32::from(byte);
                *out = byte * (257.0 / 65536.0) + byte * 5.983_839e-8;
            }
        }
    }
    vectorise(&mut Scale(bytes, out));
}

/// The byte that stands for `pixel`; values outside [0, 1] are clipped, NaN becomes 0.
#[inline(always)]
pub fn to_byte(pixel: f32) -> u8 {
    // A positive number plus a half, truncated, is rounded half away from zero; the cast makes 0 of NaN.
    (pixel * 255.0 + 0.5).clamp(0.0, 255.0) as i32 as u8
}

/// The bytes that stand for `pixels`.
pub fn to_bytes(pixels: &[f32]) -> Vec<u8> {
    struct Store<'a>(&'a [f32], &'a mut [u8]);
    impl Loop for Store<'_> {
        #[inline(always)]
        fn run(&mut self) {
            for (out, &pixel) in self.1.iter_mut().zip(self.0) {
                *out = to_byte(pixel);
            }
        }
    }
    let mut bytes = vec![0; pixels.len()];
    vectorise(&mut Store(pixels, &mut bytes));
    bytes
}

/// The pixels as they come back from being stored as bytes.
pub fn rounded(pixels: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    to_unit(&to_bytes(pixels), &mut out);
    out
}

/// A column of images from their pixels in [0, 1], `len` numbers each.
pub fn column(values: Vec<f32>, len: usize, pixels: Pixels) -> ArrayRef {
    match pixels {
        Pixels::U8 => byte_column(to_bytes(&values), len),
        Pixels::F32 => fixed_size_list(Arc::new(Float32Array::from(values)), len),
    }
}

/// A column of images from their bytes, `len` each.
pub fn byte_column(values: Vec<u8>, len: usize) -> ArrayRef {
    fixed_size_list(Arc::new(UInt8Array::from(values)), len)
}

/// A column of lists of `len` numbers each.
pub fn fixed_size_list(values: ArrayRef, len: usize) -> ArrayRef {
    let field = Arc::new(Field::new("element", values.data_type().clone(), false));
    Arc::new(FixedSizeListArray::new(field, len as i32, values, None))
}

/// A column as the lists that it is.
///
/// # Errors
/// It holds something else.
pub fn as_list(column: &ArrayRef) -> Result<&FixedSizeListArray> {
    column.as_fixed_size_list_opt().ok_or_else(|| error::bug("a column of images is not a list"))
}

/// The numbers of a column of lists, one list after the other: bytes scaled to [0, 1], floats as they are.
pub fn values(column: &FixedSizeListArray) -> Vec<f32> {
    let (start, end) = (column.value_offset(0) as usize, column.value_offset(column.len()) as usize);
    match column.values().data_type() {
        DataType::UInt8 => {
            let bytes = &column.values().as_primitive::<UInt8Type>().values()[start..end];
            let mut out = vec![0.0; bytes.len()];
            to_unit(bytes, &mut out);
            out
        }
        _ => column.values().as_primitive::<Float32Type>().values()[start..end].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_to_memory_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut unit = vec![0.0; 256];
        to_unit(&bytes, &mut unit);
        assert!(bytes.iter().zip(&unit).all(|(&byte, &unit)| unit == f32::from(byte) / 255.0));
        assert_eq!(unit.iter().map(|&pixel| to_byte(pixel)).collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn rounding_is_half_away_from_zero_and_clips() {
        assert_eq!([0.5 / 255.0, 0.49 / 255.0, -3.0, 7.0, f32::NAN].map(to_byte), [1, 0, 0, 255, 0]);
    }

    #[test]
    fn a_slice_of_a_column_gives_its_own_values() {
        let column = byte_column(vec![0, 255, 51, 0], 2).slice(1, 1);
        assert_eq!(values(column.as_fixed_size_list()), [0.2, 0.0]);
    }
}
