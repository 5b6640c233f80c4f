//! Stores: the file operations that a run needs, of a file system or an object store.
//!
//! [`of`] returns the store of a path; [`local`] is the file system. Another store is a file here that implements [`Store`],
//! and a line in [`of`]. Tables, receipts, models and checkpoints are read and written through stores.

pub mod failpoint;
mod line_file;
pub mod local;
mod range;
pub mod watch;
mod whole;

use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::progress::Progress;
pub use line_file::LineFile;
pub use range::{RangeReader, ReadAt};
pub use whole::{MOST_TEXT, digest_of, read_text, read_whole};

/// The store of the file or folder at `path`.
pub fn of(_path: &Path) -> &'static dyn Store {
    &local::Local
}

/// The file operations that a run needs.
pub trait Store: Sync {
    /// Opens a file to read ranges of it; it stays readable if its name is replaced or removed.
    ///
    /// # Errors
    /// No such file, or one that cannot be read.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// The size and modification time of a file.
    ///
    /// # Errors
    /// No such file, or one whose metadata cannot be read.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The bytes of a file of at most `most` bytes.
    ///
    /// # Errors
    /// No regular file (`InvalidData`), a larger one (`FileTooLarge`), one that cannot be read.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Creates a file, replacing any other. It need not be visible, or complete, before [`NewFile::finish`].
    ///
    /// # Errors
    /// It cannot be written.
    fn create(&self, path: &Path) -> Result<Box<dyn NewFile>>;

    /// As [`Self::create`], but the file appears under its name only when it is finished, whole and in place of any other, so that
    /// several processes may write the same content at once.
    ///
    /// # Errors
    /// As [`Self::create`].
    fn create_whole(&self, path: &Path) -> Result<Box<dyn NewFile>>;

    /// Creates a folder and its missing parents, where a store has folders.
    ///
    /// # Errors
    /// It cannot be made.
    fn create_folder(&self, folder: &Path) -> Result<()>;

    /// The names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// No such folder, or one that cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Replaces a small file atomically: readers find the old content or the new.
    ///
    /// # Errors
    /// It cannot be written; the old one is still in place then.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Creates an empty folder for the files of a stage of the run at `run`.
    ///
    /// # Errors
    /// It cannot be made.
    fn draft(&self, run: &Path, stage: &str) -> Result<PathBuf>;

    /// The folder in which the folders are that hold finished shards of the stage's coming result.
    fn shards(&self, run: &Path, stage: &str) -> PathBuf;

    /// Makes the files of these names in a folder inside [`Self::shards`] the draft of the stage, without copying them.
    ///
    /// # Errors
    /// One of them is missing, or the draft cannot be made.
    fn gather(&self, run: &Path, stage: &str, folder: &Path, names: &[&str]) -> Result<()>;

    /// Removes [`Self::shards`], once the result is published.
    ///
    /// # Errors
    /// It cannot be removed.
    fn drop_shards(&self, run: &Path, stage: &str) -> Result<()>;

    /// Writes the receipt, a file of this name, into the draft of a stage and replaces the stage's folder by the draft
    /// atomically.
    ///
    /// # Errors
    /// It cannot be published; the old folder is still in place then, or [`Self::clean`] finishes the publication.
    fn publish(&self, run: &Path, stage: &str, receipt: (&str, &[u8])) -> Result<()>;

    /// As [`Self::replace`], for a file in the published folder of a stage; no temporary file appears in the folder.
    ///
    /// # Errors
    /// As [`Self::replace`].
    fn replace_published(&self, run: &Path, stage: &str, name: &str, bytes: &[u8]) -> Result<()>;

    /// Removes what a killed process has left in a run: drafts, and temporary files in `folders`. An interrupted publication is
    /// finished first.
    ///
    /// # Errors
    /// A file or folder cannot be renamed or removed.
    fn clean(&self, run: &Path, folders: &[PathBuf]) -> Result<()>;

    /// Acquires the lease to write in a run, waiting up to `timeout` (for ever if none) and reporting who holds it.
    ///
    /// # Errors
    /// Not obtained in time, interruption, a store without locks.
    fn lease(&self, run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>>;
}

/// The size and modification time of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, in nanoseconds since 1970; 0 if the store does not know.
    pub modified: u64,
}

/// The right to write in a run; released when dropped, or by the store when the process dies.
pub trait Lease: Debug {}

/// A file that is being written.
pub trait NewFile: Write + Send {
    /// Syncs the file, so that it survives a power cut, and returns its modification time, in nanoseconds since 1970.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(self: Box<Self>) -> Result<u64>;
}

/// As [`write`], as [`Store::create_whole`] does.
///
/// # Errors
/// As [`Store::create_whole`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<u64> {
    finish(of(path).create_whole(path)?, path, bytes)
}

/// Creates, writes and syncs a file, and returns its modification time, in nanoseconds since 1970.
///
/// # Errors
/// As [`Store::create`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<u64> {
    finish(of(path).create(path)?, path, bytes)
}

fn finish(mut file: Box<dyn NewFile>, path: &Path, bytes: &[u8]) -> Result<u64> {
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    file.finish()
}
