//! What would run, and why.
//!
//! The plan is what the loop itself decides by: for each stage it compares the fingerprint as it is now with the one in the
//! receipt, and the files with their records. Digests of what an earlier stage has yet to make are unknown, unless that
//! stage only restores what was there before, since the same settings give the same bytes.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::config::Pipeline;
use crate::record::StageName;
use crate::record::digest::{FileStamp, stamp};
use crate::record::fingerprint::{Change, Parts, united};
use crate::record::receipt::Receipt;
use crate::record::workspace::Workspace;
use crate::setting::flatten;
use crate::stage::{Past, Resume, Stage};

/// What a run would do with a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing: its result is there and still right.
    UpToDate,
    /// Make its result.
    Run,
    /// Make its result, going on from where an earlier run has come to.
    Resume,
}

/// The plan for one stage.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StagePlan {
    /// The stage.
    pub stage: StageName,
    /// What would be done.
    pub action: Action,
    /// Why, one line each; empty if nothing.
    pub reasons: Vec<String>,
    /// What has changed since its result was made: what those reasons that say so say, for programs.
    pub changes: Vec<Change>,
    /// The stages that have to run first.
    pub waits_for: Vec<StageName>,
    /// What it goes on from, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// The parts of its fingerprint, unless they depend on what is yet to be made.
    #[serde(skip)]
    pub parts: Option<Parts>,
    /// The settings that its result has or will have.
    #[serde(skip)]
    settings: BTreeMap<String, Value>,
    /// The outside files that it reads.
    #[serde(skip)]
    pub files: BTreeMap<String, FileStamp>,
    /// What its outputs are or, by determinism, will be.
    #[serde(skip)]
    pub outputs: Option<BTreeMap<String, String>>,
    /// What is wrong with the files that it has written, if it has.
    #[serde(skip)]
    pub damage: Option<String>,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanOptions {
    /// Run selected stages even if they are up to date.
    pub force: bool,
    /// Digest every result instead of believing unchanged sizes and times.
    pub verify: bool,
    /// The same for the files outside that stages read.
    pub verify_sources: bool,
    /// Go on from nothing.
    pub fresh: bool,
}

/// Plans `stage` given the plans of the stages before it. A stage that is not `selected` is only looked at.
///
/// # Errors
/// An outside file that cannot be read.
pub fn plan_stage(
    stage: &'static dyn Stage,
    selected: bool,
    pipeline: &Pipeline,
    workspace: &Workspace,
    before: &[StagePlan],
    options: PlanOptions,
) -> Result<StagePlan> {
    let receipt = workspace.receipt(stage.name())?;
    let files = match &receipt {
        _ if selected => stamps(stage, pipeline, receipt.as_ref().filter(|_| !options.verify_sources))?,
        // What a stage has read that will not run again need not be there any more.
        Some(receipt) => receipt.files.clone(),
        None => BTreeMap::new(),
    };
    let mut inputs: BTreeMap<String, String> =
        files.iter().map(|(setting, stamp)| (setting.clone(), stamp.digest.clone())).collect();
    let mut waiting = Vec::new();
    for name in stage.inputs(pipeline) {
        let outputs = before.iter().find(|plan| plan.stage == name).and_then(|plan| plan.outputs.as_ref());
        match outputs {
            Some(outputs) => inputs.extend(outputs.clone()),
            None => waiting.push(name),
        }
    }
    let mut settings = flatten(&stage.settings(pipeline));
    if stage.tells_settings() {
        let told = before.iter().filter(|plan| stage.inputs(pipeline).contains(&plan.stage));
        settings.extend(united(told.map(|plan| (plan.stage.as_str(), &plan.settings))));
    }
    let parts = Parts { code: stage.version(), settings, inputs };
    let (mut reasons, mut changed) = (Vec::new(), Vec::new());
    let (mut restores, mut damage) = (false, None);
    match &receipt {
        None if workspace.stage(stage.name()).exists() => {
            reasons.push("its receipt is missing or of another version".to_owned());
        }
        None => reasons.push("it has not run yet".to_owned()),
        Some(receipt) => {
            changed = changes(&parts, receipt, &waiting);
            reasons.extend(changed.iter().map(Change::to_string));
            restores = reasons.is_empty() && waiting.is_empty();
            damage = receipt.damage(&workspace.stage(stage.name()), options.verify)?;
            reasons.extend(damage.clone());
        }
    }
    reasons.extend(waiting.iter().map(|name| format!("{name} runs first")));
    if options.force && selected && reasons.is_empty() {
        reasons.push("forced".to_owned());
    }
    let record = |receipt: &Receipt| {
        let record =
            |output: &crate::table::FileRecord| (format!("{}/{}", stage.name(), output.name), output.digest.clone());
        receipt.outputs.iter().map(record).collect()
    };
    // A stage that stays as it is, for being right or for not being selected, keeps its outputs.
    let outputs = receipt.as_ref().filter(|_| restores || !selected).map(record);
    let settings = receipt.as_ref().filter(|_| !selected).map_or(&parts, |receipt| &receipt.parts).settings.clone();
    let mut resume = None;
    if !reasons.is_empty() && !options.fresh {
        // As if the stages that run first gave what they gave before: what speaks against going on then does so anyway.
        let mut assumed = parts.clone();
        let old = receipt.iter().flat_map(|receipt| &receipt.parts.inputs);
        assumed
            .inputs
            .extend(old.filter(|(name, _)| is_from(&waiting, name)).map(|(name, old)| (name.clone(), old.clone())));
        // A result that is made again as it was, for being damaged or by force, has nothing to go on from.
        let published = receipt.as_ref().filter(|receipt| damage.is_none() && receipt.parts != assumed);
        let checkpoint = workspace.checkpoint(stage.name());
        let resumption = stage.resume(pipeline, &assumed, Past { checkpoint: &checkpoint, published })?;
        reasons.extend(resumption.unused);
        resume = resumption.from.filter(|_| waiting.is_empty());
        reasons.extend(resume.map(|resume| resume.to_string()));
    }
    let parts = waiting.is_empty().then_some(parts);
    let action = match resume {
        _ if reasons.is_empty() => Action::UpToDate,
        Some(_) => Action::Resume,
        None => Action::Run,
    };
    Ok(StagePlan {
        stage: stage.name(),
        action,
        reasons,
        changes: changed,
        waits_for: waiting,
        resume,
        parts,
        settings,
        files,
        outputs,
        damage,
    })
}

/// The changes since the receipt, leaving out the files of stages whose outputs are not known yet.
fn changes(parts: &Parts, receipt: &Receipt, waiting: &[StageName]) -> Vec<Change> {
    let mut old = receipt.parts.clone();
    old.inputs.retain(|name, _| !is_from(waiting, name));
    parts.changes(&old)
}

/// Whether an input is a file of one of these stages.
fn is_from(stages: &[StageName], input: &str) -> bool {
    stages.iter().any(|stage| input.starts_with(&format!("{stage}/")))
}

/// The outside files that a stage reads, with the digests that are `known` where a file is as it was.
pub fn stamps(stage: &dyn Stage, pipeline: &Pipeline, known: Option<&Receipt>) -> Result<BTreeMap<String, FileStamp>> {
    let stamps = stage.files(pipeline)?.into_iter().map(|(setting, files)| {
        let known = known.and_then(|receipt| receipt.files.get(setting));
        Ok((setting.to_owned(), stamp(&files, known)?))
    });
    stamps.collect()
}
