//! Outputs of commands: not inside the results of a run, and in their place only once they are whole.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error;
use crate::record::workspace::RECEIPT;
use crate::store::local::{self, only_writer};

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

/// The hidden name under which a file of this name is written.
pub fn hidden(name: &str) -> String {
    format!(".{name}{}", local::NEW)
}

/// Writes an output under a hidden name beside its place, and renames it into it if `check` then has nothing against its inputs.
/// `write` gets the folder and the hidden name. The folder exists. Files that it wrote under the hidden forms of the names
/// `besides` go to their places too, before the output.
///
/// # Errors
/// Another process is writing the output; what `write` and `check` fail with; the file system. The place is then as before.
pub fn publish_beside<T>(
    output: &Path,
    besides: &[String],
    write: impl FnOnce(&Path, &str) -> Result<T>,
    check: impl Fn() -> Result<()>,
) -> Result<()> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = hidden(&output.file_name().unwrap_or_default().to_string_lossy());
    let temporary = folder.join(&name);
    let _lock = only_writer(&temporary, output)?;
    let besides: Vec<_> = besides.iter().map(|name| (folder.join(hidden(name)), folder.join(name))).collect();
    let place = |(from, to): &(PathBuf, PathBuf)| if from.exists() { local::rename(from, to) } else { Ok(()) };
    let written = error::held(write(folder, &name), check);
    let published =
        written.and_then(|_| besides.iter().try_for_each(place)).and_then(|()| local::rename(&temporary, output));
    published.inspect_err(|_| {
        _ = local::remove_file(&temporary);
        besides.iter().for_each(|(from, _)| _ = local::remove_file(from));
    })?;
    local::sync_folder(folder)
}
