//! Outputs of commands: not inside the results of a run, and in their place only once they are whole.

use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::record::workspace::RECEIPT;
use crate::store;
use crate::store::url::is_url;

/// Refuses a place inside the result of a stage. The place need not exist.
pub fn refuse_results(place: &Path) -> Result<()> {
    let near = store::nearest_real(place).unwrap_or_default();
    // What lies above the bucket is no URL.
    let around = near.ancestors().filter(|folder| !is_url(place) || is_url(folder));
    match around.into_iter().find(|folder| store::is_file(&folder.join(RECEIPT))) {
        Some(result) => {
            let (place, result) = (place.display(), result.display());
            Err(error::settings(format!("{place} cannot be written to: {result} is the result of a run")))
        }
        None => Ok(()),
    }
}

/// Writes an output so that it is in its place only if `check` then has nothing against its inputs. `write` gets the folder, which
/// exists, and the name that a file has there until then. Files of the names `besides` go to their places too, before the output.
///
/// # Errors
/// Another process is writing the output; what `write` and `check` fail with; the store. The place is then as before.
pub fn publish_beside<T>(
    output: &Path,
    besides: &[String],
    write: impl FnOnce(&Path, &dyn Fn(&str) -> String) -> Result<T>,
    check: impl Fn() -> Result<()>,
) -> Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let outputs = store::of(output).outputs(folder, &[besides, &[name]].concat())?;
    error::held(write(folder, &|name| outputs.temporary(name)), check)?;
    outputs.publish()
}

/// Removes a file beside an output that is no longer true, if it is there.
///
/// # Errors
/// The store.
pub fn remove_old(file: &Path) -> Result<()> {
    if store::is_file(file) { store::of(file).remove(file) } else { Ok(()) }
}
