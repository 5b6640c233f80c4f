//! denoise: the output of the model for every noisy image, or for every clean one if there is no corruption.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext, corrupt, ingest, train};
use crate::config::{self, Pipeline};
use crate::engine::operation::Operation;
use crate::record::StageName;
use crate::training::settings::InputImages;

/// Its name.
pub const NAME: StageName = StageName::new("denoise");

/// The stage.
pub struct Denoise;

/// The images that are denoised.
fn input(pipeline: &Pipeline) -> InputImages {
    if pipeline.corruption.is_some() { InputImages::Noisy } else { InputImages::Clean }
}

impl Stage for Denoise {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        4
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        match input(pipeline) {
            InputImages::Clean => vec![ingest::NAME, train::NAME],
            InputImages::Noisy => vec![ingest::NAME, corrupt::NAME, train::NAME],
        }
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = json!({ "output": pipeline.output });
        // Left out if off, as results from before it existed have it.
        if pipeline.denoise != config::Denoise::default() {
            settings["denoise"] = json!(pipeline.denoise);
        }
        settings
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let input = StageContext::images_stage(input(context.pipeline));
        let (pixels, ensemble) = (context.pipeline.output.pixels, context.pipeline.denoise.ensemble);
        context.map_images(NAME, input, |_| Operation::Denoise { model: context.model(), pixels, ensemble })
    }
}
