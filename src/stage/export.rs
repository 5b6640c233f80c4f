//! export: copies the tables of images and features into the layout of another program, and images into picture files, if the
//! pipeline asks for it.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext, denoise, encode, ingest, noisy_images};
use crate::config::Pipeline;
use crate::export::pictures::{Names, write_pictures};
use crate::export::{tables, write_tables};
use crate::record::{StageName, TableSet};
use crate::source::FILES;
use crate::store;
use crate::table::FileRecord;
use crate::table::layout::Profile;

/// The tables of images and features that a pipeline has, in order. A run directory may also hold results of stages that the
/// pipeline no longer has, such as the codes of an earlier model.
pub fn table_sets(pipeline: &Pipeline) -> Vec<TableSet> {
    let [clean, codes, made] = [ingest::NAME, encode::NAME, denoise::NAME].map(TableSet::from);
    let codes = encode::Encode.applies(pipeline).then_some(codes);
    [clean].into_iter().chain(noisy_images(pipeline)).chain(codes).chain([made]).collect()
}

/// Those of them that are exported: pictures are made of images alone.
fn exported(pipeline: &Pipeline) -> impl Iterator<Item = TableSet> {
    let features = pipeline.export.is_some();
    table_sets(pipeline).into_iter().filter(move |tables| features || tables.stage != encode::NAME)
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
        let mut stages: Vec<_> = exported(pipeline).map(|tables| tables.stage).collect();
        stages.dedup();
        stages
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
        let tables = exported(pipeline).map(|set| tables(context.workspace, context.inputs, set));
        let tables: Vec<_> = tables.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let mut files = Vec::new();
        if let Some(layout) = &pipeline.export {
            files = write_tables(&pipeline.name, &tables, scratch, layout, &context.write_options(), progress)?;
        }
        if let Some(depth) = pipeline.pictures {
            let names = Names::read(&context.folder(ingest::NAME).join(FILES))?;
            let folder = scratch.join(PICTURES);
            store::of(&folder).create_folder(&folder)?;
            let pictures = write_pictures(&tables, &names, &folder, depth, progress)?;
            let inside = |file: FileRecord| FileRecord { name: format!("{PICTURES}/{}", file.name), ..file };
            files.extend(pictures.into_iter().map(inside));
            store::of(&folder).sync_folder(&folder)?;
        }
        Ok(files.into())
    }
}
