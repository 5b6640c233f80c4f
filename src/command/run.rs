//! `limpid run`

use anyhow::Result;

use super::{load, print, threads};
use crate::cli::RunArgs;
use crate::interrupt;
use crate::pipeline::workspace::Workspace;
use crate::pipeline::{self, RunOptions};
use crate::progress::Progress;

/// Runs a pipeline and prints where its results are.
pub fn run(args: &RunArgs) -> Result<()> {
    let (pipeline, selection) = load(&args.pipeline)?;
    interrupt::install()?;
    let workspace = Workspace::new(&args.pipeline.runs, &pipeline.name);
    let options = RunOptions {
        selection,
        force: args.pipeline.force,
        verify: args.pipeline.verify,
        lock_timeout: args.lock_timeout,
        data: args.data.clone(),
        device: args.work.device,
        threads: threads(&args.work)?,
    };
    pipeline::run(&pipeline, &workspace, &options, &Progress::new(args.work.log))?;
    print(workspace.root().display())
}
