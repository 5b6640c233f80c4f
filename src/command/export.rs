//! `limpid export`: writes tables of a run in another layout, and its model as ONNX.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Execute;
use super::arguments::{WorkArgs, progress, threads};
use super::checked_model::of_checked_model;
use super::output_place::refuse_results;
use super::print::print;
use super::results::out_of_date;
use crate::config::Pipeline;
use crate::device::ComputeDevice;
use crate::error;
use crate::export::pictures::{Names, Pictures};
use crate::export::{self, Source, write_tables};
use crate::image::Pixels;
use crate::interrupt;
use crate::model::onnx::Part;
use crate::model::{ModelDescription, named_tensors, onnx};
use crate::progress::{LogMode, Progress};
use crate::record::StageName;
use crate::record::receipt::Receipt;
use crate::record::workspace::{Workspace, steadily, whole_receipt_in};
use crate::source::FILES;
use crate::stage::export::table_sets;
use crate::stage::{STAGES, ingest, train};
use crate::store;
use crate::table::WriteOptions;
use crate::table::layout::{Layout, Lists, PictureDepth, Profile, StoredPixels};

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["to", "onnx"])))]
pub struct ExportArgs {
    /// The run directory, or its URL (s3://, gs://, az://).
    run: PathBuf,
    /// A new folder, or a prefix of URLs, for the tables, or pictures: one folder in it for each stage.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write the images as PNG files and no tables, under the names of their files, or by label and id: of 8 bits ("u8") or 16 ("u16");
    /// as deep as those of the source unless given.
    #[arg(long, value_enum, value_name = "DEPTH", num_args = 0..=1, require_equals = true)]
    #[arg(requires = "to", conflicts_with_all = ["profile", "pixels", "lists", "part_rows", "part_mib"])]
    pictures: Option<Option<PictureDepth>>,
    /// The kind of reader that the tables are for.
    #[arg(long, value_enum, default_value = "default", requires = "to")]
    profile: Profile,
    /// How images are stored; as the profile has them unless given.
    #[arg(long, value_enum, requires = "to")]
    pixels: Option<StoredPixels>,
    /// How lists are stored; as the profile has them unless given.
    #[arg(long, value_enum, requires = "to")]
    lists: Option<Lists>,
    /// Most rows of one file; a split is one file unless given.
    #[arg(long, value_name = "N", requires = "to", value_parser = clap::value_parser!(u64).range(1..))]
    part_rows: Option<u64>,
    /// Most content of one file before it is compressed, in MiB.
    #[arg(long, value_name = "N", requires = "to", value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    part_mib: Option<u64>,
    /// A file for the model, as ONNX.
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
    /// Which part of the model.
    #[arg(long, value_enum, default_value = "whole", requires = "onnx")]
    part: Part,
    /// Threads and progress.
    #[command(flatten)]
    work: WorkArgs,
}

impl Execute for ExportArgs {
    /// Writes the tables and the model that are asked for, each complete or not at all.
    fn execute(&self) -> Result<()> {
        interrupt::install()?;
        let workspace = Workspace::existing(&self.run)?;
        [&self.to, &self.onnx].into_iter().flatten().try_for_each(|place| refuse_results(place))?;
        let progress = progress(&self.work);
        let threads = threads(self.work.threads)?;
        if let Some(folder) = &self.to {
            let pipeline: Pipeline = workspace.settings()?;
            // Pixels stored as floats stay floats, except in the profile that stores images as pictures.
            let floats = pipeline.output.pixels == Pixels::F32 || pipeline.source.kind().has_vectors();
            let floats = floats && self.profile != Profile::Hf;
            let pixels = self.pixels.or(floats.then_some(StoredPixels::F32));
            let layout = Layout::new(self.profile, pixels, self.lists, self.part_rows, self.part_mib);
            let compression_level = pipeline.output.compression_level;
            let options = WriteOptions::new(compression_level, threads);
            let folders: Vec<_> = table_sets(&pipeline).iter().map(|set| workspace.stage(set.stage)).collect();
            let (digests, tables) = steadily(&folders, || tables(&workspace, &pipeline, &progress))?;
            store::of(folder).new_folder(folder, &mut |scratch| {
                let written = match self.pictures {
                    None => write_tables(&pipeline.name, &tables, scratch, &layout, &options, &progress),
                    Some(depth) => Names::read(&workspace.stage(ingest::NAME).join(FILES)).and_then(|names| {
                        let depth = depth.unwrap_or_else(|| depth_of(&tables));
                        Pictures { names: &names, depth, at_once: false }.write_all(&tables, scratch, &progress)
                    }),
                };
                // Digested again, since a file may have been damaged after the first check.
                let files =
                    tables.iter().flat_map(|source| source.table.files().iter().map(|file| (source.set.stage, file)));
                for ((stage, file), digest) in files.zip(&digests) {
                    if file.digest()? != *digest {
                        let changed = format!("{} has changed while it was read", file.path().display());
                        return Err(damaged(stage, &changed));
                    }
                }
                written
            })?;
            print(folder.display())?;
        }
        if let Some(file) = &self.onnx {
            let folder = workspace.stage(train::NAME);
            let load = || ModelDescription::load(&folder, &ComputeDevice::default().inference());
            let (description, model) = of_checked_model(&folder, load)?;
            let is_of_patches = workspace.settings::<Pipeline>()?.training.patches.patch.is_some();
            let bytes = onnx::model(&description, &named_tensors(&model), self.part, is_of_patches)?;
            store::of(file).replace_beside_others(file, &bytes)?;
            print(file.display())?;
        }
        Ok(())
    }

    fn log_mode(&self) -> LogMode {
        self.work.log
    }
}

/// The digests of the files of the tables of a run, of the stages in its pipeline, and the tables.
fn tables(workspace: &Workspace, pipeline: &Pipeline, progress: &Progress) -> Result<(Vec<String>, Vec<Source>)> {
    let mut receipts: Vec<(StageName, Receipt)> = Vec::new();
    for stage in STAGES.iter().filter(|stage| stage.applies(pipeline)) {
        let receipt = whole_receipt_in(&workspace.stage(stage.name()))?;
        receipts.extend(receipt.map(|receipt| (stage.name(), receipt)));
    }
    let old = out_of_date(receipts.iter().map(|(name, receipt)| (*name, receipt)).collect());
    let (mut digests, mut tables) = (Vec::new(), Vec::new());
    for set in table_sets(pipeline) {
        let stage = set.stage;
        let Some((_, receipt)) = receipts.iter().find(|(name, _)| *name == stage) else { continue };
        // Once for all tables of a stage.
        let first = set.inside.is_none();
        if first && let Some(damage) = receipt.damage(&workspace.stage(stage), true)? {
            return Err(damaged(stage, &damage));
        }
        if first && let Some(cause) = old.get(&stage) {
            progress.note(&format!("{stage} is out of date ({cause}); its old result is exported"));
        }
        let files = receipt.digests();
        for source in export::tables(workspace, &files, set)? {
            digests.extend(set.shards(&files, source.split)?.into_iter().map(|shard| shard.digest));
            tables.push(source);
        }
    }
    if tables.is_empty() {
        return Err(error::settings(format!("{} has no tables yet", workspace.root().display())));
    }
    Ok((digests, tables))
}

/// The depth of pictures that hold what the source has exactly.
fn depth_of(tables: &[Source]) -> PictureDepth {
    let mut ingested = tables.iter().filter(|source| source.set.stage == ingest::NAME);
    if ingested.any(|source| source.table.content().pixels() != Pixels::U8) {
        PictureDepth::U16
    } else {
        PictureDepth::U8
    }
}

fn damaged(stage: StageName, damage: &str) -> anyhow::Error {
    error::data(format!("the result of {stage} is damaged: {damage}"))
}
