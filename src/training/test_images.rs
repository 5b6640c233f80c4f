//! The test or the validation split, on which the model is scored after every epoch.

use std::sync::OnceLock;

use anyhow::Result;
use burn::tensor::Device;

use super::image_table::{ImageBatch, ImageTable};
use super::patches::{Counted, Cut, Cutter};
use super::pictures::Pictures;
use super::placed::PlacedImages;
use super::stored::number_bytes;
use crate::interrupt;

/// Most bytes of patches that are cut out at a time.
const PATCH_BYTES: usize = 4 << 20;
/// The epoch whose patches are taken in every epoch.
const EPOCH: u32 = 0;

/// The images of such a split, or patches of them. It is read again in every epoch, but on a device other than flex it stays in memory if it fits.
pub struct TestImages {
    table: ImageTable,
    cutter: Option<Cutter>,
    /// Number of images, or of patches.
    count: u64,
    /// Numbers of one of them.
    pixels: usize,
    /// Whether all of them fit the limit.
    stay: bool,
    placed: OnceLock<Vec<PlacedImages>>,
}

impl TestImages {
    /// The images of a table, or what is cut out of them; they stay on the device if they take at most `limit` bytes.
    ///
    /// # Errors
    /// A table that does not hold images, or such that are too small to cut.
    pub fn open(table: ImageTable, cutter: Option<Cutter>, limit: u64) -> Result<Self> {
        let Counted { patches: count, pixels } = match &cutter {
            Some(cutter) => cutter.counted(&table)?,
            None => Counted { patches: table.rows(), pixels: table.image_shape()?.len() },
        };
        let stay = count.saturating_mul((pixels * number_bytes(table.content())) as u64) <= limit;
        Ok(Self { table, cutter, count, pixels, stay, placed: OnceLock::new() })
    }

    /// Number of images.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All images, batch after batch.
    pub fn batches(&self) -> impl Iterator<Item = Result<Cut>> {
        self.table.all().flat_map(|batch| {
            let batches = batch.and_then(|batch| match &self.cutter {
                None => whole(&batch),
                Some(cutter) => self.patches(&batch, cutter),
            });
            let (batches, failure) = match batches {
                Ok(batches) => (Some(batches), None),
                Err(cause) => (None, Some(Err(cause))),
            };
            failure.into_iter().chain(batches.into_iter().flatten())
        })
    }

    /// The patches of a batch of pictures.
    fn patches<'a>(&self, batch: &ImageBatch, cutter: &'a Cutter) -> Result<Batches<'a>> {
        let mut pictures = Pictures::default();
        pictures.add_batch(batch)?;
        let (places, bytes) = (cutter.places(&pictures), self.pixels * number_bytes(self.table.content()));
        let most = (PATCH_BYTES / bytes).max(1);
        Ok(Box::new((0..places.len()).step_by(most).map(move |start| {
            interrupt::check()?;
            Ok(cutter.cut(&pictures, &places[start..places.len().min(start + most)], EPOCH, bytes))
        })))
    }

    /// All images on a device, which must be the same in every call, batch after batch.
    ///
    /// # Errors
    /// Unreadable images: at once if the images stay, else with their batch.
    pub fn placed(&self, device: &Device) -> Result<Box<dyn Iterator<Item = Result<PlacedImages>> + '_>> {
        let device = device.clone();
        let placed = self.batches().map(move |batch| {
            let Cut { keys, bytes } = batch?;
            PlacedImages::new(&keys, &bytes, self.pixels, &device)
        });
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
}

type Batches<'a> = Box<dyn Iterator<Item = Result<Cut>> + 'a>;

/// The images of a batch, as they are.
fn whole<'a>(batch: &ImageBatch) -> Result<Batches<'a>> {
    let (keys, bytes) = (batch.ids()?.collect(), batch.bytes()?.to_vec());
    Ok(Box::new(std::iter::once(Ok(Cut { keys, bytes }))))
}
