//! Outputs that are held back until all of them are whole, and their inputs were found unchanged.
//!
//! An object is visible once it is completed, and cannot be renamed into its place. A file that is created under the name of such an
//! output is therefore sent, but completed only when it is published.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::put::NewObject;
use crate::error;
use crate::store::{NewFile, Outputs};

/// The outputs that are held back, once they are written.
fn all() -> MutexGuard<'static, HashMap<PathBuf, Option<Box<NewObject>>>> {
    static ALL: LazyLock<Mutex<HashMap<PathBuf, Option<Box<NewObject>>>>> = LazyLock::new(Mutex::default);
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file to write, which is held back if it is one of those.
pub fn created(object: NewObject) -> Box<dyn NewFile> {
    if all().contains_key(object.path()) { Box::new(HeldObject(Box::new(object))) } else { Box::new(object) }
}

struct HeldObject(Box<NewObject>);

impl Write for HeldObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl NewFile for HeldObject {
    fn finish(self: Box<Self>) -> Result<u64> {
        let path = self.0.path().to_owned();
        all().insert(path, Some(self.0));
        Ok(0)
    }
}

/// Outputs in a prefix.
pub struct Held {
    paths: Vec<PathBuf>,
}

impl Held {
    pub fn new(folder: &Path, names: &[String]) -> Result<Self> {
        let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
        let mut all = all();
        if let Some(path) = paths.iter().find(|path| all.contains_key(*path)) {
            return Err(error::bug(format!("{} is written twice at a time", path.display())));
        }
        all.extend(paths.iter().map(|path| (path.clone(), None)));
        Ok(Self { paths })
    }
}

impl Outputs for Held {
    fn temporary(&self, name: &str) -> String {
        name.to_owned()
    }

    fn publish(self: Box<Self>) -> Result<()> {
        for path in &self.paths {
            let object = all().remove(path).flatten();
            object.map_or(Ok(0), NewFile::finish)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let unpublished: Vec<_> = self.paths.iter().filter_map(|path| all().remove(path)).collect();
        drop(unpublished);
    }
}
