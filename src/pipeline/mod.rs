//! The loop over the stages: plan each, run it if necessary, check its inputs, and publish its result.

pub mod plan;
mod stage_work;
mod witness;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::config::Pipeline;
use crate::device::ComputeDevice;
use crate::error;
use crate::interrupt;
use crate::lineage::LineageRun;
use crate::progress::Progress;
use crate::quality::gate::{self, Requirement};
use crate::quality::metrics::{METRICS, Metrics};
use crate::record::StageName;
use crate::record::receipt::output_damage;
use crate::record::workspace::Workspace;
use crate::stage::shards::{Engine, Shard};
use crate::stage::{self, ResultToMake, STAGES, Stage, evaluate, report, train};
use crate::store::{self, PathKind};
use plan::{Action, PlanOptions, StagePlan, plan_stage};
use stage_work::StageWork;
use witness::Witness;

/// A range of stages of a pipeline.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The first stage.
    pub from: Option<String>,
    /// The last stage.
    pub to: Option<String>,
}

/// The options of a run.
pub struct RunOptions {
    /// The stages to run.
    pub selection: Selection,
    /// Run selected stages even if they are up to date.
    pub force: bool,
    /// Digest every file instead of trusting unchanged sizes and times.
    pub verify: bool,
    /// Do not resume.
    pub fresh: bool,
    /// How long to wait for the lock; for ever if none.
    pub lock_timeout: Option<Duration>,
    /// Where downloaded data are kept.
    pub data: PathBuf,
    /// The device for models.
    pub device: ComputeDevice,
    /// Threads for everything.
    pub threads: usize,
    /// Makes the shards of the stages that have any.
    pub engine: Box<dyn Engine>,
}

/// The part of a stage in a run of some stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It runs unless it is up to date.
    Selected,
    /// It does not run; the selected stage of this name reads its result.
    Needed(StageName),
    /// It neither runs nor is read.
    Idle,
}

impl Selection {
    /// The stages of a pipeline, in order.
    ///
    /// # Errors
    /// A name that is not one of its stages, or an empty range.
    pub fn stages(&self, pipeline: &Pipeline) -> Result<Vec<(&'static dyn Stage, Part)>> {
        let stages: Vec<&'static dyn Stage> = STAGES.iter().copied().filter(|stage| stage.applies(pipeline)).collect();
        let position = |name: &Option<String>, default: usize| match name {
            None => Ok(default),
            Some(name) => stages.iter().position(|stage| stage.name().as_str() == name).ok_or_else(|| {
                let names: Vec<_> = stages.iter().map(|stage| stage.name().as_str()).collect();
                error::settings(format!("this pipeline has no stage {name:?}; it has {}", names.join(", ")))
            }),
        };
        let (from, to) = (position(&self.from, 0)?, position(&self.to, stages.len() - 1)?);
        if from > to {
            let (from, to) = (stages[from].name(), stages[to].name());
            return Err(error::settings(format!("--from {from} comes after --to {to}: nothing would run")));
        }
        let part = |index: usize, name: StageName| {
            if (from..=to).contains(&index) {
                return Part::Selected;
            }
            let reader = stages[from..=to].iter().find(|stage| stage.inputs(pipeline).contains(&name));
            reader.map_or(Part::Idle, |stage| Part::Needed(stage.name()))
        };
        Ok(stages.iter().enumerate().map(|(index, stage)| (*stage, part(index, stage.name()))).collect())
    }
}

/// Plans the selected stages. Plans of the others are made too, but left out of the result.
///
/// # Errors
/// An outside file that cannot be read, and everything that a run refuses before it starts a stage.
pub fn plan(
    pipeline: &Pipeline,
    workspace: &Workspace,
    selection: &Selection,
    options: PlanOptions,
    progress: &Progress,
) -> Result<Vec<StagePlan>> {
    let mut plans = Vec::new();
    let stages = selection.stages(pipeline)?;
    check_place(pipeline, workspace, &stages)?;
    for (stage, part) in &stages {
        let plan = plan_stage(*stage, *part == Part::Selected, pipeline, workspace, &plans, options)?;
        if let Part::Needed(by) = part {
            check_needed(&plan, *by, progress)?;
        }
        plans.push(plan);
    }
    Ok(plans.into_iter().zip(stages).filter(|(_, (_, part))| *part == Part::Selected).map(|(plan, _)| plan).collect())
}

/// What `work` makes of the shards of the result that a stage is planned to make.
///
/// # Errors
/// A result whose inputs are yet to be made, or are incomplete; as [`Stage::prepare`]; those of `work`. Inputs that have changed
/// meanwhile, which explains more than the failure that it caused.
pub fn with_shards<T>(
    plan: &StagePlan,
    pipeline: &Pipeline,
    workspace: &Workspace,
    threads: usize,
    progress: &Progress,
    work: impl FnOnce(&[Shard]) -> Result<T>,
) -> Result<T> {
    let stage = stage::named(plan.stage.as_str()).ok_or_else(|| error::bug("a plan of no stage"))?;
    let parts = plan.parts.as_ref().ok_or_else(|| error::bug("shards are made before their inputs"))?;
    let result = ResultToMake { stage: plan.stage, pipeline, workspace, parts, files: &plan.files };
    let made = stage.prepare(&result, threads, progress).and_then(|()| work(&stage.shards(&result)?));
    let witness = Witness { stage, pipeline, workspace, parts, files: &plan.files };
    // Not after a success: it would read the inputs once more for each of a thousand tasks, and what a task reads it has compared.
    made.or_else(|cause| error::held(Err(cause), || witness.check()))
}

/// The stages whose selection makes a run check its gate: one computes the scores, the other reports them.
pub const JUDGED: [StageName; 2] = [evaluate::NAME, report::NAME];

/// Runs the selected stages that are not up to date, and reports each to `lineage`. Returns the requirements of the gate, if
/// one of [`JUDGED`] is among the selected stages.
///
/// # Errors
/// The errors of stages. The results of earlier stages stay published.
pub fn run(
    pipeline: &Pipeline,
    workspace: &Workspace,
    options: &RunOptions,
    progress: &Progress,
    lineage: &LineageRun<'_>,
) -> Result<Vec<Requirement>> {
    let stages = options.selection.stages(pipeline)?;
    check_place(pipeline, workspace, &stages)?;
    if !workspace.exists() {
        // No other process can be making the missing results: the run is refused before anything is created.
        let needed = |(stage, part): &(&dyn Stage, Part)| match part {
            Part::Needed(by) => Some(has_not_run(stage.name(), *by)),
            _ => None,
        };
        stages.iter().find_map(needed).map_or(Ok(()), Err)?;
        if stages.iter().any(|(stage, part)| stage.name() == train::NAME && *part == Part::Selected) {
            options.device.check(pipeline.training.precision)?;
        }
    }
    let judged = stages.iter().any(|(stage, part)| JUDGED.contains(&stage.name()) && *part == Part::Selected);
    let lock = workspace.lock(options.lock_timeout, progress)?;
    workspace.clean(&*lock)?;
    let RunOptions { force, verify, fresh, .. } = *options;
    let plan_options = PlanOptions { force, verify, verify_sources: verify, fresh };
    let mut plans = Vec::new();
    for (stage, part) in &stages {
        plans.push(plan_stage(*stage, *part == Part::Selected, pipeline, workspace, &plans, plan_options)?);
    }
    let damaged = distrust(&mut plans, &stages, pipeline, workspace, plan_options)?;
    drop_checkpoints(&damaged, &mut plans, &stages, pipeline, workspace, plan_options, progress)?;
    // The stage checks this too; here it fails before the stages before it have taken their time.
    let trains = |(plan, (stage, part)): (&StagePlan, &(&dyn Stage, Part))| {
        stage.name() == train::NAME && *part == Part::Selected && plan.action != Action::UpToDate
    };
    if plans.iter().zip(&stages).any(trains) {
        options.device.check(pipeline.training.precision)?;
    }
    let mut published = false;
    for (index, (stage, part)) in stages.iter().enumerate() {
        interrupt::check()?;
        let name = stage.name();
        if published {
            let plan_options = PlanOptions { verify: damaged.contains(&name), ..plan_options };
            let selected = *part == Part::Selected;
            plans[index] = plan_stage(*stage, selected, pipeline, workspace, &plans[..index], plan_options)?;
        }
        let plan = &plans[index];
        match part {
            Part::Idle => {}
            Part::Needed(by) => check_needed(plan, *by, progress)?,
            Part::Selected if plan.action == Action::UpToDate => {
                workspace.remember(name, &plan.files, &*lock)?;
                // Left by a process that was killed when it had published the result.
                workspace.drop_shards(name, &*lock)?;
                let fields = json!({ "stage": name, "action": plan.action });
                progress.event("stage-skipped", &format!("{name}: up to date"), fields);
            }
            Part::Selected => {
                let fields = json!({ "stage": name, "action": plan.action, "reasons": plan.reasons });
                progress.event("stage-started", &format!("{name}: {}", plan.reasons.join("; ")), fields);
                let told = lineage.stage(plan, workspace);
                let work = StageWork { stage: *stage, plan, pipeline, workspace, options, progress };
                let done = work.run(&*lock);
                told.end_stage(&done, workspace);
                let receipt = done?;
                let fields = json!({ "stage": name, "seconds": receipt.seconds });
                progress.event("stage-finished", &format!("{name}: done in {:.1} s", receipt.seconds), fields);
                published = true;
                let before = &plans[..index];
                plans[index] = plan_stage(*stage, false, pipeline, workspace, before, PlanOptions::default())?;
            }
        }
    }
    // Again, for a run that was killed between publishing a result and writing the settings.
    workspace.write_settings(pipeline)?;
    if judged { judge(pipeline, workspace) } else { Ok(Vec::new()) }
}

/// Refuses to write among the source's images, and over folders that no run has written.
fn check_place(pipeline: &Pipeline, workspace: &Workspace, stages: &[(&'static dyn Stage, Part)]) -> Result<()> {
    if let Some(folder) = pipeline.source.kind().folder_around(workspace.root()) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let (root, folder) = (workspace.root().display(), folder.display());
        let advice = "choose another place with --runs or `name`";
        return Err(error::settings(format!(
            "the run directory {root} would lie among the images of {folder}; {advice}"
        )));
    }
    if matches!(store::of(workspace.root()).kind(workspace.root()), Ok(Some(PathKind::File | PathKind::Other))) {
        return Err(error::settings(format!("{} is not a folder", workspace.root().display())));
    }
    let mut selected = stages.iter().filter(|(_, part)| *part == Part::Selected);
    selected.try_for_each(|(stage, _)| workspace.check_own(stage.name()))
}

/// Digests the inputs of the stages that will run, even if sizes and times are unchanged, and plans damaged ones to be made
/// again. Returns the stages whose results are damaged.
///
/// Nothing else detects a bit that a disk lost, or a program that keeps the times of files that it changes. It costs one more
/// read of the inputs, which is little beside what the stages do with them.
fn distrust(
    plans: &mut [StagePlan],
    stages: &[(&'static dyn Stage, Part)],
    pipeline: &Pipeline,
    workspace: &Workspace,
    options: PlanOptions,
) -> Result<BTreeSet<StageName>> {
    let thorough = PlanOptions { verify: true, ..options };
    let mut read: BTreeSet<StageName> = BTreeSet::new();
    // Backwards, since a stage that is made again reads its inputs too.
    for (index, (stage, part)) in stages.iter().enumerate().rev() {
        let selected = *part == Part::Selected;
        let kept = !selected || plans[index].action == Action::UpToDate;
        if kept && !options.verify && read.contains(&stage.name()) {
            plans[index] = plan_stage(*stage, selected, pipeline, workspace, &plans[..index], thorough)?;
        }
        if selected && plans[index].action != Action::UpToDate {
            read.extend(stage.inputs(pipeline));
        }
    }
    Ok(plans.iter().filter(|plan| plan.damage.is_some()).map(|plan| plan.stage).collect())
}

/// Removes the checkpoints of stages that read damaged results, which may have been damaged when the checkpoints were written.
fn drop_checkpoints(
    damaged: &BTreeSet<StageName>,
    plans: &mut [StagePlan],
    stages: &[(&'static dyn Stage, Part)],
    pipeline: &Pipeline,
    workspace: &Workspace,
    options: PlanOptions,
    progress: &Progress,
) -> Result<()> {
    for (index, (stage, part)) in stages.iter().enumerate() {
        let checkpoint = workspace.checkpoint(stage.name());
        let read = stage.inputs(pipeline).into_iter().find(|input| damaged.contains(input));
        let Some(read) = read.filter(|_| store::exists(&checkpoint)) else { continue };
        let name = stage.name();
        progress.note(&format!("{name}: its checkpoint is not used, since the result of {read} is damaged"));
        store::of(&checkpoint).remove(&checkpoint)?;
        plans[index] = plan_stage(*stage, *part == Part::Selected, pipeline, workspace, &plans[..index], options)?;
    }
    Ok(())
}

/// The published scores, if there are any.
///
/// # Errors
/// Scores that cannot be read, or are not what was written.
pub fn metrics(workspace: &Workspace) -> Result<Option<Metrics>> {
    let folder = workspace.stage(evaluate::NAME);
    let metrics = Metrics::read(&folder)?;
    // Digested after reading, since nothing else detects a wrong digit.
    for output in workspace.receipt(evaluate::NAME)?.iter().flat_map(|receipt| &receipt.outputs) {
        if output.name == METRICS
            && let Some(damage) = output_damage(output, &folder, true)?
        {
            let advice = "run the pipeline again";
            return Err(error::data(format!("the result of evaluate is damaged: {damage}; {advice}")));
        }
    }
    Ok(metrics)
}

/// The requirements of the gate, judged by the published scores, if there are any.
///
/// # Errors
/// Scores that cannot be read.
pub fn judge(pipeline: &Pipeline, workspace: &Workspace) -> Result<Vec<Requirement>> {
    let metrics = metrics(workspace)?;
    Ok(metrics.map_or(Vec::new(), |metrics| gate::judge(&pipeline.gate, &metrics)))
}

/// Checks that the result of a stage that is not selected, but is read, exists and is whole. If it is out of date, a note says
/// so, and it is used.
fn check_needed(plan: &StagePlan, by: StageName, progress: &Progress) -> Result<()> {
    let name = plan.stage;
    if plan.outputs.is_none() {
        return Err(has_not_run(name, by));
    }
    if let Some(damage) = &plan.damage {
        return Err(error::data(format!("the result of {name} is damaged: {damage}; run --from {name}")));
    }
    if plan.action != Action::UpToDate {
        progress.note(&format!("{name} is out of date ({}); its old result is used", plan.reasons.join("; ")));
    }
    Ok(())
}

fn has_not_run(name: StageName, by: StageName) -> anyhow::Error {
    let advice = format!("run the whole pipeline, or --from {name}");
    error::settings(format!("{by} needs the result of {name}, which has not run or has lost its receipt; {advice}"))
}
