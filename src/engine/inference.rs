//! A trained model as a function from record batch to record batch, for the stages and the commands encode and denoise.

mod any_size;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use burn::tensor::{Device, StreamId, Tensor, TensorData};
use rayon::prelude::*;

use crate::device::{computes_where_called, numbers};
use crate::image::{Extent, ImageShape, Pixels, Shapes};
use crate::kernel::{self, Method};
use crate::model::predict::Predict;
use crate::model::{Autoencoder, Made, ModelDescription};
use crate::table::{Content, Images, ids, image_columns, is_unclipped, pixels, shared_columns};
use crate::{error, interrupt};

/// Micro-batches of training that are applied at once on a CPU: no activations are kept for a backward pass, and the weights are
/// transformed for more images.
const MICRO_BATCHES: usize = 4;

/// A trained model, ready to be applied on any thread.
#[derive(Clone)]
pub struct Inference {
    description: ModelDescription,
    model: Autoencoder,
    device: Device,
    /// Locked while a device other than flex computes: it has its own parallelism, and memory for one batch at a time. All
    /// threads use the same stream, since a device may keep memory for each stream.
    turn: Arc<Mutex<StreamId>>,
    /// Locked while a large picture is under way.
    large: Arc<Mutex<()>>,
    /// Whether images are the mean over their eight orientations.
    ensemble: bool,
}

/// The output of a model for some images.
struct Applied {
    /// Empty if the model has no code.
    codes: Vec<f32>,
    images: Vec<f32>,
}

impl Inference {
    /// A model that is not on disk.
    #[cfg(test)]
    pub fn of(architecture: crate::model::Architecture, image: ImageShape, model: Autoencoder, device: Device) -> Self {
        let parameters = architecture.parameters(image);
        let (loss, predict) = (crate::model::settings::Loss::Mse, crate::model::predict::Predict::Image);
        let model_settings = crate::model::Model { architecture, loss, predict, sparsity: 0.0 };
        let description = ModelDescription::new(image, &model_settings, "last.safetensors", parameters);
        Self::new(description, model, device)
    }

    /// The same, with images that are combined with their input.
    #[cfg(test)]
    pub fn with_noise_level(mut self, level: f64) -> Self {
        self.description.noise_level = Some(level);
        self
    }

    fn new(description: ModelDescription, model: Autoencoder, device: Device) -> Self {
        let turn = Arc::new(Mutex::new(StreamId::current()));
        Self { description, model, device, turn, large: Arc::default(), ensemble: false }
    }

    /// Loads the model in `folder`.
    ///
    /// # Errors
    /// Missing or damaged files.
    pub fn load(folder: &Path, device: Device) -> Result<Self> {
        let (description, model) = ModelDescription::load(folder, &device)?;
        Ok(Self::new(description, model, device))
    }

    /// The model in `folder` with the weights that its training started from with this seed.
    ///
    /// # Errors
    /// A missing or damaged description.
    pub fn untrained(folder: &Path, seed: u64, device: Device) -> Result<Self> {
        let description = ModelDescription::read(folder)?;
        let model = description.architecture.init(description.image, description.predict, seed, &device)?;
        Ok(Self::new(description, model, device))
    }

    /// Size of the images that the model takes.
    pub fn image(&self) -> ImageShape {
        self.description.image
    }

    /// Numbers of the code of an image.
    ///
    /// # Errors
    /// A model without a code.
    pub fn code_size(&self) -> Result<usize> {
        self.description.architecture.family().code_size(self.image()).ok_or_else(|| {
            let reason = "its skip connections carry the image past the smallest feature map";
            let advice = "train a dense or a conv model for features";
            error::settings(format!("a U-Net has no code: {reason}; {advice}"))
        })
    }

    /// Channels of the feature map that is the code, if one is.
    pub fn code_channels(&self) -> Option<usize> {
        self.description.architecture.family().code_channels()
    }

    /// The content of the tables that [`Self::denoise`] makes.
    pub fn denoised(&self, pixels: Pixels) -> Content {
        Content::Denoised(self.image().into(), pixels)
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
            && let Some(model) = self.model.resized(image)
        {
            let description = ModelDescription { image, ..self.description.clone() };
            return Ok(Self { description, model, ..self.clone() });
        }
        self.check(image, from).map(|()| self.clone())
    }

    /// Checks that the model takes images of this size; `from` names them in the message.
    ///
    /// # Errors
    /// Images of another size.
    pub fn check(&self, image: ImageShape, from: &Path) -> Result<()> {
        if image == self.image() {
            return Ok(());
        }
        let (from, wanted) = (from.display(), self.image());
        Err(error::data(format!("{from} has images of {image}, but the model takes images of {wanted}")))
    }

    /// Checks that the model takes images of these channels; `from` names them in the message.
    ///
    /// # Errors
    /// Images of others.
    pub(super) fn check_channels(&self, extent: Extent, from: &Path) -> Result<()> {
        let (found, wanted) = (extent.channels(), self.image().channels);
        if found == wanted {
            return Ok(());
        }
        Err(error::data(format!("{} has images of {found} channels, but the model takes {wanted}", from.display())))
    }

    /// Codes of images, one after the other, with the error of each reconstruction against the clean image, if there are such.
    ///
    /// # Errors
    /// The device fails; interruption.
    pub(super) fn coded(&self, images: &[f32], clean: Option<&[f32]>) -> Result<(Vec<f32>, Vec<f32>)> {
        let Some(clean) = clean else {
            return Ok((self.in_turn(|| self.codes_in_chunks(images))?, Vec::new()));
        };
        let applied = self.apply(images)?;
        let shapes = Shapes::Equal(self.image(), clean.len() / self.image().len());
        let errors = errors(&shapes, &applied.images, clean);
        Ok((applied.codes, errors))
    }

    /// The same of images that `make` makes of parts of a list, with the clean ones, on all threads.
    ///
    /// # Errors
    /// As [`Self::coded`].
    pub(super) fn coded_in_parts<T: Sync>(
        &self,
        list: &[T],
        make: &(impl Fn(&[T]) -> (Vec<f32>, Option<Vec<f32>>) + Sync),
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let work = |part: &[T]| {
            let (images, clean) = make(part);
            self.coded(&images, clean.as_deref())
        };
        let size = self.images_at_once();
        let parts: Vec<_> = if self.computes_where_called() {
            list.par_chunks(size).map(work).collect::<Result<_>>()?
        } else {
            list.chunks(size).map(work).collect::<Result<_>>()?
        };
        let (codes, errors): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok((codes.concat(), errors.concat()))
    }

    /// Output images of the model for a batch of images, with the error of each against `clean`, or against its input.
    ///
    /// # Errors
    /// A batch that does not hold images, or numbers outside of [0, 1]; interruption.
    pub fn denoise(&self, batch: &RecordBatch, clean: Option<&[f32]>, stored: Pixels) -> Result<RecordBatch> {
        let images = self.images(batch)?;
        let content = self.denoised(stored);
        let stored = pixels::stored(self.apply(&images)?.images, stored);
        // The error of the pixels as they are written, rounding included.
        let shapes = Shapes::Equal(self.image(), batch.num_rows());
        let errors = errors(&shapes, &pixels::numbers(&stored), clean.unwrap_or(&images));
        self.batch(batch, content, image_columns(&shapes, stored)?, errors)
    }

    /// The numbers of a batch of images of the model's size.
    fn images(&self, batch: &RecordBatch) -> Result<Vec<f32>> {
        self.checked(batch, &Images::of(batch, self.image().into())?)
    }

    /// The numbers of the images of a batch, which another program may have written. They lie in [0, 1] unless the table says that
    /// limpid did not clip its noise: numbers outside are else bytes that were not scaled.
    ///
    /// # Errors
    /// Other numbers.
    pub(super) fn checked(&self, batch: &RecordBatch, images: &Images) -> Result<Vec<f32>> {
        let shapes = images.shapes();
        let images = images.numbers();
        let unclipped = is_unclipped(batch.schema_ref());
        let fits = |value: &f32| if unclipped { value.is_finite() } else { (0.0..=1.0).contains(value) };
        match images.iter().position(|value| !fits(value)) {
            None => Ok(images),
            Some(at) => {
                let mut ends = shapes.iter().scan(0, |end, shape| {
                    *end += shape.len();
                    Some(*end)
                });
                let row = ends.position(|end| at < end).unwrap_or(0);
                let (image, value) = (ids(batch)?.value(row), images[at]);
                let rule = if unclipped { "floats must be finite" } else { "floats must lie in [0, 1]" };
                Err(error::data(format!("image {image} holds {value}; {rule}")))
            }
        }
    }

    /// Codes of images, one after the other, computed on all threads; empty if the model has no code.
    ///
    /// # Errors
    /// The device fails.
    pub fn codes(&self, images: &[f32]) -> Result<Vec<f32>> {
        if !self.computes_where_called() {
            return self.in_turn(|| self.codes_in_chunks(images));
        }
        let size = self.images_at_once() * self.image().len();
        let codes = images.par_chunks(size).map(|chunk| self.codes_in_chunks(chunk));
        Ok(codes.collect::<Result<Vec<_>>>()?.concat())
    }

    /// Images that codes stand for, one after the other, in [0, 1].
    ///
    /// # Errors
    /// A model without a code, or of which an image is more than its code; numbers that are no codes; the device fails.
    pub fn decode(&self, codes: &[f32]) -> Result<Vec<f32>> {
        let size = self.code_size()?;
        if self.description.predict != Predict::Image || self.description.noise_level.is_some() {
            return Err(error::settings("what the model makes is made of the image too, and not of its code alone"));
        }
        if let Some(at) = codes.iter().position(|number| !number.is_finite()) {
            return Err(error::data(format!("code {} holds {}; codes are finite", at / size, codes[at])));
        }
        let decoded = |chunk: &[f32]| {
            interrupt::check()?;
            let codes = Tensor::from_data(TensorData::new(chunk.to_vec(), [chunk.len() / size, size]), &self.device);
            let logits = self.model.decode(codes).ok_or_else(|| error::bug("a model with a code decodes none"))?;
            numbers(kernel::sigmoid(logits))
        };
        let step = self.images_at_once() * size;
        let images: Vec<_> = if computes_where_called(&self.device) {
            codes.par_chunks(step).map(decoded).collect::<Result<_>>()?
        } else {
            self.in_turn(|| codes.chunks(step).map(decoded).collect::<Result<_>>())?
        };
        Ok(images.concat())
    }

    /// Runs `work`, on a device other than flex one call at a time.
    fn in_turn<T>(&self, work: impl FnOnce() -> T) -> T {
        if self.computes_where_called() {
            return work();
        }
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.executes(work)
    }

    fn images_at_once(&self) -> usize {
        let (architecture, image) = (&self.description.architecture, self.image());
        if computes_where_called(&self.device) {
            match architecture.family().micro_batch(image) {
                // Large images: each fills a micro-batch, and memory is bounded by one.
                1 => 1,
                micro_batch => MICRO_BATCHES * micro_batch,
            }
        } else {
            architecture.device_batch(image, &self.device)
        }
    }

    fn tensor(&self, images: &[f32]) -> Tensor<2> {
        let len = self.image().len();
        Tensor::from_data(TensorData::new(images.to_vec(), [images.len() / len, len]), &self.device)
    }

    fn apply(&self, images: &[f32]) -> Result<Applied> {
        self.in_turn(|| self.apply_in_chunks(images))
    }

    fn codes_in_chunks(&self, images: &[f32]) -> Result<Vec<f32>> {
        let mut codes = Vec::new();
        for chunk in images.chunks(self.images_at_once() * self.image().len()) {
            interrupt::check()?;
            codes.extend(self.model.encode(self.tensor(chunk)).map_or(Ok(Vec::new()), numbers)?);
        }
        Ok(codes)
    }

    fn apply_in_chunks(&self, images: &[f32]) -> Result<Applied> {
        let len = self.image().len();
        let mut applied = Applied { codes: Vec::new(), images: Vec::with_capacity(images.len()) };
        let method = self.method(self.image());
        if self.ensemble || method == Method::Direct {
            for image in images.chunks_exact(len) {
                interrupt::check()?;
                applied.images.extend(self.one(image, self.image(), method)?);
            }
            return Ok(applied);
        }
        for chunk in images.chunks(self.images_at_once() * len) {
            // A batch of large images may take long.
            interrupt::check()?;
            let images = self.tensor(chunk);
            let Made { codes, logits } = self.model.forward(images.clone());
            applied.codes.extend(codes.map_or(Ok(Vec::new()), numbers)?);
            applied.images.extend(self.finished(
                self.description.predict.images(logits, images),
                chunk,
                self.image(),
            )?);
        }
        Ok(applied)
    }

    /// A batch of results about the images of `input`, with their errors, if the content has any.
    pub(super) fn batch(
        &self,
        input: &RecordBatch,
        content: Content,
        made: Vec<ArrayRef>,
        errors: Vec<f32>,
    ) -> Result<RecordBatch> {
        let mut columns = shared_columns(input);
        columns.extend(made);
        columns.extend(content.has_errors().then(|| Arc::new(Float32Array::from(errors)) as ArrayRef));
        RecordBatch::try_new(content.schema(), columns)
            .map_err(|cause| error::bug(format!("cannot make a batch of results: {cause}")))
    }
}

/// Mean squared error of each image.
pub(super) fn errors(shapes: &Shapes, made: &[f32], clean: &[f32]) -> Vec<f32> {
    let error = |made: &[f32], clean: &[f32]| {
        let sum: f64 = made.iter().zip(clean).map(|(made, clean)| f64::from(made - clean).powi(2)).sum();
        (sum / made.len() as f64) as f32
    };
    let pairs = shapes.split(made).zip(shapes.split(clean));
    pairs.map(|((_, made), (_, clean))| error(made, clean)).collect()
}
