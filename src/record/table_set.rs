//! The tables of a stage's result, one for each split.

use std::path::PathBuf;

use super::StageName;
use super::workspace::Workspace;
use crate::image::Split;
use crate::store;

/// Tables that a stage writes, one for each split: those of its result, or of a folder inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSet {
    /// The stage.
    pub stage: StageName,
    /// The folder inside its result.
    pub inside: Option<&'static str>,
}

impl TableSet {
    /// What it is called beside other tables: as its stage, or as the folder inside.
    pub fn name(self) -> &'static str {
        self.inside.unwrap_or(self.stage.as_str())
    }

    /// The path of the table of a split, from the folder of the stage.
    pub fn file_name(self, split: Split) -> String {
        self.beside(&split.file_name())
    }

    /// The path of a file beside the tables, from the folder of the stage.
    pub fn beside(self, name: &str) -> String {
        self.inside.map_or(name.to_owned(), |inside| format!("{inside}/{name}"))
    }

    /// The splits that it has tables of: an optional one only if its table was published.
    pub fn splits(self, workspace: &Workspace) -> impl Iterator<Item = Split> {
        Split::ALL.into_iter().filter(move |split| !split.is_optional() || store::exists(&self.path(workspace, *split)))
    }

    /// The path of the published table of a split.
    pub fn path(self, workspace: &Workspace, split: Split) -> PathBuf {
        workspace.stage(self.stage).join(self.file_name(split))
    }
}

impl From<StageName> for TableSet {
    fn from(stage: StageName) -> Self {
        Self { stage, inside: None }
    }
}
