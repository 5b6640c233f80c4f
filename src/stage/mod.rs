//! The stages. Each has a name, inputs, the settings that decide its result, and a function that makes the result.
//!
//! To add one: a file here and a line in [`STAGES`].

pub mod corrupt;
pub mod denoise;
pub mod encode;
pub mod evaluate;
pub mod export;
pub mod ingest;
pub mod report;
pub mod train;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::config::Pipeline;
use crate::device::ComputeDevice;
use crate::engine::operation::{ModelFiles, Operation};
use crate::engine::threads::Threads;
use crate::engine::{Engine, Job, Shard, TablePart};
use crate::image::Split;
use crate::progress::Progress;
use crate::record::fingerprint::Parts;
use crate::record::receipt::Receipt;
use crate::record::workspace::Workspace;
use crate::record::{StageName, TableSet};
use crate::source::Outside;
use crate::table::{FileRecord, TableFile, WriteOptions, write_file};
use crate::training::settings::InputImages;

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
    /// Its name, which is also the name of its folder.
    fn name(&self) -> StageName;

    /// Version of its code: raised when the same input gives another output.
    fn version(&self) -> u32;

    /// Whether the pipeline has this stage.
    fn applies(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    /// The stages whose results it reads.
    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName>;

    /// The files outside the run that it reads, by the setting that names them.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    fn files(&self, _pipeline: &Pipeline) -> Result<Vec<(&'static str, Outside)>> {
        Ok(Vec::new())
    }

    /// The settings that decide its result, and no others.
    fn settings(&self, pipeline: &Pipeline) -> Value;

    /// Whether its result contains the settings of its inputs, which then also decide it.
    fn tells_settings(&self) -> bool {
        false
    }

    /// The state from which it would resume to make a result of these parts; none for stages that cannot resume.
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

/// The tables of these images, which the pipeline has.
pub fn images(pipeline: &Pipeline, which: InputImages) -> TableSet {
    match which {
        InputImages::Clean => ingest::NAME.into(),
        InputImages::Noisy if pipeline.source.kind().is_paired() => ingest::NOISY,
        InputImages::Noisy => corrupt::NAME.into(),
    }
}

/// The noisy images, if the pipeline has any.
pub fn noisy_images(pipeline: &Pipeline) -> Option<TableSet> {
    pipeline.has_noisy_images().then(|| images(pipeline, InputImages::Noisy))
}

/// The stages of the clean images and of these, each once.
fn image_stages(tables: Option<TableSet>) -> impl Iterator<Item = StageName> {
    let other = tables.map(|tables| tables.stage).filter(|stage| *stage != ingest::NAME);
    std::iter::once(ingest::NAME).chain(other)
}

/// What earlier runs of a stage have left to resume from.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// The path of its checkpoint, which need not exist.
    pub checkpoint: &'a Path,
    /// The folder of its published result, if there is one.
    pub folder: &'a Path,
    /// The receipt of its published result, if that is undamaged and of other parts.
    pub published: Option<&'a Receipt>,
}

/// Whether a stage resumes, and from which state.
#[derive(Debug, Default)]
pub struct Resumption {
    /// The state that it resumes from, if it does.
    pub from: Option<Resume>,
    /// The reasons why other existing state is not used.
    pub unused: Vec<String>,
}

/// The state that a stage resumes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resume {
    /// Where the state is stored.
    pub from: ResumeFrom,
    /// Epochs that are finished.
    pub epochs: u64,
    /// Steps taken in the current one.
    pub steps: u64,
}

/// Where the state that a stage resumes from is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeFrom {
    /// A checkpoint.
    Checkpoint,
    /// Its published result.
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

/// The output of a stage.
pub struct Outputs {
    /// Its files.
    pub files: Vec<FileRecord>,
    /// Further details for the receipt.
    pub details: Value,
    /// The devices that computed, if not this run's device alone.
    pub device: Option<String>,
}

impl From<Vec<FileRecord>> for Outputs {
    fn from(files: Vec<FileRecord>) -> Self {
        Self { files, details: Value::Null, device: None }
    }
}

/// What a stage receives to make its result.
pub struct StageContext<'a> {
    /// The settings.
    pub pipeline: &'a Pipeline,
    /// The folder to write to.
    pub scratch: PathBuf,
    /// The run directory, to read from.
    pub workspace: &'a Workspace,
    /// The path of the checkpoint.
    pub checkpoint: PathBuf,
    /// Where to resume from, if at all.
    pub resume: Option<ResumeFrom>,
    /// The settings that decide the result, by dotted key.
    pub decisive: BTreeMap<String, Value>,
    /// Digests of everything that is read.
    pub inputs: BTreeMap<String, String>,
    /// The folder of downloaded data.
    pub data: PathBuf,
    /// The device for models.
    pub device: ComputeDevice,
    /// Number of threads.
    pub threads: usize,
    /// Receives progress and messages.
    pub progress: &'a Progress,
}

impl StageContext<'_> {
    /// A table of an earlier stage.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn table(&self, tables: impl Into<TableSet>, split: Split) -> Result<TableFile> {
        TableFile::open(&tables.into().path(self.workspace, split))
    }

    /// The folder of an earlier stage.
    pub fn folder(&self, stage: StageName) -> PathBuf {
        self.workspace.stage(stage)
    }

    /// Applies an operation to the images of `input` and writes a table for each split. An operation that measures errors
    /// also gets the clean images, if `input` has others.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn map_images(
        &self,
        name: StageName,
        input: TableSet,
        operation: impl Fn(Split) -> Operation,
    ) -> Result<Outputs> {
        let (mut jobs, mut rows) = (Vec::new(), 0);
        for split in input.splits(self.workspace) {
            let table = self.table(input, split)?;
            rows += table.rows();
            let part = |tables: TableSet| self.part(tables, split, table.row_groups());
            let (operation, clean) = (operation(split), TableSet::from(ingest::NAME));
            let companion = (operation.sees_clean_images() && clean != input).then_some(clean);
            let output = Shard {
                folder: self.scratch.clone(),
                name: split.file_name(),
                compression_level: self.pipeline.output.compression_level,
            };
            jobs.push(Job { input: part(input), companion: companion.map(part), operation, output });
        }
        let task = self.progress.task(name.as_str(), rows, "images");
        let engine = Threads { threads: self.threads, device: self.device.inference() };
        Ok(engine.run(&jobs, &|rows| task.advance(rows))?.into())
    }

    /// All row groups of a table of an earlier stage, as the input of a job.
    fn part(&self, tables: TableSet, split: Split, row_groups: usize) -> TablePart {
        let name = format!("{}/{}", tables.stage, tables.file_name(split));
        let digest = self.inputs.get(&name).cloned().unwrap_or_default();
        TablePart { path: tables.path(self.workspace, split), digest, row_groups: 0..row_groups }
    }

    /// The model that this run has trained, for an operation.
    pub fn model(&self) -> ModelFiles {
        let prefix = format!("{}/", train::NAME);
        let files = self.inputs.iter().filter_map(|(name, digest)| Some((name.strip_prefix(&prefix)?, digest)));
        let digests = files.map(|(name, digest)| (name.to_owned(), digest.clone())).collect();
        ModelFiles { folder: self.folder(train::NAME), digests }
    }

    /// The options of tables that the stage writes.
    pub fn write_options(&self) -> WriteOptions {
        let compression_level = self.pipeline.output.compression_level;
        WriteOptions { compression_level, threads: self.threads, sorted: true, classes: None, label_lists: None }
    }

    /// Writes a small file to the scratch folder.
    ///
    /// # Errors
    /// The file system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<FileRecord> {
        write_file(&self.scratch, name, bytes)
    }
}
