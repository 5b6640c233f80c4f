//! ingest: writes the source's images to tables, and the noisy ones of pairs to others.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use serde_json::{Value, json};

use super::{Outputs, Stage, StageContext};
use crate::config::{Output, Pipeline};
use crate::engine::codes::Codes;
use crate::error;
use crate::image::{Class, Classes, Levels, Split};
use crate::progress::Task;
use crate::record::{StageName, TableSet};
use crate::source::level_table::{self, LEVELS};
use crate::source::{Outside, Source};
use crate::store;
use crate::store::url::is_url;
use crate::table::{
    FileRecord, RowGroup, Shards, Table, WriteOptions, ids, labels, shard_row_group_rows, write_batch, write_table,
};

/// The largest pixel of images that use so little of the range of bytes that it is likely a mistake: that of 14 bits in 16.
const DARK: u8 = 64;

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

    fn run(&self, context: &StageContext<'_>) -> Result<Outputs> {
        let pipeline = context.pipeline;
        check_places(pipeline)?;
        let kind = pipeline.source.kind();
        let levels = level_table::measured(kind, pipeline.seed, &context.data, context.threads)?;
        let with_levels = levels.and_then(|levels| kind.with_levels(levels, false));
        let source = with_levels.as_deref().unwrap_or(kind).open(pipeline.seed, &context.data, context.progress)?;
        let extent = source.content().extent().ok_or_else(|| error::bug("a source gives images"))?;
        let model_image = pipeline.training.patches.model_image(&pipeline.model.architecture, extent);
        model_image.map_err(|cause| match source.differing() {
            Some(differing) => error::data(format!("{differing}; {cause}")),
            None => cause,
        })?;
        if extent.fixed().is_none()
            && pipeline.model.architecture.family().has_code()
            && pipeline.encode.codes == Codes::Image
        {
            let advice = "set encode.codes to \"pooled\", for the mean over the patches of each, or to \"patches\", for each patch";
            return Err(error::data(format!("images of different sizes have no codes of one size; {advice}")));
        }
        if let Some((name, shape)) = source.narrowest() {
            let fits = pipeline.training.patches.shape(shape);
            fits.map_err(|cause| error::data(format!("{name}: {cause}")))?;
        }
        if let (Some(corruption), Some(shape)) = (&pipeline.corruption, extent.fixed()) {
            corruption.kind().check(shape)?;
        }
        if let Some(layout) = pipeline.export {
            layout.check(extent.channels())?;
        }
        if let Some(depth) = pipeline.pictures {
            depth.check(extent.channels())?;
        }
        let total = Split::ALL.iter().map(|split| source.count(*split)).fold(0, u64::saturating_add);
        let names = source.classes();
        let unknown: Vec<_> = pipeline.held_out.iter().filter(|class| class.label(&names).is_none()).collect();
        if !unknown.is_empty() {
            return Err(held_out_of_nothing(&unknown, &names));
        }
        if let Some(noisy) = source.noisy()
            && noisy.content().pixels() != source.content().pixels()
        {
            let advice = "the images of a pair need files of the same depth, all of 8 bits or all of more";
            return Err(error::data(format!("the noisy images are of another depth than the clean ones: {advice}")));
        }
        let versions = if source.noisy().is_some() { 2 } else { 1 };
        let task = context.progress.task("ingest", total.saturating_mul(versions), "images");
        let mut files = write(context, &*source, NAME.into(), &task)?;
        if let Some(noisy) = source.noisy() {
            let folder = context.scratch.join(NOISY.name());
            store::of(&folder).create_folder(&folder)?;
            files.extend(write(context, noisy, NOISY, &task)?);
            store::of(&folder).sync_folder(&folder)?;
            check_pairs(&context.scratch, &files, &*source, noisy)?;
        }
        if let Some(measured) = levels.and_then(Levels::numbers) {
            let [black, white] = measured;
            context.progress.note(&format!("levels: black is {black}, white is {white}, as the percentiles say"));
            files.push(write_batch(&context.scratch, LEVELS, &level_table::table_of(measured)?)?);
        }
        Ok(files.into())
    }
}

/// The splits that a source has images of.
fn splits(source: &dyn Source) -> impl Iterator<Item = Split> {
    Split::ALL.into_iter().filter(|split| !split.is_optional() || source.count(*split) > 0)
}

/// Writes the tables of one version of the images.
fn write(context: &StageContext<'_>, source: &dyn Source, set: TableSet, task: &Task) -> Result<Vec<FileRecord>> {
    let (pipeline, content) = (context.pipeline, source.content());
    // Held-out labels that no image has are a mistake in the settings.
    let all_held_out = Class::labels(&pipeline.held_out, &source.classes());
    let missing = Mutex::new(all_held_out.clone());
    let brightest = AtomicU8::new(0);
    let (mut files, mut empty) = (Vec::new(), Vec::new());
    for split in splits(source) {
        // Classes are held out of training and of what chooses its weights; the test split keeps them, to measure anomaly detection.
        let held_out = if split == Split::Test { &BTreeSet::new() } else { &all_held_out };
        let count = source.count(split);
        let group_rows = shard_row_group_rows(content, pipeline.output.shard_rows);
        let shards = Shards::new(count, source.row_group_count(split, group_rows), pipeline.output.shard_rows);
        let mut groups = source.row_groups(split, group_rows)?.map(|group| {
            let (task, missing, brightest) = (task.clone(), &missing, &brightest);
            group.map(|group| -> RowGroup<'_> {
                Box::new(move |emit| {
                    group(&mut |batch| {
                        let rows = batch.num_rows() as u64;
                        see(&batch, missing)?;
                        brightest.fetch_max(brightest_of(&batch), Ordering::Relaxed);
                        let batch = without(batch, held_out)?;
                        if batch.num_rows() > 0 {
                            emit(batch)?;
                        }
                        task.advance(rows);
                        Ok(())
                    })
                })
            })
        });
        let options =
            WriteOptions { classes: source.classes(), label_lists: source.label_lists(), ..context.write_options() };
        let mut rows = 0;
        for shard in 0..shards.count {
            // The last one holds whatever is left.
            let most = if shard + 1 < shards.count { shards.row_groups } else { usize::MAX };
            let name = set.beside(&split.shard_name(shard, shards.count));
            let groups = groups.by_ref().take(most);
            let file = write_table(&context.scratch, &name, content, options.clone(), groups)?;
            rows += file.rows.unwrap_or(0);
            files.push(file);
        }
        if rows == 0 {
            empty.push(split);
        }
    }
    let missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !missing.is_empty() {
        return Err(held_out_of_nothing(&missing.iter().collect::<Vec<_>>(), &source.classes()));
    }
    let tables = source.tables()?;
    if let Some(split) = empty.first() {
        return Err(error::data(match split {
            Split::Train if !pipeline.held_out.is_empty() => "source.hold-out leaves no image to train on".to_owned(),
            Split::Validation if !pipeline.held_out.is_empty() => {
                "source.hold-out leaves no image for validation".to_owned()
            }
            _ => format!("no picture of the split {} can be read", split.name()),
        }));
    }
    let brightest = brightest.into_inner();
    if brightest <= DARK && !pipeline.source.kind().has_vectors() {
        context.progress.note(&format!(
            "ingest: the largest of all pixels is {brightest} of 255: the values use a small part of the range of their type, as \
             those of 12 bits in files of 16 do; `levels` of the source says which numbers are black and white, as [0, 4095]"
        ));
    }
    source.passed_over().iter().for_each(|line| context.progress.note(line));
    for (name, table) in tables {
        files.push(write_batch(&context.scratch, &set.beside(name), &table)?);
        if name == "rejected.parquet" && table.num_rows() > 0 {
            context.progress.note(&format!("ingest: {} pictures cannot be read: see {name}", table.num_rows()));
        }
    }
    Ok(files)
}

/// Checks that the images of each pair that was written have one size.
///
/// # Errors
/// Two that do not, with their names.
fn check_pairs(folder: &Path, files: &[FileRecord], source: &dyn Source, noisy: &dyn Source) -> Result<()> {
    let digests = files.iter().map(|file| (format!("{NAME}/{}", file.name), file.digest.clone())).collect();
    for split in splits(source) {
        let open = |set: TableSet| -> Result<Table> {
            let shards = set.shards(&digests, split)?;
            Table::open(&shards.iter().map(|shard| folder.join(set.beside(&shard.name))).collect::<Vec<_>>())
        };
        let (clean_table, noisy_table) = (open(NAME.into())?, open(NOISY)?);
        for group in 0..clean_table.row_groups().min(noisy_table.row_groups()) {
            let (clean, other) = (clean_table.shapes(group)?, noisy_table.shapes(group)?);
            let differing = clean.iter().zip(other.iter()).position(|(clean, other)| clean != other);
            if let Some(row) = differing {
                let shapes = [clean.iter().nth(row), other.iter().nth(row)];
                let [expected, found] = shapes.map(|shape| shape.map_or(String::new(), |shape| shape.to_string()));
                let mut known = Vec::new();
                for batch in clean_table.row_group(group)? {
                    known.extend(ids(&batch?)?.values().iter().map(|&id| id as u64));
                }
                let id = known.get(row).copied().unwrap_or_default();
                let [clean, noisy] = [source, noisy].map(|source| source.name(split, id));
                let advice = "the images of a pair need the same rows, columns and channels";
                return Err(error::data(format!("{noisy} is {found}, but {clean} {expected}: {advice}")));
            }
        }
        if clean_table.rows() != noisy_table.rows() {
            return Err(error::bug("a source has other noisy images than clean ones"));
        }
    }
    Ok(())
}

/// The error for held-out labels that no image has.
fn held_out_of_nothing(labels: &[impl ToString], classes: &Classes) -> anyhow::Error {
    const MOST: usize = 20;
    let labels = labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let names = classes.iter().flat_map(|names| names.iter()).enumerate();
    let names = names.take(MOST).map(|(label, name)| format!("; {label} is {name}")).collect::<String>();
    let more = if classes.as_ref().is_some_and(|names| names.len() > MOST) { "; and so on" } else { "" };
    error::data(format!("source.hold-out names {labels}, which is the label of no image{names}{more}"))
}

/// The largest pixel of a batch, rounded up to a byte.
fn brightest_of(batch: &RecordBatch) -> u8 {
    let values = batch.column_by_name("image").map(|image| match image.data_type() {
        DataType::FixedSizeList(..) => image.as_fixed_size_list().values(),
        _ => image.as_list::<i32>().values(),
    });
    if let Some(bytes) = values.and_then(|values| values.as_primitive_opt::<UInt8Type>()) {
        return bytes.values().iter().copied().max().unwrap_or(0);
    }
    let floats = values.and_then(|values| values.as_primitive_opt::<Float32Type>());
    floats.map_or(u8::MAX, |floats| (255.0 * floats.values().iter().copied().fold(0.0, f32::max)).ceil() as u8)
}

/// Removes the labels of a batch from `missing`.
fn see(batch: &RecordBatch, missing: &Mutex<BTreeSet<i64>>) -> Result<()> {
    let mut missing = missing.lock().unwrap_or_else(PoisonError::into_inner);
    if !missing.is_empty() {
        labels(batch)?.iter().flatten().for_each(|label| _ = missing.remove(&label));
    }
    Ok(())
}

/// The images of a batch that have none of these labels.
///
/// # Errors
/// An image without a label, which cannot be held out or kept.
fn without(batch: RecordBatch, held_out: &BTreeSet<i64>) -> Result<RecordBatch> {
    if held_out.is_empty() {
        return Ok(batch);
    }
    let kept = labels(&batch)?.iter().map(|label| {
        let label = label.ok_or_else(|| error::data("source.hold-out needs the label of every training image"))?;
        Ok(!held_out.contains(&label))
    });
    let kept: BooleanArray = kept.collect::<Result<Vec<_>>>()?.into();
    filter_record_batch(&batch, &kept).map_err(|cause| error::bug(format!("cannot hold images out: {cause}")))
}

/// Refuses settings of files and folders that are not there, with their lines in the pipeline file.
fn check_places(pipeline: &Pipeline) -> Result<()> {
    let places = pipeline.source.kind().places();
    let Some((setting, path)) = places.into_iter().find(|(_, path)| !store::exists(path)) else { return Ok(()) };
    if is_url(path) {
        // What a store does not tell is an error of its own.
        store::of(path).kind(path).with_context(|| format!("{setting}: cannot read {}", path.display()))?;
    }
    let other = path.to_string_lossy().contains(":/") && !is_url(path);
    let url = if other { " (of URLs, limpid reads s3://, gs://, az:// and https://)" } else { "" };
    let missing = format!("{setting}: {} does not exist{url}", path.display());
    Err(error::data(pipeline.places.of(setting).map_or(missing.clone(), |place| format!("{place}: {missing}"))))
}
