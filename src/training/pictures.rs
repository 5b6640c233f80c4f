//! Pictures in memory as they are [stored](super::stored), each of a size of its own.

use anyhow::Result;

use super::image_table::ImageBatch;
use crate::image::ImageShape;

/// Pictures, one after the other.
#[derive(Default)]
pub struct Pictures {
    /// Position of each in the source.
    ids: Vec<u64>,
    shapes: Vec<ImageShape>,
    /// Where each starts in the bytes.
    starts: Vec<usize>,
    bytes: Vec<u8>,
}

/// One of them.
#[derive(Clone, Copy)]
pub struct Picture<'a> {
    /// Its position in the source.
    pub id: u64,
    /// Its size.
    pub shape: ImageShape,
    /// Row by row, channels last.
    pub bytes: &'a [u8],
}

impl Pictures {
    /// None yet, with room for so many with so many bytes altogether: vectors that grow take up to twice what they need.
    pub fn with_capacity(count: usize, bytes: usize) -> Self {
        Self {
            ids: Vec::with_capacity(count),
            shapes: Vec::with_capacity(count),
            starts: Vec::with_capacity(count),
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds a picture.
    pub fn add(&mut self, Picture { id, shape, bytes }: Picture<'_>) {
        self.ids.push(id);
        self.shapes.push(shape);
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds the pictures of a batch.
    ///
    /// # Errors
    /// As [`ImageBatch::bytes`].
    pub fn add_batch(&mut self, batch: &ImageBatch) -> Result<()> {
        let bytes = batch.bytes()?;
        let number_bytes = bytes.len() / batch.shapes().iter().map(ImageShape::len).sum::<usize>().max(1);
        let mut start = 0;
        for (id, shape) in batch.ids()?.zip(batch.shapes().iter()) {
            let bytes = &bytes[start..start + shape.len() * number_bytes];
            start += bytes.len();
            self.add(Picture { id, shape, bytes });
        }
        Ok(())
    }

    /// Number of pictures.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// The picture at this place.
    pub fn get(&self, at: usize) -> Picture<'_> {
        let end = self.starts.get(at + 1).copied().unwrap_or(self.bytes.len());
        Picture { id: self.ids[at], shape: self.shapes[at], bytes: &self.bytes[self.starts[at]..end] }
    }
}
