//! Opened Parquet files as plain data: how many rows each has, what their columns mean, and which rows belong to which split.
//!
//! Whoever has it makes any row group of images of one size without reading what is before it. With lists of labels, of which many fill a
//! row group, and where bad pictures are left out, a row group begins where those before it end, which only reading them tells.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};

use super::Tables;
use super::choice::Columns;
use super::column::Images;
use super::kinds::Labels;
use super::measure::Measured;
use super::part::{Origin, Part};
use crate::image::{PerSplit, Split};
use crate::source::Outside;
use crate::source::draw::Members;
use crate::source::learned::Learning;
use crate::source::rejected::{Looked, Rejections};
use crate::source::settings::{Faults, Fit};

/// What opening the files has found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Opened {
    fit: Fit,
    faults: Faults,
    measured: Measured,
    images: Images,
    labels: Labels,
    columns: Columns,
    splits: PerSplit<Vec<File>>,
    members: PerSplit<Members>,
}

/// One of the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    path: PathBuf,
    rows: u64,
    columns: Columns,
    /// The label of all its rows, if the folder says it.
    label: Option<i64>,
}

impl Opened {
    /// The rows of the files of a split that each row group of so many images is made of.
    pub fn row_groups(&self, split: Split, rows: usize) -> Vec<Range<usize>> {
        let (members, rows) = (self.members[split as usize], rows.max(1));
        let all = self.files_of(split).iter().map(|file| file.rows as usize).sum();
        let starts: Vec<usize> = match members {
            Members::All => (0..all).step_by(rows).collect(),
            Members::Drawn(..) => (0..all).filter(|row| members.has(*row as u64)).step_by(rows).collect(),
        };
        let ends = starts.iter().skip(1).copied().chain([all]);
        starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }

    /// The files that have some of the rows of a split.
    pub fn files(&self, split: Split, rows: Range<usize>) -> Outside {
        let (rows, mut before) = (rows.start as u64..rows.end as u64, 0);
        let has_some = |file: &&File| {
            let start = before;
            before += file.rows;
            start < rows.end && rows.start < before
        };
        let read: Vec<_> = self.files_of(split).iter().filter(has_some).map(|file| file.path.as_path()).collect();
        Outside::of(&read)
    }

    fn files_of(&self, split: Split) -> &[File] {
        match self.members[split as usize] {
            Members::All => &self.splits[split as usize],
            Members::Drawn(..) => &self.splits[0],
        }
    }
}

impl Tables {
    /// What opening it has found out, if each of its row groups can be made from that.
    pub(super) fn as_opened(&self) -> Option<Arc<Opened>> {
        if self.learning.rejections.skips() || self.measured.sizes.extent.fixed().is_none() || self.lists.is_some() {
            return None;
        }
        let file =
            |part: &Part| File { path: part.path.clone(), rows: part.rows(), columns: part.columns, label: part.label };
        Some(Arc::new(Opened {
            fit: self.fit,
            faults: self.learning.rejections.faults(),
            measured: self.measured.clone(),
            images: self.images,
            labels: self.labels.clone(),
            columns: self.columns,
            splits: self.splits.each_ref().map(|parts| parts.iter().map(file).collect()),
            members: self.members,
        }))
    }

    /// The images of opened files, after others of them were looked at.
    pub fn again(opened: &Opened, looked: Looked) -> Self {
        let Opened { fit, faults, measured, images, labels, columns, splits, members } = opened.clone();
        let part = |File { path, rows, columns, label }| {
            let origin = Origin::Closed(rows, Schema::empty());
            Part { path, origin, columns, label }
        };
        Self {
            fit,
            measured,
            images,
            labels,
            lists: None,
            columns,
            splits: splits.map(|files| files.into_iter().map(part).collect()),
            members,
            learning: Learning::new(Rejections::new(faults, "source.parquet").after(looked)),
        }
    }
}
