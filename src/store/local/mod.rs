//! The store of the file system. Files and folders of results are created, renamed and removed only here.
//!
//! It makes results survive a kill and a power cut: a file is synced before it is renamed into place, a folder after its
//! entries have changed. Each system call that changes something is a *step*, and [`failpoint`] can fail or end the program
//! before any step; tests do so at every one.

mod file;
mod lease;
mod outputs;
mod publish;
mod steps;

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rayon::prelude::*;

use super::failpoint::{self, reach};
use super::sweep::is_older;
use super::{Lease, PathKind, ReadAt, Stat, Store};
use crate::error;
use crate::progress::Progress;
#[cfg(test)]
pub use file::opened;
pub use file::write_in_steps;
use file::{NewFile, OpenFile, WholeFile};
pub use steps::{create_folder, exchange, remove_file, remove_folder, rename, sync_folder};

/// The file system.
pub struct Local;

impl Store for Local {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(OpenFile::new(open(path)?)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::metadata(path)?))
    }

    fn kind(&self, path: &Path) -> io::Result<Option<PathKind>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(PathKind::File)),
            Ok(metadata) if metadata.is_dir() => Ok(Some(PathKind::Folder)),
            Ok(_) => Ok(Some(PathKind::Other)),
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        file::read_file(path, most)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn super::NewFile>> {
        Ok(Box::new(NewFile::create(path)?))
    }

    fn outputs(&self, folder: &Path, names: &[String]) -> Result<Box<dyn super::Outputs>> {
        Ok(Box::new(outputs::Outputs::new(folder, names)?))
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<()> {
        sync_folder(path)
    }

    fn new_folder(&self, folder: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        outputs::new_folder(folder, write)
    }

    fn replace_beside_others(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_beside_others(path, bytes)
    }

    fn create_whole(&self, path: &Path) -> Result<Box<dyn super::NewFile>> {
        Ok(Box::new(WholeFile::create(path, true)?))
    }

    fn create_once(&self, path: &Path) -> Result<Box<dyn super::NewFile>> {
        Ok(Box::new(WholeFile::create(path, false)?))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn walk(&self, folder: &Path, each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let metadata = fs::metadata(&path)?;
            if metadata.is_dir() { self.walk(&path, each)? } else { each(path, stat_of(&metadata)) }
        }
        Ok(())
    }

    fn stats(&self, root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>> {
        let stat = |name: &String| match fs::metadata(root.join(name)) {
            Ok(metadata) if metadata.is_file() => Ok(Some(stat_of(&metadata))),
            Ok(_) => {
                Err(io::Error::new(ErrorKind::InvalidData, format!("{} is not a file", root.join(name).display())))
            }
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(cause),
        };
        names.par_iter().map(stat).collect()
    }

    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        write_atomically(path, bytes)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        remove_file(path)
    }

    fn published(&self, run: &Path, stage: &str, _receipt: &str) -> PathBuf {
        run.join(stage)
    }

    fn holds_results(&self, run: &Path, stage: &str) -> io::Result<bool> {
        // What cannot be read is told where it is read.
        let folder = run.join(stage);
        Ok(self.list(&folder).map_or(folder.exists(), |names| !names.is_empty()))
    }

    fn draft(&self, run: &Path, stage: &str, _fingerprint: &str) -> Result<PathBuf> {
        publish::draft(run, stage)
    }

    fn shards(&self, run: &Path, stage: &str) -> PathBuf {
        run.join(publish::SHARDS).join(stage)
    }

    fn gather(&self, run: &Path, stage: &str, folder: &Path, names: &BTreeSet<&str>) -> Result<()> {
        publish::gather(run, stage, folder, names)
    }

    fn drop_shards(&self, run: &Path, stage: &str) -> Result<()> {
        publish::drop_shards(run, stage)
    }

    fn publish(&self, run: &Path, stage: &str, receipt: (&str, &[u8])) -> Result<()> {
        publish::publish(run, stage, receipt)
    }

    fn replace_published(&self, run: &Path, stage: &str, name: &str, bytes: &[u8]) -> Result<()> {
        publish::replace_file(run, stage, name, bytes)
    }

    fn clean(&self, run: &Path, folders: &[PathBuf]) -> Result<()> {
        publish::clean(run, folders)
    }

    fn sweep(&self, run: &Path, stages: &[&str], receipt: &str, keep: Duration) -> Result<super::Swept> {
        // A result replaces its predecessor, and every run removes what a killed one has left: but for shards.
        publish::sweep(run, stages, receipt, keep)
    }

    fn lease(&self, run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>> {
        Ok(Box::new(lease::take(run, timeout, progress)?))
    }
}

pub(super) fn stat_of(metadata: &Metadata) -> Stat {
    Stat { bytes: metadata.len(), modified: metadata.modified().map_or(0, nanoseconds), changed: changed(metadata) }
}

/// Opens a file to read it.
///
/// # Errors
/// The file system.
pub fn open(path: &Path) -> io::Result<File> {
    failpoint::read(path)?;
    File::open(path)
}

/// Nanoseconds since 1970; 0 for a time before it.
pub fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// The name of this machine.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The suffix of a file that is about to replace another.
pub const NEW: &str = ".new";

/// Replaces a small file of a run, whose lease the caller holds, by one rename. The new one is written beside it under a name that
/// ends with [`NEW`], by which the file that a killed process has left is found.
///
/// # Errors
/// The file system; the old file is still in place then.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(NEW);
    replace(path, Path::new(&temporary), bytes)
}

/// As [`write_atomically`], in a folder that is not limpid's own. The temporary file has a hidden name that ends with `.limpid`
/// and [`NEW`], and is locked; those that killed processes have left are removed by the next that writes a file there.
///
/// # Errors
/// As [`write_atomically`], and a folder of that name; another process is writing it.
pub fn write_beside_others(path: &Path, bytes: &[u8]) -> Result<()> {
    if path.is_dir() {
        return Err(error::settings(format!("{} is a folder; name a file", path.display())));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.limpid{NEW}"));
    if temporary.is_symlink() {
        return Err(error::settings(format!("{} is a link, which limpid does not write through", temporary.display())));
    }
    create_folder(parent(path))?;
    let _only = only_writer(&temporary, path)?;
    remove_abandoned(parent(path));
    replace(path, &temporary, bytes)
}

/// Removes the temporary files of [`write_beside_others`] in a folder that no process has locked. Those that cannot be removed stay, since
/// nobody has asked for it.
fn remove_abandoned(folder: &Path) {
    /// A process that has just created one may not have locked it yet.
    const YOUNG: Duration = Duration::from_secs(60);
    let end = format!(".limpid{NEW}");
    let names = Local.list(folder).unwrap_or_default();
    for name in names.iter().filter(|name| name.starts_with('.') && name.ends_with(&end)) {
        let path = folder.join(name);
        let is_old = fs::symlink_metadata(&path)
            .is_ok_and(|metadata| metadata.is_file() && is_older(stat_of(&metadata).modified, YOUNG));
        if is_old && File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            _ = remove_file(&path);
        }
    }
}

/// The folder of a file; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<()> {
    let folder = parent(path);
    create_folder(folder)?;
    let replaced = super::write(temporary, bytes).and_then(|_| rename(temporary, path));
    replaced.inspect_err(|_| _ = remove_file(temporary))?;
    sync_folder(folder)
}

/// The canonical path of `path`; none if it does not exist. An empty path is the working folder.
pub fn real(path: &Path) -> Option<PathBuf> {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }.canonicalize().ok()
}

/// The canonical path of `path`, or of its nearest ancestor that exists: a file that is created at `path` will lie in it.
pub fn nearest_real(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(real)
}

/// Opens a lock file, and creates it if it is missing.
///
/// # Errors
/// The file system.
pub fn open_lock(path: &Path) -> Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    reach("open", &[path]).and_then(|()| open()).with_context(|| format!("cannot open {}", path.display()))
}

/// When the content or metadata of a file last changed (ctime), in nanoseconds since 1970, which no program can set; 0 if
/// unknown.
#[cfg(unix)]
pub fn changed(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime() as u64).wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec() as u64)
}

/// When the content or metadata of a file last changed: unknown on this system.
#[cfg(not(unix))]
pub fn changed(_metadata: &Metadata) -> u64 {
    0
}

/// Device and inode, which identify a file.
#[cfg(unix)]
pub(super) fn place(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// The creation time, in place of a device and inode.
#[cfg(not(unix))]
pub(super) fn place(metadata: &Metadata) -> (u64, u64) {
    let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
    (0, metadata.created().ok().and_then(since).map_or(0, |since| since.as_nanos() as u64))
}

/// Locks a file beside an output, so that no two processes write the output at the same time.
///
/// # Errors
/// Another process has it, or the file system.
pub fn only_writer(lock: &Path, output: &Path) -> Result<File> {
    loop {
        let file = open_lock(lock)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, lock) => return Ok(file),
            // It was renamed or removed meanwhile: the other process has finished.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(error::try_again(format!("another process is writing {}", output.display())));
            }
            Err(TryLockError::Error(cause)) => {
                return Err(cause).with_context(|| format!("cannot lock {}", lock.display()));
            }
        }
    }
}

/// Whether an open file is still the one at `path`.
#[cfg(unix)]
pub fn is_at(file: &File, path: &Path) -> bool {
    let place = |metadata: io::Result<Metadata>| metadata.map(|metadata| place(&metadata)).ok();
    let open = place(file.metadata());
    open.is_some() && open == place(fs::metadata(path))
}

/// Whether an open file is still the one at `path`: always, where open files cannot be removed.
#[cfg(not(unix))]
pub fn is_at(_file: &File, _path: &Path) -> bool {
    true
}
