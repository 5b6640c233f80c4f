//! The loop over the stages: decide, run, publish.

pub mod fingerprint;
pub mod plan;
pub mod receipt;
pub mod workspace;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use crate::config::Pipeline;
use crate::device::ComputeDevice;
use crate::error;
use crate::interrupt;
use crate::progress::Progress;
use crate::stage::{STAGES, Stage, StageContext};
use plan::{Action, PlanOptions, StagePlan, plan_stage};
use receipt::{Receipt, Work};
use workspace::{Workspace, WriteLock};

/// Which stages of a pipeline are meant.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The first stage.
    pub from: Option<String>,
    /// The last stage.
    pub to: Option<String>,
}

/// Everything that a run needs to know besides the pipeline.
pub struct RunOptions {
    /// Which stages.
    pub selection: Selection,
    /// Run selected stages even if they are up to date.
    pub force: bool,
    /// Digest every file instead of believing unchanged sizes and times.
    pub verify: bool,
    /// How long to wait for the lock; for ever if none.
    pub lock_timeout: Option<Duration>,
    /// Where downloaded data are kept.
    pub data: PathBuf,
    /// The device for models.
    pub device: ComputeDevice,
    /// Threads for everything.
    pub threads: usize,
}

/// A stage and whether it was selected.
type Selected = (&'static dyn Stage, bool);

impl Selection {
    /// The stages of a pipeline, in order.
    ///
    /// # Errors
    /// A name that is not one of its stages, or an empty range.
    pub fn stages(&self, pipeline: &Pipeline) -> Result<Vec<Selected>> {
        let stages: Vec<_> = STAGES.iter().copied().filter(|stage| stage.applies(pipeline)).collect();
        let position = |name: &Option<String>, default: usize| match name {
            None => Ok(default),
            Some(name) => stages.iter().position(|stage| stage.name() == name).ok_or_else(|| {
                let names: Vec<_> = stages.iter().map(|stage| stage.name()).collect();
                error::settings(format!("this pipeline has no stage {name:?}; it has {}", names.join(", ")))
            }),
        };
        let (from, to) = (position(&self.from, 0)?, position(&self.to, stages.len() - 1)?);
        if from > to {
            let (from, to) = (stages[from].name(), stages[to].name());
            return Err(error::settings(format!("--from {from} comes after --to {to}: nothing would run")));
        }
        Ok(stages.into_iter().enumerate().map(|(index, stage)| (stage, (from..=to).contains(&index))).collect())
    }
}

/// Plans the selected stages; the plans of the others, which were only looked at, are left out.
///
/// # Errors
/// An outside file that cannot be read.
pub fn plan(
    pipeline: &Pipeline,
    workspace: &Workspace,
    selection: &Selection,
    options: PlanOptions,
) -> Result<Vec<StagePlan>> {
    let mut plans = Vec::new();
    let stages = selection.stages(pipeline)?;
    for (stage, selected) in &stages {
        plans.push(plan_stage(*stage, *selected, pipeline, workspace, &plans, options)?);
    }
    Ok(plans.into_iter().zip(stages).filter(|(_, (_, selected))| *selected).map(|(plan, _)| plan).collect())
}

/// Runs what has to be run.
///
/// # Errors
/// Whatever a stage fails with. What the stages before it published stays.
pub fn run(pipeline: &Pipeline, workspace: &Workspace, options: &RunOptions, progress: &Progress) -> Result<()> {
    let stages = options.selection.stages(pipeline)?;
    let lock = workspace.lock(options.lock_timeout, progress)?;
    workspace.clean(&lock)?;
    workspace.write_settings(pipeline)?;
    let plan_options = PlanOptions { force: options.force, verify: options.verify };
    let mut plans = Vec::new();
    for (stage, selected) in stages {
        interrupt::check()?;
        let mut plan = plan_stage(stage, selected, pipeline, workspace, &plans, plan_options)?;
        let name = stage.name();
        if !selected {
            check_unselected(&plan, workspace, pipeline, &options.selection, progress)?;
        } else if plan.action == Action::UpToDate {
            let fields = json!({ "stage": name, "action": plan.action });
            progress.event("stage-skipped", &format!("{name}: up to date"), fields);
        } else {
            let fields = json!({ "stage": name, "action": plan.action, "reasons": plan.reasons });
            progress.event("stage-started", &format!("{name}: {}", plan.reasons.join("; ")), fields);
            let receipt = run_stage(stage, &plan, pipeline, workspace, options, progress, &lock)?;
            let fields = json!({ "stage": name, "seconds": receipt.seconds });
            progress.event("stage-finished", &format!("{name}: done in {:.1} s", receipt.seconds), fields);
            plan = plan_stage(stage, false, pipeline, workspace, &plans, PlanOptions::default())?;
        }
        plans.push(plan);
    }
    Ok(())
}

fn run_stage(
    stage: &'static dyn Stage,
    plan: &StagePlan,
    pipeline: &Pipeline,
    workspace: &Workspace,
    options: &RunOptions,
    progress: &Progress,
    lock: &WriteLock,
) -> Result<Receipt> {
    let parts = plan.parts.clone().ok_or_else(|| error::bug("a stage runs before its inputs"))?;
    let (started, clock) = (jiff::Timestamp::now(), Instant::now());
    let context = StageContext {
        pipeline,
        scratch: workspace.scratch(stage.name(), lock)?,
        workspace,
        checkpoint: workspace.checkpoint(stage.name()),
        inputs: parts.inputs.clone(),
        data: options.data.clone(),
        device: options.device,
        threads: options.threads,
        progress,
    };
    let outputs = stage.run(&context).with_context(|| format!("the stage {} failed", stage.name()));
    let outputs = outputs.inspect_err(|_| {
        // What is left is of no use and may be what fills the disk; the next run would remove it too.
        _ = workspace.clean(lock);
    })?;
    let work = Work {
        outputs: outputs.files,
        started,
        seconds: clock.elapsed().as_secs_f64(),
        seed: pipeline.seed,
        device: options.device.to_string(),
        threads: options.threads,
        details: outputs.details,
    };
    let receipt = Receipt::new(stage.name(), parts, plan.files.clone(), work);
    workspace.publish(stage.name(), &receipt, lock)?;
    if stage.resumes() {
        // Its result is published: the checkpoint has nothing to add.
        _ = std::fs::remove_file(workspace.checkpoint(stage.name()));
    }
    Ok(receipt)
}

/// A stage before the first selected one must have run; if it is out of date, that is said and it is used as it is.
fn check_unselected(
    plan: &StagePlan,
    workspace: &Workspace,
    pipeline: &Pipeline,
    selection: &Selection,
    progress: &Progress,
) -> Result<()> {
    let Some(first) = &selection.from else { return Ok(()) };
    let stages = selection.stages(pipeline)?;
    let position = |name: &str| stages.iter().position(|(stage, _)| stage.name() == name);
    if position(plan.stage) > position(first) {
        return Ok(());
    }
    let needed = stages.iter().any(|(stage, selected)| *selected && stage.inputs(pipeline).contains(&plan.stage));
    if !needed || plan.action == Action::UpToDate {
        return Ok(());
    }
    let name = plan.stage;
    let Some(receipt) = workspace.receipt(name) else {
        return Err(error::settings(format!(
            "{first} needs the result of {name}, which has not run; run the whole pipeline, or --from {name}"
        )));
    };
    if let Some(damage) = receipt.damage(&workspace.stage(name), false) {
        return Err(error::data(format!("the result of {name} is damaged: {damage}; run --from {name}")));
    }
    progress.note(&format!("{name} is out of date ({}); its old result is used", plan.reasons.join("; ")));
    Ok(())
}
