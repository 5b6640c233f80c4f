//! Checks that commands do not write into the results of a run.

use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::record::workspace::RECEIPT;
use crate::store::local;

/// Refuses a place inside the result of a stage. The place need not exist.
pub fn refuse_results(place: &Path) -> Result<()> {
    let near = local::nearest_real(place).unwrap_or_default();
    match near.ancestors().find(|folder| folder.join(RECEIPT).is_file()) {
        Some(result) => {
            let (place, result) = (place.display(), result.display());
            Err(error::settings(format!("{place} cannot be written to: {result} is the result of a run")))
        }
        None => Ok(()),
    }
}
