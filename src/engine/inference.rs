//! A trained model as a function from record batch to record batch, for the stages and the commands encode and denoise.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow_array::{Array, Float32Array, RecordBatch};
use burn::tensor::{Device, StreamId, Tensor, TensorData};
use rayon::prelude::*;

use crate::device::{computes_where_called, numbers};
use crate::image::{ImageShape, Pixels};
use crate::model::{Autoencoder, Made, ModelDescription};
use crate::table::{Content, ids, lists, pixels};
use crate::{error, interrupt};

/// A trained model, ready to be applied on any thread.
#[derive(Clone)]
pub struct Inference {
    description: ModelDescription,
    model: Autoencoder,
    device: Device,
    /// Held while a device other than flex computes: it has its own parallelism, and memory for one batch at a time. Whichever
    /// thread that is, the device shall see one, since it may keep memory for each.
    turn: Arc<Mutex<StreamId>>,
}

/// What a model makes of some images.
struct Applied {
    /// Empty if the model has no code.
    codes: Vec<f32>,
    images: Vec<f32>,
}

impl Inference {
    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let (description, model) = ModelDescription::load(folder, &device)?;
        Ok(Self { description, model, device, turn: Arc::new(Mutex::new(StreamId::current())) })
    }

    /// The model in `folder` with the weights that its training started from with this seed.
    ///
    /// # Errors
    /// A missing or damaged description.
    pub fn untrained(folder: &Path, seed: u64, device: Device) -> Result<Self> {
        let description = ModelDescription::read(folder)?;
        let model = description.architecture.init(description.image, description.predict, seed, &device)?;
        Ok(Self { description, model, device, turn: Arc::new(Mutex::new(StreamId::current())) })
    }

    /// Size of the images that the model takes.
    pub fn image(&self) -> ImageShape {
        self.description.image
    }

    /// The table that [`Self::encode`] makes.
    ///
    /// # Errors
    /// A model without a code.
    pub fn features(&self) -> Result<Content> {
        let Some(size) = self.description.architecture.family().code_size(self.image()) else {
            let reason = "its skip connections carry the image past the smallest feature map";
            let advice = "train a dense or a conv model for features";
            return Err(error::settings(format!("a U-Net has no code: {reason}; {advice}")));
        };
        Ok(Content::Features(size))
    }

    /// The table that [`Self::denoise`] makes.
    pub fn denoised(&self, pixels: Pixels) -> Content {
        Content::Denoised(self.image(), pixels)
    }

    /// The model for images of this size, which it takes itself or with the same weights; `from` names them in the message.
    ///
    /// # Errors
    /// Its weights belong to images of another size.
    pub fn for_images(&self, image: ImageShape, from: &Path) -> Result<Self> {
        let (model, found) = (&self.description, self.image());
        if image != found
            && image.channels == found.channels
            && model.architecture.check(image).is_ok()
            && let Some(model) = self.model.for_shape(image)
        {
            let description = ModelDescription { image, ..self.description.clone() };
            return Ok(Self { description, model, ..self.clone() });
        }
        self.check(image, from).map(|()| self.clone())
    }

    /// Checks that the model takes images of this size; `from` names them in the message.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, image: ImageShape, from: &Path) -> Result<()> {
        if image == self.image() {
            return Ok(());
        }
        let (from, wanted) = (from.display(), self.image());
        Err(error::data(format!("{from} has images of {image}, but the model takes images of {wanted}")))
    }

    /// Codes of a batch of images, with the error of each reconstruction against `clean`, or against the images
    /// themselves.
    ///
    /// # Errors
    /// A batch that does not hold images, or numbers outside of [0, 1]; a model without a code; interruption.
    pub fn encode(&self, batch: &RecordBatch, clean: Option<&[f32]>) -> Result<RecordBatch> {
        let features = self.features()?;
        let images = self.images(batch)?;
        let applied = self.apply(&images)?;
        let errors = self.errors(&applied.images, clean.unwrap_or(&images));
        let codes = pixels::fixed_size_list(Arc::new(Float32Array::from(applied.codes)), features.width());
        self.batch(batch, features, codes, errors)
    }

    /// Images that the model makes of a batch of images, with the error of each against `clean`, or against the images
    /// that went in.
    ///
    /// # Errors
    /// A batch that does not hold images, or numbers outside of [0, 1]; interruption.
    pub fn denoise(&self, batch: &RecordBatch, clean: Option<&[f32]>, stored: Pixels) -> Result<RecordBatch> {
        let images = self.images(batch)?;
        let column = pixels::column(self.apply(&images)?.images, self.image().len(), stored);
        // The error of what is written, rounding included.
        let written = pixels::values(pixels::as_list(&column)?);
        let errors = self.errors(&written, clean.unwrap_or(&images));
        self.batch(batch, self.denoised(stored), column, errors)
    }

    /// The numbers of a batch of images, which another program may have written.
    fn images(&self, batch: &RecordBatch) -> Result<Vec<f32>> {
        let images = pixels::values(lists(batch, "image")?);
        match images.iter().position(|value| !(0.0..=1.0).contains(value)) {
            None => Ok(images),
            Some(at) => {
                let (image, value) = (ids(batch)?.value(at / self.image().len()), images[at]);
                Err(error::data(format!("image {image} holds {value}; floats must lie in [0, 1]")))
            }
        }
    }

    /// Codes of images, one after the other, made on all threads; none if the model has no code.
    ///
    /// # Errors
    /// The device fails.
    pub fn codes(&self, images: &[f32]) -> Result<Vec<f32>> {
        let size = self.images_at_once() * self.image().len();
        let encoded = |chunk: &[f32]| self.model.encode(self.tensor(chunk)).map_or(Ok(Vec::new()), numbers);
        let codes: Vec<_> = if computes_where_called(&self.device) {
            images.par_chunks(size).map(encoded).collect::<Result<_>>()?
        } else {
            self.in_turn(|| images.chunks(size).map(encoded).collect::<Result<_>>())?
        };
        Ok(codes.concat())
    }

    /// Does work on a device other than flex.
    fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.executes(work)
    }

    fn images_at_once(&self) -> usize {
        let (architecture, image) = (&self.description.architecture, self.image());
        if computes_where_called(&self.device) {
            architecture.family().micro_batch(image)
        } else {
            architecture.device_batch(image, &self.device)
        }
    }

    fn tensor(&self, images: &[f32]) -> Tensor<2> {
        let len = self.image().len();
        Tensor::from_data(TensorData::new(images.to_vec(), [images.len() / len, len]), &self.device)
    }

    fn apply(&self, images: &[f32]) -> Result<Applied> {
        let work = || self.apply_in_chunks(images);
        if computes_where_called(&self.device) { work() } else { self.in_turn(work) }
    }

    fn apply_in_chunks(&self, images: &[f32]) -> Result<Applied> {
        let len = self.image().len();
        let mut applied = Applied { codes: Vec::new(), images: Vec::with_capacity(images.len()) };
        for chunk in images.chunks(self.images_at_once() * len) {
            // A batch of large images takes a while.
            interrupt::check()?;
            let images = self.tensor(chunk);
            let Made { codes, logits } = self.model.forward(images.clone());
            applied.codes.extend(codes.map_or(Ok(Vec::new()), numbers)?);
            applied.images.extend(numbers(self.description.predict.images(logits, images))?);
        }
        Ok(applied)
    }

    /// Mean squared error of each image.
    fn errors(&self, made: &[f32], clean: &[f32]) -> Float32Array {
        let len = self.image().len();
        let error = |(made, clean): (&[f32], &[f32])| {
            let sum: f64 = made.iter().zip(clean).map(|(made, clean)| f64::from(made - clean).powi(2)).sum();
            (sum / len as f64) as f32
        };
        made.chunks_exact(len).zip(clean.chunks_exact(len)).map(error).collect::<Vec<_>>().into()
    }

    fn batch(
        &self,
        input: &RecordBatch,
        content: Content,
        column: Arc<dyn Array>,
        errors: Float32Array,
    ) -> Result<RecordBatch> {
        let mut columns = input.columns()[..3].to_vec();
        columns.extend([column, Arc::new(errors) as _]);
        RecordBatch::try_new(content.schema(), columns)
            .map_err(|cause| error::bug(format!("cannot make a batch of results: {cause}")))
    }
}
