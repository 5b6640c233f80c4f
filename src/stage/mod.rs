//! The stages: each a name, what it reads, the settings that decide its result, and a function that makes it.
//!
//! To add one: a file here and a line in [`STAGES`].

pub mod corrupt;
pub mod denoise;
pub mod encode;
pub mod evaluate;
pub mod export;
pub mod infer;
pub mod ingest;
pub mod report;
pub mod train;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use arrow_array::RecordBatch;
use serde::Serialize;
use serde_json::Value;

use crate::config::Pipeline;
use crate::device::ComputeDevice;
use crate::engine::{MapInput, map_table};
use crate::image::Split;
use crate::progress::Progress;
use crate::record::StageName;
use crate::record::fingerprint::Parts;
use crate::record::receipt::Receipt;
use crate::record::workspace::Workspace;
use crate::source::Outside;
use crate::table::{Content, FileRecord, TableFile, WriteOptions, lists, pixels, write_file};
use crate::training::settings::InputImages;
use infer::Inference;

/// All stages, in the order in which they run.
pub const STAGES: &[&dyn Stage] = &[
    &ingest::Ingest,
    &corrupt::Corrupt,
    &train::Train,
    &encode::Encode,
    &denoise::Denoise,
    &evaluate::Evaluate,
    &report::Report,
    &export::Export,
];

/// The stage of this name.
pub fn named(name: &str) -> Option<&'static dyn Stage> {
    STAGES.iter().copied().find(|stage| stage.name().as_str() == name)
}

/// A step of the pipeline.
pub trait Stage: Sync {
    /// Its name, which is also its folder's.
    fn name(&self) -> StageName;

    /// Version of its code: raised when the same input gives another output.
    fn version(&self) -> u32;

    /// Whether the pipeline has this stage.
    fn applies(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    /// The stages whose results it reads.
    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName>;

    /// The files outside the run that it reads, by the setting that says where they are.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    fn files(&self, _pipeline: &Pipeline) -> Result<Vec<(&'static str, Outside)>> {
        Ok(Vec::new())
    }

    /// The settings that decide its result, and no others.
    fn settings(&self, pipeline: &Pipeline) -> Value;

    /// Whether its result tells with which settings its inputs were made: these then decide it too.
    fn tells_settings(&self) -> bool {
        false
    }

    /// What it would go on from to make a result of these parts, if it is a stage that can.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    fn resume(&self, _pipeline: &Pipeline, _parts: &Parts, _past: Past<'_>) -> Result<Resumption> {
        Ok(Resumption::default())
    }

    /// Makes its result in the scratch folder.
    ///
    /// # Errors
    /// Bad input, interruption, the file system.
    fn run(&self, context: &StageContext<'_>) -> Result<Outputs>;
}

/// What a stage has left of earlier runs.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// Where its checkpoint would be.
    pub checkpoint: &'a Path,
    /// The receipt of its result, if that is whole and of other parts.
    pub published: Option<&'a Receipt>,
}

/// Whether a stage goes on from something.
#[derive(Debug, Default)]
pub struct Resumption {
    /// From what.
    pub from: Option<Resume>,
    /// Why not from something that is there.
    pub unused: Vec<String>,
}

/// What a stage goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resume {
    /// What holds the state.
    pub from: ResumeFrom,
    /// Epochs that are finished.
    pub epochs: u64,
    /// Steps taken in the current one.
    pub steps: u64,
}

/// What holds the state that a stage goes on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeFrom {
    /// A checkpoint.
    Checkpoint,
    /// What it has published.
    Result,
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match self.from {
            ResumeFrom::Checkpoint => "checkpoint",
            ResumeFrom::Result => "result",
        };
        match self.steps {
            0 => write!(f, "goes on after epoch {}, from its {from}", self.epochs),
            steps => write!(f, "goes on after epoch {} and {steps} steps, from its {from}", self.epochs),
        }
    }
}

/// What a stage has made.
pub struct Outputs {
    /// Its files.
    pub files: Vec<FileRecord>,
    /// What the receipt shall say besides.
    pub details: Value,
    /// What computed, if it was not this run's device alone.
    pub device: Option<String>,
}

impl From<Vec<FileRecord>> for Outputs {
    fn from(files: Vec<FileRecord>) -> Self {
        Self { files, details: Value::Null, device: None }
    }
}

/// What a stage works with.
pub struct StageContext<'a> {
    /// The settings.
    pub pipeline: &'a Pipeline,
    /// The folder to write to.
    pub scratch: PathBuf,
    /// The run directory, to read from.
    pub workspace: &'a Workspace,
    /// Where a checkpoint is kept.
    pub checkpoint: PathBuf,
    /// What to go on from.
    pub resume: Option<ResumeFrom>,
    /// The settings that decide the result, by dotted key.
    pub decisive: BTreeMap<String, Value>,
    /// Digests of everything that is read.
    pub inputs: BTreeMap<String, String>,
    /// Where downloaded data are kept.
    pub data: PathBuf,
    /// The device for models.
    pub device: ComputeDevice,
    /// Threads to use.
    pub threads: usize,
    /// Where progress is told.
    pub progress: &'a Progress,
}

impl StageContext<'_> {
    /// A table of an earlier stage.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn table(&self, stage: StageName, split: Split) -> Result<TableFile> {
        TableFile::open(&self.workspace.stage(stage).join(split.file_name()))
    }

    /// The folder of an earlier stage.
    pub fn folder(&self, stage: StageName) -> PathBuf {
        self.workspace.stage(stage)
    }

    /// The stage whose images play this role.
    pub fn images_stage(input: InputImages) -> StageName {
        match input {
            InputImages::Clean => ingest::NAME,
            InputImages::Noisy => corrupt::NAME,
        }
    }

    /// Writes, for each split, the table that `map` makes of the images of stage `input` with a model. `map` also sees the
    /// clean images where `input` has others.
    ///
    /// # Errors
    /// Unreadable input, images of another size than the model takes, what `map` fails with, the file system.
    pub fn map_images(
        &self,
        name: StageName,
        input: StageName,
        model: &Inference,
        content: Content,
        map: impl Fn(&RecordBatch, Option<&[f32]>) -> Result<RecordBatch> + Sync,
    ) -> Result<Outputs> {
        let tables = Split::ALL.map(|split| {
            let clean = if input == ingest::NAME { None } else { Some(self.table(ingest::NAME, split)?) };
            Ok((split, self.table(input, split)?, clean))
        });
        let tables: Vec<_> = tables.into_iter().collect::<Result<_>>()?;
        let task = self.progress.task(name.as_str(), tables.iter().map(|(_, table, _)| table.rows()).sum(), "images");
        let files = tables.iter().map(|(split, table, clean)| {
            model.check(table.image_shape()?, table.path())?;
            let map = |batch: &RecordBatch, clean: Option<&RecordBatch>| {
                let clean = clean.map(|clean| lists(clean, "image").map(pixels::values)).transpose()?;
                map(batch, clean.as_deref())
            };
            let input = MapInput { table, companion: clean.as_ref() };
            let path = (self.scratch.as_path(), split.file_name());
            map_table(input, (path.0, &path.1), content, self.write_options(), map, |rows| task.advance(rows))
        });
        Ok(files.collect::<Result<Vec<_>>>()?.into())
    }

    /// How tables are written.
    pub fn write_options(&self) -> WriteOptions {
        let compression_level = self.pipeline.output.compression_level;
        WriteOptions { compression_level, threads: self.threads, sorted: true, classes: None }
    }

    /// Writes a small file to the scratch folder.
    ///
    /// # Errors
    /// The file system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<FileRecord> {
        write_file(&self.scratch, name, bytes)
    }
}
