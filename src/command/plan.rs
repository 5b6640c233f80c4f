//! `limpid plan`

use anyhow::Result;

use super::arguments::{PipelineArgs, load};
use super::print::{print, print_line};
use crate::cli::PlanArgs;
use crate::error;
use crate::pipeline;
use crate::pipeline::plan::{Action, PlanOptions, StagePlan};
use crate::progress::{LogMode, Progress};
use crate::quality::gate;
use crate::record::workspace::Workspace;
use crate::stage::evaluate;

/// Prints what a run would do and why.
pub fn plan(args: &PlanArgs) -> Result<()> {
    let (pipeline, selection) = load(&args.pipeline)?;
    let workspace = Workspace::new(&args.pipeline.runs, &pipeline.name);
    let PipelineArgs { force, verify, fresh, .. } = args.pipeline;
    let options = PlanOptions { force, verify, verify_sources: verify, fresh };
    let progress = Progress::new(LogMode::Auto);
    let plans = pipeline::plan(&pipeline, &workspace, &selection, options, &progress)?;
    if args.json {
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
    // What is to be evaluated first may have other scores.
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
    if args.check && !pending.is_empty() {
        return Err(error::work_pending(format!("there is work to do: {}", pending.join(", "))));
    }
    Ok(())
}
