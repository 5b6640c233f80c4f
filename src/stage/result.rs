//! A result before it is made: what its shards are, and how they become it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::json;

use super::shards::{self, Shard, Work};
use super::{Outputs, ingest, train};
use crate::config::Pipeline;
use crate::engine::operation::{ModelFiles, Operation};
use crate::engine::{InputFile, Job, OutputFile};
use crate::error;
use crate::image::Split;
use crate::record::digest::FileStamp;
use crate::record::fingerprint::Parts;
use crate::record::workspace::Workspace;
use crate::record::{ShardFile, ShardFolder, ShardReceipt, StageName, TableSet};

/// The result that a stage is about to make.
#[derive(Debug, Clone, Copy)]
pub struct ResultToMake<'a> {
    /// The stage.
    pub stage: StageName,
    /// The settings.
    pub pipeline: &'a Pipeline,
    /// The run directory.
    pub workspace: &'a Workspace,
    /// Everything that the result depends on.
    pub parts: &'a Parts,
    /// The files outside of the run that it is made of, as they were when they were digested.
    pub files: &'a BTreeMap<String, FileStamp>,
}

impl ResultToMake<'_> {
    /// Where its finished shards are.
    pub fn shard_folder(&self) -> ShardFolder {
        let run = self.workspace.root().to_owned();
        ShardFolder { run, stage: self.stage.to_string(), fingerprint: self.parts.digest() }
    }

    /// The shards that an operation makes of the images of `input`, one of each file. An operation that measures errors also gets
    /// the clean images, if `input` has others.
    ///
    /// # Errors
    /// Files are missing.
    pub fn map_images(&self, input: TableSet, operation: impl Fn(Split) -> Operation) -> Result<Vec<Shard>> {
        let (folder, inputs) = (self.shard_folder(), &self.parts.inputs);
        let rows = self.workspace.receipt(input.stage)?.map(|receipt| receipt.rows()).unwrap_or_default();
        let mut shards = Vec::new();
        for split in input.splits(inputs) {
            let (operation, clean) = (operation(split), TableSet::from(ingest::NAME));
            let shards_of = input.shards(inputs, split)?;
            let companions: Vec<_> = if operation.sees_clean_images() && clean != input {
                clean.shards(inputs, split)?.into_iter().map(Some).collect()
            } else {
                vec![None; shards_of.len()]
            };
            let of = shards_of.len();
            if companions.len() != of {
                let (name, split) = (input.name(), split.name());
                let message =
                    format!("the images of ingest and of {name} are in different numbers of files of {split}");
                return Err(error::data(format!("{message}; run --from ingest")));
            }
            for (ShardFile { input, name, digest }, companion) in shards_of.into_iter().zip(companions) {
                let job = Job {
                    operation: operation.clone(),
                    input: self.file(&input, digest),
                    companion: companion.map(|shard| self.file(&shard.input, shard.digest)),
                    output: OutputFile {
                        folder: folder.files(),
                        name: name.clone(),
                        compression_level: self.pipeline.output.compression_level,
                    },
                };
                let rows = rows.get(&input).copied().unwrap_or(0);
                shards.push(Shard { folder: folder.clone(), name, of, rows, work: Work::Map(job) });
            }
        }
        Ok(shards)
    }

    /// Makes finished shards the draft of the result.
    ///
    /// # Errors
    /// The store.
    pub fn gather(&self, receipts: Vec<ShardReceipt>) -> Result<Outputs> {
        let names: BTreeSet<_> =
            receipts.iter().flat_map(|receipt| &receipt.files).map(|file| file.name.as_str()).collect();
        self.workspace.gather(self.stage, &self.shard_folder().files(), &names)?;
        let made = |receipt: &ShardReceipt| {
            let ShardReceipt { shard, host, seconds, .. } = receipt;
            json!({ "shard": shard, "host": host, "seconds": seconds })
        };
        let details = json!({
            "arithmetic": shards::arithmetics(&receipts),
            "shards": receipts.iter().map(made).collect::<Vec<_>>(),
        });
        Ok(Outputs { files: receipts.into_iter().flat_map(|receipt| receipt.files).collect(), details, device: None })
    }

    /// A file of the run that `stage/name` names.
    pub fn file(&self, input: &str, digest: String) -> InputFile {
        InputFile { path: self.workspace.input(input), digest }
    }

    /// The model that this run has trained, for an operation.
    pub fn model(&self) -> ModelFiles {
        let prefix = format!("{}/", train::NAME);
        let files = self.parts.inputs.iter().filter_map(|(name, digest)| Some((name.strip_prefix(&prefix)?, digest)));
        let digests = files.map(|(name, digest)| (name.to_owned(), digest.clone())).collect();
        ModelFiles { folder: self.workspace.stage(train::NAME), digests }
    }
}
