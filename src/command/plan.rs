//! `limpid plan`: prints which stages a run would execute, and why.

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value};

use super::Execute;
use super::arguments::{PipelineArgs, available, load};
use super::print::{print, print_line};
use crate::config::Pipeline;
use crate::device::DeviceChoice;
use crate::error;
use crate::pipeline;
use crate::pipeline::plan::{Action, PlanOptions, StagePlan};
use crate::progress::{LogMode, Progress};
use crate::quality::gate;
use crate::record::workspace::Workspace;
use crate::stage::{evaluate, train};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which pipeline, and which of its stages.
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Also check that a run could use this device, and train on it, as `run --device` would.
    #[arg(long)]
    device: Option<DeviceChoice>,
    /// Exit with 10 if anything would run.
    #[arg(long)]
    check: bool,
}

impl Execute for PlanArgs {
    /// Prints what a run would do and why.
    fn execute(&self) -> Result<()> {
        let progress = Progress::new(LogMode::Auto);
        let (pipeline, workspace, plans) = self.plan(None, &progress)?;
        if self.json {
            print(serde_json::to_string_pretty(&plans)?)?;
        } else {
            let width = plans.iter().map(|plan| plan.stage.as_str().len()).max().unwrap_or(0);
            for plan in &plans {
                let action = match plan.action {
                    Action::UpToDate => "up to date",
                    Action::Run => "run",
                    Action::Resume => "resume",
                };
                print(format!("{:width$}  {action}", plan.stage))?;
                for reason in &plan.reasons {
                    print_line(format!("{:width$}    {reason}", ""))?;
                }
            }
        }
        // The gate is not judged if evaluate would run, since the scores may change.
        let judged = plans.iter().any(|plan| pipeline::JUDGED.contains(&plan.stage));
        let pends = |plan: &StagePlan| plan.stage == evaluate::NAME && plan.action != Action::UpToDate;
        if judged
            && !plans.iter().any(pends)
            && let Some(missed) = gate::missed(&pipeline::judge(&pipeline, &workspace)?)
        {
            progress.note(&format!("the gate is missed, so that a run ends with 3: {missed}"));
        }
        let pending: Vec<_> =
            plans.iter().filter(|plan| plan.action != Action::UpToDate).map(|plan| plan.stage.as_str()).collect();
        if self.check && !pending.is_empty() {
            return Err(error::work_pending(format!("there is work to do: {}", pending.join(", "))));
        }
        Ok(())
    }
}

impl PlanArgs {
    /// The plans of the selected stages, of the pipeline or of that of a document in its place.
    ///
    /// # Errors
    /// As [`pipeline::plan`]; a device that is not there, or not for the precision of the training.
    pub fn plan(
        &self,
        document: Option<Map<String, Value>>,
        progress: &Progress,
    ) -> Result<(Pipeline, Workspace, Vec<StagePlan>)> {
        let (pipeline, selection) = load(&self.pipeline, document)?;
        let workspace = Workspace::new(&self.pipeline.runs, &pipeline.name);
        let PipelineArgs { force, verify, fresh, .. } = self.pipeline;
        let options = PlanOptions { force, verify, verify_sources: verify, fresh };
        let plans = pipeline::plan(&pipeline, &workspace, &selection, options, progress)?;
        if let Some(device) = self.device {
            let device = device.open(available(), |reason| progress.note(reason))?;
            let trains = |plan: &StagePlan| plan.stage == train::NAME && plan.action != Action::UpToDate;
            if plans.iter().any(trains) {
                device.check(pipeline.training.precision)?;
            }
        }
        Ok((pipeline, workspace, plans))
    }
}
