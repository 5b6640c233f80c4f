//! The images of a split as training reads them: of a pair, one image that has the channels of both.
//!
//! Whatever is cut out, shuffled or placed on a device is then the same of both, and they are taken apart only where inputs and
//! targets are made.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;

use super::stored::number_bytes;
use crate::error;
use crate::image::{Extent, ImageShape, Shapes};
use crate::table::{Content, Images, Table, ids};

/// A table of images and, of pairs, one of their noisy versions.
pub struct ImageTable {
    clean: Table,
    noisy: Option<Table>,
}

impl ImageTable {
    /// The images of a table, in pairs with those of another if there is one.
    ///
    /// # Errors
    /// Tables that do not hold images, or not as many or of other sizes.
    pub fn new(clean: Table, noisy: Option<Table>) -> Result<Self> {
        let extent = clean.extent()?;
        if let Some(noisy) = &noisy
            && (noisy.extent()?, noisy.content(), noisy.rows()) != (extent, clean.content(), clean.rows())
        {
            return Err(unlike(&clean, noisy));
        }
        Ok(Self { clean, noisy })
    }

    /// What the clean table holds.
    pub fn content(&self) -> Content {
        self.clean.content()
    }

    /// Images that a pair consists of, or 1.
    fn versions(&self) -> usize {
        if self.noisy.is_some() { 2 } else { 1 }
    }

    /// Where the clean images are.
    pub fn path(&self) -> &Path {
        self.clean.path()
    }

    /// The sizes of the clean images.
    ///
    /// # Errors
    /// The table holds no images.
    pub fn target(&self) -> Result<Extent> {
        self.clean.extent()
    }

    /// The sizes of the images; a pair has the channels of both.
    ///
    /// # Errors
    /// The table holds no images.
    pub fn extent(&self) -> Result<Extent> {
        Ok(match self.clean.extent()? {
            Extent::Fixed(shape) => Extent::Fixed(self.both(shape)),
            Extent::Mixed { channels } => Extent::Mixed { channels: channels * self.versions() },
        })
    }

    /// The one size of the images, as [`Self::extent`].
    ///
    /// # Errors
    /// The table holds no images, or images of different sizes.
    pub fn image_shape(&self) -> Result<ImageShape> {
        Ok(self.both(self.clean.image_shape()?))
    }

    /// The shapes of the images of a row group, as [`Self::extent`].
    ///
    /// # Errors
    /// It is unreadable.
    pub fn shapes(&self, index: usize) -> Result<Shapes> {
        Ok(self.all_both(&self.clean.shapes(index)?))
    }

    fn both(&self, shape: ImageShape) -> ImageShape {
        ImageShape { channels: shape.channels * self.versions(), ..shape }
    }

    fn all_both(&self, shapes: &Shapes) -> Shapes {
        match shapes {
            Shapes::Equal(shape, count) => Shapes::Equal(self.both(*shape), *count),
            Shapes::Each(shapes) => Shapes::Each(shapes.iter().map(|shape| self.both(*shape)).collect()),
        }
    }

    /// Number of images, or pairs.
    pub fn rows(&self) -> u64 {
        self.clean.rows()
    }

    /// Row groups.
    pub fn row_groups(&self) -> usize {
        self.clean.row_groups()
    }

    /// Images of a row group.
    pub fn row_group_rows(&self, index: usize) -> u64 {
        self.clean.row_group_rows(index)
    }

    /// Numbers of the images of a row group.
    pub fn row_group_numbers(&self, index: usize) -> u64 {
        self.clean.row_group_numbers(index).saturating_mul(self.versions() as u64)
    }

    /// The images of a row group, batch by batch.
    ///
    /// # Errors
    /// It cannot be read; each batch can fail too.
    pub fn row_group(&self, index: usize) -> Result<impl Iterator<Item = Result<ImageBatch>> + '_> {
        let noisy = self.noisy.as_ref().map(|noisy| noisy.row_group(index)).transpose()?;
        Ok(self.beside(self.clean.row_group(index)?, noisy))
    }

    /// All images, batch by batch.
    pub fn all(&self) -> impl Iterator<Item = Result<ImageBatch>> + '_ {
        self.beside(self.clean.all(), self.noisy.as_ref().map(Table::all))
    }

    /// The batches of both tables.
    fn beside(
        &self,
        clean: impl Iterator<Item = Result<RecordBatch>>,
        mut noisy: Option<impl Iterator<Item = Result<RecordBatch>>>,
    ) -> impl Iterator<Item = Result<ImageBatch>> {
        clean.map(move |batch| {
            let (batch, extent) = (batch?, self.clean.extent()?);
            let images = Images::of(&batch, extent)?;
            let shapes = self.all_both(images.shapes());
            let mut pairs = None;
            if let (Some(reader), Some(table)) = (&mut noisy, &self.noisy) {
                let noisy = reader.next().transpose()?.ok_or_else(|| unlike(&self.clean, table))?;
                let versions = Images::of(&noisy, extent)?;
                if ids(&noisy)? != ids(&batch)? || versions.shapes() != images.shapes() {
                    return Err(unlike(&self.clean, table));
                }
                pairs =
                    Some(interleaved(images.raw()?, versions.raw()?, extent.channels() * number_bytes(self.content())));
            }
            Ok(ImageBatch { batch, shapes, images, pairs })
        })
    }
}

/// The pixels of two images, of so many bytes each, those of both side by side.
fn interleaved(first: &[u8], second: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = vec![0; first.len() + second.len()];
    let pixels = first.chunks_exact(size).zip(second.chunks_exact(size));
    for (both, (first, second)) in bytes.chunks_exact_mut(2 * size).zip(pixels) {
        both[..size].copy_from_slice(first);
        both[size..].copy_from_slice(second);
    }
    bytes
}

fn unlike(clean: &Table, noisy: &Table) -> anyhow::Error {
    let [clean, noisy] = [clean, noisy].map(|table| table.path().display());
    error::data(format!("{clean} and {noisy} do not hold the images of the same pairs"))
}

/// Some images, or pairs.
pub struct ImageBatch {
    batch: RecordBatch,
    shapes: Shapes,
    images: Images,
    /// The bytes of both images, if there are pairs.
    pairs: Option<Vec<u8>>,
}

impl ImageBatch {
    /// The shape of each, as [`ImageTable::extent`].
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    /// Their positions in the source.
    ///
    /// # Errors
    /// The column is missing.
    pub fn ids(&self) -> Result<impl Iterator<Item = u64> + '_> {
        Ok(ids(&self.batch)?.values().iter().map(|&id| id as u64))
    }

    /// Their bytes as they are stored, one image after the other, channels last: of a pair, those of the noisy version last.
    ///
    /// # Errors
    /// As [`Images::raw`].
    pub fn bytes(&self) -> Result<&[u8]> {
        match &self.pairs {
            Some(pairs) => Ok(pairs),
            None => self.images.raw(),
        }
    }
}
