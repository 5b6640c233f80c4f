//! The checkpoint of a training: one file that is replaced atomically.
//!
//! It holds everything that the rest of the training depends on, so that killed and resumed equals uninterrupted: weights,
//! their averages if there are any, Adam's moments, the position in the epoch with the loss summed so far, the history, and the
//! best weights. A digest at its end detects damage.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::history::{End, EpochRecord};
use super::optimizer::Optimizer;
use crate::error;
use crate::model::{Autoencoder, NamedTensor, load_weights, most_bytes, named_tensors, read_tensors, write_tensors};
use crate::record::fingerprint::{Change, Parts};
use crate::store::{self, MOST_TEXT, RangeReader, read_whole};

/// The position of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs that are finished.
    pub epochs: u64,
    /// Steps taken in the current epoch.
    pub steps: u64,
    /// Loss summed over the pixels of the current epoch's images so far.
    pub loss: f64,
    /// Images seen in the current epoch.
    pub images: u64,
    /// One for each finished epoch.
    pub history: Vec<EpochRecord>,
    /// The finished epoch with the lowest loss of the split that chooses.
    pub best_epoch: u64,
    /// The devices that took the steps, one after the other.
    #[serde(default)]
    pub devices: Vec<String>,
}

impl Position {
    /// The epoch with which a training with this end stops, if the position is beyond it.
    pub fn beyond(&self, end: End) -> Option<u64> {
        // In the middle of an epoch, the one before may have been the last.
        end.reached(&self.history).filter(|last| (self.epochs, self.steps) > (*last, 0))
    }
}

/// The complete state of a training.
pub struct State {
    /// Epoch, step, losses and history.
    pub position: Position,
    /// The current model.
    pub model: Autoencoder,
    /// Adam's state.
    pub optimizer: Optimizer,
    /// The averages of its weights, if they are scored and published in their place; not under automatic differentiation.
    pub average: Option<Autoencoder>,
    /// The weights that were scored at the end of the best epoch.
    pub best: Vec<NamedTensor>,
}

impl State {
    /// The model that is scored and published, outside automatic differentiation.
    pub fn scored(&self) -> Autoencoder {
        self.average.clone().unwrap_or_else(|| self.model.valid())
    }

    /// The state made of these tensors: the weights under `model.`, `average.` if there are any, and `best.`, and Adam's moments after so many `steps`.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn assemble(
        position: Position,
        steps: u64,
        tensors: &BTreeMap<String, NamedTensor>,
        initial: Autoencoder,
        device: &Device,
    ) -> Result<Self> {
        let averaged = tensors.keys().any(|name| name.starts_with(AVERAGE));
        let average = averaged.then(|| load_weights(initial.valid(), tensors, AVERAGE)).transpose()?;
        let model = load_weights(initial, tensors, MODEL)?;
        let sizes: Vec<usize> = named_tensors(&model).iter().map(|tensor| tensor.values.len()).collect();
        let mut optimizer = Optimizer::default();
        if !optimizer.restore(steps, &sizes, device, |name| tensors.get(name)) {
            return Err(error::data("a moment of Adam is missing"));
        }
        // In the order of the model's layers, as if they had just been taken from it.
        let best = named_tensors(&model).into_iter().filter_map(|tensor| {
            let best = tensors.get(&format!("best.{}", tensor.name))?;
            Some(NamedTensor { name: tensor.name, ..best.clone() })
        });
        Ok(Self { position, best: best.collect(), model, average, optimizer })
    }
}

/// What the names of weights start with.
pub const MODEL: &str = "model.";
/// What those of their averages start with.
pub const AVERAGE: &str = "average.";

/// The weights of a model, with something before their names.
pub fn with_prefix(prefix: &str, tensors: Vec<NamedTensor>) -> impl Iterator<Item = NamedTensor> {
    let rename = move |tensor: NamedTensor| NamedTensor { name: format!("{prefix}{}", tensor.name), ..tensor };
    tensors.into_iter().map(rename)
}

/// Whether a training can resume from a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no file.
    Missing,
    /// The training resumes from it.
    Fits {
        /// Epochs that are finished.
        epochs: u64,
        /// Steps taken in the current one.
        steps: u64,
    },
    /// It cannot be used, with the reason.
    Unfit(String),
}

const DAMAGED: &str = "it is damaged";
/// The key of the text in the safetensors metadata.
pub const TEXT: &str = "limpid";

#[derive(Serialize, Deserialize)]
struct Text {
    parts: Parts,
    steps: u64,
    position: Position,
}

/// The checkpoint file of one training.
pub struct CheckpointFile {
    path: PathBuf,
    /// Everything that decides the steps of the training: a checkpoint with other parts is not used.
    parts: Parts,
    /// When the training ends: a checkpoint from beyond that is not used either.
    end: End,
}

impl CheckpointFile {
    /// The checkpoint at `path` for a training with this `end` whose steps `parts` decide.
    pub fn new(path: PathBuf, parts: Parts, end: End) -> Self {
        Self { path, parts, end }
    }

    /// Whether the training can resume from the file, judged by its text alone.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn standing(&self) -> Result<Standing> {
        match read_text::<Text>(&self.path) {
            Ok(Some(text)) => Ok(match self.check(&text) {
                Ok(()) => Standing::Fits { epochs: text.position.epochs, steps: text.position.steps },
                Err(cause) => Standing::Unfit(cause.to_string()),
            }),
            Ok(None) => Ok(Standing::Unfit(DAMAGED.to_owned())),
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Ok(Standing::Unfit(DAMAGED.to_owned())),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Standing::Missing),
            Err(cause) => Err(cause).with_context(|| format!("cannot read {}", self.path.display())),
        }
    }

    fn check(&self, text: &Text) -> Result<()> {
        let changes = self.parts.changes(&text.parts);
        if !changes.is_empty() {
            let changes: Vec<_> = changes.iter().map(Change::to_string).collect();
            return Err(error::data(format!("it belongs to another training ({})", changes.join("; "))));
        }
        if let Some(last) = text.position.beyond(self.end) {
            return Err(error::data(format!("it is beyond epoch {last}, with which the training ends")));
        }
        Ok(())
    }

    /// Writes the state beside the old file, then replaces it.
    ///
    /// # Errors
    /// The file system.
    pub fn save(&self, state: &State) -> Result<()> {
        let bytes = self.serialise(state)?;
        store::of(&self.path).replace(&self.path, &bytes)
    }

    /// The state as the bytes of a file: safetensors followed by their digest, since nothing else would detect a wrong bit in a
    /// weight.
    ///
    /// # Errors
    /// The serialisation fails, which no content causes.
    pub fn serialise(&self, state: &State) -> Result<Vec<u8>> {
        let (steps, moments) = state.optimizer.state();
        let (model, best) = (with_prefix(MODEL, named_tensors(&state.model)), with_prefix("best.", state.best.clone()));
        let average = state.average.iter().flat_map(|average| with_prefix(AVERAGE, named_tensors(average)));
        let tensors: Vec<_> = model.chain(average).chain(best).chain(moments).collect();
        let text = Text { parts: self.parts.clone(), steps, position: state.position.clone() };
        let text = serde_json::to_string(&text).context("cannot serialise a checkpoint")?;
        let mut bytes = write_tensors(&tensors, BTreeMap::from([(TEXT.to_owned(), text)]))?;
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        Ok(bytes)
    }

    /// Restores a state; none if there is no file, and the reason if it is damaged or of another training. That is no error: the
    /// state can be computed again.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn load(&self, initial: Autoencoder, device: &Device) -> Result<Option<Result<State>>> {
        // Five tensors for each parameter: weights, averages, best weights, and Adam's two moments.
        let bytes = match read_whole(&self.path, most_bytes(initial.num_params(), 5)) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => {
                return Ok(Some(Err(error::data(format!("{DAMAGED}: {cause}")))));
            }
            Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", self.path.display())),
        };
        Ok(Some(self.restore(&bytes, initial, device)))
    }

    fn restore(&self, bytes: &[u8], initial: Autoencoder, device: &Device) -> Result<State> {
        let parts = bytes.split_last_chunk::<{ blake3::OUT_LEN }>();
        let (bytes, _) = parts
            .filter(|(bytes, digest)| blake3::hash(bytes) == **digest)
            .ok_or_else(|| error::data("it is damaged: its digest is wrong"))?;
        let (tensors, text) = read_tensors(&self.path, bytes)?;
        let text = text.get(TEXT).ok_or_else(|| error::data("the text of the checkpoint is missing"))?;
        let text: Text = serde_json::from_str(text)?;
        self.check(&text)?;
        State::assemble(text.position, text.steps, &tensors, initial, device)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The text of a file of tensors, without reading these; none if it has none.
pub fn read_text<T: DeserializeOwned>(path: &Path) -> std::io::Result<Option<T>> {
    let mut file = RangeReader::new(store::of(path).open(path)?, 0);
    let (mut length, mut header) = ([0; 8], Vec::new());
    file.read_exact(&mut length)?;
    file.take(u64::from_le_bytes(length).min(MOST_TEXT)).read_to_end(&mut header)?;
    let header: Option<serde_json::Value> = serde_json::from_slice(&header).ok();
    let text = header.as_ref().and_then(|header| header["__metadata__"][TEXT].as_str());
    Ok(text.and_then(|text| serde_json::from_str(text).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_to_the_bit() {
        // Sums whose last bit an inexact parser loses.
        for numerator in 1..2000 {
            let position = Position { loss: f64::from(numerator) * 1e5 / 6.999_999e3, ..Position::default() };
            let text = serde_json::to_string(&position).expect("is JSON");
            let back: Position = serde_json::from_str(&text).expect("is a position");
            assert_eq!(back.loss.to_bits(), position.loss.to_bits(), "{text}");
        }
    }
}
