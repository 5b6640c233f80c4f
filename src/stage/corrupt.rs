//! corrupt: the noisy images, the same for everybody who looks at them.

use anyhow::Result;
use arrow_array::RecordBatch;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext, ingest};
use crate::config::Pipeline;
use crate::engine::{MapInput, map_table};
use crate::error;
use crate::image::Split;
use crate::random::Stream;
use crate::record::StageName;
use crate::table::{Content, ids, lists, pixels};

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
        json!({ "seed": pipeline.seed, "corruption": pipeline.corruption, "output": pipeline.output })
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let corruption = pipeline.corruption.ok_or_else(|| error::bug("corrupt runs without a corruption"))?;
        let tables = Split::ALL.map(|split| context.table(ingest::NAME, split).map(|table| (split, table)));
        let tables: Vec<_> = tables.into_iter().collect::<Result<_>>()?;
        let total = tables.iter().map(|(_, table)| table.rows()).sum();
        let task = context.progress.task("corrupt", total, "images");
        let files = tables.iter().map(|(split, table)| {
            let shape = table.image_shape()?;
            // ingest has looked at the corruption that there was when it ran.
            corruption.kind().check(shape)?;
            let content = Content::Images(shape, pipeline.output.pixels);
            let (schema, stream) = (content.schema(), Stream::noise(pipeline.seed, *split));
            let map = |batch: &RecordBatch, _: Option<&RecordBatch>| {
                let clean = pixels::values(lists(batch, "image")?);
                let mut noisy = vec![0.0; clean.len()];
                let images = clean.chunks_exact(shape.len()).zip(noisy.chunks_exact_mut(shape.len()));
                for (&id, (clean, noisy)) in ids(batch)?.values().iter().zip(images) {
                    corruption.kind().apply(clean, shape, &mut stream.generator(id as u64, 0), noisy);
                }
                let mut columns = batch.columns()[..3].to_vec();
                columns.push(pixels::column(noisy, shape.len(), pipeline.output.pixels));
                RecordBatch::try_new(schema.clone(), columns).map_err(|cause| error::bug(cause.to_string()))
            };
            let done = |rows| task.advance(rows);
            let input = MapInput { table, companion: None };
            map_table(input, (&context.scratch, &split.file_name()), content, context.write_options(), map, done)
        });
        Ok(files.collect::<Result<Vec<_>>>()?.into())
    }
}
