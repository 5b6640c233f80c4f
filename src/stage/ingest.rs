//! ingest: writes the source's images to tables, and the noisy ones of pairs to others.
//!
//! A source whose opening can be written down ([`opening`]) is ingested in shards ([`job`]), by any processes; others are read as a
//! whole. Either way, whoever publishes the result judges all of its images ([`judging`]).

pub mod job;
mod judging;
mod opening;
mod writing;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::shards::{Shard, Work};
use super::{Outputs, ResultToMake, Stage, StageContext};
use crate::config::{Output, Pipeline};
use crate::error;
use crate::image::{Class, Levels, Split};
use crate::progress::{Progress, Task};
use crate::record::digest::look;
use crate::record::{ShardReceipt, StageName, TableSet};
use crate::source::level_table::{self, LEVELS};
use crate::source::{Learned, Looked, OpenedSource, Outside, RowGroups, Source};
use crate::store;
use crate::table::{FileRecord, Shards, shard_row_group_rows, write_batch};
use job::IngestJob;
use judging::{check_pairs, judge};
use opening::{Opened, OpenedFile, check_places, check_unchanged, found, open};
use writing::Writer;

/// Its name.
pub const NAME: StageName = StageName::new("ingest");
/// The tables of noisy images, if the source has pairs.
pub const NOISY: TableSet = TableSet { stage: NAME, inside: Some("noisy") };

/// The stage.
pub struct Ingest;

impl Stage for Ingest {
    fn name(&self) -> StageName {
        NAME
    }

    fn version(&self) -> u32 {
        8
    }

    fn inputs(&self, _pipeline: &Pipeline) -> Vec<StageName> {
        Vec::new()
    }

    fn files(&self, pipeline: &Pipeline) -> Result<Vec<(&'static str, Outside)>> {
        check_places(pipeline)?;
        pipeline.source.kind().files()
    }

    fn settings(&self, pipeline: &Pipeline) -> Value {
        let Pipeline { seed, source, held_out, output, .. } = pipeline;
        let Output { pixels: _, compression_level, shard_rows } = output;
        let mut source = source.decisive(*seed);
        if !held_out.is_empty() {
            source["hold-out"] = json!(held_out);
        }
        let mut output = json!({ "compression-level": compression_level });
        if let Some(rows) = shard_rows {
            output["shard-rows"] = json!(rows);
        }
        json!({ "source": source, "output": output })
    }

    fn has_shards(&self, pipeline: &Pipeline) -> bool {
        pipeline.source.kind().has_shards()
    }

    fn prepare(&self, result: &ResultToMake<'_>, threads: usize, progress: &Progress) -> Result<()> {
        match open(result, Path::new(""), threads, progress)? {
            Opened::Shards(_) => Ok(()),
            Opened::Whole(..) => Err(made_as_a_whole()),
        }
    }

    fn shards(&self, result: &ResultToMake<'_>) -> Result<Vec<Shard>> {
        if !self.has_shards(result.pipeline) {
            return Ok(Vec::new());
        }
        found(result)?.map_or(Ok(Vec::new()), |file| shards_of(result, &file))
    }

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let StageContext { result, scratch, progress, .. } = context;
        let file = match open(result, &context.data, context.threads, progress)? {
            Opened::Shards(file) => file,
            Opened::Whole(source, levels) => {
                context.engine.made_as_a_whole(NAME.as_str(), progress)?;
                return whole(context, &*source, levels);
            }
        };
        let shards = shards_of(result, &file)?;
        // While shards are made, nothing here needs what may be millions of paths.
        let OpenedFile { path, digest, .. } = *file;
        let receipts = super::make(NAME, &shards, context.engine, progress)?;
        let opened = OpenedSource::read(&path, &digest)?;
        let tables = judged(context, &opened, &shards, &receipts)?;
        let mut outputs = result.gather(receipts)?;
        for (name, table) in tables {
            outputs.files.push(write_batch(scratch, &name, &table)?);
        }
        outputs.files.extend(write_levels(context, opened.levels)?);
        Ok(outputs)
    }
}

/// The error for a source that turns out to have no shards.
fn made_as_a_whole() -> anyhow::Error {
    let advice = "images of different sizes in Parquet, and lists of labels, have no shards; run it with limpid run --only ingest";
    error::settings(format!("ingest is made as a whole: {advice}"))
}

/// The splits that a source has images of.
fn splits(source: &dyn Source) -> impl Iterator<Item = Split> {
    Split::ALL.into_iter().filter(|split| !split.is_optional() || source.count(*split) > 0)
}

/// The shards of an opened source: the files of its tables.
fn shards_of(result: &ResultToMake<'_>, file: &OpenedFile) -> Result<Vec<Shard>> {
    let Output { compression_level, shard_rows, .. } = result.pipeline.output;
    let (folder, mut shards) = (result.shard_folder(), Vec::new());
    for (noisy, set) in [(false, NAME.into()), (true, NOISY)] {
        let Some(version) = file.source.version(noisy) else { continue };
        let source = version.source(Looked::default());
        let group_rows = shard_row_group_rows(source.content(), shard_rows);
        for split in splits(&*source) {
            let groups = version.row_groups(split, group_rows);
            let Shards { count, row_groups } = Shards::new(source.count(split), groups.len() as u64, shard_rows);
            for index in 0..count {
                let start = index * row_groups;
                // The last one holds whatever is left.
                let end = if index + 1 < count { start + row_groups } else { groups.len() };
                let made = groups.get(start..end).unwrap_or_default();
                let images = made.first().map_or(0, |first| first.start)..made.last().map_or(0, |last| last.end);
                let name = split.shard_name(index, count);
                // As many as a row group has, of those that are drawn too.
                let count_before = |group: usize| source.count(split).min(group as u64 * group_rows as u64);
                let rows = match source.content().width() {
                    Some(_) => count_before(end) - count_before(start),
                    None => images.len() as u64,
                };
                let job = IngestJob {
                    opened: file.path.clone(),
                    digest: file.digest.clone(),
                    noisy,
                    split,
                    group_rows,
                    files: look(&version.files(split, images.clone()))?,
                    some: RowGroups { groups: start..end, images },
                    held_out: Class::labels(&result.pipeline.held_out, &source.classes()),
                    folder: folder.files(),
                    name: set.beside(&name),
                    compression_level,
                };
                let name = if noisy { format!("{}-{name}", set.name()) } else { name };
                shards.push(Shard { folder: folder.clone(), name, of: count, rows, work: Work::Ingest(job) });
            }
        }
    }
    // What jobs are to find is what the fingerprint was computed of.
    check_unchanged(result)?;
    Ok(shards)
}

/// Judges the images that shards have written, and returns the tables about them.
fn judged(
    context: &StageContext<'_>,
    opened: &OpenedSource,
    shards: &[Shard],
    receipts: &[ShardReceipt],
) -> Result<Vec<(String, arrow_array::RecordBatch)>> {
    let source = opened.source()?;
    let files: Vec<_> = receipts.iter().flat_map(|receipt| receipt.files.clone()).collect();
    let mut tables = Vec::new();
    for (noisy, version, set) in [(false, Some(&*source), NAME.into()), (true, source.noisy(), NOISY)] {
        let Some(version) = version else { continue };
        let mut all = Learned::default();
        for (shard, receipt) in shards.iter().zip(receipts) {
            if matches!(&shard.work, Work::Ingest(job) if job.noisy == noisy) {
                let mut learned = receipt.learned.clone().unwrap_or_default();
                all.labels.append(&mut learned.labels);
                all.brightest = all.brightest.max(learned.brightest);
                version.learn(learned)?;
            }
        }
        tables.extend(judge(context.pipeline, (version, set), &all, &files, context.progress)?);
    }
    if let Some(noisy) = source.noisy() {
        check_pairs(&context.result.shard_folder().files(), &files, &*source, noisy)?;
    }
    Ok(tables)
}

/// Reads a source as a whole, and writes its tables.
fn whole(context: &StageContext<'_>, source: &dyn Source, levels: Option<Levels>) -> Result<Outputs> {
    let total = Split::ALL.iter().map(|split| source.count(*split)).fold(0, u64::saturating_add);
    let versions = if source.noisy().is_some() { 2 } else { 1 };
    let task = context.progress.task("ingest", total.saturating_mul(versions), "images");
    let mut files = write(context, source, NAME.into(), &task)?;
    if let Some(noisy) = source.noisy() {
        let folder = context.scratch.join(NOISY.name());
        store::of(&folder).create_folder(&folder)?;
        files.extend(write(context, noisy, NOISY, &task)?);
        store::of(&folder).sync_folder(&folder)?;
        check_pairs(&context.scratch, &files, source, noisy)?;
    }
    files.extend(write_levels(context, levels)?);
    Ok(files.into())
}

/// Writes the tables of one version of the images.
fn write(context: &StageContext<'_>, source: &dyn Source, set: TableSet, task: &Task) -> Result<Vec<FileRecord>> {
    let (pipeline, mut files) = (context.pipeline, Vec::new());
    let rows_done = |rows| task.advance(rows);
    let held_out = Class::labels(&pipeline.held_out, &source.classes());
    let writer = Writer::new(source, &held_out, &rows_done);
    for split in splits(source) {
        let group_rows = shard_row_group_rows(source.content(), pipeline.output.shard_rows);
        let groups = source.row_group_count(split, group_rows);
        let shards = Shards::new(source.count(split), groups, pipeline.output.shard_rows);
        let mut groups = source.row_groups(split, group_rows)?;
        for shard in 0..shards.count {
            // The last one holds whatever is left.
            let most = if shard + 1 < shards.count { shards.row_groups } else { usize::MAX };
            let name = set.beside(&split.shard_name(shard, shards.count));
            let (place, groups) = ((context.scratch.as_path(), name.as_str()), groups.by_ref().take(most));
            files.push(writer.write(place, split, context.write_options(), groups, || Ok(()))?);
        }
    }
    for (name, table) in judge(pipeline, (source, set), &writer.learned(), &files, context.progress)? {
        files.push(write_batch(&context.scratch, &name, &table)?);
    }
    Ok(files)
}

/// Writes the levels that were measured, if they were.
fn write_levels(context: &StageContext<'_>, levels: Option<Levels>) -> Result<Option<FileRecord>> {
    let Some(measured) = levels.and_then(Levels::numbers) else { return Ok(None) };
    let [black, white] = measured;
    context.progress.note(&format!("levels: black is {black}, white is {white}, as the percentiles say"));
    write_batch(&context.scratch, LEVELS, &level_table::table_of(measured)?).map(Some)
}
