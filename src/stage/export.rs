//! export: copies the tables of images and features into the layout of another program, if the pipeline asks for it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Outputs, STAGES, Stage, StageContext, corrupt, denoise, encode, ingest};
use crate::config::Pipeline;
use crate::error;
use crate::export::{tables, write_tables};
use crate::record::StageName;
use crate::table::layout::Profile;

/// The stages that write tables of images or features.
const TABLES: [StageName; 4] = [ingest::NAME, corrupt::NAME, encode::NAME, denoise::NAME];

/// Those of them that a pipeline has, in order. A run directory may also hold results of stages that the pipeline no longer has,
/// such as the codes of an earlier model.
pub fn stages(pipeline: &Pipeline) -> impl Iterator<Item = StageName> {
    let applying = STAGES.iter().filter(|stage| stage.applies(pipeline)).map(|stage| stage.name());
    applying.filter(|name| TABLES.contains(name))
}

/// Its name.
pub const NAME: StageName = StageName::new("export");

/// The stage.
pub struct Export;

impl Stage for Export {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        3
    }

    fn applies(&self, pipeline: &Pipeline) -> bool {
        pipeline.export.is_some()
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        stages(pipeline).collect()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let Some(layout) = pipeline.export else { return json!({}) };
        let mut settings = json!({ "output": layout });
        if layout.compression().is_none() {
            settings["output"]["compression-level"] = json!(pipeline.output.compression_level);
        }
        if layout.profile == Profile::Hf {
            // The dataset card contains it.
            settings["name"] = json!(pipeline.name);
        }
        settings
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let layout = pipeline.export.ok_or_else(|| error::bug("export runs without a layout"))?;
        let tables = stages(pipeline).map(|stage| tables(context.workspace, stage)).collect::<Result<Vec<_>>>()?;
        let (tables, options) = (tables.into_iter().flatten().collect::<Vec<_>>(), context.write_options());
        let files = write_tables(&pipeline.name, &tables, &context.scratch, &layout, &options, context.progress)?;
        Ok(files.into())
    }
}
