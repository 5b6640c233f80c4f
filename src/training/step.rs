//! The loss of a batch and its gradients.
//!
//! On flex a batch is cut into micro-batches of a fixed size; each goes through forward and backward on one thread, and their
//! gradients are added in the order of the images. Threads share nothing inside a step, and their number changes no bit. Any
//! other device has its own parallelism: it gets the batch as a whole, or in parts that fit its memory, one after the other,
//! from images that were placed there before.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rayon::prelude::*;

use super::batches::{Batch, Examples, Inputs, PlacedExamples, examples_of};
use super::losses::BatchLoss;
use super::patches::Cut;
use super::placed::{PlacedImages, PlacedWindow};
use super::stored;
use super::test_images::TestImages;
use crate::corruption::on_device::integers;
use crate::device::{Precision, computes_where_called, numbers};
use crate::image::ImageShape;
use crate::interrupt;

use crate::model::{Autoencoder, Made, Model};

/// A batch is cut into at least so many parts if it has as many images, so that threads have work.
const LEAST_PARTS: usize = 4;

/// The settings and device that all steps of a training share.
pub struct Step<'a> {
    model: &'a Model,
    precision: Precision,
    image: ImageShape,
    /// With automatic differentiation.
    device: Device,
    /// The window of training images that is on the device, if it is not flex.
    placed: Mutex<Option<PlacedWindow>>,
}

impl<'a> Step<'a> {
    /// Steps of this model for images of this size on a device with automatic differentiation.
    pub fn new(model: &'a Model, precision: Precision, image: ImageShape, device: Device) -> Self {
        Self { model, precision, image, device, placed: Mutex::new(None) }
    }

    /// The device, with automatic differentiation.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether micro-batches are computed on limpid's threads.
    pub fn is_on_threads(&self) -> bool {
        computes_where_called(&self.device)
    }

    /// The loss of a batch, summed over pixels, and the gradients of its mean: on flex one for each part of the batch, in their
    /// order; on any other device their sum.
    ///
    /// # Errors
    /// Interruption, checked between parts since a step of large images takes seconds, and images that a device cannot hold.
    pub fn gradients(
        &self,
        model: &Autoencoder,
        batch: &Batch,
        inputs: &Inputs,
    ) -> Result<(BatchLoss, Vec<GradientsParams>)> {
        let scale = 1.0 / (batch.count() * inputs.targets()) as f32;
        let part = |examples: PlacedExamples| -> Result<(Tensor<1>, GradientsParams)> {
            interrupt::check()?;
            let model = model.clone().fork(&self.device);
            let (loss, codes) = self.loss(&model, examples, scale, self.precision);
            let penalty = codes.and_then(|codes| self.penalty(codes, scale, inputs));
            let minimised = penalty.map_or_else(|| loss.clone(), |penalty| loss.clone() + penalty);
            Ok((loss.inner(), GradientsParams::from_grads(minimised.backward(), &model)))
        };
        if self.is_on_threads() {
            let parts: Result<Vec<(f64, GradientsParams)>> = batch
                .micro_batches(micro_batch(batch.count(), self.model.architecture.family().micro_batch(self.image)))
                .map(|images| {
                    let (loss, gradients) = part(self.tensors(images.examples(inputs), &self.device))?;
                    Ok((scalar(loss), gradients))
                })
                .collect();
            let (sums, gradients): (Vec<f64>, Vec<_>) = parts?.into_iter().unzip();
            return Ok((BatchLoss::Known(sums.iter().sum::<f64>() / f64::from(scale)), gradients));
        }
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        let (window, range) = batch.place();
        let there = match placed.take() {
            Some(placed) if placed.is(window) => placed,
            last => PlacedWindow::new(window, inputs.stored(), &self.device.clone().inner(), last)?,
        };
        let there = placed.insert(there);
        let size = self.model.architecture.device_batch(self.image, &self.device);
        let (mut losses, mut sum) = (Vec::new(), GradientsAccumulator::new());
        for start in range.clone().step_by(size) {
            let (loss, gradients) = part(tracked(&there.examples(start..range.end.min(start + size), inputs)))?;
            losses.push(loss);
            // Accumulated at once: a device has no memory for the gradients of every part.
            sum.accumulate(model, gradients);
        }
        Ok((BatchLoss::OnDevice(losses, scale), vec![sum.grads()]))
    }

    /// The loss over all images of a split, summed over pixels, with a model outside automatic differentiation.
    ///
    /// # Errors
    /// Unreadable images, and interruption.
    pub fn test_loss(&self, model: &Autoencoder, images: &TestImages, inputs: &Inputs) -> Result<f64> {
        let device = self.device.clone().inner();
        let loss = |examples| self.loss(model, examples, 1.0, Precision::F32).0;
        let mut sum = 0.0;
        if self.is_on_threads() {
            for batch in images.batches() {
                sum += self.sum_on_threads(&batch?, inputs, &device, loss);
                interrupt::check()?;
            }
        } else {
            for placed in images.placed(&device)? {
                sum += self.sum_on_device(&placed?, inputs, &device, loss)?;
                interrupt::check()?;
            }
        }
        Ok(sum)
    }

    fn sum_on_threads(
        &self,
        Cut { keys, bytes }: &Cut,
        inputs: &Inputs,
        device: &Device,
        loss: impl Fn(PlacedExamples) -> Tensor<1> + Sync,
    ) -> f64 {
        let (size, pixels) = (self.model.architecture.family().micro_batch(self.image), inputs.stored());
        let sums: Vec<f64> = keys
            .par_chunks(size)
            .zip(bytes.par_chunks(size * bytes.len() / keys.len().max(1)))
            .map(|(keys, bytes)| {
                let mut images = vec![0.0; keys.len() * pixels];
                stored::numbers(bytes, &mut images);
                scalar(loss(self.tensors(examples_of(keys, images, inputs), device)))
            })
            .collect();
        sums.iter().sum()
    }

    fn sum_on_device(
        &self,
        images: &PlacedImages,
        inputs: &Inputs,
        device: &Device,
        loss: impl Fn(PlacedExamples) -> Tensor<1>,
    ) -> Result<f64> {
        let size = self.model.architecture.device_batch(self.image, &self.device);
        let sums = (0..images.count()).step_by(size).map(|start| {
            let indices: Vec<i32> = (start..images.count().min(start + size)).map(|index| index as i32).collect();
            let count = indices.len();
            loss(images.examples(integers(indices, [count], device), inputs))
        });
        let sums: Vec<Tensor<1>> = sums.collect();
        let sums = if sums.is_empty() { Vec::new() } else { numbers(Tensor::cat(sums, 0))? };
        Ok(sums.into_iter().map(f64::from).sum())
    }

    /// Examples on a device.
    fn tensors(&self, Examples { input, target, hidden }: Examples, device: &Device) -> PlacedExamples {
        let count = input.as_ref().unwrap_or(&target).len() / self.image.len();
        let tensor = |values: Vec<f32>| {
            let shape = [count, values.len() / count];
            Tensor::<2>::from_data(TensorData::new(values, shape), device)
        };
        let places = |places: Vec<i32>| {
            let shape = [count, places.len() / count];
            integers(places, shape, device)
        };
        Examples { input: input.map(tensor), target: tensor(target), hidden: hidden.map(places) }
    }

    /// The loss between the model's outputs for examples and their targets, `scale` times the sum over pixels; and the codes, if
    /// the model has any.
    fn loss(
        &self,
        model: &Autoencoder,
        Examples { input, target, hidden }: PlacedExamples,
        scale: f32,
        precision: Precision,
    ) -> (Tensor<1>, Option<Tensor<2>>) {
        let input = input.unwrap_or_else(|| target.clone());
        let Made { codes, logits } = match precision {
            Precision::F32 => model.forward(input.clone()),
            Precision::Bf16 => {
                // Layers compute in the precision of their input; losses and weights stay 32-bit.
                let Made { codes, logits } = model.forward(input.clone().cast(FloatDType::BF16));
                let full = |tensor: Tensor<2>| tensor.cast(FloatDType::F32);
                Made { codes: codes.map(full), logits: full(logits) }
            }
        };
        // Of hidden pixels alone, if there are any.
        let seen = |images: Tensor<2>| match &hidden {
            Some(places) => images.gather(1, places.clone()),
            None => images,
        };
        (self.model.scaled_loss(seen(logits), seen(input), target, scale), codes)
    }

    /// The sparsity penalty that is added to the loss (`model.sparsity`): the mean magnitude of the code's numbers.
    fn penalty(&self, codes: Tensor<2>, scale: f32, inputs: &Inputs) -> Option<Tensor<1>> {
        let sparsity = self.model.sparsity;
        let numbers_for_each_pixel = codes.dims()[1] as f64 / inputs.targets() as f64;
        (sparsity > 0.0).then(|| codes.abs().sum() * (sparsity * f64::from(scale) / numbers_for_each_pixel))
    }
}

/// Images of each part of a batch of `count`: at most `most`, and nearly as many in every part, so that threads that share them end
/// together. It depends on no thread count, because it decides the order in which gradients are summed.
fn micro_batch(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most).max(LEAST_PARTS))
}

/// Examples under automatic differentiation.
fn tracked(examples: &PlacedExamples) -> PlacedExamples {
    examples.each(|tensor| Tensor::from_inner(tensor.clone()), |places| Tensor::from_inner(places.clone()))
}

fn scalar(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{Corruption, Gaussian};
    use crate::device::tests::{course, devices, half_course};
    use crate::image::Split;
    use crate::model::predict::Predict;
    use crate::model::settings::{CodeActivation, Loss};
    use crate::model::{Architecture, Conv, Dense, Model, Unet};
    use crate::random::Stream;
    use crate::source::strokes;
    use crate::training::losses::Losses;
    use crate::training::optimizer::Optimizer;

    /// Losses of the first steps of a training with noise.
    fn losses(model: &Model, precision: Precision, device: &Device) -> Vec<f64> {
        let image = strokes::shape(false);
        let step = Step::new(model, precision, image, device.clone());
        let stream = Stream::new(1, "noise", Split::Train);
        let corruption = Some(Corruption::Gaussian(Gaussian::new(0.3)));
        let inputs =
            Inputs { image, paired: false, corruption, stream, target: None, hiding: None, epoch: 1, rounded: false };
        let mut trained = model.architecture.init(image, model.predict, 1, device).expect("fits");
        let mut optimizer = Optimizer::default();
        let batches = Batch::of_images(strokes::digits(1, 250), image.len(), 50);
        let losses = batches.iter().cycle().take(15).map(|batch| {
            let (loss, gradients) = step.gradients(&trained, batch, &inputs).expect("computes");
            optimizer.step(&mut trained, gradients, 3e-3);
            let (mut waiting, mut sum) = (Losses::default(), 0.0);
            waiting.add(1, loss);
            assert_eq!(waiting.settle(&mut sum).expect("computes"), None);
            sum / (50 * image.len()) as f64
        });
        losses.collect()
    }

    #[test]
    fn a_batch_is_cut_into_nearly_equal_parts_of_at_most_a_size() {
        let sizes = [(1, 25, 1), (3, 25, 1), (16, 5, 4), (16, 13, 4), (100, 25, 25), (101, 25, 21), (200, 25, 25)];
        for (count, most, expected) in sizes {
            assert_eq!(micro_batch(count, most), expected, "{count} images");
        }
    }

    fn models() -> Vec<Model> {
        let conv = |code| {
            Architecture::Conv(Conv {
                channels: vec![6, 4],
                decoder_channels: vec![4, 6],
                residual_blocks: 1,
                code,
                code_activation: CodeActivation::Linear,
            })
        };
        let dense = Architecture::Dense(Dense { hidden: vec![64], code: 16, code_activation: CodeActivation::Relu });
        vec![
            Model { architecture: dense, loss: Loss::CrossEntropy, predict: Predict::Image, sparsity: 0.01 },
            Model { architecture: conv(Some(12)), loss: Loss::Mse, predict: Predict::Image, sparsity: 0.0 },
            Model { architecture: conv(None), loss: Loss::CrossEntropy, predict: Predict::Image, sparsity: 0.0 },
            Model { architecture: conv(None), loss: Loss::Mse, predict: Predict::Noise, sparsity: 0.0 },
            Model {
                architecture: Architecture::Unet(Unet { channels: vec![4, 6], residual_blocks: 1, unshuffle: false }),
                loss: Loss::CrossEntropy,
                predict: Predict::Image,
                sparsity: 0.0,
            },
        ]
    }

    #[test]
    fn trainings_take_the_same_course_on_every_device() {
        for model in models() {
            let expected = losses(&model, Precision::F32, &Device::flex().autodiff());
            assert!(expected[14] < 0.9 * expected[0], "{expected:?}");
            for device in devices() {
                let found = losses(&model, Precision::F32, &device.training());
                for (found, expected) in found.iter().zip(&expected) {
                    let is_near = (found / expected - 1.0).abs() < course(&device);
                    assert!(is_near, "{device}: {found} and not {expected}: {model:?}");
                }
            }
        }
    }

    #[test]
    fn half_the_bits_take_nearly_the_same_course() {
        for device in devices() {
            if device.check(Precision::Bf16).is_err() {
                continue;
            }
            for model in models() {
                let full = losses(&model, Precision::F32, &device.training());
                let half = losses(&model, Precision::Bf16, &device.training());
                assert_ne!(full, half, "{device}");
                for (half, full) in half.iter().zip(&full) {
                    let is_near = (half / full - 1.0).abs() < half_course(&device);
                    assert!(is_near, "{device}: {half} and not {full}: {model:?}");
                }
            }
        }
    }
}
