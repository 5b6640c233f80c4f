//! The training speed of a device, as `limpid devices` measures it.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::awake::keep_awake;
use super::batches::{Batch, Inputs};
use super::losses::Losses;
use super::optimizer::Optimizer;
use super::step::Step;
use crate::device::{ComputeDevice, Precision};
use crate::image::Split;
use crate::model::predict::Predict;
use crate::model::settings::{CodeActivation, Loss};
use crate::model::{Architecture, Conv, Dense, Model};
use crate::random::Stream;
use crate::source::strokes;

/// Images of a step.
const BATCH: usize = 200;
/// Batches that are repeated.
const BATCHES: usize = 10;
/// Steps before the measurement, in which kernels are compiled and chosen.
const WARM_UP: usize = 5;

/// The models of the textbook chapter that are measured, by the name of their family.
pub fn models() -> [Architecture; 2] {
    [
        Architecture::Dense(Dense { hidden: vec![], code: 32, code_activation: CodeActivation::Relu }),
        Architecture::Conv(Conv {
            channels: vec![16, 8, 8],
            decoder_channels: vec![16, 8, 16],
            residual_blocks: 0,
            code: None,
            code_activation: CodeActivation::Linear,
        }),
    ]
}

/// Images per second in training steps of 200 images of 28×28 on a device, measured for `time`.
///
/// # Errors
/// Interruption.
pub fn images_per_second(architecture: &Architecture, device: &ComputeDevice, time: Duration) -> Result<f64> {
    let (image, device) = (strokes::shape(false), device.training());
    let model =
        Model { architecture: architecture.clone(), loss: Loss::CrossEntropy, predict: Predict::Image, sparsity: 0.0 };
    let step = Step::new(&model, Precision::F32, image, device.clone());
    let batches = Batch::of_images(strokes::digits(1, BATCH * BATCHES), image.len(), BATCH);
    let stream = Stream::new(1, "noise", Split::Train);
    let inputs =
        Inputs { image, paired: false, corruption: None, stream, target: None, hiding: None, epoch: 1, rounded: false };
    let mut trained = model.architecture.init(image, model.predict, 1, &device)?;
    let mut optimizer = Optimizer::default();
    let mut measure = || -> Result<f64> {
        let (mut losses, mut sum) = (Losses::default(), 0.0);
        let (mut start, mut images) = (Instant::now(), 0);
        for (index, batch) in batches.iter().cycle().enumerate() {
            let (loss, gradients) = step.gradients(&trained, batch, &inputs)?;
            let settle = losses.add(index as u64, loss);
            optimizer.step(&mut trained, gradients, 1e-3);
            images += batch.count();
            let over = index >= WARM_UP && start.elapsed() >= time;
            if index + 1 == WARM_UP || settle || over {
                // Waits for the device, so that only finished work counts. Whether the loss is finite does not matter here.
                _ = losses.settle(&mut sum);
            }
            if index + 1 == WARM_UP {
                (start, images) = (Instant::now(), 0);
            } else if over {
                break;
            }
        }
        Ok(images as f64 / start.elapsed().as_secs_f64())
    };
    if step.is_on_threads() { keep_awake(measure) } else { measure() }
}
