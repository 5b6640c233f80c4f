//! Training images in memory, as their table stores them: bytes, or 32-bit floats where noise was not rounded.
//!
//! Both are held as bytes, a pixel after the other, so that what cuts and shuffles them need not know. How many bytes a number takes
//! tells which they are.

use crate::image::{Pixels, to_unit};
use crate::table::Content;

/// Bytes of a number of the images of a table.
pub fn number_bytes(content: Content) -> usize {
    match content {
        Content::Images(_, Pixels::F32 | Pixels::Unclipped) => size_of::<f32>(),
        _ => 1,
    }
}

/// The numbers of images: those of bytes in [0, 1], floats as they are.
pub fn numbers(stored: &[u8], out: &mut [f32]) {
    if stored.len() == out.len() {
        return to_unit(stored, out);
    }
    let (floats, _) = stored.as_chunks();
    out.iter_mut().zip(floats).for_each(|(out, float)| *out = f32::from_ne_bytes(*float));
}
