//! Stores: the file operations that a run needs, of a file system or an object store.
//!
//! [`of`] returns the store of a path: [`local`] is the file system, and `remote` has what URLs name. Another store is a file here
//! that implements [`Store`], and a line in [`of`]. Sources, tables, receipts, models and checkpoints are read and written through
//! stores.

#[cfg(not(feature = "stores"))]
#[path = "absent.rs"]
mod remote;
#[cfg(feature = "stores")]
mod remote;

pub mod failpoint;
mod line_file;
pub mod local;
mod range;
mod sweep;
pub mod url;
pub mod watch;
mod whole;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::error;
use crate::progress::Progress;
pub use line_file::LineFile;
pub use range::{RangeReader, ReadAt, Room};
pub use sweep::Swept;
pub use whole::{MOST_RECEIPT, MOST_TEXT, digest_of, read_text, read_whole};

/// The store of the file or folder at `path`.
pub fn of(path: &Path) -> &'static dyn Store {
    if url::is_url(path) { &remote::Remote } else { &local::Local }
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

    /// What is at a path, with links followed; none if there is nothing.
    ///
    /// # Errors
    /// That cannot be found out.
    fn kind(&self, path: &Path) -> io::Result<Option<PathKind>>;

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

    /// Begins to write files of these names in a folder that is there, which become visible when they are published: until then, and
    /// if they are dropped, the folder is as before. Each is written under a [name](Outputs::temporary) that it has until then.
    ///
    /// # Errors
    /// Another process is writing the last of them, or the store.
    fn outputs(&self, folder: &Path, names: &[String]) -> Result<Box<dyn Outputs>>;

    /// As [`Self::create`], but the file appears under its name only when it is finished, whole and in place of any other, so that
    /// several processes may write the same content at once.
    ///
    /// # Errors
    /// As [`Self::create`].
    fn create_whole(&self, path: &Path) -> Result<Box<dyn NewFile>>;

    /// As [`Self::create_whole`], of a file whose bytes are the same whoever writes it. Where a store can, one that is there stays. The
    /// caller [syncs the folder](Self::sync_folder) once for all of its files.
    ///
    /// # Errors
    /// As [`Self::create`]; at its end, one that is there and has other bytes.
    fn create_once(&self, path: &Path) -> Result<Box<dyn NewFile>>;

    /// Creates a folder and its missing parents, where a store has folders.
    ///
    /// # Errors
    /// It cannot be made.
    fn create_folder(&self, path: &Path) -> Result<()>;

    /// Waits until the names in a folder are on disk, where that is a thing of its own.
    ///
    /// # Errors
    /// They cannot be written.
    fn sync_folder(&self, path: &Path) -> Result<()>;

    /// Makes a folder, which must be free, with what `write` puts into the folder that it is called with. A file system then renames
    /// that into its place; in a store the files appear one after the other, and `_SUCCESS` at last.
    ///
    /// # Errors
    /// The place is taken, another process is writing it, what `write` fails with, or the store; nothing is left then.
    fn new_folder(&self, folder: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()>;

    /// As [`Self::replace`], where others than limpid may have files.
    ///
    /// # Errors
    /// As [`Self::replace`], and a folder of that name; another process is writing the file.
    fn replace_beside_others(&self, path: &Path, bytes: &[u8]) -> Result<()>;

    /// The names of the files and folders in a folder, sorted.
    ///
    /// # Errors
    /// No such folder, or one that cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Hands every file below a folder, with its stat, to `each`.
    ///
    /// # Errors
    /// It cannot be listed.
    fn walk(&self, folder: &Path, each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()>;

    /// The stats of files below a folder; none for one that is not there.
    ///
    /// # Errors
    /// They cannot be found out.
    fn stats(&self, root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>>;

    /// As [`Self::stats`], whatever earlier listings said.
    ///
    /// # Errors
    /// As [`Self::stats`].
    fn stats_now(&self, root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>> {
        self.stats(root, names)
    }

    /// Lists a folder for the questions about files in it that follow, where each would take a request.
    ///
    /// # Errors
    /// It cannot be listed.
    fn list_ahead(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Forgets what earlier listings said, so that changes since then are seen.
    fn look_again(&self) {}

    /// Begins to read small files that are read next, where waiting for each would take long.
    fn expect(&self, _paths: &mut dyn Iterator<Item = PathBuf>) {}

    /// The path that all paths to the same file or folder have in common.
    ///
    /// # Errors
    /// There is nothing at the path, or that cannot be found out.
    fn real(&self, path: &Path) -> io::Result<PathBuf>;

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

    /// The folder with the published files of a stage of the run at `run`, whose receipt is called `receipt`; where a stage was never
    /// published, one without a receipt. What a store cannot tell now shows when a file is read there.
    fn published(&self, run: &Path, stage: &str, receipt: &str) -> PathBuf;

    /// Whether the folder of a stage holds anything else than what [`Self::draft`] leaves there.
    ///
    /// # Errors
    /// It cannot be read.
    fn holds_results(&self, run: &Path, stage: &str) -> io::Result<bool>;

    /// Makes a folder for the files of a stage of the run at `run`. It may hold files of an earlier draft with the same fingerprint.
    ///
    /// # Errors
    /// It cannot be made.
    fn draft(&self, run: &Path, stage: &str, fingerprint: &str) -> Result<PathBuf>;

    /// The folder in which the folders are that hold finished shards of the stage's coming result.
    fn shards(&self, run: &Path, stage: &str) -> PathBuf;

    /// Makes the files of these names in a folder inside [`Self::shards`] the draft of the stage, without copying them.
    ///
    /// # Errors
    /// One of them is missing, or the draft cannot be made.
    fn gather(&self, run: &Path, stage: &str, folder: &Path, names: &BTreeSet<&str>) -> Result<()>;

    /// Removes [`Self::shards`], once the result is published.
    ///
    /// # Errors
    /// It cannot be removed.
    fn drop_shards(&self, run: &Path, stage: &str) -> Result<()>;

    /// Writes the receipt, a file of this name, into the draft of a stage and puts the draft in the place of what is published
    /// atomically.
    ///
    /// # Errors
    /// It cannot be published; what was published is still in place then, or [`Self::clean`] finishes the publication.
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

    /// Removes what no receipt of these stages names, such as earlier results where a store keeps these. Finished shards of a result that
    /// was not published stay while one of them is younger than `keep`: processes without a lease may be making the others.
    ///
    /// # Errors
    /// It cannot be listed or removed.
    fn sweep(&self, run: &Path, stages: &[&str], receipt: &str, keep: Duration) -> Result<Swept>;

    /// Acquires the lease to write in a run, waiting up to `timeout` (for ever if none) and reporting who holds it.
    ///
    /// # Errors
    /// Not obtained in time, interruption, a store without locks.
    fn lease(&self, run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A file, or an object.
    File,
    /// A folder, or a prefix of objects.
    Folder,
    /// A pipe or the like, which can be read only once and may never end.
    Other,
}

/// The size of a file, and what shows that it was written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, in nanoseconds since 1970; 0 if the store does not know. Of an object, 64 bits of its version.
    pub modified: u64,
    /// The change time of the inode, likewise, which no program can set; 0 where the system has none. Of an object, the last
    /// modification.
    pub changed: u64,
}

/// Whether there is a file at a path; false also if that cannot be found out.
pub fn is_file(path: &Path) -> bool {
    matches!(of(path).kind(path), Ok(Some(PathKind::File)))
}

/// Whether there is a folder at a path, likewise.
pub fn is_folder(path: &Path) -> bool {
    matches!(of(path).kind(path), Ok(Some(PathKind::Folder)))
}

/// Whether there is anything at a path, likewise.
pub fn exists(path: &Path) -> bool {
    matches!(of(path).kind(path), Ok(Some(_)))
}

/// The path that all paths to the same file or folder have in common; none if there is nothing, or that cannot be found out. An
/// empty path is the working folder.
pub fn real(path: &Path) -> Option<PathBuf> {
    if url::is_url(path) { of(path).real(path).ok() } else { local::real(path) }
}

/// As [`real`], of the nearest ancestor that exists where there is nothing: a file that is created at `path` will lie in it.
pub fn nearest_real(path: &Path) -> Option<PathBuf> {
    if url::is_url(path) { real(path) } else { local::nearest_real(path) }
}

/// The error of a new folder whose place is taken.
fn taken(folder: &Path) -> anyhow::Error {
    let advice = "name a folder that does not exist yet";
    error::settings(format!("{} exists already; {advice}", folder.display()))
}

/// As [`Store::list_ahead`].
///
/// # Errors
/// As [`Store::list_ahead`].
pub fn list_ahead(folder: &Path) -> Result<()> {
    of(folder).list_ahead(folder).with_context(|| format!("cannot list {}", folder.display()))
}

/// Opens a file to read it from its start on.
///
/// # Errors
/// As [`Store::open`].
pub fn reader(path: &Path) -> io::Result<RangeReader> {
    of(path).open(path).map(|file| RangeReader::new(file, 0))
}

/// Files that are being written, each under a temporary name; removed if they are dropped.
pub trait Outputs {
    /// The name under which the file of this name is written.
    fn temporary(&self, name: &str) -> String;

    /// Puts the files that were written into their places, the last one last.
    ///
    /// # Errors
    /// The store.
    fn publish(self: Box<Self>) -> Result<()>;
}

/// The right to write in a run; released when dropped, or by the store when the process dies.
pub trait Lease: Debug {
    /// Checks that it is still held.
    ///
    /// # Errors
    /// It was lost: try again.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

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

/// As [`write`], as [`Store::create_once`] does.
///
/// # Errors
/// As [`Store::create_once`].
pub fn write_once(path: &Path, bytes: &[u8]) -> Result<u64> {
    finish(of(path).create_once(path)?, path, bytes)
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
