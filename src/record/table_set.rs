//! The tables of a stage's result: for each split one, in one or several files.

use std::collections::BTreeMap;

use anyhow::Result;

use super::StageName;
use super::workspace::Workspace;
use crate::error;
use crate::image::Split;
use crate::table::Table;

/// Tables that a stage writes, one for each split: those of its result, or of a folder inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSet {
    /// The stage.
    pub stage: StageName,
    /// The folder inside its result.
    pub inside: Option<&'static str>,
}

/// A file of a stage's result that holds rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFile {
    /// Its name as a fingerprint has it, `stage/name`.
    pub input: String,
    /// Its name, without folders.
    pub name: String,
    /// blake3 of the file, in hexadecimal.
    pub digest: String,
}

impl TableSet {
    /// What it is called beside other tables: as its stage, or as the folder inside.
    pub fn name(self) -> &'static str {
        self.inside.unwrap_or(self.stage.as_str())
    }

    /// The path of a file beside the tables, from the folder of the stage.
    pub fn beside(self, name: &str) -> String {
        self.inside.map_or(name.to_owned(), |inside| format!("{inside}/{name}"))
    }

    /// The files of a split, in order, among files whose digests are known by `stage/name`; none if it has no table of the split.
    ///
    /// # Errors
    /// Some of them are missing.
    pub fn shards(self, files: &BTreeMap<String, String>, split: Split) -> Result<Vec<ShardFile>> {
        let prefix = format!("{}/{}", self.stage, self.beside(&format!("{}-", split.name())));
        let shards = files.range(prefix.clone()..).take_while(|(input, _)| input.starts_with(&prefix));
        let shards: Vec<_> = shards
            .map(|(input, digest)| {
                let name = input.rsplit('/').next().unwrap_or(input).to_owned();
                ShardFile { input: input.clone(), name, digest: digest.clone() }
            })
            .collect();
        let of = shards.len();
        // Their names sort as their numbers do.
        if let Some((index, shard)) =
            shards.iter().enumerate().find(|(index, shard)| shard.name != split.shard_name(*index, of))
        {
            let message = format!("{} is the file {index} of {of} files of {}", shard.input, split.name());
            return Err(error::data(format!("{message}: others are missing; run the pipeline again")));
        }
        Ok(shards)
    }

    /// The splits that it has tables of, as [`Self::shards`]: an optional one only if there is a file of it.
    pub fn splits(self, files: &BTreeMap<String, String>) -> impl Iterator<Item = Split> {
        Split::ALL.into_iter().filter(move |split| {
            !split.is_optional() || self.shards(files, *split).map_or(true, |shards| !shards.is_empty())
        })
    }

    /// The table of a split, from its files as [`Self::shards`] finds them.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub fn table(self, workspace: &Workspace, files: &BTreeMap<String, String>, split: Split) -> Result<Table> {
        let shards = self.shards(files, split)?;
        if shards.is_empty() {
            let message = format!("{} has no table of the split {}", self.name(), split.name());
            return Err(error::data(format!("{message}; run the pipeline again")));
        }
        Table::open(&shards.iter().map(|shard| workspace.input(&shard.input)).collect::<Vec<_>>())
    }
}

impl From<StageName> for TableSet {
    fn from(stage: StageName) -> Self {
        Self { stage, inside: None }
    }
}
