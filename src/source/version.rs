//! One version of the images of an opened source as plain data: all images, or of pairs the clean or the noisy ones.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Outside;
use super::folder::files::Files;
use super::listed::opened::Opened;
use super::tables::opened as tables;
use super::tar::list::Archives;
use crate::image::Split;

/// Some row groups of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RowGroups {
    /// Which.
    pub groups: Range<usize>,
    /// The images that they are made of, by their positions before a draw.
    pub images: Range<usize>,
}

/// One version of the images of an opened source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// Of a folder.
    Folder(#[serde(with = "shared")] Arc<Opened<Files>>),
    /// Of tar archives.
    Tar(#[serde(with = "shared")] Arc<Opened<Archives>>),
    /// Of Parquet files.
    Parquet(#[serde(with = "shared")] Arc<tables::Opened>),
}

/// What is shared in memory is stored as it is.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize, S: Serializer>(value: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(serializer)
    }

    pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<T>, D::Error> {
        T::deserialize(deserializer).map(Arc::new)
    }
}

impl Version {
    /// The images that each row group of a split is made of, by their positions before a draw, as [`Source::row_groups`] makes them for
    /// the same `rows`.
    ///
    /// [`Source::row_groups`]: super::Source::row_groups
    pub fn row_groups(&self, split: Split, rows: usize) -> Vec<Range<usize>> {
        match self {
            Self::Folder(opened) => opened.row_groups(split, rows),
            Self::Tar(opened) => opened.row_groups(split, rows),
            Self::Parquet(opened) => opened.row_groups(split, rows),
        }
    }

    /// The files that have some images of a split.
    pub fn files(&self, split: Split, images: Range<usize>) -> Outside {
        match self {
            Self::Folder(opened) => opened.files(split, images),
            Self::Tar(opened) => opened.files(split, images),
            Self::Parquet(opened) => opened.files(split, images),
        }
    }
}
