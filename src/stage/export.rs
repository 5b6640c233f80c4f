//! export: copies the tables of images and features into the layout of another program, and images into picture files, if the
//! pipeline asks for it.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use serde_json::{Value, json};

use super::shards::{Shard, Work};
use super::{Outputs, ResultToMake, Stage, StageContext, denoise, encode, ingest, noisy_images};
use crate::config::Pipeline;
use crate::error;
use crate::export::job::{ExportJob, PartsToWrite, PicturesToWrite};
use crate::export::parts::FileParts;
use crate::export::{tables, write_card};
use crate::image::Split;
use crate::record::{ShardFile, StageName, TableSet};
use crate::source::FILES;
use crate::table::layout::{Layout, Profile};

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

    fn has_shards(&self, _pipeline: &Pipeline) -> bool {
        true
    }

    /// A shard for each file of its input, but for those in which no part begins if only tables are written.
    fn shards(&self, result: &ResultToMake<'_>) -> Result<Vec<Shard>> {
        let mut shards = Vec::new();
        for set in exported(result.pipeline) {
            let rows = result.workspace.receipt(set.stage)?.map(|receipt| receipt.rows()).unwrap_or_default();
            for split in set.splits(&result.parts.inputs) {
                shards.extend(shards_of(result, set, split, &rows)?);
            }
        }
        Ok(shards)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let StageContext { pipeline, workspace, inputs, scratch, .. } = context;
        let mut outputs = context.make_shards(&self.shards(&context.result)?)?;
        if pipeline.export.is_some_and(|layout| layout.profile == Profile::Hf) {
            let tables = exported(pipeline).map(|set| tables(workspace, inputs, set));
            let tables: Vec<_> = tables.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
            outputs.files.push(write_card(&pipeline.name, &tables, &outputs.files, scratch)?);
        }
        Ok(outputs)
    }
}

/// The shards that export a split of a set of tables, whose files have so many rows.
fn shards_of(
    result: &ResultToMake<'_>,
    set: TableSet,
    split: Split,
    rows: &BTreeMap<String, u64>,
) -> Result<Vec<Shard>> {
    let (pipeline, inputs, folder) = (result.pipeline, &result.parts.inputs, result.shard_folder());
    let files = placed(set.shards(inputs, split)?, rows)?;
    let total = files.last().map_or(0, |(_, rows)| rows.end);
    let parts = |layout: &Layout| FileParts::new(layout, total, || set.table(result.workspace, inputs, split));
    let parts = pipeline.export.zip(pipeline.export.as_ref().map(parts).transpose()?);
    let pictures = pipeline.pictures.filter(|_| set.stage != encode::NAME);
    let names = format!("{}/{FILES}", ingest::NAME);
    let names = inputs.get(&names).map(|digest| result.file(&names, digest.clone()));
    let (mut shards, mut begun) = (Vec::new(), 0);
    for (index, (file, rows)) in files.iter().enumerate() {
        let parts = parts.and_then(|(layout, of)| {
            let which = begun..of.before(rows.end);
            begun = which.end;
            let (before, compression_level) = (rows.start, pipeline.output.compression_level);
            (!which.is_empty()).then_some(PartsToWrite { of, which, before, layout, compression_level })
        });
        let pictures = pictures.filter(|_| !rows.is_empty());
        if parts.is_none() && pictures.is_none() {
            continue;
        }
        let of_parts = parts.as_ref().map_or(0..0, PartsToWrite::rows);
        let of_pictures = pictures.map_or(0, |_| rows.end - rows.start);
        let others = files[index + 1..].iter().filter(|(_, rows)| rows.start < of_parts.end).map(|(file, _)| file);
        let read = std::iter::once(file).chain(others);
        let job = ExportJob {
            set: set.name().to_owned(),
            split,
            files: read.map(|file| result.file(&file.input, file.digest.clone())).collect(),
            parts,
            pictures: pictures.map(|depth| PicturesToWrite { depth, names: names.clone() }),
            folder: folder.files(),
        };
        shards.push(Shard {
            folder: folder.clone(),
            name: format!("{}-{}", set.name(), file.name),
            of: files.len(),
            rows: of_parts.end - of_parts.start + of_pictures,
            work: Work::Export(job),
        });
    }
    Ok(shards)
}

/// Files of a split, each with its rows among those of the split.
fn placed(files: Vec<ShardFile>, rows: &BTreeMap<String, u64>) -> Result<Vec<(ShardFile, Range<u64>)>> {
    let mut start = 0;
    let place = |file: ShardFile| {
        let Some(count) = rows.get(&file.input) else {
            let message = format!("no receipt tells the rows of {}; run the pipeline again", file.input);
            return Err(error::data(message));
        };
        let rows = start..start + count;
        start = rows.end;
        Ok((file, rows))
    };
    files.into_iter().map(place).collect()
}
