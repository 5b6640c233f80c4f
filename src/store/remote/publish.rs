//! Publishes the result of a stage, which lies under a prefix of its own, by swapping the receipt.
//!
//! ```text
//! <run>/<stage>/<generation>/     the files and their receipt; the generation is the start of the receipt's fingerprint
//! <run>/<stage>/<generation>.receipts/    receipts of its shards, until it is published
//! <run>/<stage>/_receipt.json     the receipt of the published generation
//! <run>/latest/<stage>.json       the same for readers that know no receipts: a pattern for its tables, and its files
//! ```
//!
//! The objects of a generation are determined by its fingerprint: a run that was killed, or several at once, put the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::put::{replace, swap, versioned};
use super::{Remote, list};
use crate::error;
use crate::store::sweep::{KEY, Swept, fingerprint, is_older, key};
use crate::store::{Stat, Store};

/// The folder of the manifests.
const LATEST: &str = "latest";
/// The end of the name of the folder with the receipts of a generation's shards.
const RECEIPTS: &str = ".receipts";

pub fn draft(run: &Path, stage: &str, fingerprint: &str) -> PathBuf {
    run.join(stage).join(key(fingerprint))
}

/// The folder of the published generation; none if there is none. An answer serves for a second, since paths are asked for again and
/// again.
pub fn published(run: &Path, stage: &str, name: &str) -> io::Result<Option<PathBuf>> {
    const FRESH: Duration = Duration::from_secs(1);
    let folder = run.join(stage);
    if let Some((_, found)) = answers().get(&folder).filter(|(since, _)| since.elapsed() < FRESH) {
        return Ok(found.clone());
    }
    let receipt = versioned(&folder.join(name))?;
    let fingerprint = receipt.and_then(|(receipt, _)| fingerprint(&receipt));
    let found = fingerprint.map(|fingerprint| folder.join(key(&fingerprint)));
    answers().insert(folder, (Instant::now(), found.clone()));
    Ok(found)
}

/// The last answers of [`published`], by the folder of the stage.
fn answers() -> MutexGuard<'static, BTreeMap<PathBuf, (Instant, Option<PathBuf>)>> {
    static ANSWERS: Mutex<BTreeMap<PathBuf, (Instant, Option<PathBuf>)>> = Mutex::new(BTreeMap::new());
    ANSWERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets the answers of [`published`].
pub fn forget() {
    answers().clear();
}

/// Whether the folder of a stage holds anything but generations.
pub fn holds_results(folder: &Path) -> io::Result<bool> {
    let names = match list::names(folder) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(false),
        names => names?,
    };
    Ok(names.iter().any(|name| !is_generation(name.trim_end_matches(RECEIPTS))))
}

pub fn publish(run: &Path, stage: &str, (name, receipt): (&str, &[u8])) -> Result<()> {
    let fingerprint = fingerprint(receipt).ok_or_else(|| error::bug("a receipt without a fingerprint"))?;
    let (inside, place) = (draft(run, stage, &fingerprint).join(name), run.join(stage).join(name));
    let write = || {
        replace(&inside, receipt)?;
        // Before the receipt, so that a run that is killed between leaves one that names what is whole.
        write_manifest(run, stage, &fingerprint, receipt)?;
        let before = versioned(&place)?.map(|(_, version)| version);
        swap(&place, receipt, before.as_ref())
    };
    let swapped = write();
    forget();
    match swapped.with_context(|| format!("cannot write {}", place.display()))? {
        Some(_) => Ok(()),
        None => Err(error::try_again(format!("another process has published {}", place.display()))),
    }
}

/// Removes the receipts of finished shards.
pub fn drop_shards(run: &Path, stage: &str) -> Result<()> {
    let folder = run.join(stage);
    let names = match list::names(&folder) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Vec::new(),
        names => names.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    for receipts in names.iter().filter(|name| name.strip_suffix(RECEIPTS).is_some_and(is_generation)) {
        let (receipts, mut left) = (folder.join(receipts), Vec::new());
        let listed = list::walk(&receipts, &mut |path, _| left.push(path));
        listed.with_context(|| format!("cannot list {}", receipts.display()))?;
        left.iter().try_for_each(|path| Remote.remove(path))?;
    }
    Ok(())
}

/// Writes what readers need to know of a generation, in JSON.
fn write_manifest(run: &Path, stage: &str, fingerprint: &str, receipt: &[u8]) -> io::Result<()> {
    let (folder, receipt) =
        (draft(run, stage, fingerprint), serde_json::from_slice::<Value>(receipt).unwrap_or_default());
    let outputs = receipt["outputs"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = outputs.iter().filter_map(|output| output["name"].as_str()).map(Path::new).collect();
    let tables = names.iter().filter(|name| name.extension().is_some_and(|end| end == "parquet"));
    let folders: BTreeSet<_> = tables.filter_map(|name| name.parent()).collect();
    let pattern = |inside: &Path| folder.join(inside).join("*.parquet");
    let named = folders.iter().filter(|inside| **inside != Path::new(""));
    let manifest = json!({
        "stage": stage,
        "fingerprint": fingerprint,
        // Of those that lie in folders, none of which a pattern of the others matches.
        "tables": folders.contains(Path::new("")).then(|| pattern(Path::new(""))),
        "folders": named.map(|inside| (inside.to_string_lossy(), pattern(inside))).collect::<BTreeMap<_, _>>(),
        "files": names.iter().map(|name| folder.join(name)).collect::<Vec<_>>(),
    });
    let place = run.join(LATEST).join(format!("{stage}.json"));
    replace(&place, format!("{manifest:#}\n").as_bytes()).map(|_| ())
}

/// Removes what no receipt names: earlier generations, and what killed runs have left. A generation that was never published is kept
/// while one of its objects is younger than `keep`.
pub fn sweep(run: &Path, stages: &[&str], receipt: &str, keep: Duration) -> Result<Swept> {
    let unreadable = || format!("cannot list {}", run.display());
    forget();
    let mut kept = BTreeSet::new();
    for stage in stages {
        let Some((receipt, _)) = versioned(&run.join(stage).join(receipt)).with_context(unreadable)? else { continue };
        if let Some(fingerprint) = fingerprint(&receipt) {
            kept.insert(draft(run, stage, &fingerprint));
            write_manifest(run, stage, &fingerprint, &receipt).with_context(unreadable)?;
        }
    }
    list::forget(None);
    let mut left = BTreeMap::<PathBuf, Left>::new();
    let mut look = |path: PathBuf, stat: Stat| {
        let inside = path.strip_prefix(run).unwrap_or(&path).to_owned();
        let mut parts = inside.iter().map(|part| part.to_string_lossy());
        let (Some(stage), Some(folder), Some(name)) = (parts.next(), parts.next(), parts.next()) else { return };
        let generation = folder.trim_end_matches(RECEIPTS);
        let place = run.join(&*stage).join(generation);
        let is_published = kept.contains(&place);
        // Of a published one, only the receipts of its shards go.
        if stages.contains(&&*stage) && is_generation(generation) && !(is_published && folder == generation) {
            let left = left.entry(place).or_default();
            left.was_published |= is_published || name == receipt;
            left.youngest = left.youngest.max(stat.changed);
            left.objects.push((path, stat.bytes));
        }
    };
    list::walk(run, &mut look).with_context(unreadable)?;
    let mut swept = Swept::default();
    for left in left.into_values().filter(|left| left.was_published || is_older(left.youngest, keep)) {
        for (path, bytes) in left.objects {
            Remote.remove(&path)?;
            swept.count(bytes);
        }
    }
    Ok(swept)
}

/// Objects of a generation that is not published now.
#[derive(Default)]
struct Left {
    was_published: bool,
    /// When the last of them was written, in nanoseconds since 1970.
    youngest: u64,
    /// With their sizes.
    objects: Vec<(PathBuf, u64)>,
}

/// Whether a name is that of a generation, so that nothing else is removed.
fn is_generation(name: &str) -> bool {
    name.len() == KEY && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
