//! The steps that change names: folders created, files and folders renamed and removed, each synced where it has to be.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};

use crate::store::failpoint::reach;

/// Creates a folder and its missing parents.
///
/// # Errors
/// The file system.
pub fn create_folder(path: &Path) -> Result<()> {
    create_with_parents(path).with_context(|| format!("cannot create {}", path.display()))
}

fn create_with_parents(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    create_with_parents(above)?;
    reach("create folder", &[path])?;
    match fs::create_dir(path) {
        // Another process created it first.
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created.and_then(|()| sync_names(above)),
    }
}

/// Renames a file or folder within a file system; a file replaces any other.
///
/// # Errors
/// The file system.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let renamed = reach("rename", &[from, to]).and_then(|()| fs::rename(from, to));
    renamed.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// Exchanges two folders by one rename; false if the file system does not support it, as some network file systems.
///
/// # Errors
/// The file system.
pub fn exchange(one: &Path, other: &Path) -> Result<bool> {
    let exchanged = reach("exchange", &[one, other]).and_then(|()| exchange_names(one, other));
    match exchanged {
        Ok(()) => Ok(true),
        Err(cause) if matches!(cause.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(false),
        Err(cause) => Err(cause).with_context(|| format!("cannot replace {}", other.display())),
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange_names(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange_names(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Syncs the entries of a folder to disk.
///
/// # Errors
/// The file system.
pub fn sync_folder(path: &Path) -> Result<()> {
    sync_names(path).with_context(|| format!("cannot write to {}", path.display()))
}

fn sync_names(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    reach("sync folder", &[path])?;
    // Windows cannot open folders; there the rename itself is durable enough.
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Removes a file, if it is there.
///
/// # Errors
/// The file system.
pub fn remove_file(path: &Path) -> Result<()> {
    let removed = reach("remove", &[path]).and_then(|()| fs::remove_file(path));
    accept_missing(removed).with_context(|| format!("cannot remove {}", path.display()))
}

/// Removes a folder with all that is in it, if it is there.
///
/// # Errors
/// The file system.
pub fn remove_folder(path: &Path) -> Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
        Err(cause) => Err(cause),
    };
    let mut entries = entries.with_context(|| format!("cannot remove {}", path.display()))?;
    // Sorted, so that a failpoint hits the same step on every file system.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // The type of the entry itself; links are not followed.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_folder(&entry.path())?;
        } else {
            remove_file(&entry.path())?;
        }
    }
    let removed = reach("remove folder", &[path]).and_then(|()| fs::remove_dir(path));
    accept_missing(removed).with_context(|| format!("cannot remove {}", path.display()))
}

fn accept_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
