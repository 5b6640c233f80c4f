//! The images of a batch, of one size or of different ones.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, UInt8Type};
use arrow_array::{Array, ArrayRef, Int32Array, ListArray, RecordBatch};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::Field;

use super::pixels;
use crate::error;
use crate::image::{Extent, ImageShape, Shapes};

/// The images of a batch: their shapes, and their numbers, one image after the other.
pub struct Images {
    shapes: Shapes,
    /// Of all images, as they are stored.
    values: ArrayRef,
}

impl Images {
    /// The images of a batch of a table of this extent.
    ///
    /// # Errors
    /// A batch of something else, and images whose numbers are not as many as their sides say.
    pub fn of(batch: &RecordBatch, extent: Extent) -> Result<Self> {
        let column = batch.column_by_name("image").ok_or_else(|| error::data("the column `image` is missing"))?;
        match extent {
            Extent::Fixed(shape) => {
                let lists = pixels::as_list(column)?;
                let start = lists.value_offset(0) as usize;
                let values = lists.values().slice(start, lists.value_offset(lists.len()) as usize - start);
                Ok(Self { shapes: Shapes::Equal(shape, lists.len()), values })
            }
            Extent::Mixed { channels } => {
                let wrong = || error::bug("images of different sizes are no list with sides");
                let lists = column.as_list_opt::<i32>().ok_or_else(wrong)?;
                let side = |name: &str| {
                    batch.column_by_name(name).and_then(|side| side.as_primitive_opt::<Int32Type>()).ok_or_else(wrong)
                };
                let sides = side("height")?.values().iter().zip(side("width")?.values());
                let shapes = sides.zip(lists.offsets().lengths()).map(|((&height, &width), found)| {
                    let side = |side: i32| usize::try_from(side).unwrap_or(0);
                    let shape = ImageShape::picture(side(height), side(width), channels);
                    shape.filter(|shape| shape.len() == found).ok_or_else(|| {
                        error::data(format!("an image of {height}×{width}×{channels} has {found} numbers"))
                    })
                });
                let shapes = shapes.collect::<Result<_>>()?;
                let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
                Ok(Self { shapes: Shapes::Each(shapes), values: lists.values().slice(start, end - start) })
            }
        }
    }

    /// The shape of each.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Their numbers as they are stored.
    pub fn stored(&self) -> &ArrayRef {
        &self.values
    }

    /// Their numbers: bytes scaled to [0, 1], floats unchanged.
    pub fn numbers(&self) -> Vec<f32> {
        pixels::numbers(&self.values)
    }

    /// Their numbers, if they are stored as bytes.
    pub fn bytes(&self) -> Option<&[u8]> {
        Some(self.values.as_primitive_opt::<UInt8Type>()?.values())
    }

    /// The bytes of their numbers as they are stored, in the machine's order: of one byte, or 32-bit floats.
    ///
    /// # Errors
    /// They are stored as neither.
    pub fn raw(&self) -> Result<&[u8]> {
        let bytes = self.values.as_primitive_opt::<UInt8Type>().map(|bytes| bytes.values().inner());
        let floats = || self.values.as_primitive_opt::<Float32Type>().map(|floats| floats.values().inner());
        let stored = bytes.or_else(floats).map(Buffer::as_slice);
        stored.ok_or_else(|| error::data("training images are stored as bytes or 32-bit floats"))
    }
}

/// The columns of images of these shapes from their numbers as they are stored, one image after the other.
///
/// # Errors
/// More numbers than a batch can have.
pub fn image_columns(shapes: &Shapes, values: ArrayRef) -> Result<Vec<ArrayRef>> {
    match shapes {
        Shapes::Equal(shape, _) => Ok(vec![pixels::fixed_size_list(values, shape.len())]),
        Shapes::Each(shapes) => {
            let side = |side: fn(&ImageShape) -> usize| -> ArrayRef {
                Arc::new(Int32Array::from_iter_values(shapes.iter().map(|shape| side(shape) as i32)))
            };
            let element = Arc::new(Field::new("element", values.data_type().clone(), false));
            if values.len() > i32::MAX as usize {
                return Err(error::bug("a batch of more than 2^31 numbers"));
            }
            let offsets = OffsetBuffer::from_lengths(shapes.iter().map(|shape| shape.len()));
            let lists = ListArray::try_new(element, offsets, values, None)
                .map_err(|cause| error::bug(format!("cannot make lists of images: {cause}")))?;
            Ok(vec![side(|shape| shape.height), side(|shape| shape.width), Arc::new(lists)])
        }
    }
}

/// The columns before those of images or codes, which tables about the same images share.
pub fn shared_columns(batch: &RecordBatch) -> Vec<ArrayRef> {
    batch.columns()[..3].to_vec()
}
