//! The run directory: its layout, and how results are published in it.
//!
//! ```text
//! <runs>/<name>/
//!   pipeline.json               the resolved settings of the last run that made a result or found all up to date
//!   <stage>/                    what a stage published: its files and _receipt.json
//!   .lock                       locked while a command writes; names the process
//!   .scratch/<stage>/           the result that a stage is writing; removed by the next run
//!   .checkpoint/<stage>         the checkpoint of a stage; of ingest in shards, the stamps of its source
//!   .shards/<stage>/<start of a fingerprint>/            finished shards of a stage, until all of them are published
//!   .shards/<stage>/<start of a fingerprint>.receipts/   and their receipts
//! ```
//!
//! A stage's folder is published atomically: it is complete or absent, and the last good result stays until the new one
//! replaces it. How is up to the [`Store`]; `.lock` and `.scratch` are used by that of the file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StageName;
use super::digest::FileStamp;
use super::receipt::{Receipt, output_damage};
use super::sealed::{sealed, unseal};
use crate::error;
use crate::progress::Progress;
use crate::store::{self, Lease, MOST_RECEIPT, MOST_TEXT, Store, Swept};

const SETTINGS: &str = "pipeline.json";
const CHECKPOINT: &str = ".checkpoint";
/// The name of a receipt. Readers of whole folders (pyarrow, pandas, Spark) skip names that start with `_`.
pub const RECEIPT: &str = "_receipt.json";

/// Stamps of source files.
#[derive(Serialize, Deserialize)]
struct Noted {
    files: BTreeMap<String, FileStamp>,
}

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

    /// Whether it exists; true if that cannot be found out, so that using it reports the error.
    pub fn exists(&self) -> bool {
        self.store().kind(&self.root).map_or(true, |kind| kind.is_some())
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a stage's published result.
    pub fn stage(&self, stage: StageName) -> PathBuf {
        self.published(stage.as_str())
    }

    /// The path of a file that a fingerprint names `stage/name`.
    pub fn input(&self, name: &str) -> PathBuf {
        let (stage, file) = name.split_once('/').unwrap_or((name, ""));
        self.published(stage).join(file)
    }

    fn published(&self, stage: &str) -> PathBuf {
        self.store().published(&self.root, stage, RECEIPT)
    }

    /// The path of a stage's checkpoint.
    pub fn checkpoint(&self, stage: StageName) -> PathBuf {
        self.root.join(CHECKPOINT).join(stage.as_str())
    }

    /// The resolved settings of the last run that made a result or found all up to date. The settings that a stage was made
    /// with are in its receipt.
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

    /// Stores the resolved settings.
    ///
    /// # Errors
    /// The file system.
    pub fn write_settings(&self, settings: &impl Serialize) -> Result<()> {
        let (path, bytes) = (self.root.join(SETTINGS), sealed(settings)?);
        if store::read_whole(&path, MOST_TEXT).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        self.store().replace(&path, &bytes)
    }

    /// The receipt of a stage; none if the stage was never published, or if the receipt is damaged, so that the stage runs
    /// again.
    ///
    /// # Errors
    /// A receipt that exists, or may exist, and cannot be read.
    pub fn receipt(&self, stage: StageName) -> Result<Option<Receipt>> {
        receipt_in(&self.stage(stage))
    }

    /// Checks that a stage's folder is free or was made by a run: then it has a receipt, or lies beside the settings of a run.
    ///
    /// # Errors
    /// The folder holds other files.
    pub fn check_own(&self, stage: StageName) -> Result<()> {
        let folder = self.root.join(stage.as_str());
        let taken = self.store().holds_results(&self.root, stage.as_str());
        let taken = taken.with_context(|| format!("cannot read {}", folder.display()))?;
        if !taken || store::exists(&folder.join(RECEIPT)) || store::exists(&self.root.join(SETTINGS)) {
            return Ok(());
        }
        let advice = "choose another run directory with --runs or `name`, or move it";
        Err(error::settings(format!("{} exists and no run has made it; {advice}", folder.display())))
    }

    /// Whether a stage's folder holds more than drafts; false if that cannot be found out.
    pub fn holds_results(&self, stage: StageName) -> bool {
        self.store().holds_results(&self.root, stage.as_str()).unwrap_or(false)
    }

    /// Updates the sizes and times of source files in a stage's receipt after their digests were found unchanged. Otherwise
    /// every run would digest a file again whose time has changed.
    ///
    /// # Errors
    /// The store.
    pub fn remember(&self, stage: StageName, files: &BTreeMap<String, FileStamp>, lease: &dyn Lease) -> Result<()> {
        lease.check()?;
        let Some(mut receipt) = self.receipt(stage)?.filter(|receipt| receipt.files != *files) else { return Ok(()) };
        receipt.files.clone_from(files);
        self.store().replace_published(&self.root, stage.as_str(), RECEIPT, &receipt.serialise()?)
    }

    /// Notes the stamps of source files for processes that make parts of a result, so that not each of them digests all files. They are
    /// where a checkpoint would be, and go as it does. Where they cannot be written, work is done twice, and nothing else is lost.
    pub fn note(&self, stage: StageName, files: &BTreeMap<String, FileStamp>) {
        if self.noted(stage) != *files {
            let (path, noted) = (self.checkpoint(stage), Noted { files: files.clone() });
            let folder = self.store().create_folder(&self.root.join(CHECKPOINT));
            _ = folder.and_then(|()| sealed(&noted)).and_then(|bytes| store::write_whole(&path, &bytes));
        }
    }

    /// The stamps that were noted; none if there are none that can be read.
    pub fn noted(&self, stage: StageName) -> BTreeMap<String, FileStamp> {
        let text = store::read_whole(&self.checkpoint(stage), MOST_TEXT).ok().and_then(|bytes| unseal(&bytes));
        let noted = text.and_then(|text| serde_json::from_str::<Noted>(&text).ok());
        noted.map_or(BTreeMap::new(), |noted| noted.files)
    }

    /// Acquires the lease to write, waiting up to `timeout` (for ever if none) and reporting who holds it.
    ///
    /// # Errors
    /// As [`Store::lease`].
    pub fn lock(&self, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>> {
        self.store().lease(&self.root, timeout, progress)
    }

    /// Removes what a killed run has left, except checkpoints. An interrupted publication is finished first.
    ///
    /// # Errors
    /// The store.
    pub fn clean(&self, _lease: &dyn Lease) -> Result<()> {
        self.store().clean(&self.root, &[self.root.clone(), self.root.join(CHECKPOINT)])
    }

    /// As [`Self::clean`], and removes earlier results of these stages where the store keeps them, and finished shards that are not
    /// published and all older than `keep`.
    ///
    /// # Errors
    /// The store; a lost lease.
    pub fn sweep(&self, stages: impl Iterator<Item = StageName>, keep: Duration, lease: &dyn Lease) -> Result<Swept> {
        self.clean(lease)?;
        lease.check()?;
        let stages: Vec<_> = stages.map(StageName::as_str).collect();
        self.store().sweep(&self.root, &stages, RECEIPT, keep)
    }

    /// Creates a folder for a stage to write a result of this fingerprint to. A store has a result where its fingerprint says: what is
    /// damaged of a published one is removed, since it would be in the way of what is made in its place.
    ///
    /// # Errors
    /// The store; interruption.
    pub fn scratch(&self, stage: StageName, fingerprint: &str, lease: &dyn Lease) -> Result<PathBuf> {
        let draft = self.store().draft(&self.root, stage.as_str(), fingerprint)?;
        if draft == self.stage(stage)
            && let Some(receipt) = self.receipt(stage)?
        {
            lease.check()?;
            for output in &receipt.outputs {
                if output_damage(output, &draft, false)?.is_some() {
                    self.store().remove(&draft.join(&output.name))?;
                }
            }
        }
        Ok(draft)
    }

    /// Makes the finished shards of these names in `folder` the draft of a stage.
    ///
    /// # Errors
    /// The store.
    pub fn gather(&self, stage: StageName, folder: &Path, names: &BTreeSet<&str>) -> Result<()> {
        self.store().gather(&self.root, stage.as_str(), folder, names)
    }

    /// Removes the shards of a stage that its published result replaces.
    ///
    /// # Errors
    /// The store.
    pub fn drop_shards(&self, stage: StageName, _lease: &dyn Lease) -> Result<()> {
        self.store().drop_shards(&self.root, stage.as_str())
    }

    /// Writes the receipt into a stage's scratch folder and publishes the folder.
    ///
    /// # Errors
    /// The store; the last good result is still in place then, or [`Self::clean`] finishes the publication.
    pub fn publish(&self, stage: StageName, receipt: &Receipt, lease: &dyn Lease) -> Result<()> {
        lease.check()?;
        let published = self.store().publish(&self.root, stage.as_str(), (RECEIPT, &receipt.serialise()?));
        published.with_context(|| format!("cannot publish {}", self.stage(stage).display()))
    }

    fn store(&self) -> &'static dyn Store {
        store::of(&self.root)
    }
}

/// Reads the receipt in a stage's folder, as [`Workspace::receipt`] does.
///
/// # Errors
/// A receipt that exists, or may exist, and cannot be read.
pub fn receipt_in(folder: &Path) -> Result<Option<Receipt>> {
    let path = folder.join(RECEIPT);
    match store::read_whole(&path, MOST_RECEIPT) {
        Ok(bytes) => Ok(Receipt::parse(&bytes)),
        // Not a receipt that limpid has written.
        Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => Ok(None),
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(cause).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads the receipt in a stage's folder, for callers that do not run the stage again.
///
/// # Errors
/// It is damaged, or cannot be read.
pub fn whole_receipt_in(folder: &Path) -> Result<Option<Receipt>> {
    let receipt = receipt_in(folder)?;
    let path = folder.join(RECEIPT);
    if receipt.is_none() && store::exists(&path) {
        return Err(error::data(format!("{} is damaged; run the pipeline again", path.display())));
    }
    Ok(receipt)
}

/// Calls `read`, which reads results in some stages' folders, and calls it again if a run has replaced one of them meanwhile,
/// so that everything is read from one generation of each.
///
/// # Errors
/// Errors of `read`; a run that replaces the folders again and again.
pub fn steadily<T>(folders: &[PathBuf], mut read: impl FnMut() -> Result<T>) -> Result<T> {
    /// More than the stages of a run, each of which may be published during one try.
    const TRIES: usize = 16;
    let receipt = |folder: &PathBuf| store::read_whole(&folder.join(RECEIPT), MOST_RECEIPT).ok();
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
