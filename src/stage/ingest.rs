//! ingest: the source's images as tables.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext};
use crate::config::{Pipeline, Pixels, SourceSettings};
use crate::source;
use crate::table::{Content, RowGroup, Split, row_group_rows, write_table};

/// The stage.
pub struct Ingest;

impl Stage for Ingest {
    fn name(&self) -> &'static str {
        "ingest"
    }

    fn version(&self) -> u32 {
        3
    }

    fn inputs(&self, _pipeline: &Pipeline) -> Vec<&'static str> {
        Vec::new()
    }

    fn files(&self, pipeline: &Pipeline) -> Vec<(&'static str, std::path::PathBuf)> {
        source::files(&pipeline.source)
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        // Where MNIST or other files are does not matter: MNIST is always the same and other files are digested.
        let source = match &pipeline.source {
            SourceSettings::Mnist { .. } => json!({ "mnist": {} }),
            SourceSettings::Idx { .. } => json!({ "idx": {} }),
            SourceSettings::Strokes { train, test } => {
                json!({ "strokes": { "train": train, "test": test, "seed": pipeline.seed } })
            }
        };
        json!({ "source": source, "output": { "compression-level": pipeline.output.compression_level } })
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        let source = source::open(&pipeline.source, pipeline.seed, &context.data, context.progress)?;
        let content = Content::Images(source.shape(), Pixels::U8);
        pipeline.model.architecture.check(source.shape())?;
        let total = Split::ALL.iter().map(|split| source.count(*split)).sum();
        let task = context.progress.task("ingest", total, "images");
        let mut files = Vec::new();
        for split in Split::ALL {
            let groups = source.row_groups(split, row_group_rows(content))?.map(|group| {
                let task = task.clone();
                group.map(|group| -> RowGroup<'_> {
                    Box::new(move |emit| {
                        group(&mut |batch| {
                            let rows = batch.num_rows() as u64;
                            emit(batch)?;
                            task.advance(rows);
                            Ok(())
                        })
                    })
                })
            });
            files.push(write_table(&context.scratch, &split.file_name(), content, context.write_options(), groups)?);
        }
        Ok(files.into())
    }
}
