//! `limpid shard` and `limpid commit`: a stage that has shards, made by many processes without an engine among them.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::Execute;
use super::arguments::{DeviceArgs, WorkArgs, duration, progress, threads};
use super::print::print;
use crate::config;
use crate::error;
use crate::interrupt;
use crate::lineage::Lineage;
use crate::pipeline::plan::{Action, PlanOptions};
use crate::pipeline::{self, RunOptions, Selection};
use crate::progress::LogMode;
use crate::record::StageName;
use crate::record::workspace::Workspace;
use crate::stage::shards::{Collector, LocalEngine};
use crate::stage::{self, STAGES, Stage};

/// A stage of a pipeline whose result is made in shards.
#[derive(Debug, Args)]
struct ShardedStageArgs {
    /// The pipeline, a TOML file.
    pipeline: PathBuf,
    /// The stage: ingest (of a folder or Parquet), corrupt, encode, denoise or export. The stages before it have run.
    #[arg(long)]
    stage: String,
    /// Override one setting, as in `--set training.epochs=5`; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder that holds the run directories.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Accept shards that were computed by other devices or processors with other instructions, whose last bits may differ.
    #[arg(long)]
    any_arithmetic: bool,
}

impl ShardedStageArgs {
    fn load(&self) -> Result<(config::Pipeline, Workspace, Selection)> {
        let pipeline = config::load(&self.pipeline, &self.set)?;
        let workspace = Workspace::new(&self.runs, &pipeline.name);
        let selection = Selection { from: Some(self.stage.clone()), to: Some(self.stage.clone()) };
        if let Some(stage) = stage::named(&self.stage)
            && !stage.has_shards(&pipeline)
        {
            let has_shards = |stage: &&&dyn Stage| stage.has_shards(&pipeline);
            let names: Vec<_> = STAGES.iter().filter(has_shards).map(|stage| stage.name()).collect();
            let names = names.into_iter().map(StageName::as_str).collect::<Vec<_>>().join(", ");
            let stage = &self.stage;
            let advice = format!("those with shards are {names}; run it with limpid run --only {stage}");
            return Err(error::settings(format!("{stage} is made as a whole: {advice}")));
        }
        Ok((pipeline, workspace, selection))
    }
}

/// Arguments of `shard`.
#[derive(Debug, Args)]
pub struct ShardArgs {
    /// The stage.
    #[command(flatten)]
    sharded: ShardedStageArgs,
    /// The number of this task, from 0.
    #[arg(long, value_name = "I")]
    index: usize,
    /// The number of tasks. Each makes about as many shards; with more tasks than shards, some have nothing to do.
    #[arg(long, value_name = "N")]
    of: usize,
    /// The device.
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
}

impl Execute for ShardArgs {
    /// Makes the shards of one task and prints their paths.
    fn execute(&self) -> Result<()> {
        let Self { sharded, index, of, .. } = self;
        if index >= of {
            return Err(error::settings(format!("--index {index} --of {of}: tasks are numbered from 0")));
        }
        let (pipeline, workspace, selection) = sharded.load()?;
        interrupt::install()?;
        let threads = threads(self.work.threads)?;
        let progress = progress(&self.work);
        let device = self.device.device.open(threads, |reason| progress.note(reason))?;
        let plans = pipeline::plan(&pipeline, &workspace, &selection, PlanOptions::default(), &progress)?;
        for plan in plans.iter().filter(|plan| plan.action == Action::UpToDate) {
            let fields = json!({ "stage": plan.stage, "action": plan.action });
            progress.event("stage-skipped", &format!("{}: up to date", plan.stage), fields);
        }
        for plan in plans.iter().filter(|plan| plan.action != Action::UpToDate) {
            pipeline::with_shards(plan, &pipeline, &workspace, threads, &progress, |shards| {
                let engine = LocalEngine::new(threads, &device);
                if !sharded.any_arithmetic {
                    engine.check(shards)?;
                }
                let mine = &shards[index * shards.len() / of..(index + 1) * shards.len() / of];
                for receipt in stage::make(plan.stage, mine, &engine, &progress)? {
                    let folder = mine[0].folder.files();
                    receipt.files.iter().try_for_each(|file| print(folder.join(&file.name).display()))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn log_mode(&self) -> LogMode {
        self.work.log
    }
}

/// Arguments of `commit`.
#[derive(Debug, Args)]
pub struct CommitArgs {
    /// The stage.
    #[command(flatten)]
    sharded: ShardedStageArgs,
    /// Wait so long if another process uses the run directory, as in 30s, 10m or 2h; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    lock_timeout: Option<Duration>,
    /// Append OpenLineage run events to this file, one a line.
    #[arg(long, value_name = "FILE")]
    lineage: Option<PathBuf>,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
}

impl Execute for CommitArgs {
    /// Publishes the result of a stage whose shards are finished, and prints where it is.
    fn execute(&self) -> Result<()> {
        let (pipeline, workspace, selection) = self.sharded.load()?;
        interrupt::install()?;
        let threads = threads(self.work.threads)?;
        let progress = progress(&self.work);
        let options = RunOptions {
            selection,
            force: false,
            verify: false,
            fresh: false,
            lock_timeout: self.lock_timeout,
            data: PathBuf::new(),
            device: Default::default(),
            threads,
            engine: Box::new(Collector { any_arithmetic: self.sharded.any_arithmetic }),
        };
        let lineage = Lineage::open(self.lineage.as_deref(), &progress)?;
        let run = lineage.pipeline(&pipeline.name);
        let done = pipeline::run(&pipeline, &workspace, &options, &progress, &run).map(|_| ());
        run.end(&done);
        done?;
        print(workspace.root().join(&self.sharded.stage).display())?;
        lineage.check_complete()
    }

    fn log_mode(&self) -> LogMode {
        self.work.log
    }
}
