//! Publishes the folder of a stage, which replaces its predecessor by one rename.
//!
//! A stage writes to `.scratch/<stage>` of its run. Its folder then appears complete or not at all, and the last good result
//! stays until the new one replaces it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Local, NEW, create_folder, exchange, remove_file, remove_folder, rename, sync_folder};
use crate::store::sweep::{Swept, fingerprint, is_older, key};
use crate::store::{MOST_RECEIPT, Stat, Store, read_whole, write};

const SCRATCH: &str = ".scratch";
/// The folder of finished shards.
pub const SHARDS: &str = ".shards";
/// The end of the name of the folder with the receipts of a result's shards.
const RECEIPTS: &str = ".receipts";
/// The suffix of a predecessor that was moved aside.
const ASIDE: &str = ".old";

pub fn draft(run: &Path, stage: &str) -> Result<PathBuf> {
    let path = run.join(SCRATCH).join(stage);
    remove_folder(&path)?;
    create_folder(&path)?;
    Ok(path)
}

/// The folder of the shards becomes the draft; whatever else is in it, such as the half of a shard that a killed process was
/// writing, is removed.
pub fn gather(run: &Path, stage: &str, folder: &Path, names: &BTreeSet<&str>) -> Result<()> {
    let draft = run.join(SCRATCH).join(stage);
    remove_folder(&draft)?;
    create_folder(&run.join(SCRATCH))?;
    rename(folder, &draft)?;
    let named: BTreeSet<PathBuf> = names.iter().map(|name| draft.join(name)).collect();
    let mut there = BTreeSet::new();
    let walked = Local.walk(&draft, &mut |path, _| _ = there.insert(path));
    walked.with_context(|| format!("cannot read {}", draft.display()))?;
    there.difference(&named).try_for_each(|path| remove_file(path))
}

/// The folder of all stages is removed with that of the last.
pub fn drop_shards(run: &Path, stage: &str) -> Result<()> {
    let all = run.join(SHARDS);
    remove_folder(&all.join(stage))?;
    if Local.list(&all).is_ok_and(|stages| stages.is_empty()) { remove_folder(&all) } else { Ok(()) }
}

/// Removes shards that are not published, each result's as a whole, unless one is younger than `keep`; those of a result that was
/// published since anyway.
pub fn sweep(run: &Path, stages: &[&str], receipt: &str, keep: Duration) -> Result<Swept> {
    let mut swept = Swept::default();
    for stage in stages {
        let (shards, mut results) = (run.join(SHARDS).join(stage), BTreeMap::<String, Vec<(PathBuf, Stat)>>::new());
        for name in names(&shards, "")? {
            let folder = shards.join(&name);
            let files = results.entry(name.split('.').next().unwrap_or(&name).to_owned()).or_default();
            let walked = Local.walk(&folder, &mut |path, stat| files.push((path, stat)));
            walked.with_context(|| format!("cannot read {}", folder.display()))?;
        }
        let published = read_whole(&run.join(stage).join(receipt), MOST_RECEIPT).ok();
        let published = published.and_then(|receipt| fingerprint(&receipt));
        let is_published = |result: &str| published.as_deref().is_some_and(|published| key(published) == result);
        results.retain(|result, files| {
            is_published(result) || files.iter().all(|(_, stat)| is_older(stat.modified, keep))
        });
        for (path, stat) in results.values().flatten() {
            remove_file(path)?;
            swept.count(stat.bytes);
        }
        let folders = results.keys().flat_map(|result| [result.clone(), format!("{result}{RECEIPTS}")]);
        folders.into_iter().try_for_each(|folder| remove_folder(&shards.join(folder)))?;
        if names(&shards, "")?.is_empty() {
            drop_shards(run, stage)?;
        }
    }
    Ok(swept)
}

/// Afterwards the draft folder holds the predecessor, if there was one.
pub fn publish(run: &Path, stage: &str, (name, receipt): (&str, &[u8])) -> Result<()> {
    let draft = run.join(SCRATCH).join(stage);
    write(&draft.join(name), receipt)?;
    sync_folder(&draft)?;
    replace(&draft, &run.join(stage))?;
    sync_folder(run)
}

pub fn replace_file(run: &Path, stage: &str, name: &str, bytes: &[u8]) -> Result<()> {
    let (scratch, folder) = (run.join(SCRATCH), run.join(stage));
    create_folder(&scratch)?;
    let new = scratch.join(name);
    write(&new, bytes)?;
    rename(&new, &folder.join(name))?;
    sync_folder(&folder)?;
    remove_folder(&scratch)
}

pub fn clean(run: &Path, folders: &[PathBuf]) -> Result<()> {
    let scratch = run.join(SCRATCH);
    for aside in names(&scratch, ASIDE)? {
        let (new, old) = (scratch.join(aside.trim_end_matches(ASIDE)), scratch.join(&aside));
        let target = run.join(aside.trim_end_matches(ASIDE));
        if !target.try_exists().with_context(|| format!("cannot read {}", target.display()))? {
            // The old one was moved aside only when the new one was complete.
            rename(if new.exists() { &new } else { &old }, &target)?;
            sync_folder(run)?;
        }
    }
    remove_folder(&scratch)?;
    for folder in folders {
        for name in names(folder, NEW)? {
            remove_file(&folder.join(name))?;
        }
    }
    Ok(())
}

/// Replaces `old`, which need not exist, by `new`; by one rename where the file system can exchange folders.
fn replace(new: &Path, old: &Path) -> Result<()> {
    if fs::symlink_metadata(old).is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
        return rename(new, old);
    }
    if exchange(new, old)? {
        return Ok(());
    }
    // Two renames instead of one. A run that is killed between them leaves no published result, but both folders, and the next
    // one finishes the publication.
    let mut aside = new.as_os_str().to_owned();
    aside.push(ASIDE);
    rename(old, Path::new(&aside))?;
    rename(new, old)
}

/// The names in a folder, which may be missing, that end with `end`.
fn names(folder: &Path, end: &str) -> Result<Vec<String>> {
    let names = match Local.list(folder) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names,
    };
    let mut names = names.with_context(|| format!("cannot read {}", folder.display()))?;
    names.retain(|name| name.ends_with(end));
    Ok(names)
}
