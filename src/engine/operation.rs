//! The operations of map stages: as data, and as functions from record batch to record batch.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::inference::Inference;
use crate::corruption::Corruption;
use crate::error;
use crate::image::{Pixels, Split};
use crate::random::Stream;
use crate::table::{Content, TableFile, ids, lists, pixels};

/// The operation of a map stage on each batch, with everything else that its result depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Operation {
    /// Adds noise to images.
    Corrupt {
        /// The kind of noise and its strength.
        corruption: Corruption,
        /// The seed of the run.
        seed: u64,
        /// The split of the images; each split has its own random numbers.
        split: Split,
        /// The type of the pixels that are written.
        pixels: Pixels,
    },
    /// Encodes images to codes.
    Encode {
        /// The model.
        model: ModelFiles,
    },
    /// Denoises images.
    Denoise {
        /// The model.
        model: ModelFiles,
        /// The type of the pixels that are written.
        pixels: Pixels,
        /// Whether each is the mean over its eight orientations.
        #[serde(default, skip_serializing_if = "crate::setting::is_off")]
        ensemble: bool,
    },
}

/// A trained model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelFiles {
    /// The folder of its files.
    pub folder: PathBuf,
    /// blake3 of each file, in hexadecimal, by name.
    pub digests: BTreeMap<String, String>,
}

impl Operation {
    /// Whether it measures errors against the clean images, if its input has others.
    pub fn sees_clean_images(&self) -> bool {
        match self {
            Operation::Corrupt { .. } => false,
            Operation::Encode { .. } | Operation::Denoise { .. } => true,
        }
    }

    /// Prepares the operation: loads its model, or keys its random numbers.
    ///
    /// # Errors
    /// A model that is missing or damaged.
    pub fn prepare(&self, device: &Device) -> Result<Prepared> {
        Ok(match self {
            Operation::Corrupt { corruption, seed, split, pixels } => {
                Prepared::Corrupt(corruption.clone(), Stream::noise(*seed, *split), *pixels)
            }
            Operation::Encode { model } => Prepared::Encode(Inference::load(&model.folder, device.clone())?),
            Operation::Denoise { model, pixels, ensemble } => {
                let model = Inference::load(&model.folder, device.clone())?;
                Prepared::Denoise(model.with_ensemble(*ensemble)?, *pixels)
            }
        })
    }
}

/// An operation that is ready to be applied to tables.
pub enum Prepared {
    /// With its random numbers and the type of the pixels that are written.
    Corrupt(Corruption, Stream, Pixels),
    /// With the model.
    Encode(Inference),
    /// With the model and the type of the pixels that are written.
    Denoise(Inference, Pixels),
}

/// Maps a batch, with the same rows of a companion if there is one, to a batch.
pub type BatchFunction<'a> = Box<dyn Fn(&RecordBatch, Option<&RecordBatch>) -> Result<RecordBatch> + Sync + 'a>;

/// The function that maps the batches of a table, and the content of the result.
pub struct Mapping<'a> {
    /// The content of the resulting table.
    pub content: Content,
    /// The function applied to each batch.
    pub map: BatchFunction<'a>,
}

impl Prepared {
    /// The mapping of this table.
    ///
    /// # Errors
    /// A table without images, or with images of a shape that the operation does not support; encoding with a model without a
    /// code.
    pub fn on(&self, input: &TableFile) -> Result<Mapping<'_>> {
        let image = input.image_shape()?;
        let clean = |companion: Option<&RecordBatch>| {
            companion.map(|companion| lists(companion, "image").map(pixels::values)).transpose()
        };
        Ok(match self {
            Prepared::Corrupt(corruption, stream, stored) => {
                // Checked again, since the corruption may have changed since ingest checked it.
                corruption.kind().check(image)?;
                let content = Content::Images(image, *stored);
                let map =
                    move |batch: &RecordBatch, _: Option<&RecordBatch>| corrupt(batch, content, corruption, stream);
                Mapping { content, map: Box::new(map) }
            }
            Prepared::Encode(model) => {
                let model = model.for_images(image, input.path())?;
                let content = model.features()?;
                let map = move |batch: &RecordBatch, companion: Option<&RecordBatch>| {
                    model.encode(batch, clean(companion)?.as_deref())
                };
                Mapping { content, map: Box::new(map) }
            }
            Prepared::Denoise(model, stored) => {
                let model = model.for_images(image, input.path())?;
                let content = model.denoised(*stored);
                let map = move |batch: &RecordBatch, companion: Option<&RecordBatch>| {
                    model.denoise(batch, clean(companion)?.as_deref(), *stored)
                };
                Mapping { content, map: Box::new(map) }
            }
        })
    }
}

/// Corrupts the images of a batch; the result has this content.
fn corrupt(batch: &RecordBatch, content: Content, corruption: &Corruption, stream: &Stream) -> Result<RecordBatch> {
    let Content::Images(image, stored) = content else { return Err(error::bug("noise makes images")) };
    let clean = pixels::values(lists(batch, "image")?);
    let mut noisy = vec![0.0; clean.len()];
    let images = clean.chunks_exact(image.len()).zip(noisy.chunks_exact_mut(image.len()));
    for (&id, (clean, noisy)) in ids(batch)?.values().iter().zip(images) {
        corruption.kind().apply(clean, image, &mut stream.generator(id as u64, 0), noisy);
    }
    let mut columns = batch.columns()[..3].to_vec();
    columns.push(pixels::column(noisy, image.len(), stored));
    RecordBatch::try_new(content.schema(), columns).map_err(|cause| error::bug(cause.to_string()))
}
