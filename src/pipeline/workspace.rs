//! The run directory.
//!
//! ```text
//! <runs>/<name>/
//!   pipeline.json               the resolved settings of the last run that published something
//!   <stage>/                    what a stage published: its files and _receipt.json
//!   .lock                       locked by the kernel while a command writes; says who
//!   .scratch/<stage>/           what a stage is making; removed by the next run
//!   .checkpoint/<stage>         where a long stage stands
//! ```
//!
//! A stage's folder appears, or takes the place of its predecessor, by one rename: it is whole or absent, and the last good
//! result stays until the new one replaces it. No other file knows this layout.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::receipt::Receipt;
use crate::error;
use crate::progress::Progress;

const SETTINGS: &str = "pipeline.json";
const LOCK: &str = ".lock";
const SCRATCH: &str = ".scratch";
const CHECKPOINT: &str = ".checkpoint";
/// Readers of whole folders (pyarrow, pandas, Spark) skip names that start with `_`.
const RECEIPT: &str = "_receipt.json";

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
#[derive(Debug)]
pub struct WriteLock {
    _file: File,
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
    pub fn stage(&self, stage: &str) -> PathBuf {
        self.root.join(stage)
    }

    /// Where a stage keeps its checkpoint.
    pub fn checkpoint(&self, stage: &str) -> PathBuf {
        self.root.join(CHECKPOINT).join(stage)
    }

    /// The resolved settings of the last run that published something. What a stage was made with says its receipt.
    ///
    /// # Errors
    /// Missing or unreadable.
    pub fn settings(&self) -> Result<crate::config::Pipeline> {
        let path = self.root.join(SETTINGS);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let advice = "run the pipeline again";
        serde_json::from_str(&text)
            .map_err(|cause| error::data(format!("{} is not what limpid wrote ({cause}); {advice}", path.display())))
    }

    /// Keeps the resolved settings.
    ///
    /// # Errors
    /// The file system.
    pub fn write_settings(&self, pipeline: &crate::config::Pipeline) -> Result<()> {
        let text = serde_json::to_string_pretty(pipeline).context("cannot serialise the settings")?;
        write_atomically(&self.root.join(SETTINGS), format!("{text}\n").as_bytes())
    }

    /// The receipt of a stage; none if it has never been published. One that is damaged counts as none: the stage is then
    /// made again.
    ///
    /// # Errors
    /// It is there, or may be, and cannot be read.
    pub fn receipt(&self, stage: &str) -> Result<Option<Receipt>> {
        let path = self.stage(stage).join(RECEIPT);
        match fs::read(&path) {
            Ok(bytes) => Ok(Receipt::parse(&bytes)),
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Takes the lock, waiting up to `timeout` (for ever if none) and saying for whom.
    ///
    /// # Errors
    /// Not obtained in time, or the file system.
    pub fn lock(&self, timeout: Option<Duration>, progress: &Progress) -> Result<WriteLock> {
        fs::create_dir_all(&self.root).with_context(|| format!("cannot create {}", self.root.display()))?;
        let path = self.root.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(cause)) => {
                    return Err(cause).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            let root = self.root.display();
            if timeout.is_some_and(|timeout| start.elapsed() >= timeout) {
                let holder = holder(&mut file);
                return Err(error::try_again(format!("{root} is in use by {holder}; waited {:?}", start.elapsed())));
            }
            if !told {
                told = true;
                progress.note(&format!("waiting for {root}, which is in use by {}", holder(&mut file)));
            }
            crate::interrupt::check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = Holder { pid: std::process::id(), host, since: jiff::Timestamp::now().to_string() };
        // Only messages use it: failing to write it is no reason not to work.
        _ = serde_json::to_string(&holder)
            .map(|text| file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())));
        Ok(WriteLock { _file: file })
    }

    /// Removes what a killed run has left, except checkpoints.
    ///
    /// # Errors
    /// The file system.
    pub fn clean(&self, _lock: &WriteLock) -> Result<()> {
        remove_folder(&self.root.join(SCRATCH))
    }

    /// An empty folder for a stage to work in.
    ///
    /// # Errors
    /// The file system.
    pub fn scratch(&self, stage: &str, _lock: &WriteLock) -> Result<PathBuf> {
        let path = self.root.join(SCRATCH).join(stage);
        remove_folder(&path)?;
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Puts the receipt into a stage's scratch folder and the folder into its place.
    ///
    /// # Errors
    /// The file system; the last good result is still in place then.
    pub fn publish(&self, stage: &str, receipt: &Receipt, _lock: &WriteLock) -> Result<()> {
        let scratch = self.root.join(SCRATCH).join(stage);
        let target = self.stage(stage);
        write_synced(&scratch.join(RECEIPT), &receipt.serialise()?)?;
        let published = sync_folder(&scratch).and_then(|()| replace(&scratch, &target));
        published
            .and_then(|()| sync_folder(&self.root))
            .with_context(|| format!("cannot publish {}", target.display()))?;
        // After an exchange the scratch folder holds the predecessor.
        remove_folder(&self.root.join(SCRATCH))
    }
}

/// Puts `new` in the place of `old`, which may exist, by one rename.
fn replace(new: &Path, old: &Path) -> std::io::Result<()> {
    if !old.exists() {
        return fs::rename(new, old);
    }
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            // Some network file systems cannot exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return other.map_err(Into::into),
        }
    }
    // Two renames instead of one: a kill between them leaves the predecessor in the scratch folder and no result, which
    // the next run makes again.
    let aside = new.with_extension("old");
    fs::rename(old, &aside)?;
    fs::rename(new, old)
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok()) {
        Some(Holder { pid, host, since }) => format!("process {pid} on {host} since {since}"),
        None => "another process".to_owned(),
    }
}

fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(cause).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Replaces a small file by one rename, after fsync.
///
/// # Errors
/// The file system; the old file is still in place then.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    write_synced(&temporary, bytes)?;
    let renamed = fs::rename(&temporary, path).and_then(|()| sync_folder(folder));
    renamed.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file and waits until it is on disk.
///
/// # Errors
/// The file system.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    // Windows cannot open folders; there the rename itself is durable enough.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
