//! What is ingested by one process: some row groups of a split of an opened source, which become a file of its table.
//!
//! The source is not opened again, and only the files of these images are read. They have to be as they were when the fingerprint of the
//! result was computed, or no file is kept.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::writing::Writer;
use crate::error;
use crate::image::Split;
use crate::record::digest::{FileStamp, look_now};
use crate::source::{Learned, Looked, OpenedSource, Outside, RowGroups};
use crate::store;
use crate::table::{FileRecord, WriteOptions};

/// What one process ingests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IngestJob {
    /// The file of the opened source.
    pub opened: PathBuf,
    /// Its digest.
    pub digest: String,
    /// Whether the images are the noisy ones of pairs.
    pub noisy: bool,
    /// The split.
    pub split: Split,
    /// The row groups that are written.
    pub some: RowGroups,
    /// Images of a row group, if all have one size.
    pub group_rows: usize,
    /// The state of the files that have them.
    pub files: FileStamp,
    /// Labels that are held out.
    pub held_out: BTreeSet<i64>,
    /// The folder that is written to.
    pub folder: PathBuf,
    /// The path of the file in it.
    pub name: String,
    /// Compression level of zstd.
    pub compression_level: i32,
}

/// Ingests in this process.
pub struct Ingester {
    threads: usize,
    /// The last source, by its digest: the jobs of a result share it.
    opened: Mutex<Option<(String, Arc<OpenedSource>)>>,
}

impl Ingester {
    /// With so many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, opened: Mutex::default() }
    }

    /// Writes the file of a job, which appears under its name when it is whole, and tells what was learned; `rows_done` is called with
    /// the number of images of each finished batch. Bad pictures that end the work are added to those of `earlier` jobs, and an error
    /// names all of them.
    ///
    /// # Errors
    /// Pictures that cannot be read or do not fit; files that have changed since the job was made; the store, interruption.
    pub fn run(
        &self,
        job: &IngestJob,
        rows_done: &(dyn Fn(u64) + Sync),
        earlier: &Mutex<Looked>,
    ) -> Result<(FileRecord, Learned)> {
        let opened = self.opened(&job.opened, &job.digest)?;
        let version = opened.version(job.noisy).ok_or_else(|| error::bug("a job of pairs has none"))?;
        let mut earlier = earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let source = version.source(earlier.clone());
        let path = job.folder.join(&job.name);
        let parent = path.parent().unwrap_or(&job.folder);
        store::of(parent).create_folder(parent)?;
        let options = WriteOptions { at_once: true, ..WriteOptions::new(job.compression_level, self.threads) };
        let writer = Writer::new(&*source, &job.held_out, rows_done);
        let groups = source.row_groups_in(job.split, job.group_rows, &job.some)?;
        let unchanged = || unchanged(&version.files(job.split, job.some.images.clone()), &job.files);
        let check = || unchanged().and_then(|()| source.check());
        let written = writer.write((&job.folder, &job.name), job.split, options, groups, check);
        let learned = writer.learned();
        *earlier = if source.check().is_err() { learned.looked.clone() } else { Looked::default() };
        // A change explains more than the failure that it caused. What was written was compared before it got its name.
        let file = written.or_else(|cause| error::held(Err(cause), unchanged))?;
        store::of(parent).sync_folder(parent).map(|()| (file, learned))
    }

    fn opened(&self, path: &Path, digest: &str) -> Result<Arc<OpenedSource>> {
        let mut last = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, opened)) = last.as_ref().filter(|(other, _)| other == digest) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(OpenedSource::read(path, digest)?);
        *last = Some((digest.to_owned(), Arc::clone(&opened)));
        Ok(opened)
    }
}

/// Checks that files are as they were, whoever has looked at them and from whatever path.
///
/// # Errors
/// They have changed; the store.
fn unchanged(files: &Outside, before: &FileStamp) -> Result<()> {
    let now = look_now(files)?;
    let told = |stamp: &FileStamp| (stamp.bytes, stamp.modified, stamp.changed);
    if told(&now) == told(before) {
        return Ok(());
    }
    Err(changed(files))
}

/// The error of files that have changed.
pub fn changed(files: &Outside) -> anyhow::Error {
    let (Outside::File(path) | Outside::Files(path, _)) = files;
    let message = format!("{} has changed while it was read, or files have come or gone", path.display());
    error::io(format!("{message}; run the same command again"))
}
