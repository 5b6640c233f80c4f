//! Opened lists of pictures as plain data: which pictures are images of which split, and what their headers tell.
//!
//! Whoever has it reads any of the images without making the list again.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::image::{Extent, ImageShape, PerSplit, Pixels, Split};
use crate::source::picture::PictureFile;
use crate::source::settings::{Faults, Fit};
use crate::source::sizes::Sizes;
use crate::source::{Outside, Version};
use crate::table::row_groups_of;

/// A list of pictures, as plain data: where they are, how they are read and what they are called.
pub trait List: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// A picture of the list; in JSON short, since there may be millions.
    type Entry: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// What is held to read several pictures at once.
    type Held: Default;

    /// The section of the pipeline that lists them.
    const SECTION: &'static str;

    /// Its label.
    fn label(entry: &Self::Entry) -> Option<i64>;

    /// The page of its file that is read, from 0.
    fn page(entry: &Self::Entry) -> usize;

    /// Its path in tables about the images.
    fn path(&self, entry: &Self::Entry) -> String;

    /// Its name in messages.
    fn name(&self, entry: &Self::Entry) -> String;

    /// Holds what the first of these pictures are read from, and tells how many those are, at least one.
    ///
    /// # Errors
    /// The store.
    fn hold(&self, entries: &[Self::Entry]) -> Result<(Self::Held, usize)>;

    /// Its file, or why it cannot be used.
    ///
    /// # Errors
    /// The store.
    fn read(&self, held: &Self::Held, entry: &Self::Entry) -> Result<Result<PictureFile, String>>;

    /// The shape that its first page has once it is decoded, and how its pixels are stored then; none if its header shows none.
    fn header(&self, entry: &Self::Entry, fit: &Fit) -> Option<(ImageShape, Pixels)>;

    /// Has the store begin to read the first of these, which are read next.
    fn expect(&self, entries: &[Self::Entry]);

    /// The files that have some pictures.
    fn files(&self, entries: &[Self::Entry]) -> Outside;

    /// An opened list as one version of the images of a source.
    fn version(opened: Arc<Opened<Self>>) -> Version;
}

/// What opening a list of pictures has found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", bound = "L: List")]
pub struct Opened<L: List> {
    pub(super) list: L,
    pub(super) fit: Fit,
    pub(super) faults: Faults,
    pub(super) sizes: Sizes,
    /// Numbers of each picture, by split, as far as headers tell; empty if all have one size.
    pub(super) widths: PerSplit<Vec<usize>>,
    pub(super) splits: PerSplit<Vec<L::Entry>>,
    /// The names of the labels.
    pub(super) classes: Option<Vec<String>>,
}

impl<L: List> Opened<L> {
    /// The images of each row group of a split: of images of one size `rows`, and otherwise as many as their sizes say.
    pub fn row_groups(&self, split: Split, rows: usize) -> Vec<Range<usize>> {
        match self.sizes.extent {
            Extent::Mixed { .. } => row_groups_of(&self.widths[split as usize]),
            Extent::Fixed(_) => parts(self.splits[split as usize].len(), rows).collect(),
        }
    }

    /// The files of some images of a split.
    pub fn files(&self, split: Split, images: Range<usize>) -> Outside {
        self.list.files(&self.splits[split as usize][images])
    }
}

/// So many rows in parts of `step`.
pub fn parts(rows: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    (0..rows).step_by(step.max(1)).map(move |start| start..rows.min(start + step))
}
