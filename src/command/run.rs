//! `limpid run`

use anyhow::Result;

use super::arguments::{load, progress, threads};
use super::print::print;
use crate::cli::RunArgs;
use crate::error;
use crate::interrupt;
use crate::lineage::Lineage;
use crate::pipeline::{self, RunOptions};
use crate::quality::gate;
use crate::record::workspace::Workspace;

/// Runs a pipeline and prints where its results are.
pub fn run(args: &RunArgs) -> Result<()> {
    let (pipeline, selection) = load(&args.pipeline)?;
    interrupt::install()?;
    let threads = threads(args.work.threads)?;
    let progress = progress(&args.work);
    let device = args.device.device.open(threads, |reason| progress.note(reason))?;
    let workspace = Workspace::new(&args.pipeline.runs, &pipeline.name);
    let options = RunOptions {
        selection,
        force: args.pipeline.force,
        verify: args.pipeline.verify,
        fresh: args.pipeline.fresh,
        lock_timeout: args.lock_timeout,
        data: args.data.clone(),
        device,
        threads,
    };
    let lineage = Lineage::open(args.lineage.as_deref(), &progress)?;
    let run = lineage.pipeline(&pipeline.name);
    let done = pipeline::run(&pipeline, &workspace, &options, &progress, &run).and_then(|requirements| {
        print(workspace.root().display())?;
        let missed = gate::missed(&requirements);
        missed.map_or(Ok(()), |missed| Err(error::gate_missed(format!("the gate is missed: {missed}"))))
    });
    run.end(&done);
    done.and_then(|()| lineage.check_complete())
}
