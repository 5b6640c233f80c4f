//! The work on one stage: its result is made, its inputs are checked, and the result is published.

use std::time::Instant;

use anyhow::{Context, Result};

use super::RunOptions;
use super::plan::StagePlan;
use super::witness::Witness;
use crate::config::Pipeline;
use crate::error::{self, Kind};
use crate::progress::Progress;
use crate::record::receipt::{Receipt, Work};
use crate::record::workspace::Workspace;
use crate::stage::{ResultToMake, Stage, StageContext};
use crate::store::{self, Lease};

/// A stage that has to run.
pub struct StageWork<'a> {
    /// The stage.
    pub stage: &'static dyn Stage,
    /// Its plan.
    pub plan: &'a StagePlan,
    /// The settings.
    pub pipeline: &'a Pipeline,
    /// The run directory.
    pub workspace: &'a Workspace,
    /// The options of the run.
    pub options: &'a RunOptions,
    /// Receives progress and messages.
    pub progress: &'a Progress,
}

impl StageWork<'_> {
    /// Makes the result and publishes it.
    ///
    /// # Errors
    /// Those of the stage; inputs that have changed meanwhile; the store.
    pub fn run(&self, lock: &dyn Lease) -> Result<Receipt> {
        let Self { stage, plan, pipeline, workspace, options, progress } = *self;
        let parts = plan.parts.clone().ok_or_else(|| error::bug("a stage runs before its inputs"))?;
        let (started, clock) = (jiff::Timestamp::now(), Instant::now());
        let checkpoint = workspace.checkpoint(stage.name());
        if options.fresh {
            // Otherwise the next run would resume from it. There may be none.
            _ = store::of(&checkpoint).remove(&checkpoint);
        }
        let witness = Witness { stage, pipeline, workspace, parts: &parts, files: &plan.files };
        let made = workspace.scratch(stage.name(), &parts.digest(), lock).and_then(|scratch| {
            let context = StageContext {
                result: ResultToMake { stage: stage.name(), pipeline, workspace, parts: &parts, files: &plan.files },
                pipeline,
                scratch,
                workspace,
                checkpoint: checkpoint.clone(),
                resume: plan.resume.map(|resume| resume.from),
                forced: options.force,
                decisive: &parts.settings,
                inputs: &parts.inputs,
                data: options.data.clone(),
                device: options.device.clone(),
                threads: options.threads,
                engine: &*options.engine,
                progress,
            };
            stage.run(&context).with_context(|| format!("the stage {} failed", stage.name()))
        });
        let check = || {
            let checked = witness.check();
            if checked.as_ref().is_err_and(|cause| error::kind(cause) != Kind::TryAgain) {
                // It may have been computed from the changed inputs.
                _ = store::of(&checkpoint).remove(&checkpoint);
            }
            checked.with_context(|| format!("nothing of the stage {} is published", stage.name()))
        };
        let published = error::held(made, check).and_then(|outputs| {
            let work = Work {
                outputs: outputs.files,
                started,
                seconds: clock.elapsed().as_secs_f64(),
                seed: pipeline.seed,
                device: outputs.device.unwrap_or_else(|| options.device.described()),
                threads: options.threads,
                details: outputs.details,
            };
            let receipt = Receipt::new(stage.name(), parts.clone(), plan.files.clone(), work);
            workspace.publish(stage.name(), &receipt, lock)?;
            // The next run removes them if this fails.
            _ = workspace.drop_shards(stage.name(), lock);
            Ok(receipt)
        });
        // Removes the replaced result after a success, and the scratch folder after a failure, which may be what fills the disk. An
        // error is ignored: the next run tries again.
        _ = workspace.clean(lock);
        let receipt = published?;
        workspace.write_settings(pipeline)?;
        // The published result replaces the checkpoint.
        _ = store::of(&checkpoint).remove(&checkpoint);
        Ok(receipt)
    }
}
