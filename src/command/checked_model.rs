//! Loading a trained model and checking its files against the receipt of the run that trained it.

use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::record::receipt::{Receipt, output_damage};
use crate::record::workspace::{steadily, whole_receipt_in};

/// What `load` makes of the model in a folder, whose files are checked against the receipt of the run that trained it, if that is
/// there: a wrong bit in a weight would show nowhere else.
///
/// # Errors
/// Damage, and what `load` fails with.
pub fn of_checked_model<T>(folder: &Path, load: impl Fn() -> Result<T>) -> Result<T> {
    steadily(&[folder.to_owned()], || {
        let Some(receipt) = whole_receipt_in(folder)? else { return load() };
        // Checked after it was loaded: what has rotted before then has rotted now.
        let loaded = load();
        check_model(folder, &receipt).and(loaded)
    })
}

/// Digests the files of a model that are used.
fn check_model(folder: &Path, receipt: &Receipt) -> Result<()> {
    // The history is not used, and which of the weights are is for the model to say.
    for output in receipt.outputs.iter().filter(|output| !output.name.ends_with(".parquet")) {
        let there = folder.join(&output.name).exists();
        if let Some(damage) = there.then(|| output_damage(output, folder, true)).transpose()?.flatten() {
            return Err(error::data(format!("the model in {} is damaged: {damage}", folder.display())));
        }
    }
    Ok(())
}
