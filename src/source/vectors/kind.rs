//! What the settings of the source `vectors` open, and which tables are of its kind.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::Vectors;
use super::choice::chosen;
use super::settings::{Missing, Scale, VectorsSettings};
use crate::image::PerSplit;
use crate::progress::Progress;
use crate::source::columns::Layout;
use crate::source::rows::Table;
use crate::source::settings::drawn;
use crate::source::tables::{disjoint, folder_around, matching, outside};
use crate::source::{Outside, Source, SourceKind};

impl VectorsSettings {
    /// The tables of each split; those of splits that are drawn are in the first.
    ///
    /// # Errors
    /// No such tables, or one in two splits.
    pub fn tables(&self) -> Result<PerSplit<Vec<PathBuf>>> {
        let some = |pattern: &Option<PathBuf>| pattern.as_deref().map_or(Ok(Vec::new()), matching);
        let tables = [matching(&self.train)?, some(&self.test)?, some(&self.validation)?];
        disjoint(tables, "source.vectors.train, .test and .validation must name different files")
    }

    /// The patterns of tables, with their settings.
    pub fn patterns(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let patterns = [Some(&self.train), self.test.as_ref(), self.validation.as_ref()];
        SETTINGS.into_iter().zip(patterns).filter_map(|(setting, path)| Some((setting, path?.as_path())))
    }
}

/// The settings of the tables.
const SETTINGS: PerSplit<&str> = ["source.vectors.train", "source.vectors.test", "source.vectors.validation"];

impl SourceKind for VectorsSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train: _, test: _, validation: _, test_fraction, validation_fraction, .. } = self;
        let Self { columns, exclude, label, scale, missing, .. } = self;
        let settings = json!({
            "columns": columns, "exclude": exclude, "label": label, "scale": scale, "missing": missing,
        });
        drawn(settings, *test_fraction, *validation_fraction, seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        let is_pattern = |path: &Path| path.to_string_lossy().contains(['*', '?', '[']);
        self.patterns().filter(|(_, path)| !is_pattern(path)).collect()
    }

    fn has_vectors(&self) -> bool {
        true
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let tables = self.tables()?;
        let files = tables.iter().filter(|tables| !tables.is_empty());
        Ok(self.patterns().zip(files).map(|((setting, pattern), files)| (setting, outside(pattern, files))).collect())
    }

    fn folder_around(&self, place: &Path) -> Option<&Path> {
        folder_around(self.patterns().map(|(_, path)| path), place)
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Vectors::open(self, seed, progress)?))
    }
}

/// Pixels above which columns that count up are taken for those of an image.
const PIXELS: usize = 64;
/// Columns of numbers from which on a table is taken for one of vectors.
const NUMBERS: usize = 3;

/// The kind of source that reads a table by the names and the types of its columns: `columns` where they are the pixels of an image,
/// `vectors` where they are numbers; none if neither.
pub fn table_source(path: &Path) -> Option<&'static str> {
    let table = Table::open(path).ok()?;
    let layout = Layout::of(table.head(), table.types().is_none(), None, None).ok();
    if layout.is_some_and(|layout| layout.pixels.len() >= PIXELS) {
        return Some("columns");
    }
    let settings = VectorsSettings {
        train: path.to_owned(),
        test: None,
        validation: None,
        test_fraction: None,
        validation_fraction: 0.0,
        columns: Vec::new(),
        exclude: Vec::new(),
        label: None,
        scale: Scale::MinMax,
        missing: Missing::Error,
    };
    let chosen = chosen(&table, &settings).ok()?;
    (chosen.is_list || chosen.numbers.len() >= NUMBERS).then_some("vectors")
}
