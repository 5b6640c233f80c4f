//! An opened folder as plain data: which files are images of which split, and what their headers tell.
//!
//! Whoever has it reads any of the images without listing the folder again.

use std::ops::Range;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::image::{Extent, ImageShape, PerSplit, Pixels, Split};
use crate::source::Outside;
use crate::source::settings::{Faults, Fit};
use crate::table::row_groups_of;

/// What opening a folder has found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Opened {
    pub(super) root: PathBuf,
    pub(super) fit: Fit,
    pub(super) faults: Faults,
    pub(super) extent: Extent,
    /// How the pixels of all are stored.
    pub(super) pixels: Pixels,
    /// The first file that can be used, and its shape.
    pub(super) first: (String, ImageShape),
    /// A file of another size, and its shape.
    pub(super) differing: Option<(String, ImageShape)>,
    /// The one with the shortest side.
    pub(super) narrowest: Option<(String, ImageShape)>,
    /// Numbers of each picture, by split, as far as headers tell; empty if all have one size.
    pub(super) widths: PerSplit<Vec<usize>>,
    pub(super) splits: PerSplit<Vec<Entry>>,
    /// The names of the labels.
    pub(super) classes: Option<Vec<String>>,
}

/// An image file; in JSON a list, since there may be millions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(String, Option<i64>, usize)", into = "(String, Option<i64>, usize)")]
pub struct Entry {
    /// Its path below the folder, with `/`.
    pub(super) path: String,
    pub(super) label: Option<i64>,
    /// The page that is read, from 0.
    pub(super) page: usize,
}

impl From<(String, Option<i64>, usize)> for Entry {
    fn from((path, label, page): (String, Option<i64>, usize)) -> Self {
        Self { path, label, page }
    }
}

impl From<Entry> for (String, Option<i64>, usize) {
    fn from(Entry { path, label, page }: Entry) -> Self {
        (path, label, page)
    }
}

impl Opened {
    /// The images of each row group of a split: of images of one size `rows`, and otherwise as many as their sizes say.
    pub fn row_groups(&self, split: Split, rows: usize) -> Vec<Range<usize>> {
        match self.extent {
            Extent::Mixed { .. } => row_groups_of(&self.widths[split as usize]),
            Extent::Fixed(_) => parts(self.splits[split as usize].len(), rows).collect(),
        }
    }

    /// The files of some images of a split.
    pub fn files(&self, split: Split, images: Range<usize>) -> Outside {
        let mut paths: Vec<_> = self.splits[split as usize][images].iter().map(|entry| entry.path.clone()).collect();
        // Of the pages of one file.
        paths.dedup();
        Outside::Files(self.root.clone(), paths)
    }

    pub(super) fn path(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.path)
    }
}

/// So many rows in parts of `step`.
pub fn parts(rows: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(step.max(1)).map(move |start| start..rows.min(start + step))
}
