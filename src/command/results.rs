//! The published results of a run directory and the settings that they were made with, for `show` and `diff`.
//!
//! Settings are those in the receipts, not those of the last command, which may have failed or run only some of the stages.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::pipeline::metrics;
use crate::quality::gate::{Requirement, judge};
use crate::quality::metrics::Metrics;
use crate::record::StageName;
use crate::record::fingerprint::united;
use crate::record::receipt::Receipt;
use crate::record::workspace::{Workspace, steadily};
use crate::stage::STAGES;

/// The published results of a run.
pub struct Results {
    /// The stages of its pipeline, in order, each with its receipt if it has run.
    pub stages: Vec<(StageName, Option<Receipt>)>,
    /// Stages whose inputs have changed since their result was made, each with the changed input.
    pub out_of_date: BTreeMap<StageName, String>,
    /// The scores, if it has been evaluated.
    pub metrics: Option<Metrics>,
    /// The requirements of the gate, as set in the last run that made a result or found all up to date, judged by these scores.
    pub gate: Vec<Requirement>,
}

impl Results {
    /// Reads the published results.
    ///
    /// # Errors
    /// The file system, and files that limpid did not write.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        steadily(&folders(workspace), || Self::read_once(workspace))
    }

    fn read_once(workspace: &Workspace) -> Result<Self> {
        let pipeline = workspace.settings()?;
        let names = STAGES.iter().filter(|stage| stage.applies(&pipeline)).map(|stage| stage.name());
        let stages: Vec<_> = names.map(|name| Ok((name, workspace.receipt(name)?))).collect::<Result<_>>()?;
        let out_of_date = out_of_date(receipts(&stages).collect());
        let metrics = metrics(workspace)?;
        let gate = metrics.as_ref().map_or(Vec::new(), |metrics| judge(&pipeline.gate, metrics));
        Ok(Self { stages, out_of_date, metrics, gate })
    }

    /// The settings that the results were made with, except those of some stages.
    pub fn settings(&self, without: &[StageName]) -> BTreeMap<String, Value> {
        // A stage whose parts include the settings of its inputs adds none of its own.
        let telling = |name: StageName| STAGES.iter().any(|stage| stage.name() == name && stage.tells_settings());
        let own = receipts(&self.stages).filter(|(name, _)| !telling(*name) && !without.contains(name));
        united(own.map(|(name, receipt)| (name.as_str(), &receipt.parts.settings)))
    }

    /// The digests of the files outside the run that the results were made from, except those of some stages.
    pub fn sources(&self, without: &[StageName]) -> BTreeMap<String, String> {
        let made = receipts(&self.stages).filter(|(name, _)| !without.contains(name));
        // Inputs inside the run are named `stage/file`.
        let outside =
            made.flat_map(|(_, receipt)| receipt.parts.inputs.iter().filter(|(input, _)| !input.contains('/')));
        outside.map(|(input, digest)| (input.clone(), digest.clone())).collect()
    }

    /// The stages that have not run.
    pub fn pending(&self) -> impl Iterator<Item = StageName> {
        self.stages.iter().filter(|(_, receipt)| receipt.is_none()).map(|(name, _)| *name)
    }
}

/// The folders of all stages.
pub fn folders(workspace: &Workspace) -> Vec<PathBuf> {
    STAGES.iter().map(|stage| workspace.stage(stage.name())).collect()
}

/// The receipts of the stages that have run.
fn receipts(stages: &[(StageName, Option<Receipt>)]) -> impl Iterator<Item = (StageName, &Receipt)> {
    stages.iter().filter_map(|(name, receipt)| Some((*name, receipt.as_ref()?)))
}

/// The stages whose inputs have changed since their result was made, each with the changed input. `receipts` are in the order
/// of the stages.
pub fn out_of_date(receipts: Vec<(StageName, &Receipt)>) -> BTreeMap<StageName, String> {
    let mut out_of_date: BTreeMap<StageName, String> = BTreeMap::new();
    for (name, receipt) in &receipts {
        let changed = receipt.parts.inputs.iter().find_map(|(input, digest)| {
            let (stage, file) = input.split_once('/')?;
            let maker = receipts.iter().find(|(name, _)| name.as_str() == stage).map(|(_, receipt)| receipt);
            let now = maker.and_then(|maker| maker.outputs.iter().find(|output| output.name == file));
            match now {
                Some(now) if now.digest == *digest => {
                    out_of_date.keys().any(|name| name.as_str() == stage).then(|| format!("{stage} is out of date"))
                }
                _ => Some(format!("{input} has changed since")),
            }
        });
        if let Some(changed) = changed {
            out_of_date.insert(*name, changed);
        }
    }
    out_of_date
}
