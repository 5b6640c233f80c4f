//! What is exported of one file of a table, by any process: the parts that begin in it, and its images as pictures.
//!
//! A part may end in a later file: a job also names the files that its last part reaches into, and those in which none begins have
//! no job. Each file is thus read by few jobs, however small the parts are, and the names of all files are known before any is
//! written, as an object store wants it.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::parts::FileParts;
use super::pictures::{Names, Pictures};
use super::{Place, write_parts};
use crate::engine::InputFile;
use crate::image::Split;
use crate::store;
use crate::table::layout::{Layout, PictureDepth};
use crate::table::{FileRecord, Table, WriteOptions};

/// The folder of the pictures in an export that may have tables too.
const PICTURES: &str = "pictures";

/// What one process exports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExportJob {
    /// What the tables are called in the export.
    pub set: String,
    /// The split.
    pub split: Split,
    /// The file of the table, and those after it that its last part reaches into.
    pub files: Vec<InputFile>,
    /// The parts that begin in it.
    pub parts: Option<PartsToWrite>,
    /// Its images as pictures.
    pub pictures: Option<PicturesToWrite>,
    /// The folder that is written to.
    pub folder: PathBuf,
}

/// Parts of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartsToWrite {
    /// All of the split.
    pub of: FileParts,
    /// Those that are written.
    pub which: Range<u64>,
    /// Rows of the split before the first file.
    pub before: u64,
    /// How they are stored.
    pub layout: Layout,
    /// Compression level of zstd.
    pub compression_level: i32,
}

impl PartsToWrite {
    /// Their rows in the split.
    pub fn rows(&self) -> Range<u64> {
        let last = self.of.range(self.which.end.saturating_sub(1));
        self.of.range(self.which.start).start..last.end
    }
}

/// Pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PicturesToWrite {
    /// Their depth.
    pub depth: PictureDepth,
    /// The table of the files that they come from, if they come from files.
    pub names: Option<InputFile>,
}

impl ExportJob {
    /// The files that it reads, with their digests.
    pub fn inputs(&self) -> Vec<InputFile> {
        let names = self.pictures.as_ref().and_then(|pictures| pictures.names.as_ref());
        self.files.iter().chain(names).cloned().collect()
    }
}

/// Exports in this process.
pub struct Exporter {
    threads: usize,
    /// The last names: the jobs of a stage share them.
    names: Mutex<Option<(InputFile, Arc<Names>)>>,
}

impl Exporter {
    /// With so many threads.
    pub fn new(threads: usize) -> Self {
        Self { threads, names: Mutex::default() }
    }

    /// Writes the files of a job, each of which appears under its name when it is whole; `rows_done` is called with the number of
    /// rows of each finished batch.
    ///
    /// # Errors
    /// Unreadable input, images that the layout or PNG cannot hold, the store, interruption.
    pub fn run(&self, job: &ExportJob, rows_done: &(dyn Fn(u64) + Sync)) -> Result<Vec<FileRecord>> {
        let ExportJob { set, split, files, parts, pictures, folder } = job;
        let open = |files: &[InputFile]| Table::open(&files.iter().map(|file| file.path.clone()).collect::<Vec<_>>());
        let mut written = Vec::new();
        if let Some(PartsToWrite { of, which, before, layout, compression_level }) = parts {
            let options = WriteOptions { at_once: true, ..WriteOptions::new(*compression_level, self.threads) };
            let place = Place { folder, set, split: *split, before: *before };
            written = write_parts(&open(files)?, &place, layout, (*of, which.clone()), &options, rows_done)?;
        }
        if let Some(PicturesToWrite { depth, names }) = pictures {
            let names = names.as_ref().map_or_else(|| Ok(Arc::default()), |names| self.names(names))?;
            let folder = folder.join(PICTURES);
            store::of(&folder).create_folder(&folder)?;
            let pictures = Pictures { names: &names, depth: *depth, at_once: true };
            let made = pictures.write(set, *split, &open(&files[..files.len().min(1)])?, &folder, rows_done)?;
            written
                .extend(made.into_iter().map(|file| FileRecord { name: format!("{PICTURES}/{}", file.name), ..file }));
            store::of(&folder).sync_folder(&folder)?;
        }
        Ok(written)
    }

    fn names(&self, file: &InputFile) -> Result<Arc<Names>> {
        let mut last = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, names)) = last.as_ref().filter(|(other, _)| other == file) {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(Names::read(&file.path)?);
        *last = Some((file.clone(), Arc::clone(&names)));
        Ok(names)
    }
}
