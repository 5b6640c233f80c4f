//! A model on images of any size: how far it looks, how it is computed, and the image that it makes of one.

use std::sync::{MutexGuard, PoisonError};

use anyhow::Result;
use burn::tensor::{Tensor, TensorData};

use super::Inference;
use crate::device::{computes_where_called, numbers};
use crate::engine::{centre, ensemble};
use crate::error;
use crate::image::{Extent, ImageShape, Levels};
use crate::kernel::Method;
use crate::model::Reach;
use crate::model::steps::{self, Step};
use crate::scaler::Scaler;

/// Outputs of the largest layer that a pass holds at once, with copies that have a border and what skips keep; measured.
const LAYERS_HELD: usize = 6;
/// Most bytes of an image in the model that is computed at once by the fastest method: a photograph of 512×512 pixels in a U-Net of 32
/// channels.
const MOST_WHOLE_BYTES: usize = 256 << 20;
/// Rows that an image is given in strips with, at least: more save little, and take more memory.
const STRIP_ROWS: [usize; 3] = [64, 32, 16];
/// Outputs of the largest layer for these rows that strips hold at once; measured.
const STRIP_LAYERS: usize = 21;
/// Bytes of all strips for which as many rows are taken as fit.
const USUAL_STRIP_BYTES: usize = 256 << 20;
/// Most bytes of all strips of each plane, with the fewest rows: those of 24 megapixels in a U-Net of 32 channels.
const MOST_STRIP_BYTES: usize = 640 << 20;

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

    /// Channels of the images that the model sees of a picture: all of its channels, or each by itself.
    ///
    /// # Errors
    /// A model for images of other channels.
    pub fn channels_for(&self, picture: ImageShape) -> Result<usize> {
        let wanted = self.image().channels;
        if picture.channels == wanted || wanted == 1 {
            return Ok(wanted);
        }
        let message = format!("it has {} channels, but the model takes {wanted}", picture.channels);
        let advice = "train a model on images of its kind, or on grey ones, which takes every channel by itself";
        Err(error::settings(format!("{message}; {advice}")))
    }

    /// Whether an image of this size is computed at once, because it is small.
    pub fn takes_whole(&self, image: ImageShape) -> bool {
        self.bytes(image) <= MOST_WHOLE_BYTES
    }

    /// Whether images of this extent are cut to be denoised, since they are large or have different sizes: then a batch is the work of
    /// all threads.
    pub fn cuts(&self, images: Extent) -> bool {
        images.fixed().is_none_or(|image| !self.takes_whole(image) && self.reach().is_ok())
    }

    /// How an image of the model's size is computed: by the fastest method, unless pictures of this size have to be cut into tiles.
    pub fn method(&self, image: ImageShape) -> Method {
        if self.takes_whole(image) || self.is_plain() { Method::Fastest } else { Method::Direct }
    }

    /// Whether what is made of the model's output needs no more than the pixel.
    fn is_plain(&self) -> bool {
        !self.ensemble && self.description.noise_level.is_none()
    }

    /// How far the model looks in an image of this size, and how many rows it takes at once, if it takes a few rows after the other, of so
    /// many images at the same time: if they are large but not too wide.
    pub(in crate::engine) fn takes_strips(&self, image: ImageShape, planes: usize) -> Option<(Reach, usize)> {
        let reach = self.description.architecture.family().reach_by(Method::Fastest)?;
        let suits = self.is_plain() && self.computes_where_called();
        if !suits || self.takes_whole(image) || image.height.min(image.width) < reach.least {
            return None;
        }
        // Each layer keeps a few rows, a few layers at a time have those under way, and skips wait for what the model looks at below.
        let column = self.bytes(image).div_ceil(LAYERS_HELD * image.height * image.width);
        let bytes = |rows: usize| {
            let held = rows.saturating_mul(STRIP_LAYERS).saturating_add(2 * reach.halo);
            column.saturating_mul(held).saturating_mul(image.width).saturating_mul(planes)
        };
        let [many, some, few] = STRIP_ROWS.map(|rows| rows.next_multiple_of(reach.multiple));
        let usual = [many, some].into_iter().find(|&rows| bytes(rows) <= USUAL_STRIP_BYTES);
        // Tiles take four times as long: the planes of a colour picture may take as much each.
        let rows = usual.or_else(|| (bytes(few) <= MOST_STRIP_BYTES * planes.min(3)).then_some(few))?;
        Some((reach, rows))
    }

    /// The numbers of black and white in the source that the model was trained on, if its settings gave them.
    pub fn levels(&self) -> Option<Levels> {
        self.description.levels
    }

    /// The columns of the rows that the model takes, if it was trained on rows of numbers.
    pub fn columns(&self) -> Option<&Scaler> {
        self.description.columns.as_ref()
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
        let work = || self.one(&pixels, image, method);
        self.in_turn(work)
    }

    /// Waits until no other large picture is under way, which all threads share. Not to be called on a thread of rayon's pool.
    pub(in crate::engine) fn large_turn(&self) -> MutexGuard<'_, ()> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The steps from images to logits; none if a dense layer is between them.
    pub(in crate::engine) fn steps(&self) -> Vec<Step> {
        self.model.steps().unwrap_or_default()
    }

    /// Rows of images as they are given to [`Self::steps`].
    pub(in crate::engine) fn tensor_of_rows(&self, pixels: Vec<f32>, shape: [usize; 4]) -> Tensor<4> {
        Tensor::from_data(TensorData::new(pixels, shape), &self.device)
    }

    /// The numbers of the images that these logits stand for, for the images that were given.
    ///
    /// # Errors
    /// The device fails.
    pub(in crate::engine) fn images_of_rows(&self, logits: Tensor<4>, given: Tensor<4>) -> Result<Vec<f32>> {
        let [logits, given] = [logits, given].map(|rows| {
            let len = rows.shape().num_elements();
            rows.reshape([1, len])
        });
        numbers(self.description.predict.images(logits, given))
    }

    /// The image that is made of one: by the model, or as the mean over the eight orientations.
    pub(super) fn one(&self, pixels: &[f32], image: ImageShape, method: Method) -> Result<Vec<f32>> {
        if !self.ensemble {
            return self.made(pixels, image, method);
        }
        let multiple = self.description.architecture.family().reach().map_or(1, |reach| reach.multiple);
        ensemble::mean(pixels, image, multiple, |pixels, image| self.made(&pixels, image, method))
    }

    /// The image that the model makes of one.
    fn made(&self, pixels: &[f32], image: ImageShape, method: Method) -> Result<Vec<f32>> {
        let images = Tensor::from_data(TensorData::new(pixels.to_vec(), [1, image.len()]), &self.device);
        let logits = match self.model.steps() {
            Some(steps) => {
                let ImageShape { height, width, channels } = image;
                let x = images.clone().reshape([1, height, width, channels]);
                let steps = steps.into_iter().map(|step| step.with(method.into()));
                steps::run(steps, x, &mut Vec::new()).reshape([1, image.len()])
            }
            None => self.model.forward(images.clone()).logits,
        };
        self.finished(self.description.predict.images(logits, images), pixels, image)
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

    /// The same, making the mean over the eight orientations of every image, or not.
    ///
    /// # Errors
    /// A model that is for images of one size, which are not square.
    pub fn with_ensemble(self, ensemble: bool) -> Result<Self> {
        if ensemble {
            ensemble::check(&self.description.architecture, self.image())?;
        }
        Ok(Self { ensemble, ..self })
    }

    /// Whether images are the mean over their eight orientations.
    pub fn is_ensemble(&self) -> bool {
        self.ensemble
    }
}
