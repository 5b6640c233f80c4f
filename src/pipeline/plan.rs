//! The plan of a run: which stages have to run, and why.
//!
//! The run itself follows it. For each stage the current fingerprint is compared with that of the receipt, and the files with
//! their records. Digests of outputs that an earlier stage has yet to make are unknown, unless that stage only
//! restores an earlier result, since the same settings give the same bytes.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::config::Pipeline;
use crate::record::StageName;
use crate::record::digest::{FileStamp, stamp};
use crate::record::fingerprint::{Change, Parts, told, united};
use crate::record::receipt::Receipt;
use crate::record::workspace::Workspace;
use crate::setting::flatten;
use crate::stage::{Past, ResultToMake, Resume, Stage};

/// The action of a run for a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// None: its result is valid.
    UpToDate,
    /// Compute its result.
    Run,
    /// Compute its result, resuming from an earlier run.
    Resume,
}

/// The plan for one stage.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct StagePlan {
    /// The stage.
    pub stage: StageName,
    /// The action.
    pub action: Action,
    /// The reasons, one line each; empty if the stage is up to date.
    pub reasons: Vec<String>,
    /// The changes since its result was made, for programs; `reasons` has them as text.
    pub changes: Vec<Change>,
    /// The stages that have to run first.
    pub waits_for: Vec<StageName>,
    /// What it resumes from, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// The parts of its fingerprint, unless they depend on outputs that are yet to be made.
    #[serde(skip)]
    pub parts: Option<Parts>,
    /// The settings of its present or future result.
    #[serde(skip)]
    settings: BTreeMap<String, Value>,
    /// The outside files that it reads.
    #[serde(skip)]
    pub files: BTreeMap<String, FileStamp>,
    /// The digests of its outputs, present or, by determinism, future; by `stage/name`.
    #[serde(skip)]
    pub outputs: Option<BTreeMap<String, String>>,
    /// Which shards of its result are finished, if it will be made shard by shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardCount>,
    /// The damage of the files that it has written, if any.
    #[serde(skip)]
    pub damage: Option<String>,
}

/// Shards of a result that is not published yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShardCount {
    /// Those that are finished.
    pub finished: usize,
    /// All.
    pub of: usize,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanOptions {
    /// Run selected stages even if they are up to date.
    pub force: bool,
    /// Digest every result instead of trusting unchanged sizes and times.
    pub verify: bool,
    /// The same for the files outside that stages read.
    pub verify_sources: bool,
    /// Do not resume.
    pub fresh: bool,
}

/// Plans `stage`, given the plans of the stages before it. A stage that is not `selected` will not run; its state is reported.
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
        _ if selected && options.verify_sources => stamps(stage, pipeline, &BTreeMap::new())?,
        _ if selected => {
            let mut known = receipt.as_ref().map_or(BTreeMap::new(), |receipt| receipt.files.clone());
            if stage.has_shards(pipeline) {
                known.extend(workspace.noted(stage.name()));
            }
            stamps(stage, pipeline, &known)?
        }
        // The files that a stage has read may be gone if it will not run again.
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
        None if workspace.holds_results(stage.name()) => {
            reasons.push("its receipt is missing or of another version".to_owned());
        }
        None => reasons.push("it has not run yet".to_owned()),
        Some(receipt) => {
            changed = changes(&parts, receipt, &waiting);
            reasons.extend(told(&changed));
            restores = reasons.is_empty() && waiting.is_empty();
            damage = receipt.damage(&workspace.stage(stage.name()), options.verify)?;
            reasons.extend(damage.clone());
        }
    }
    reasons.extend(waiting.iter().map(|name| format!("{name} runs first")));
    if options.force && selected && reasons.is_empty() {
        reasons.push("forced".to_owned());
    }
    // A stage that will not run, being up to date or not selected, keeps its outputs.
    let outputs = receipt.as_ref().filter(|_| restores || !selected).map(Receipt::digests);
    let settings = receipt.as_ref().filter(|_| !selected).map_or(&parts, |receipt| &receipt.parts).settings.clone();
    let mut resume = None;
    if !reasons.is_empty() && !options.fresh {
        // Assumes that the stages that run first give their old outputs: whatever else prevents resuming is then found already.
        let mut assumed = parts.clone();
        let old = receipt.iter().flat_map(|receipt| &receipt.parts.inputs);
        assumed
            .inputs
            .extend(old.filter(|(name, _)| is_from(&waiting, name)).map(|(name, old)| (name.clone(), old.clone())));
        // A result that is made again because it is damaged, or by force, cannot be resumed from.
        let published = receipt.as_ref().filter(|receipt| damage.is_none() && receipt.parts != assumed);
        let checkpoint = workspace.checkpoint(stage.name());
        let past = Past { checkpoint: &checkpoint, folder: &workspace.stage(stage.name()), published };
        let resumption = stage.resume(pipeline, &assumed, past)?;
        reasons.extend(resumption.unused);
        resume = resumption.from.filter(|_| waiting.is_empty());
        reasons.extend(resume.map(|resume| resume.to_string()));
    }
    let parts = waiting.is_empty().then_some(parts);
    let shards = match &parts {
        Some(parts) if !reasons.is_empty() => {
            count_shards(stage, &ResultToMake { stage: stage.name(), pipeline, workspace, parts, files: &files })?
        }
        _ => None,
    };
    if let Some(ShardCount { finished, of }) = shards.filter(|shards| shards.finished > 0) {
        reasons.push(format!("{finished} of {of} shards are finished"));
    }
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
        shards,
        damage,
    })
}

/// Counts the shards of a result that will be made.
fn count_shards(stage: &dyn Stage, result: &ResultToMake<'_>) -> Result<Option<ShardCount>> {
    if !stage.has_shards(result.pipeline) {
        return Ok(None);
    }
    // A stage that will not run may have inputs that do not fit together, such as an old result beside a new one.
    let Ok(shards) = stage.shards(result) else { return Ok(None) };
    if shards.is_empty() {
        return Ok(None);
    }
    let names = shards.iter().map(|shard| shard.name.as_str());
    Ok(Some(ShardCount { finished: result.shard_folder().receipts_of(names)?.len(), of: shards.len() }))
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

/// The outside files that a stage reads, with the digests of `known` for unchanged files.
fn stamps(
    stage: &dyn Stage,
    pipeline: &Pipeline,
    known: &BTreeMap<String, FileStamp>,
) -> Result<BTreeMap<String, FileStamp>> {
    let stamps = stage
        .files(pipeline)?
        .into_iter()
        .map(|(setting, files)| Ok((setting.to_owned(), stamp(&files, known.get(setting))?)));
    stamps.collect()
}
