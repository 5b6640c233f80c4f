//! export: copies the tables of images and features into the layout of another program, and images into picture files, if the
//! pipeline asks for it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Outputs, STAGES, Stage, StageContext, corrupt, denoise, encode, ingest};
use crate::config::Pipeline;
use crate::export::pictures::{Names, write_pictures};
use crate::export::{tables, write_tables};
use crate::record::StageName;
use crate::source::FILES;
use crate::store::local;
use crate::table::FileRecord;
use crate::table::layout::Profile;

/// The stages that write tables of images or features.
const TABLES: [StageName; 4] = [ingest::NAME, corrupt::NAME, encode::NAME, denoise::NAME];

/// Those of them that a pipeline has, in order. A run directory may also hold results of stages that the pipeline no longer has,
/// such as the codes of an earlier model.
pub fn stages(pipeline: &Pipeline) -> impl Iterator<Item = StageName> {
    let applying = STAGES.iter().filter(|stage| stage.applies(pipeline)).map(|stage| stage.name());
    applying.filter(|name| TABLES.contains(name))
}

/// The folder of the pictures in its result.
const PICTURES: &str = "pictures";

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
        pipeline.export.is_some() || pipeline.pictures.is_some()
    }

    fn inputs(&self, pipeline: &Pipeline) -> Vec<StageName> {
        let features = pipeline.export.is_some();
        stages(pipeline).filter(|stage| features || *stage != encode::NAME).collect()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let mut settings = json!({});
        if let Some(layout) = pipeline.export {
            settings["output"] = json!(layout);
            if layout.compression().is_none() {
                settings["output"]["compression-level"] = json!(pipeline.output.compression_level);
            }
            if layout.profile == Profile::Hf {
                // The dataset card contains it.
                settings["name"] = json!(pipeline.name);
            }
        }
        if let Some(depth) = pipeline.pictures {
            settings["output"]["pictures"] = json!(depth);
        }
        settings
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let StageContext { pipeline, scratch, progress, .. } = context;
        let tables = self.inputs(pipeline).into_iter().map(|stage| tables(context.workspace, stage));
        let tables: Vec<_> = tables.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let mut files = Vec::new();
        if let Some(layout) = &pipeline.export {
            files = write_tables(&pipeline.name, &tables, scratch, layout, &context.write_options(), progress)?;
        }
        if let Some(depth) = pipeline.pictures {
            let names = Names::read(&context.folder(ingest::NAME).join(FILES))?;
            let folder = scratch.join(PICTURES);
            local::create_folder(&folder)?;
            let pictures = write_pictures(&tables, &names, &folder, depth, progress)?;
            let inside = |file: FileRecord| FileRecord { name: format!("{PICTURES}/{}", file.name), ..file };
            files.extend(pictures.into_iter().map(inside));
            local::sync_folder(&folder)?;
        }
        Ok(files.into())
    }
}
