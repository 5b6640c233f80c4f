//! The source `folder`: image files. Labels come from sub-folders or a table, splits from sub-folders or a keyed draw.
//!
//! The folder is listed once, sorted bytewise by relative path; an image's id is its position in its split. Ids therefore
//! depend on the names alone, not on the order in which a disk lists them.

mod applied;
mod arranged;
mod file_table;
pub mod files;
mod item;
mod kind;
mod labels;
mod layout;
mod listing;
mod pair_table;
mod pairs;
mod settings;

use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Result;

use files::{Entry, Files};
use labels::Labelled;
pub use listing::names_picture;
use listing::{list, list_in};
pub use settings::{FolderLabels, FolderSettings};

use super::listed::Listed;
use super::picture::pages;
use super::rejected::Rejections;
use super::settings::{Fit, Pages};
use crate::image::{Classes, PerSplit};
use crate::progress::Progress;
use crate::{error, store};

/// The images of a folder.
pub type Folder = Listed<Files>;

impl Folder {
    /// Lists a folder and opens the list.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no images of a split, labels that do not fit, no image that can be used,
    /// interruption.
    fn of_settings(settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<Self> {
        Self::labelled(&settings.path, settings, labels::labelled(settings, seed, progress)?)
    }

    fn labelled(root: &Path, settings: &FolderSettings, files: Labelled) -> Result<Self> {
        let Labelled { splits, classes } = files;
        Self::of(root, settings.fit, Rejections::new(settings.faults, "source.folder"), splits, classes)
    }

    /// The source of these files.
    fn of(
        root: &Path,
        fit: Fit,
        rejections: Rejections,
        splits: PerSplit<Vec<Entry>>,
        classes: Classes,
    ) -> Result<Self> {
        let splits = if fit.pages == Pages::All { splits.map(|entries| paged(root, entries)) } else { splits };
        Self::open(Files { root: root.to_owned() }, fit, rejections, splits, classes)
    }

    /// The image files below a folder; `progress` is told what is passed over.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn files(path: &Path, progress: Option<&Progress>) -> Result<Vec<PathBuf>> {
        let listing = list(path)?;
        progress.iter().for_each(|progress| listing.tell(progress));
        Ok(listing.images.iter().map(|image| path.join(image)).collect())
    }
}

/// An entry for each page of the files.
fn paged(root: &Path, entries: Vec<Entry>) -> Vec<Entry> {
    let pages = |entry: &Entry| {
        let count = store::reader(&root.join(&entry.path)).map(|file| pages::pages(&mut BufReader::new(file)).len());
        // What cannot be read is reported when it is decoded.
        count.unwrap_or(1).max(1)
    };
    entries.into_iter().flat_map(|entry| (0..pages(&entry)).map(move |page| Entry { page, ..entry.clone() })).collect()
}

/// A file inside the folder, by its relative path with `/`.
fn relative(path: &Path, root: &Path) -> Result<String> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let text =
        inside.to_str().ok_or_else(|| error::data(format!("{} has a name that is not UTF-8", path.display())))?;
    Ok(if std::path::MAIN_SEPARATOR == '/' { text.to_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") })
}
