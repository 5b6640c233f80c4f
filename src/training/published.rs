//! The published files of a finished training, from which a longer one can resume.
//!
//! The published weights, last and best, are most of the state; Adam's moments and the position are written beside them.
//! A training that is later asked for more epochs then ends with the same bytes as if it had been asked for them from the
//! start. Files are checked against the digests of their receipt before training resumes from them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::checkpoint::{AVERAGE, MODEL, Position, State, TEXT, read_text, with_prefix};
use crate::error;
use crate::model::{Autoencoder, NamedTensor, named_tensors, read_tensors, write_tensors};
use crate::record::receipt::Receipt;
use crate::store::read_whole;

/// The weights after the last epoch.
pub const LAST: &str = "last.safetensors";
/// The weights after the best epoch.
pub const BEST: &str = "best.safetensors";
/// Adam's moments and the position, and the weights if the other files hold averages of them.
pub const OPTIMIZER: &str = "optimizer.safetensors";

#[derive(Serialize, Deserialize)]
struct Text {
    steps: u64,
    position: Position,
}

/// The files that hold a state, by name.
///
/// # Errors
/// The serialisation fails, which no content causes.
pub fn serialise(state: &State) -> Result<[(&'static str, Vec<u8>); 3]> {
    let (steps, moments) = state.optimizer.state();
    let text = Text { steps, position: state.position.clone() };
    let text = serde_json::to_string(&text).context("cannot serialise the position")?;
    let weights = state.average.iter().flat_map(|_| with_prefix(MODEL, named_tensors(&state.model)));
    let moments: Vec<_> = moments.into_iter().chain(weights).collect();
    Ok([
        (LAST, write_tensors(&named_tensors(&state.scored()), BTreeMap::new())?),
        (BEST, write_tensors(&state.best, BTreeMap::new())?),
        (OPTIMIZER, write_tensors(&moments, BTreeMap::from([(TEXT.to_owned(), text)]))?),
    ])
}

/// The position of the training that was published in `folder`, unless it cannot be read.
pub fn position(folder: &Path) -> Option<Position> {
    read_text::<Text>(&folder.join(OPTIMIZER)).ok().flatten().map(|text| text.position)
}

/// The state that was published in `folder` with this receipt.
///
/// # Errors
/// A file that is missing, cannot be read, or is not what was written.
pub fn load(folder: &Path, receipt: &Receipt, initial: Autoencoder, device: &Device) -> Result<State> {
    let read = |name: &str| {
        let path = folder.join(name);
        let not_written = || error::data(format!("{} is not what was written", path.display()));
        let record = receipt.outputs.iter().find(|output| output.name == name).ok_or_else(not_written)?;
        let bytes = read_whole(&path, record.bytes).with_context(|| format!("cannot read {}", path.display()))?;
        if record.digest != blake3::hash(&bytes).to_hex().as_str() {
            return Err(not_written());
        }
        read_tensors(&path, &bytes)
    };
    let (mut tensors, text): (BTreeMap<String, NamedTensor>, _) = read(OPTIMIZER)?;
    let averaged = tensors.keys().any(|name| name.starts_with(MODEL));
    for (name, prefix) in [(LAST, if averaged { AVERAGE } else { MODEL }), (BEST, "best.")] {
        tensors.extend(read(name)?.0.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    }
    let text = text.get(TEXT).ok_or_else(|| error::data(format!("{OPTIMIZER} says no position")))?;
    let mut text: Text = serde_json::from_str(text).context("the position cannot be read")?;
    if text.position.devices.is_empty() {
        text.position.devices.push(receipt.device.clone());
    }
    State::assemble(text.position, text.steps, &tensors, initial, device)
}
