//! Training images in memory, as their table stores them: bytes, or 32-bit floats where noise was not rounded.
//!
//! Both are held as bytes, a pixel after the other, so that what cuts and shuffles them need not know. How many bytes a number takes
//! tells which they are.

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, FixedSizeListArray};

use crate::error;
use crate::image::{Pixels, to_unit};
use crate::table::{Content, TableFile};

/// Bytes of a number of the images of a table.
pub fn number_bytes(table: &TableFile) -> usize {
    match table.content() {
        Content::Images(_, Pixels::F32 | Pixels::Unclipped) => size_of::<f32>(),
        _ => 1,
    }
}

/// The bytes of a column of images, one after the other.
///
/// # Errors
/// They are stored as neither.
pub fn image_bytes(list: &FixedSizeListArray) -> Result<&[u8]> {
    let values = list.values();
    let (start, end) = (list.value_offset(0) as usize, list.value_offset(list.len()) as usize);
    if let Some(bytes) = values.as_primitive_opt::<UInt8Type>() {
        return Ok(&bytes.values()[start..end]);
    }
    let floats = values.as_primitive_opt::<Float32Type>();
    let floats = floats.ok_or_else(|| error::data("training images are stored as bytes or 32-bit floats"))?;
    Ok(&floats.values().inner().as_slice()[size_of::<f32>() * start..size_of::<f32>() * end])
}

/// The numbers of images: those of bytes in [0, 1], floats as they are.
pub fn numbers(stored: &[u8], out: &mut [f32]) {
    if stored.len() == out.len() {
        return to_unit(stored, out);
    }
    let (floats, _) = stored.as_chunks();
    out.iter_mut().zip(floats).for_each(|(out, float)| *out = f32::from_ne_bytes(*float));
}
