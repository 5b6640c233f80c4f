//! A model on images of any size: how far it looks, how it is computed, and the image that it makes of one.

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};

use super::Inference;
use crate::device::{computes_where_called, numbers};
use crate::engine::{centre, ensemble};
use crate::error;
use crate::image::{ImageShape, Levels};
use crate::kernel::Method;
use crate::model::Reach;

/// Outputs of the largest layer that a pass holds at once, with copies that have a border and what skips keep; measured.
const LAYERS_HELD: usize = 6;
/// Most bytes of an image in the model that is computed at once by the fastest method: a photograph of 512×512 pixels in a U-Net of 32
/// channels.
const MOST_WHOLE_BYTES: usize = 256 << 20;

impl Inference {
    /// How far the model looks.
    ///
    /// # Errors
    /// It is for images of one size.
    pub fn reach(&self) -> Result<Reach> {
        let reach = self.description.architecture.family().reach().map(|reach| match self.description.noise_level {
            Some(_) => Reach { halo: reach.halo.saturating_add(centre::RADIUS), ..reach },
            None => reach,
        });
        reach.ok_or_else(|| {
            let reason = format!("a dense layer binds it to images of {}", self.image());
            let advice = "train a unet, or a conv without a code, for pictures of any size";
            error::settings(format!("the model does not take pictures as they are: {reason}; {advice}"))
        })
    }

    /// Bytes that an image of this size takes in the model.
    pub fn bytes(&self, image: ImageShape) -> usize {
        let layer = self.description.architecture.family().largest_layer(image);
        layer.saturating_mul(LAYERS_HELD).saturating_mul(size_of::<f32>())
    }

    /// How an image of this size is computed, which depends on nothing else: at once by the fastest method or, if it is large, by one
    /// that gives the same bits for all ways to cut it.
    pub fn method(&self, image: ImageShape) -> Method {
        if self.bytes(image) <= MOST_WHOLE_BYTES { Method::Fastest } else { Method::Direct }
    }

    /// The numbers of black and white in the source that the model was trained on, if its settings gave them.
    pub fn levels(&self) -> Option<Levels> {
        self.description.levels
    }

    /// Whether images are to be taken through the model on many threads.
    pub fn computes_where_called(&self) -> bool {
        computes_where_called(&self.device)
    }

    /// The image that the model makes of one of any size in [0, 1] by this method, made on this thread with the weights of the model
    /// itself. The layers of the other size cost nothing, so that none are kept.
    ///
    /// # Errors
    /// As [`Self::reach`]; the device fails.
    pub fn apply_at_any_size(&self, pixels: Vec<f32>, image: ImageShape, method: Method) -> Result<Vec<f32>> {
        let work = || if self.ensemble { self.mean(&pixels, image, method) } else { self.made(pixels, image, method) };
        if self.computes_where_called() { work() } else { self.in_turn(work) }
    }

    /// The image that the model makes of one.
    fn made(&self, pixels: Vec<f32>, image: ImageShape, method: Method) -> Result<Vec<f32>> {
        let model = if image == self.image() { Some(self.model.clone()) } else { self.model.resized(image) };
        let Some(model) = model.map(|model| model.by(method)) else { return self.reach().map(|_| Vec::new()) };
        let images = Tensor::from_data(TensorData::new(pixels.clone(), [1, image.len()]), &self.device);
        let made = model.forward(images.clone());
        self.finished(self.description.predict.images(made.logits, images), &pixels, image)
    }

    /// The numbers of images of this shape that the model made of others, combined with these if it learnt from noisy images alone.
    pub(super) fn finished(&self, made: Tensor<2>, images: &[f32], image: ImageShape) -> Result<Vec<f32>> {
        let mut made = numbers(made)?;
        if let Some(level) = self.description.noise_level {
            for (made, images) in made.chunks_exact_mut(image.len()).zip(images.chunks_exact(image.len())) {
                centre::combine(made, images, image, level as f32);
            }
        }
        Ok(made)
    }

    /// The mean over the eight orientations of one.
    pub(super) fn mean(&self, pixels: &[f32], image: ImageShape, method: Method) -> Result<Vec<f32>> {
        let multiple = self.description.architecture.family().reach().map_or(1, |reach| reach.multiple);
        ensemble::mean(pixels, image, multiple, |pixels, image| self.made(pixels, image, method))
    }

    /// The same, making the mean over the eight orientations of every image, or not.
    ///
    /// # Errors
    /// A model that is for images of one size, which are not square.
    pub fn with_ensemble(self, ensemble: bool) -> Result<Self> {
        let image = self.image();
        if ensemble && image.height != image.width && self.description.architecture.family().reach().is_none() {
            let reason = format!("a dense layer binds the model to images of {image}, which cannot be turned");
            let advice = "leave the ensemble out, or train a unet, or a conv without a code";
            return Err(error::settings(format!("there is no mean over eight orientations: {reason}; {advice}")));
        }
        Ok(Self { ensemble, ..self })
    }

    /// Whether images are the mean over their eight orientations.
    pub fn is_ensemble(&self) -> bool {
        self.ensemble
    }
}
