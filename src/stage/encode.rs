//! encode: the features of every image, if the model has a code.

use anyhow::Result;
use serde_json::{Value, json};

use super::infer::Inference;
use super::{Outputs, Stage, StageContext};
use crate::config::{Encode as EncodeSettings, Output, Pipeline};
use crate::training::settings::InputImages;

/// The stage.
pub struct Encode;

impl Stage for Encode {
    fn name(&self) -> &'static str {
        "encode"
    }

    fn version(&self) -> u32 {
        4
    }

    fn applies(&self, pipeline: &Pipeline) -> bool {
        pipeline.model.architecture.has_code()
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<&'static str> {
        match pipeline.encode.input {
            InputImages::Clean => vec!["ingest", "train"],
            InputImages::Noisy => vec!["ingest", "corrupt", "train"],
        }
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let (EncodeSettings { input }, Output { pixels: _, compression_level }) = (pipeline.encode, pipeline.output);
        json!({ "encode": { "input": input }, "output": { "compression-level": compression_level } })
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let model = Inference::load(&context.folder("train"), context.device.inference())?;
        let input = StageContext::images_stage(context.pipeline.encode.input);
        context.map_images(self.name(), input, &model, model.features()?, |batch, clean| model.encode(batch, clean))
    }
}
