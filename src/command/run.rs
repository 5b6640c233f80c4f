//! `limpid run`: runs a pipeline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};

use super::Execute;
use super::arguments::{DeviceArgs, PipelineArgs, WorkArgs, duration, load, progress, threads};
use super::print::print;
use crate::device::ComputeDevice;
use crate::error;
use crate::interrupt;
use crate::lineage::Lineage;
use crate::pipeline::{self, RunOptions};
use crate::progress::{LogMode, Progress};
use crate::quality::gate;
use crate::record::workspace::Workspace;
use crate::stage::shards::{Engine, LocalEngine};
use crate::store::url::absolute;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which pipeline, and which of its stages.
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The device.
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
    /// Wait so long if another process uses the run directory, as in 30s, 10m or 2h; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lock_timeout: Option<Duration>,
    /// The folder for downloaded data.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Append OpenLineage run events to this file, one a line.
    #[arg(long, value_name = "FILE")]
    lineage: Option<PathBuf>,
}

impl Execute for RunArgs {
    /// Runs a pipeline and prints where its results are.
    fn execute(&self) -> Result<()> {
        self.execute_with(&local)
    }

    fn log_mode(&self) -> LogMode {
        RunArgs::log_mode(self)
    }
}

/// Makes the engine of a run, which has this device and so many threads.
pub type MakeEngine<'a> = &'a dyn Fn(&ComputeDevice, usize, &Progress) -> Result<Box<dyn Engine>>;

/// The engine of a run in one process.
///
/// # Errors
/// None.
pub fn local(device: &ComputeDevice, threads: usize, _: &Progress) -> Result<Box<dyn Engine>> {
    Ok(Box::new(LocalEngine::new(threads, device)))
}

impl RunArgs {
    /// Runs the pipeline with an engine and prints where its results are.
    ///
    /// # Errors
    /// As [`RunArgs::run`].
    pub fn execute_with(&self, engine: MakeEngine<'_>) -> Result<()> {
        interrupt::install()?;
        self.run(None, engine, &progress(&self.work), &|run| print(run.display()))
    }

    /// The form of progress messages and of the error message.
    pub fn log_mode(&self) -> LogMode {
        self.work.log
    }

    /// Names the run directory by its absolute path, which processes in other folders understand; a URL is one.
    ///
    /// # Errors
    /// An empty path; a current folder that is gone.
    pub fn make_absolute(&mut self) -> Result<()> {
        let runs = &mut self.pipeline.runs;
        *runs = absolute(runs).with_context(|| format!("cannot find {}", runs.display()))?;
        // The paths of sources are those from the pipeline's folder.
        let file = &mut self.pipeline.pipeline;
        *file = std::path::absolute(&*file).with_context(|| format!("cannot find {}", file.display()))?;
        Ok(())
    }

    /// Runs the pipeline, or that of a document in its place, and calls `published` with the run directory before the gate is judged.
    ///
    /// # Errors
    /// Those of stages, and a missed gate.
    pub fn run(
        &self,
        document: Option<Map<String, Value>>,
        engine: MakeEngine<'_>,
        progress: &Progress,
        published: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        let (pipeline, selection) = load(&self.pipeline, document)?;
        let threads = threads(self.work.threads)?;
        let device = self.device.device.open(threads, |reason| progress.note(reason))?;
        let workspace = Workspace::new(&self.pipeline.runs, &pipeline.name);
        let options = RunOptions {
            selection,
            force: self.pipeline.force,
            verify: self.pipeline.verify,
            fresh: self.pipeline.fresh,
            lock_timeout: self.lock_timeout,
            data: self.data.clone(),
            engine: engine(&device, threads, progress)?,
            device,
            threads,
        };
        let lineage = Lineage::open(self.lineage.as_deref(), progress)?;
        let run = lineage.pipeline(&pipeline.name);
        let done = pipeline::run(&pipeline, &workspace, &options, progress, &run).and_then(|requirements| {
            published(workspace.root())?;
            let missed = gate::missed(&requirements);
            missed.map_or(Ok(()), |missed| Err(error::gate_missed(format!("the gate is missed: {missed}"))))
        });
        run.end(&done);
        done.and_then(|()| lineage.check_complete())
    }

    /// The run directory.
    ///
    /// # Errors
    /// Invalid settings.
    pub fn directory(&self, document: Option<Map<String, Value>>) -> Result<PathBuf> {
        let (pipeline, _) = load(&self.pipeline, document)?;
        Ok(Workspace::new(&self.pipeline.runs, &pipeline.name).root().to_owned())
    }
}
