//! corrupt: noisy images, stored once, so that training, encode, denoise and evaluate use the same ones.

use anyhow::Result;
use serde_json::{Value, json};

use super::shards::Shard;
use super::{ResultToMake, Stage, ingest};
use crate::config::Pipeline;
use crate::engine::operation::Operation;
use crate::error;
use crate::image::Pixels;
use crate::record::StageName;

/// Its name.
pub const NAME: StageName = StageName::new("corrupt");

/// The stage.
pub struct Corrupt;

impl Stage for Corrupt {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        4
    }

    fn applies(&self, pipeline: &Pipeline) -> bool {
        pipeline.corruption.is_some()
    }

    fn inputs(&self, _pipeline: &Pipeline) -> Vec<StageName> {
        vec![ingest::NAME]
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = json!({ "corruption": pipeline.corruption, "output": pipeline.output });
        if !pipeline.corruption.as_ref().is_some_and(|corruption| corruption.kind().is_fixed()) {
            settings["seed"] = json!(pipeline.seed);
        }
        settings
    }

    fn has_shards(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    fn shards(&self, result: &ResultToMake<'_>) -> Result<Vec<Shard>> {
        let pipeline = result.pipeline;
        let corruption = pipeline.corruption.as_ref().ok_or_else(|| error::bug("corrupt runs without a corruption"))?;
        let pixels = if corruption.kind().keeps_range() { pipeline.output.pixels } else { Pixels::Unclipped };
        let seed = pipeline.seed;
        let operation = |split| Operation::Corrupt { corruption: corruption.clone(), seed, split, pixels };
        result.map_images(ingest::NAME.into(), operation)
    }
}
