//! Object stores: S3, Google Cloud Storage, Azure, and HTTPS to read.
//!
//! An object is written whole or not at all, and nothing can be renamed. What replaces a rename is the conditional put: a result is
//! written under a prefix of its own, and the receipt that names it is swapped last.

mod ahead;
mod client;
mod fault;
mod folder;
mod held;
mod kept;
mod lease;
mod list;
mod location;
mod profile;
mod publish;
mod put;
mod read;
mod version;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::ObjectStoreExt;

use super::failpoint::{self, reach};
use super::{Lease, NewFile, Outputs, PathKind, ReadAt, Stat, Store, Swept};
use crate::progress::Progress;

/// The objects that URLs name.
pub struct Remote;

impl Store for Remote {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        failpoint::read(path)?;
        Ok(Arc::new(kept::ObjectFile::open(path)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        read::stat(path)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<PathKind>> {
        list::kind(path)
    }

    fn read(&self, path: &Path, most: u64) -> io::Result<Vec<u8>> {
        failpoint::read(path)?;
        read::whole(path, most)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn NewFile>> {
        list::forget(Some(path));
        Ok(held::created(put::NewObject::create(path)?))
    }

    fn create_whole(&self, path: &Path) -> Result<Box<dyn NewFile>> {
        self.create(path)
    }

    fn create_once(&self, path: &Path) -> Result<Box<dyn NewFile>> {
        list::forget(Some(path));
        Ok(Box::new(put::NewObject::create_once(path)?))
    }

    fn outputs(&self, folder: &Path, names: &[String]) -> Result<Box<dyn Outputs>> {
        Ok(Box::new(held::Held::new(folder, names)?))
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        client::object(path).map(|_| ()).with_context(|| format!("cannot write to {}", path.display()))
    }

    fn sync_folder(&self, _path: &Path) -> Result<()> {
        Ok(())
    }

    fn new_folder(&self, folder: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        folder::new_folder(folder, write)
    }

    fn replace_beside_others(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.replace(path, bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        list::names(folder)
    }

    fn walk(&self, folder: &Path, each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()> {
        list::walk(folder, each)
    }

    fn stats(&self, root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>> {
        list::stats(root, names, false)
    }

    fn stats_now(&self, root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>> {
        list::stats(root, names, true)
    }

    fn expect(&self, paths: &mut dyn Iterator<Item = PathBuf>) {
        ahead::expect(paths)
    }

    fn list_ahead(&self, folder: &Path) -> io::Result<()> {
        list::walk(folder, &mut |_, _| {})
    }

    fn look_again(&self) {
        list::forget(None);
    }

    fn real(&self, path: &Path) -> io::Result<PathBuf> {
        client::object(path).map(|object| PathBuf::from(object.location.to_string()))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        list::forget(Some(path));
        put::replace(path, bytes).map(|_| ()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let remove = || {
            reach("remove", &[path])?;
            list::forget(Some(path));
            let client::Object { store, key, .. } = client::object(path)?;
            match client::attempt(store.delete(&key))? {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(cause) => Err(fault::fault(cause)),
            }
        };
        remove().with_context(|| format!("cannot remove {}", path.display()))
    }

    fn published(&self, run: &Path, stage: &str, receipt: &str) -> PathBuf {
        publish::published(run, stage, receipt).ok().flatten().unwrap_or_else(|| run.join(stage))
    }

    fn holds_results(&self, run: &Path, stage: &str) -> io::Result<bool> {
        publish::holds_results(&run.join(stage))
    }

    fn draft(&self, run: &Path, stage: &str, fingerprint: &str) -> Result<PathBuf> {
        Ok(publish::draft(run, stage, fingerprint))
    }

    fn shards(&self, run: &Path, stage: &str) -> PathBuf {
        run.join(stage)
    }

    fn gather(&self, _run: &Path, _stage: &str, _folder: &Path, _names: &BTreeSet<&str>) -> Result<()> {
        // They were put where the draft is.
        Ok(())
    }

    fn drop_shards(&self, run: &Path, stage: &str) -> Result<()> {
        publish::drop_shards(run, stage)
    }

    fn publish(&self, run: &Path, stage: &str, receipt: (&str, &[u8])) -> Result<()> {
        list::forget(Some(run));
        publish::publish(run, stage, receipt)
    }

    fn replace_published(&self, run: &Path, stage: &str, name: &str, bytes: &[u8]) -> Result<()> {
        publish::publish(run, stage, (name, bytes))
    }

    fn clean(&self, _run: &Path, _folders: &[PathBuf]) -> Result<()> {
        // What a killed run has put is what its successor puts; `sweep` removes what is left of others.
        Ok(())
    }

    fn sweep(&self, run: &Path, stages: &[&str], receipt: &str, keep: Duration) -> Result<Swept> {
        publish::sweep(run, stages, receipt, keep)
    }

    fn lease(&self, run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Box<dyn Lease>> {
        let lease = lease::take(run, timeout, progress)?;
        // Whoever had it may have published results.
        publish::forget();
        list::forget(None);
        Ok(Box::new(lease))
    }
}
