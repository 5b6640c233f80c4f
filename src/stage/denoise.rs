//! denoise: the output of the model for every noisy image, or for every clean one if there are no noisy ones.

use anyhow::Result;
use serde_json::{Value, json};

use super::shards::Shard;
use super::{ResultToMake, Stage, image_stages, images, noisy_images, train};
use crate::config::{self, Pipeline};
use crate::engine::operation::Operation;
use crate::record::StageName;
use crate::training::settings::InputImages;

/// Its name.
pub const NAME: StageName = StageName::new("denoise");

/// The stage.
pub struct Denoise;

impl Stage for Denoise {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        6
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        image_stages(noisy_images(pipeline)).chain([train::NAME]).collect()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = json!({ "output": pipeline.output });
        // Left out if off, as results from before it existed have it.
        if pipeline.denoise != config::Denoise::default() {
            settings["denoise"] = json!(pipeline.denoise);
        }
        settings
    }

    fn has_shards(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    fn shards(&self, result: &ResultToMake<'_>) -> Result<Vec<Shard>> {
        let pipeline = result.pipeline;
        let input = noisy_images(pipeline).unwrap_or_else(|| images(pipeline, InputImages::Clean));
        let (pixels, ensemble) = (pipeline.output.pixels, pipeline.denoise.ensemble);
        result.map_images(input, |_| Operation::Denoise { model: result.model(), pixels, ensemble })
    }
}
