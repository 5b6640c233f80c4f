//! The training loop: epochs, steps, checkpoints, and the choice of the best weights.

mod average;
mod awake;
pub mod batches;
pub mod blind_spot;
pub mod checkpoint;
pub mod history;
pub mod image_table;
mod loss;
mod losses;
mod optimizer;
pub mod patches;
mod pictures;
mod placed;
pub mod published;
pub mod rate;
mod schedule;
pub mod settings;
mod step;
mod stored;
pub mod test_images;
mod windows;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::module::Module;
use serde_json::json;

use crate::error::{self, Kind};
use crate::image::{ImageShape, Split};
use crate::interrupt;

use crate::model::{Autoencoder, Model, named_tensors};
use crate::progress::Progress;
use crate::record::receipt::Receipt;
use crate::store;
use crate::training::settings::{InputImages, Noise, Training};
use awake::keep_awake;
use batches::{InputSettings, Inputs, TrainingImages};
use checkpoint::{CheckpointFile, Position, State};
use history::{EpochRecord, best};
use losses::Losses;
use optimizer::Optimizer;
pub use step::Step;
use test_images::TestImages;

/// A training: its settings, images, model and checkpoint.
pub struct Trainer<'a> {
    /// Its settings.
    pub settings: &'a Training,
    /// The settings of the model.
    pub model: &'a Model,
    /// How inputs and targets are made of images.
    pub inputs: InputSettings,
    /// Size of the images.
    pub image: ImageShape,
    /// The training split.
    pub images: TrainingImages,
    /// The test split.
    pub test: TestImages,
    /// The validation split, if there is one.
    pub validation: Option<TestImages>,
    /// The checkpoint on disk.
    pub checkpoint: CheckpointFile,
    /// What training starts from.
    pub start: Start<'a>,
    /// The loss of a batch and its gradients, and the device.
    pub step: Step<'a>,
    /// The name of the device.
    pub device: String,
    /// Receives progress messages.
    pub progress: &'a Progress,
}

/// What a training starts from.
pub enum Start<'a> {
    /// The initial weights.
    Beginning,
    /// Its checkpoint.
    Checkpoint,
    /// A finished training of fewer epochs, published in this folder with this receipt.
    Published(&'a Path, &'a Receipt),
}

/// Number, seconds and images of each epoch that this process trained: they depend on the hardware, not on the settings.
pub type Speeds = Vec<(u64, f64, u64)>;

impl Trainer<'_> {
    /// Trains to the last epoch, or until patience ends, from the checkpoint or the published result of fewer epochs if there is one.
    ///
    /// # Errors
    /// Interruption (with a checkpoint saved), a loss that is not finite, unreadable images, the file system.
    pub fn train(&self) -> Result<(State, Speeds)> {
        let settings = self.settings;
        let mut state = self.start()?;
        let mut speeds = Speeds::new();
        let mut saved = Instant::now();
        let mut losses = Losses::default();
        while settings.end().reached(&state.position.history).is_none() {
            let started = (Instant::now(), state.position.images);
            if state.position.devices.last() != Some(&self.device) {
                state.position.devices.push(self.device.clone());
            }
            let mut epoch = || self.train_epoch(&mut state, &mut saved, &mut losses);
            let trained = if self.step.is_on_threads() { keep_awake(epoch) } else { epoch() };
            let trained = trained.and_then(|()| {
                let images = state.position.images - started.1;
                speeds.push((state.position.epochs + 1, started.0.elapsed().as_secs_f64(), images));
                self.finish_epoch(&mut state, speeds[speeds.len() - 1])
            });
            match trained {
                // An interrupted step has changed nothing: the state is that of the last whole step.
                Err(cause) if error::kind(&cause) == Kind::TryAgain => {
                    self.checkpoint.save(&state)?;
                    return Err(cause);
                }
                trained => trained?,
            }
            self.checkpoint.save(&state)?;
            saved = Instant::now();
            interrupt::check()?;
        }
        self.tell_end(&state.position);
        Ok((state, speeds))
    }

    /// Says that the training has ended before its last epoch, if it has.
    fn tell_end(&self, Position { epochs, history, .. }: &Position) {
        let Some(best) = best(history).filter(|_| *epochs < self.settings.epochs) else { return };
        let (split, loss) = best.choosing();
        self.progress.note(&format!(
            "train: ended after epoch {epochs} of {}: the {} loss has not fallen below {loss:.5}, that of epoch {}, for {} epochs \
             (training.patience)",
            self.settings.epochs,
            split.name(),
            best.epoch,
            epochs.saturating_sub(best.epoch)
        ));
    }

    /// Takes the steps that are left of the current epoch; `saved` is when the last checkpoint was written.
    fn train_epoch(&self, state: &mut State, saved: &mut Instant, losses: &mut Losses) -> Result<()> {
        let taken = self.take_steps(state, saved, losses);
        // Also after a failure, so that the next checkpoint holds the losses of all steps.
        self.settle(losses, state)?;
        taken
    }

    fn take_steps(&self, state: &mut State, saved: &mut Instant, losses: &mut Losses) -> Result<()> {
        let settings = self.settings;
        let epoch = state.position.epochs + 1;
        let name = format!("train epoch {epoch}/{}", settings.epochs);
        let task = self.progress.task(&name, self.images.count(), self.settings.patches.unit());
        task.advance(state.position.images);
        let drawn = self.drawn_epoch(epoch);
        let inputs = Inputs::new(&self.inputs, Split::Train, drawn);
        let seen = state.position.steps as usize;
        let count = self.images.count() as f64;
        for (index, batch) in self.images.batches(epoch as u32, drawn, settings.batch_size).enumerate() {
            let batch = batch?;
            if index < seen {
                continue;
            }
            let (loss, gradients) = self.step.gradients(&state.model, &batch, &inputs)?;
            if losses.add(state.position.steps + 1, loss) {
                self.settle(losses, state)?;
            }
            // The rate at the middle of the step, so that neither the first nor the last step has size 0.
            let done = (state.position.images as f64 + batch.count() as f64 / 2.0) / count;
            let rate = settings.learning_rate_at(state.position.epochs as f64 + done);
            state.optimizer.step(&mut state.model, gradients, rate);
            if let (Some(decay), Some(average)) = (settings.average, state.average.take()) {
                state.average = Some(average::updated(average, &state.model, decay, state.optimizer.steps()));
            }
            state.position.steps += 1;
            state.position.images += batch.count() as u64;
            task.advance(batch.count() as u64);
            if saved.elapsed() >= Duration::from_secs(settings.checkpoint_seconds) {
                self.settle(losses, state)?;
                self.checkpoint.save(state)?;
                *saved = Instant::now();
            }
        }
        Ok(())
    }

    /// Adds the losses that were taken in to the sum in the position.
    fn settle(&self, losses: &mut Losses, state: &mut State) -> Result<()> {
        let epoch = state.position.epochs + 1;
        match losses.settle(&mut state.position.loss)? {
            None => Ok(()),
            Some(step) => Err(diverged(epoch, step, self.checkpoint.path())),
        }
    }

    /// The state to start from; the initial state, with a note, if the checkpoint or result is damaged.
    fn start(&self) -> Result<State> {
        let Model { architecture, predict, .. } = self.model;
        let initial = architecture.init(self.image, *predict, self.inputs.seed, self.step.device())?;
        let device = self.step.device().clone().inner();
        let (what, state) = match self.start {
            Start::Beginning => ("", None),
            Start::Checkpoint => ("checkpoint", self.checkpoint.load(initial.clone(), &device)?),
            Start::Published(folder, receipt) => {
                ("result", Some(published::load(folder, receipt, initial.clone(), &device)))
            }
        };
        match state {
            Some(Ok(state)) => {
                let Position { epochs, steps, .. } = &state.position;
                self.progress.note(&format!("train: resuming after {epochs} epochs and {steps} steps"));
                return Ok(state);
            }
            Some(Err(reason)) => self.progress.note(&format!("train: the {what} is not used: {reason:#}")),
            None => {}
        }
        Ok(State {
            position: Position::default(),
            average: self.settings.average.map(|_| initial.valid()),
            model: initial,
            optimizer: Optimizer::default(),
            best: Vec::new(),
        })
    }

    /// The epoch whose patches and noise are used in `epoch`: fixed noise belongs to fixed patches.
    fn drawn_epoch(&self, epoch: u64) -> u32 {
        let drawn = self.settings.input == InputImages::Noisy && self.settings.blind_spot.is_none();
        if drawn && self.settings.noise == Noise::Fixed { 0 } else { epoch as u32 }
    }

    /// Scores the epoch, keeps the weights if they are the best so far, and starts the next.
    fn finish_epoch(&self, state: &mut State, (epoch, seconds, images): (u64, f64, u64)) -> Result<()> {
        let position = &state.position;
        let targets = Inputs::new(&self.inputs, Split::Train, 0).targets() as f64;
        let train_loss = position.loss / (position.images as f64 * targets);
        let scored = state.scored();
        let test_loss = self.loss_of(&scored, Split::Test, &self.test)?;
        let validation = self.validation.as_ref();
        let validation_loss = validation.map(|images| self.loss_of(&scored, Split::Validation, images)).transpose()?;
        if !test_loss.is_finite() || validation_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(diverged(epoch, position.steps, self.checkpoint.path()));
        }
        let position = &mut state.position;
        position.history.push(EpochRecord { epoch, train_loss, test_loss, validation_loss });
        if best(&position.history).is_some_and(|best| best.epoch == epoch) {
            position.best_epoch = epoch;
            state.best = named_tensors(&scored);
        }
        (position.epochs, position.steps, position.loss, position.images) = (epoch, 0, 0.0, 0);
        let rate = images as f64 / seconds;
        let name = self.model.loss.name();
        let epochs = self.settings.epochs;
        let mut fields = json!({
            "epoch": epoch, "epochs": epochs, "train-loss": train_loss, "test-loss": test_loss,
            "images-per-second": rate.round(),
        });
        let mut validation = String::new();
        if let Some(loss) = validation_loss {
            fields["validation-loss"] = json!(loss);
            validation = format!("  validation {loss:.5}");
        }
        let losses = format!("train {name} {train_loss:.5}  test {test_loss:.5}{validation}");
        let unit = self.settings.patches.unit();
        let message = format!("train: epoch {epoch}/{epochs}  {losses}  {rate:.0} {unit}/s");
        self.progress.event("epoch", &message, fields);
        Ok(())
    }

    /// The mean loss over the images of a split, on the stored inputs, or on the patches and the noise of epoch 0.
    fn loss_of(&self, model: &Autoencoder, split: Split, images: &TestImages) -> Result<f64> {
        let inputs = Inputs::new(&self.inputs, split, 0);
        let sum = self.step.test_loss(model, images, &inputs)?;
        Ok(sum / (images.count() as f64 * inputs.targets() as f64))
    }
}

fn diverged(epoch: u64, step: u64, checkpoint: &std::path::Path) -> anyhow::Error {
    let kept = if store::exists(checkpoint) { "; the last good checkpoint is kept" } else { "" };
    error::data(format!(
        "training diverged: the loss is not finite in epoch {epoch}, step {step}{kept}; try a smaller training.learning-rate"
    ))
}
