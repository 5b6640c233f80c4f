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
//! A stage's folder appears, or takes the place of its predecessor, at once: it is whole or absent, and the last good result stays
//! until the new one replaces it. How, and by which files, is up to the [`Store`]: `.lock` and `.scratch` are those of the file system.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StageName;
use super::digest::FileStamp;
use super::receipt::Receipt;
use super::sealed::{seal, unseal};
use crate::error;
use crate::progress::Progress;
use crate::store::{self, Lease, MOST_TEXT, Store};

const SETTINGS: &str = "pipeline.json";
const CHECKPOINT: &str = ".checkpoint";
/// Readers of whole folders (pyarrow, pandas, Spark) skip names that start with `_`.
pub const RECEIPT: &str = "_receipt.json";

/// A run directory.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
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
        match store::of(&settings).stat(&settings) {
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
        let bytes = store::read_whole(&path, MOST_TEXT).with_context(|| format!("cannot read {}", path.display()))?;
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
        if store::read_whole(&path, MOST_TEXT).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(());
        }
        self.store().replace(&path, text.as_bytes())
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
        let taken = self.store().list(&folder).map_or(folder.exists(), |names| !names.is_empty());
        if !taken || folder.join(RECEIPT).exists() || self.root.join(SETTINGS).exists() {
            return Ok(());
        }
        let advice = "choose another run directory with --runs or `name`, or move it";
        Err(error::settings(format!("{} exists and no run has made it; {advice}", folder.display())))
    }

    /// Updates how the source files of a stage look in its receipt, after their digests were found unchanged: a file that was
    /// touched would be digested again by every run otherwise.
    ///
    /// # Errors
    /// The store.
    pub fn remember(&self, stage: StageName, files: &BTreeMap<String, FileStamp>, _lease: &dyn Lease) -> Result<()> {
        let Some(mut receipt) = self.receipt(stage)?.filter(|receipt| receipt.files != *files) else { return Ok(()) };
        receipt.files.clone_from(files);
        self.store().replace_published(&self.root, stage.as_str(), RECEIPT, &receipt.serialise()?)
    }

    /// Takes the right to write, waiting up to `timeout` (for ever if none) and saying for whom.
    ///
    /// # Errors
    /// As [`Store::lease`].
    pub fn lock(&self, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>> {
        self.store().lease(&self.root, timeout, progress)
    }

    /// Removes what a killed run has left, except checkpoints. Where it was killed while a result took the place of another,
    /// that is finished first.
    ///
    /// # Errors
    /// The store.
    pub fn clean(&self, _lease: &dyn Lease) -> Result<()> {
        self.store().clean(&self.root, &[self.root.clone(), self.root.join(CHECKPOINT)])
    }

    /// An empty folder for a stage to write to.
    ///
    /// # Errors
    /// The store.
    pub fn scratch(&self, stage: StageName, _lease: &dyn Lease) -> Result<PathBuf> {
        self.store().draft(&self.root, stage.as_str())
    }

    /// Puts the receipt into a stage's scratch folder and the folder into its place.
    ///
    /// # Errors
    /// The store; the last good result is still in place then, or put back into it by [`Self::clean`].
    pub fn publish(&self, stage: StageName, receipt: &Receipt, _lease: &dyn Lease) -> Result<()> {
        let published = self.store().publish(&self.root, stage.as_str(), (RECEIPT, &receipt.serialise()?));
        published.with_context(|| format!("cannot publish {}", self.stage(stage).display()))
    }

    fn store(&self) -> &'static dyn Store {
        store::of(&self.root)
    }
}

/// The receipt in a stage's folder, wherever that is, as [`Workspace::receipt`] reads it.
///
/// # Errors
/// It is there, or may be, and cannot be read.
pub fn receipt_in(folder: &Path) -> Result<Option<Receipt>> {
    let path = folder.join(RECEIPT);
    match store::read_whole(&path, MOST_TEXT) {
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
    let receipt = |folder: &PathBuf| store::read_whole(&folder.join(RECEIPT), MOST_TEXT).ok();
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
