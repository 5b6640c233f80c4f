//! The provenance of a file: what the receipt beside it says, and whether the file still has the digest in it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::command::print::{print, print_line};
use crate::config::Pipeline;
use crate::record::digest::{digest, short};
use crate::record::receipt::Receipt;
use crate::record::workspace::{RECEIPT, Workspace, receipt_in};
use crate::store;
use crate::table::FileRecord;

/// Most levels above a file at which its receipt may be: a stage's folder may hold folders.
const MOST_LEVELS: usize = 2;

/// Prints the pipeline, stage, seed and inputs that made a file; false if it has no receipt.
///
/// # Errors
/// A file that cannot be read.
pub fn print_provenance(path: &Path) -> Result<bool> {
    let Some((folder, receipt, output)) = find(path) else { return Ok(false) };
    // In a store, there is a folder for the generation between.
    let mut runs = folder.ancestors().skip(1).take(2);
    let pipeline = runs.find_map(|run| Workspace::existing(run).ok()?.settings::<Pipeline>().ok());
    print("provenance")?;
    let line = |key: &str, value: String| print_line(format!("  {key:10} {value}"));
    if let Some(pipeline) = pipeline {
        line("pipeline", pipeline.name)?;
    }
    let (stage, version) = (&receipt.stage, receipt.parts.code);
    line("stage", format!("{stage}, version {version}, fingerprint {}", short(&receipt.fingerprint)))?;
    line("seed", receipt.seed.to_string())?;
    let Receipt { seconds, tool, device, threads, .. } = &receipt;
    let started = receipt.started_second();
    line("made", format!("{started} in {seconds:.1} s by {tool} on {device} with {threads} threads"))?;
    if let Some(output) = output {
        let found = digest(path)?;
        let said = if found == output.digest {
            format!("{}, as the receipt says", short(&found))
        } else {
            let expected = short(&output.digest);
            format!("{}, but the receipt says {expected}: the file has changed since limpid wrote it", short(&found))
        };
        line("digest", said)?;
    }
    for (input, digest) in &receipt.parts.inputs {
        line("made from", format!("{input} ({})", short(digest)))?;
    }
    print("")?;
    Ok(true)
}

/// The folder of the stage that made a file, its receipt, and the receipt's record of the file; none if the file is the
/// receipt.
fn find(path: &Path) -> Option<(PathBuf, Receipt, Option<FileRecord>)> {
    let path = store::real(path)?;
    path.ancestors().skip(1).take(MOST_LEVELS).find_map(|folder| {
        let receipt = receipt_in(folder).ok()??;
        let inside: Vec<_> = path.strip_prefix(folder).ok()?.iter().map(|part| part.to_string_lossy()).collect();
        let name = inside.join("/");
        let output = receipt.outputs.iter().find(|output| output.name == name).cloned();
        (output.is_some() || name == RECEIPT).then(|| (folder.to_owned(), receipt, output))
    })
}
