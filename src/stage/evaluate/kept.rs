//! What evaluate finds out without the model. It takes most of the time, depends on the images alone, and is kept beside the scores
//! for the next model that is trained on the same images.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Evaluate;
use super::baselines::{Baselines, Pairs};
use super::features::Prober;
use super::images::{ImageScores, score_baselines};
use crate::config::Pipeline;
use crate::progress::Progress;
use crate::quality::metrics::{Omitted, Probe};
use crate::record::sealed::{sealed, unseal};
use crate::stage::{Stage, StageContext, denoise, encode, train};
use crate::store::{MOST_TEXT, read_text};
use crate::table::FileRecord;

/// The file.
pub const BASELINES: &str = "baselines.json";

/// The scores of the baselines, and of classifiers on features that are no codes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// Digest of all that they depend on.
    pub key: String,
    /// Training images that baselines were fitted on.
    pub fit_rows: u64,
    /// Of images.
    pub scores: ImageScores,
    /// Of features.
    pub probes: Vec<Probe>,
    /// What was left out.
    pub omitted: Vec<Omitted>,
}

impl Kept {
    /// The results of fitted baselines on the images of the test split, if there are clean ones, and of the features that can be probed.
    ///
    /// # Errors
    /// Tables that are damaged or do not hold the same rows, interruption.
    pub fn new(
        key: String,
        mut baselines: Baselines,
        test: Option<Pairs<'_>>,
        prober: Option<&mut Prober<'_>>,
        progress: &Progress,
    ) -> Result<Self> {
        let mut scores = ImageScores::default();
        if let Some(test) = test {
            let task = progress.task("evaluate, scores of the baselines", test.clean.rows(), "images");
            scores = score_baselines(&test, &mut baselines, &task)?;
        }
        let (mut probes, mut omitted) = (Vec::new(), baselines.omitted);
        if let Some(prober) = prober {
            probes.extend(baselines.components.map(|pca| prober.components(&pca)).transpose()?);
            match prober.pixels()? {
                Ok(probe) => probes.push(probe),
                Err(too_many) => omitted.push(too_many),
            }
        }
        Ok(Self { key, fit_rows: baselines.rows, scores, probes, omitted })
    }

    /// The digest of all that results depend on, for codes of `code` numbers.
    pub fn key(context: &StageContext<'_>, code: Option<usize>) -> String {
        let Pipeline { encode, evaluate, .. } = context.pipeline;
        let of_model = [train::NAME, encode::NAME, denoise::NAME].map(|stage| format!("{stage}/"));
        let images = |(name, _): &(&String, &String)| !of_model.iter().any(|stage| name.starts_with(stage));
        let inputs: BTreeMap<_, _> = context.inputs.iter().filter(images).collect();
        let text = json!({
            "code": Evaluate.version(), "code-size": code, "encode": encode, "evaluate": evaluate, "inputs": inputs,
            "clean": context.pipeline.has_clean_images(), "noisy": context.pipeline.has_noisy_images(),
        });
        blake3::hash(text.to_string().as_bytes()).to_hex().to_string()
    }

    /// The results of this key that the last evaluation has kept, unless it is repeated by force.
    pub fn find(context: &StageContext<'_>, key: &str) -> Option<Self> {
        if context.forced {
            return None;
        }
        // What is damaged, or of another version, is computed again.
        let text = read_text(&context.folder(super::NAME).join(BASELINES), MOST_TEXT).ok()?;
        let kept: Self = serde_json::from_str(&unseal(text.as_bytes())?).ok()?;
        (kept.key == key).then_some(kept)
    }

    /// Writes it for the next evaluation.
    ///
    /// # Errors
    /// The file system.
    pub fn write(&self, context: &StageContext<'_>) -> Result<FileRecord> {
        context.write(BASELINES, &sealed(self)?)
    }
}
