//! Outputs of commands, files and whole folders: written under hidden names beside their places, and renamed into them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{NEW, create_folder, only_writer, parent, remove_file, remove_folder, rename, sync_folder};
use crate::error;

/// Outputs in a folder, of which the last one is locked.
pub struct Outputs {
    folder: PathBuf,
    names: Vec<String>,
    /// Held so that no other process writes the last one.
    _lock: File,
}

impl Outputs {
    pub fn new(folder: &Path, names: &[String]) -> Result<Self> {
        let last = names.last().map_or("", String::as_str);
        let lock = only_writer(&folder.join(hidden(last)), &folder.join(last))?;
        Ok(Self { folder: folder.to_owned(), names: names.to_vec(), _lock: lock })
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.folder.join(hidden(name))
    }
}

/// The hidden name under which a file of this name is written.
fn hidden(name: &str) -> String {
    format!(".{name}{NEW}")
}

impl crate::store::Outputs for Outputs {
    fn temporary(&self, name: &str) -> String {
        hidden(name)
    }

    fn publish(mut self: Box<Self>) -> Result<()> {
        for name in &self.names {
            let temporary = self.temporary(name);
            if temporary.exists() {
                rename(&temporary, &self.folder.join(name))?;
            }
        }
        // Another process may write under these names from now on.
        self.names.clear();
        sync_folder(&self.folder)
    }
}

impl Drop for Outputs {
    /// Removes what is still there. The lock goes with the file that it is on.
    fn drop(&mut self) {
        self.names.iter().for_each(|name| _ = remove_file(&self.temporary(name)));
    }
}

pub fn new_folder(folder: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    refuse_taken(folder)?;
    let name = folder.file_name().ok_or_else(|| error::settings(format!("{} has no name", folder.display())))?;
    let beside = |end: &str| folder.with_file_name(format!(".{}{end}", name.to_string_lossy()));
    let (scratch, lock, parent) = (beside(NEW), beside(".lock"), parent(folder));
    create_folder(parent)?;
    let _only = only_writer(&lock, folder)?;
    // Checked again, since another process may just have finished; what a killed process has left is removed.
    let written = refuse_taken(folder)
        .and_then(|()| remove_folder(&scratch))
        .and_then(|()| create_folder(&scratch))
        .and_then(|()| write(&scratch))
        .and_then(|()| sync_folder(&scratch))
        .and_then(|()| rename(&scratch, folder))
        .and_then(|()| sync_folder(parent));
    if written.is_err() {
        _ = remove_folder(&scratch);
    }
    // A process that has opened this lock finds that it is gone, and opens a new one.
    _ = remove_file(&lock);
    written
}

/// Refuses a place that is taken, unless by an empty folder.
fn refuse_taken(folder: &Path) -> Result<()> {
    let taken = std::fs::read_dir(folder).map_or(folder.exists(), |mut entries| entries.next().is_some());
    if taken { Err(crate::store::taken(folder)) } else { Ok(()) }
}
