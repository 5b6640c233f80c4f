//! Loading a trained model and checking its files against the receipt of the run that trained it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::device::ComputeDevice;
use crate::engine::inference::Inference;
use crate::error;
use crate::model::ModelDescription;
use crate::record::digest::digest;
use crate::record::receipt::{Receipt, output_damage};
use crate::record::workspace::{RECEIPT, steadily, whole_receipt_in};
use crate::stage::train;
use crate::store;

/// By what the metadata of tables names the model that made them: blake3 of its weights, in hexadecimal.
const WEIGHTS: &str = "limpid.model-weights";
/// And the fingerprint of its training, if it has a receipt.
const FINGERPRINT: &str = "limpid.model-fingerprint";

/// Loads the model of a run directory, or of the folder of its train stage, as [`of_checked_model`] does; with the entries of the
/// metadata of tables that name it, wherever it lies.
///
/// # Errors
/// Missing or damaged files.
pub fn load_checked(model: &Path, device: &ComputeDevice) -> Result<(Inference, BTreeMap<String, String>)> {
    let of_run = || store::of(model).published(model, train::NAME.as_str(), RECEIPT);
    let has_model = |folder: &PathBuf| store::is_file(&folder.join("model.json"));
    let folder = Some(model.to_owned()).filter(has_model).or_else(|| Some(of_run()).filter(has_model));
    let folder = folder.as_deref().unwrap_or(model);
    of_checked_model(folder, || Ok((Inference::load(folder, device.inference())?, named(folder)?)))
}

/// The entries that name the model in a folder.
fn named(folder: &Path) -> Result<BTreeMap<String, String>> {
    let weights = digest(&folder.join(ModelDescription::read(folder)?.weights))?;
    let fingerprint = whole_receipt_in(folder)?.map(|receipt| (FINGERPRINT.to_owned(), receipt.fingerprint));
    Ok([(WEIGHTS.to_owned(), weights)].into_iter().chain(fingerprint).collect())
}

/// Loads the model in a folder with `load`, and checks its files against the receipt of the run that trained it, if there is
/// one: a flipped bit in a weight would not be detected otherwise.
///
/// # Errors
/// Damage, and errors of `load`.
pub fn of_checked_model<T>(folder: &Path, load: impl Fn() -> Result<T>) -> Result<T> {
    steadily(&[folder.to_owned()], || {
        let Some(receipt) = whole_receipt_in(folder)? else { return load() };
        // Checked after loading: damage that was loaded is still in the file now.
        let loaded = load();
        check_model(folder, &receipt).and(loaded)
    })
}

/// Checks the digests of those files of a model that are used.
fn check_model(folder: &Path, receipt: &Receipt) -> Result<()> {
    // The history is not used. Missing files are left to `load`, which knows the weights that the model uses.
    for output in receipt.outputs.iter().filter(|output| !output.name.ends_with(".parquet")) {
        let there = store::exists(&folder.join(&output.name));
        if let Some(damage) = there.then(|| output_damage(output, folder, true)).transpose()?.flatten() {
            return Err(error::data(format!("the model in {} is damaged: {damage}", folder.display())));
        }
    }
    Ok(())
}
