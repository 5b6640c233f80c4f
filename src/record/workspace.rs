//! The run directory.
//!
//! ```text
//! <runs>/<name>/
//!   pipeline.json               the resolved settings of the last run that made a result or found all up to date
//!   <stage>/                    what a stage published: its files and _receipt.json
//!   .lock                       locked by the kernel while a command writes; says who
//!   .scratch/<stage>/           what a stage is making; removed by the next run
//!   .checkpoint/<stage>         where a long stage stands
//! ```
//!
//! A stage's folder appears, or takes the place of its predecessor, by one rename: it is whole or absent, and the last good
//! result stays until the new one replaces it. No other file knows this layout.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StageName;
use super::digest::FileStamp;
use super::receipt::Receipt;
use super::sealed::{seal, unseal};
use crate::disk::{self, MOST_TEXT};
use crate::error;
use crate::progress::Progress;

const SETTINGS: &str = "pipeline.json";
const LOCK: &str = ".lock";
const SCRATCH: &str = ".scratch";
const CHECKPOINT: &str = ".checkpoint";
/// What the name of a predecessor ends with that was moved aside.
const ASIDE: &str = ".old";
/// How long the holder of a lock may take to sign it.
const SIGNED_AFTER: Duration = Duration::from_secs(1);
/// Readers of whole folders (pyarrow, pandas, Spark) skip names that start with `_`.
pub const RECEIPT: &str = "_receipt.json";

/// A run directory.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

/// Who holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: String,
}

/// The right to write in a run directory; given back when dropped, or by the kernel when the process dies.
///
/// It is flock(2)'s. On NFS the client turns that into a lock of the whole file at the server, so that it holds between
/// machines too, unless the mount has `nolock` or `local_lock`; where a file system has no locks, taking it fails.
#[derive(Debug)]
pub struct WriteLock {
    _file: File,
}

impl WriteLock {
    /// A lock with the name of this process in its file. Only messages use it: failing to write it is no reason not to work.
    fn signed(mut file: File) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = Holder { pid: std::process::id(), host, since: jiff::Timestamp::now().to_string() };
        _ = serde_json::to_string(&holder)
            .map(|text| file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())));
        Self { _file: file }
    }
}

impl Workspace {
    /// The directory of the run called `name`.
    pub fn new(runs: &Path, name: &str) -> Self {
        Self { root: runs.join(name) }
    }

    /// The run directory at `path`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn existing(path: &Path) -> Result<Self> {
        let settings = path.join(SETTINGS);
        match fs::metadata(&settings) {
            Ok(_) => Ok(Self { root: path.to_owned() }),
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                let message = format!("{} is not a run directory: it has no {SETTINGS}", path.display());
                Err(error::settings(message))
            }
            Err(cause) => Err(cause).with_context(|| format!("cannot read {}", settings.display())),
        }
    }

    /// Whether it has been created. One that cannot be looked at may be there: what is wrong with it shows when it is used.
    pub fn exists(&self) -> bool {
        self.root.try_exists().unwrap_or(true)
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a stage publishes.
    pub fn stage(&self, stage: StageName) -> PathBuf {
        self.root.join(stage.as_str())
    }

    /// Where a file is that a fingerprint calls `stage/name`.
    pub fn input(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a stage keeps its checkpoint.
    pub fn checkpoint(&self, stage: StageName) -> PathBuf {
        self.root.join(CHECKPOINT).join(stage.as_str())
    }

    /// The resolved settings of the last run that made a result or found all up to date. What a stage was made with says its
    /// receipt.
    ///
    /// # Errors
    /// Missing or unreadable.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T> {
        let path = self.root.join(SETTINGS);
        let bytes = disk::read_whole(&path, MOST_TEXT).with_context(|| format!("cannot read {}", path.display()))?;
        let bad = |cause: &dyn std::fmt::Display| {
            error::data(format!("{} is not what limpid wrote ({cause}); run the pipeline again", path.display()))
        };
        let text = unseal(&bytes).ok_or_else(|| bad(&"it is damaged, or of another version"))?;
        serde_json::from_str(&text).map_err(|cause| bad(&cause))
    }

    /// Keeps the resolved settings.
    ///
    /// # Errors
    /// The file system.
    pub fn write_settings(&self, settings: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(settings).context("cannot serialise the settings")?;
        let (path, text) = (self.root.join(SETTINGS), seal(&format!("{text}\n"))?);
        if disk::read_whole(&path, MOST_TEXT).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        disk::write_atomically(&path, text.as_bytes())
    }

    /// The receipt of a stage; none if it has never been published. One that is damaged counts as none: the stage is then
    /// made again.
    ///
    /// # Errors
    /// It is there, or may be, and cannot be read.
    pub fn receipt(&self, stage: StageName) -> Result<Option<Receipt>> {
        receipt_in(&self.stage(stage))
    }

    /// Checks that the folder in which a stage publishes is free or a run's: what a run has made has a receipt, or lies beside
    /// the settings of one.
    ///
    /// # Errors
    /// It holds something else.
    pub fn check_own(&self, stage: StageName) -> Result<()> {
        let folder = self.stage(stage);
        let taken = fs::read_dir(&folder).map_or(folder.exists(), |mut entries| entries.next().is_some());
        if !taken || folder.join(RECEIPT).exists() || self.root.join(SETTINGS).exists() {
            return Ok(());
        }
        let advice = "choose another run directory with --runs or `name`, or move it";
        Err(error::settings(format!("{} exists and no run has made it; {advice}", folder.display())))
    }

    /// Lets the receipt of a stage say how its source files look now, whose digests are what they were: a file that was touched would
    /// be digested again by every run.
    ///
    /// # Errors
    /// The file system.
    pub fn remember(&self, stage: StageName, files: &BTreeMap<String, FileStamp>, _lock: &WriteLock) -> Result<()> {
        let Some(mut receipt) = self.receipt(stage)?.filter(|receipt| receipt.files != *files) else { return Ok(()) };
        receipt.files.clone_from(files);
        let (scratch, folder) = (self.root.join(SCRATCH), self.stage(stage));
        disk::create_folder(&scratch)?;
        let new = scratch.join(RECEIPT);
        disk::write(&new, &receipt.serialise()?)?;
        disk::rename(&new, &folder.join(RECEIPT))?;
        disk::sync_folder(&folder)?;
        disk::remove_folder(&scratch)
    }

    /// Takes the lock, waiting up to `timeout` (for ever if none) and saying for whom.
    ///
    /// # Errors
    /// Not obtained in time, interruption, or the file system, which may not support locks.
    pub fn lock(&self, timeout: Option<Duration>, progress: &Progress) -> Result<WriteLock> {
        let (path, start) = (self.root.join(LOCK), Instant::now());
        let mut told = None;
        loop {
            // Opened again each time: whoever waits must not be left with a file that was removed with its folder.
            disk::create_folder(&self.root)?;
            let mut file = disk::open_lock(&path)?;
            match file.try_lock() {
                Ok(()) if disk::is_at(&file, &path) => return Ok(WriteLock::signed(file)),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(cause)) => {
                    return Err(cause).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            let (root, waited) = (self.root.display(), start.elapsed());
            // Who has only just taken it has yet to sign.
            let unknown = || (waited >= SIGNED_AFTER && told.is_none()).then(|| "another process".to_owned());
            let holder = holder(&mut file).or_else(unknown);
            if timeout.is_some_and(|timeout| waited >= timeout) {
                let holder = holder.or(told).unwrap_or_else(|| "another process".to_owned());
                let waited = waited.as_secs_f64();
                return Err(error::try_again(format!("{root} is in use by {holder}; waited {waited:.1} s")));
            }
            if holder.is_some() && holder != told {
                progress
                    .note(&format!("waiting for {root}, which is in use by {}", holder.as_deref().unwrap_or_default()));
                told = holder;
            }
            crate::interrupt::check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Removes what a killed run has left, except checkpoints. Where it was killed while a result took the place of another,
    /// that is finished first.
    ///
    /// # Errors
    /// The file system.
    pub fn clean(&self, _lock: &WriteLock) -> Result<()> {
        let scratch = self.root.join(SCRATCH);
        for aside in names(&scratch, ASIDE)? {
            let (new, old) = (scratch.join(aside.trim_end_matches(ASIDE)), scratch.join(&aside));
            let target = self.root.join(aside.trim_end_matches(ASIDE));
            if !target.try_exists().with_context(|| format!("cannot read {}", target.display()))? {
                disk::rename(if new.join(RECEIPT).exists() { &new } else { &old }, &target)?;
                disk::sync_folder(&self.root)?;
            }
        }
        disk::remove_folder(&scratch)?;
        for folder in [self.root.clone(), self.root.join(CHECKPOINT)] {
            for name in names(&folder, disk::NEW)? {
                disk::remove_file(&folder.join(name))?;
            }
        }
        Ok(())
    }

    /// An empty folder for a stage to work in.
    ///
    /// # Errors
    /// The file system.
    pub fn scratch(&self, stage: StageName, _lock: &WriteLock) -> Result<PathBuf> {
        let path = self.root.join(SCRATCH).join(stage.as_str());
        disk::remove_folder(&path)?;
        disk::create_folder(&path)?;
        Ok(path)
    }

    /// Puts the receipt into a stage's scratch folder and the folder into its place. After that the scratch folder holds the
    /// predecessor, if there was one.
    ///
    /// # Errors
    /// The file system; the last good result is still in place then, or put back into it by [`Self::clean`].
    pub fn publish(&self, stage: StageName, receipt: &Receipt, _lock: &WriteLock) -> Result<()> {
        let scratch = self.root.join(SCRATCH).join(stage.as_str());
        let target = self.stage(stage);
        let published = disk::write(&scratch.join(RECEIPT), &receipt.serialise()?)
            .and_then(|_| disk::sync_folder(&scratch))
            .and_then(|()| replace(&scratch, &target))
            .and_then(|()| disk::sync_folder(&self.root));
        published.with_context(|| format!("cannot publish {}", target.display()))
    }
}

/// The receipt in a stage's folder, wherever that is, as [`Workspace::receipt`] reads it.
///
/// # Errors
/// It is there, or may be, and cannot be read.
pub fn receipt_in(folder: &Path) -> Result<Option<Receipt>> {
    let path = folder.join(RECEIPT);
    match disk::read_whole(&path, MOST_TEXT) {
        Ok(bytes) => Ok(Receipt::parse(&bytes)),
        // It is no receipt.
        Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => Ok(None),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(cause).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The receipt in a stage's folder, for who will not make that stage again.
///
/// # Errors
/// It is damaged, or cannot be read.
pub fn whole_receipt_in(folder: &Path) -> Result<Option<Receipt>> {
    let receipt = receipt_in(folder)?;
    let path = folder.join(RECEIPT);
    if receipt.is_none() && path.exists() {
        return Err(error::data(format!("{} is damaged; run the pipeline again", path.display())));
    }
    Ok(receipt)
}

/// What `read` makes of the results in some stages' folders, which a run may replace at any time: it reads again where one has
/// while it did, so that what it makes is of one generation of each.
///
/// # Errors
/// What `read` fails with, and a run that replaces them time and again.
pub fn steadily<T>(folders: &[PathBuf], mut read: impl FnMut() -> Result<T>) -> Result<T> {
    /// More than a run has stages that it could publish one after the other.
    const TRIES: usize = 16;
    let receipt = |folder: &PathBuf| disk::read_whole(&folder.join(RECEIPT), MOST_TEXT).ok();
    let receipts = || folders.iter().map(receipt).collect::<Vec<_>>();
    for _ in 0..TRIES {
        let before = receipts();
        let made = read();
        if receipts() == before {
            return made;
        }
    }
    let folder = folders.first().cloned().unwrap_or_default();
    Err(error::try_again(format!("a run has replaced {} again and again while it was read", folder.display())))
}

/// Puts `new` in the place of `old`, which may exist, by one rename.
fn replace(new: &Path, old: &Path) -> Result<()> {
    if fs::symlink_metadata(old).is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
        return disk::rename(new, old);
    }
    if disk::exchange(new, old)? {
        return Ok(());
    }
    // Two renames instead of one. Between them there is no result; a run that is killed there has left both, and the next
    // one finishes what it began.
    let mut aside = new.as_os_str().to_owned();
    aside.push(ASIDE);
    disk::rename(old, Path::new(&aside))?;
    disk::rename(new, old)
}

/// The names in a folder, which may be missing, that end with `end`.
fn names(folder: &Path, end: &str) -> Result<Vec<String>> {
    let names = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()
        }),
    };
    let mut names = names.with_context(|| format!("cannot read {}", folder.display()))?;
    names.retain(|name| name.ends_with(end));
    Ok(names)
}

/// Who has signed a lock.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(1 << 10).read_to_string(&mut text)).ok()?;
    let Holder { pid, host, since } = serde_json::from_str(&text).ok()?;
    Some(format!("process {pid} on {host} since {since}"))
}
