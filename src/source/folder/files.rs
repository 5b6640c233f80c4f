//! The image files of a folder as a list of pictures.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::image::{ImageShape, Pixels};
use crate::source::listed::opened::{List, Opened};
use crate::source::picture::{self, PictureFile};
use crate::source::settings::Fit;
use crate::source::{Outside, Version};
use crate::store;

/// Files that a store reads ahead.
const AHEAD: usize = 32;

/// Files of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Files {
    pub(super) root: PathBuf,
}

/// An image file; in JSON a list.
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

impl Files {
    fn place(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.path)
    }
}

impl List for Files {
    type Entry = Entry;
    /// Nothing: a picture is a file.
    type Held = ();

    const SECTION: &'static str = "source.folder";

    fn label(entry: &Entry) -> Option<i64> {
        entry.label
    }

    fn page(entry: &Entry) -> usize {
        entry.page
    }

    fn path(&self, entry: &Entry) -> String {
        entry.path.clone()
    }

    fn name(&self, entry: &Entry) -> String {
        self.place(entry).display().to_string()
    }

    fn hold(&self, entries: &[Entry]) -> Result<((), usize)> {
        Ok(((), entries.len()))
    }

    fn read(&self, (): &(), entry: &Entry) -> Result<Result<PictureFile, String>> {
        let path = self.place(entry);
        match picture::read(&path) {
            // A broken link is a bad picture, whereas a failing disk is an error.
            Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(Err("it does not exist".to_owned())),
            Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => {
                Ok(Err(cause.to_string()))
            }
            file => file.map(Ok).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn header(&self, entry: &Entry, fit: &Fit) -> Option<(ImageShape, Pixels)> {
        picture::shape_of_file(&self.place(entry), fit)
    }

    fn expect(&self, entries: &[Entry]) {
        store::of(&self.root).expect(&mut entries.iter().take(AHEAD).map(|entry| self.place(entry)));
    }

    fn files(&self, entries: &[Entry]) -> Outside {
        let mut paths: Vec<_> = entries.iter().map(|entry| entry.path.clone()).collect();
        // Of the pages of one file.
        paths.dedup();
        Outside::Files(self.root.clone(), paths)
    }

    fn version(opened: Arc<Opened<Self>>) -> Version {
        Version::Folder(opened)
    }
}
