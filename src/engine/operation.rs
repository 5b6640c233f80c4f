//! The operations of map stages: as data, and as functions from record batch to record batch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow_array::RecordBatch;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::codes::{Codes, Coding, encoding};
use super::inference::Inference;
use super::mapping::Mapping;
use super::pictures;
use crate::corruption::Corruption;
use crate::error;
use crate::image::{Extent, Pixels, Split};
use crate::random::Stream;
use crate::table::{Content, Images, TableFile, ids, image_columns, pixels, shared_columns};

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
        /// What has a code.
        #[serde(default, skip_serializing_if = "crate::setting::is_off")]
        codes: Codes,
        /// Whether each code has the error of its reconstruction.
        #[serde(default = "crate::setting::on", skip_serializing_if = "crate::setting::is_on")]
        error: bool,
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
    /// The model that it applies, if it applies one.
    pub fn model(&self) -> Option<&ModelFiles> {
        match self {
            Operation::Corrupt { .. } => None,
            Operation::Encode { model, .. } | Operation::Denoise { model, .. } => Some(model),
        }
    }

    /// Whether it measures errors against the clean images, if its input has others.
    pub fn sees_clean_images(&self) -> bool {
        match self {
            Operation::Corrupt { .. } => false,
            Operation::Encode { error, .. } => *error,
            Operation::Denoise { .. } => true,
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
            Operation::Encode { model, codes, error } => {
                let coding = Coding { codes: *codes, error: *error };
                Prepared::Encode(Inference::load(&model.folder, device.clone())?, coding)
            }
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
    /// With the model, and what is written of codes.
    Encode(Inference, Coding),
    /// With the model and the type of the pixels that are written.
    Denoise(Inference, Pixels),
}

impl Prepared {
    /// The mapping of this table.
    ///
    /// # Errors
    /// A table without images, or with images of a shape that the operation does not support; encoding with a model without a
    /// code.
    pub fn on(&self, input: &TableFile) -> Result<Mapping<'_>> {
        let (images, extent, from) = (input.content(), input.extent()?, input.path());
        match self {
            Prepared::Corrupt(corruption, stream, stored) => {
                // Checked again, since the corruption may have changed since ingest checked it.
                extent.fixed().map_or(Ok(()), |image| corruption.kind().check(image))?;
                let content = Content::Images(extent, stored.as_deep_as(images.pixels()));
                let map =
                    move |batch: &RecordBatch, _: Option<&RecordBatch>| corrupt(batch, content, corruption, stream);
                Ok(Mapping { content, map: Box::new(map) })
            }
            Prepared::Encode(model, coding) => encoding(model, images, *coding, from),
            Prepared::Denoise(model, stored) => denoising(model, images, *stored, from),
        }
    }
}

/// The clean images of a companion.
fn clean(companion: Option<&RecordBatch>, extent: Extent) -> Result<Option<Vec<f32>>> {
    companion.map(|companion| Ok(Images::of(companion, extent)?.numbers())).transpose()
}

/// The mapping of images to what the model makes of them, stored as `stored`, or as floats if the images are; `from` names the images
/// in messages.
///
/// # Errors
/// Images that the model does not take.
pub fn denoising<'a>(model: &'a Inference, images: Content, stored: Pixels, from: &Path) -> Result<Mapping<'a>> {
    let (extent, stored) = (images.extent().ok_or_else(no_images)?, stored.as_deep_as(images.pixels()));
    // Large pictures are cut, even if they have one size.
    let whole = extent.fixed().filter(|_| !model.cuts(extent));
    let Some(image) = whole else {
        let content = Content::Denoised(extent, stored);
        model.reach()?;
        model.check_channels(extent, from)?;
        let map = move |batch: &RecordBatch, companion: Option<&RecordBatch>| {
            pictures::denoise(model, batch, clean(companion, extent)?.as_deref(), content)
        };
        return Ok(Mapping { content, map: Box::new(map) });
    };
    let model = model.for_images(image, from)?;
    let content = model.denoised(stored);
    let map = move |batch: &RecordBatch, companion: Option<&RecordBatch>| {
        model.denoise(batch, clean(companion, extent)?.as_deref(), stored)
    };
    Ok(Mapping { content, map: Box::new(map) })
}

fn no_images() -> anyhow::Error {
    error::bug("features are no images")
}

/// Corrupts the images of a batch; the result has this content.
fn corrupt(batch: &RecordBatch, content: Content, corruption: &Corruption, stream: &Stream) -> Result<RecordBatch> {
    let Content::Images(extent, stored) = content else { return Err(error::bug("noise makes images")) };
    let images = Images::of(batch, extent)?;
    let clean = images.numbers();
    let mut noisy = vec![0.0; clean.len()];
    let pairs = images.shapes().split(&clean).zip(images.shapes().split_mut(&mut noisy));
    for (&id, ((shape, clean), (_, noisy))) in ids(batch)?.values().iter().zip(pairs) {
        if extent.fixed().is_none() {
            corruption.kind().check(shape)?;
        }
        corruption.kind().apply(clean, shape, &mut stream.generator(id as u64, 0), noisy);
    }
    let mut columns = shared_columns(batch);
    columns.extend(image_columns(images.shapes(), pixels::stored(noisy, stored))?);
    RecordBatch::try_new(content.schema(), columns).map_err(|cause| error::bug(cause.to_string()))
}
