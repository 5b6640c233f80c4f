//! Object stores, in a build without the feature `stores`.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::{Lease, NewFile, Outputs, PathKind, ReadAt, Stat, Store, Swept};
use crate::progress::Progress;

/// The objects that URLs name, which this build neither reads nor writes.
pub struct Remote;

fn absent<T>() -> io::Result<T> {
    let message =
        "this build of limpid has no object stores: build it with the feature `stores`, which is on by default";
    Err(io::Error::new(ErrorKind::Unsupported, message))
}

impl Store for Remote {
    fn open(&self, _path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        absent()
    }

    fn stat(&self, _path: &Path) -> io::Result<Stat> {
        absent()
    }

    fn kind(&self, _path: &Path) -> io::Result<Option<PathKind>> {
        absent()
    }

    fn read(&self, _path: &Path, _most: u64) -> io::Result<Vec<u8>> {
        absent()
    }

    fn create(&self, _path: &Path) -> Result<Box<dyn NewFile>> {
        Ok(absent()?)
    }

    fn create_once(&self, _path: &Path) -> Result<Box<dyn NewFile>> {
        Ok(absent()?)
    }

    fn create_whole(&self, _path: &Path) -> Result<Box<dyn NewFile>> {
        Ok(absent()?)
    }

    fn outputs(&self, _folder: &Path, _names: &[String]) -> Result<Box<dyn Outputs>> {
        Ok(absent()?)
    }

    fn create_folder(&self, _path: &Path) -> Result<()> {
        Ok(absent()?)
    }

    fn sync_folder(&self, _path: &Path) -> Result<()> {
        Ok(absent()?)
    }

    fn new_folder(&self, _folder: &Path, _write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        Ok(absent()?)
    }

    fn replace_beside_others(&self, _path: &Path, _bytes: &[u8]) -> Result<()> {
        Ok(absent()?)
    }

    fn list(&self, _folder: &Path) -> io::Result<Vec<String>> {
        absent()
    }

    fn walk(&self, _folder: &Path, _each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()> {
        absent()
    }

    fn stats(&self, _root: &Path, _names: &[String]) -> io::Result<Vec<Option<Stat>>> {
        absent()
    }

    fn real(&self, _path: &Path) -> io::Result<PathBuf> {
        absent()
    }

    fn replace(&self, _path: &Path, _bytes: &[u8]) -> Result<()> {
        Ok(absent()?)
    }

    fn remove(&self, _path: &Path) -> Result<()> {
        Ok(absent()?)
    }

    fn published(&self, run: &Path, stage: &str, _receipt: &str) -> PathBuf {
        run.join(stage)
    }

    fn holds_results(&self, _run: &Path, _stage: &str) -> io::Result<bool> {
        absent()
    }

    fn draft(&self, _run: &Path, _stage: &str, _fingerprint: &str) -> Result<PathBuf> {
        Ok(absent()?)
    }

    fn shards(&self, run: &Path, stage: &str) -> PathBuf {
        run.join(stage)
    }

    fn gather(&self, _run: &Path, _stage: &str, _folder: &Path, _names: &BTreeSet<&str>) -> Result<()> {
        Ok(absent()?)
    }

    fn drop_shards(&self, _run: &Path, _stage: &str) -> Result<()> {
        Ok(absent()?)
    }

    fn publish(&self, _run: &Path, _stage: &str, _receipt: (&str, &[u8])) -> Result<()> {
        Ok(absent()?)
    }

    fn replace_published(&self, _run: &Path, _stage: &str, _name: &str, _bytes: &[u8]) -> Result<()> {
        Ok(absent()?)
    }

    fn clean(&self, _run: &Path, _folders: &[PathBuf]) -> Result<()> {
        Ok(absent()?)
    }

    fn sweep(&self, _run: &Path, _stages: &[&str], _receipt: &str, _keep: Duration) -> Result<Swept> {
        Ok(absent()?)
    }

    fn lease(&self, _run: &Path, _timeout: Option<Duration>, _progress: &Progress) -> Result<Box<dyn Lease>> {
        Ok(absent()?)
    }
}
