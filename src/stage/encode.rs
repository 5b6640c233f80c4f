//! encode: the features of every image, if the model has a code.

use anyhow::Result;
use serde_json::{Value, json};

use super::shards::Shard;
use super::{ResultToMake, Stage, image_stages, images, train};
use crate::config::{self, Output, Pipeline};
use crate::engine::operation::Operation;
use crate::record::StageName;

/// Its name.
pub const NAME: StageName = StageName::new("encode");

/// The stage.
pub struct Encode;

impl Stage for Encode {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        6
    }

    fn applies(&self, pipeline: &Pipeline) -> bool {
        pipeline.model.architecture.family().has_code()
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        image_stages(Some(images(pipeline, pipeline.encode.input))).chain([train::NAME]).collect()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let Output { pixels: _, compression_level, shard_rows: _ } = pipeline.output;
        json!({ "encode": pipeline.encode, "output": { "compression-level": compression_level } })
    }

    fn has_shards(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    fn shards(&self, result: &ResultToMake<'_>) -> Result<Vec<Shard>> {
        let config::Encode { input, codes, error } = result.pipeline.encode;
        let input = images(result.pipeline, input);
        result.map_images(input, |_| Operation::Encode { model: result.model(), codes, error })
    }
}
