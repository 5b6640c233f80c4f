//! The test split, on which the model is scored after every epoch.

use std::sync::OnceLock;

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;

use super::batches::image_bytes;
use super::placed::PlacedImages;
use crate::table::{TableFile, ids, lists};

/// The test split. It is read again in every epoch, but on a device other than flex it stays in memory if it fits.
pub struct TestImages {
    table: TableFile,
    pixels: usize,
    /// Whether all of them fit the limit.
    stay: bool,
    placed: OnceLock<Vec<PlacedImages>>,
}

impl TestImages {
    /// The images of a table; they stay on the device if they take at most `limit` bytes.
    ///
    /// # Errors
    /// A table that does not hold images.
    pub fn open(table: TableFile, limit: u64) -> Result<Self> {
        let pixels = table.image_shape()?.len();
        let stay = table.rows().saturating_mul(pixels as u64) <= limit;
        Ok(Self { table, pixels, stay, placed: OnceLock::new() })
    }

    /// Number of images.
    pub fn count(&self) -> u64 {
        self.table.rows()
    }

    /// All images as they are stored, batch after batch.
    pub fn stored(&self) -> impl Iterator<Item = Result<RecordBatch>> {
        self.table.all()
    }

    /// All images on a device, which must be the same in every call, batch after batch.
    ///
    /// # Errors
    /// Unreadable images: at once if the images stay, else with their batch.
    pub fn placed(&self, device: &Device) -> Result<Box<dyn Iterator<Item = Result<PlacedImages>> + '_>> {
        let device = device.clone();
        let placed = self.stored().map(move |batch| self.place(&batch?, &device));
        if !self.stay {
            return Ok(Box::new(placed));
        }
        let placed = match self.placed.get() {
            Some(placed) => placed,
            None => {
                let placed = placed.collect::<Result<_>>()?;
                self.placed.get_or_init(|| placed)
            }
        };
        Ok(Box::new(placed.iter().cloned().map(Ok)))
    }

    fn place(&self, batch: &RecordBatch, device: &Device) -> Result<PlacedImages> {
        let ids: Vec<u64> = ids(batch)?.values().iter().map(|&id| id as u64).collect();
        PlacedImages::new(&ids, image_bytes(lists(batch, "image")?)?, self.pixels, device)
    }
}
