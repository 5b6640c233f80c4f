//! Where bytes are kept: what a run needs of a file system, or of an object store.
//!
//! A place is a path, and [`of`] says which store has it. [`local`] is the file system. Another store is a file here that implements
//! [`Store`], and a line in [`of`]: tables, receipts, models and checkpoints are read and written through it.

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

/// The store that has what is at `path`.
pub fn of(_path: &Path) -> &'static dyn Store {
    &local::Local
}

/// What a run needs of the place where its files are.
pub trait Store: Sync {
    /// Opens a file, of which any range can be read then, whatever takes its name meanwhile.
    ///
    /// # Errors
    /// No such file, or one that cannot be read.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;

    /// The size and time of a file.
    ///
    /// # Errors
    /// No such file, or one that cannot be looked at.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The bytes of a file of at most `most` bytes.
    ///
    /// # Errors
    /// No regular file (`InvalidData`), a larger one (`FileTooLarge`), one that cannot be read.
    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>>;

    /// Begins a file, in the place of any other. It need not be there, or whole, before [`NewFile::finish`].
    ///
    /// # Errors
    /// It cannot be written.
    fn create(&self, path: &Path) -> Result<Box<dyn NewFile>>;

    /// The names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// No such folder, or one that cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Writes a small file, in the place of another at once: who reads it finds the old one whole or the new one.
    ///
    /// # Errors
    /// It cannot be written; the old one is still in place then.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, path: &Path) -> Result<()>;

    /// An empty folder in which the files of a stage of the run at `run` are made.
    ///
    /// # Errors
    /// It cannot be made.
    fn draft(&self, run: &Path, stage: &str) -> Result<PathBuf>;

    /// Writes the receipt, a file of this name, into the draft of a stage and puts the draft in the place of its folder at once.
    ///
    /// # Errors
    /// It cannot; the old folder is still in place then, or put back into it by [`Self::clean`].
    fn publish(&self, run: &Path, stage: &str, receipt: (&str, &[u8])) -> Result<()>;

    /// As [`Self::replace`], a file in the folder that a stage has published, in which nothing else appears meanwhile.
    ///
    /// # Errors
    /// As [`Self::replace`].
    fn replace_published(&self, run: &Path, stage: &str, name: &str, bytes: &[u8]) -> Result<()>;

    /// Removes what a killed process has left in a run: drafts, and files under way in `folders`. A publication that it was killed
    /// in is finished first.
    ///
    /// # Errors
    /// Something cannot be removed.
    fn clean(&self, run: &Path, folders: &[PathBuf]) -> Result<()>;

    /// Takes the right to write in a run, waiting up to `timeout` (for ever if none) and saying for whom.
    ///
    /// # Errors
    /// Not obtained in time, interruption, a store without locks.
    fn lease(&self, run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>>;
}

/// A file without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, in nanoseconds since 1970; 0 if the store does not know.
    pub modified: u64,
}

/// The right to write in a run; given back when dropped, or by the store when the process dies.
pub trait Lease: Debug {}

/// A file that is being written.
pub trait NewFile: Write + Send {
    /// Waits until the file will outlive a power cut, and returns when it was modified, in nanoseconds since 1970.
    ///
    /// # Errors
    /// It cannot be written.
    fn finish(self: Box<Self>) -> Result<u64>;
}

/// Writes a file as [`Store::create`] does, and returns when it was modified.
///
/// # Errors
/// As [`Store::create`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<u64> {
    let mut file = of(path).create(path)?;
    file.write_all(bytes).with_context(|| format!("cannot write {}", path.display()))?;
    file.finish()
}
