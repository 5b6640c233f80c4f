//! The pictures that a command is given: those of a folder, or a single one.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::files::Entry;
use super::item::Item;
use super::labels::numbered;
use super::{Folder, list};
use crate::image::Split;
use crate::progress::Progress;
use crate::source::check_classes;
use crate::source::rejected::Rejections;
use crate::source::settings::{Faults, Fit};
use crate::source::split_name::{Name, Role};
use crate::{error, store};

/// Sub-folders that are splits and no labels where both are there: the defaults of the source `folder`.
const SPLITS: [&str; 2] = ["train", "test"];

/// Whether a sub-folder beside those is a split too.
fn is_split(folder: &str) -> bool {
    SPLITS.contains(&folder) || Name::read(folder).is_some_and(|name| name.is_plain() && name.role == Role::Validation)
}

impl Folder {
    /// These image files, in this order, in the test split, resized by `fit`, without labels.
    ///
    /// # Errors
    /// None that can be used, or a path that is not UTF-8.
    pub fn of_files(paths: &[PathBuf], fit: Fit) -> Result<Self> {
        let entry = |path: &PathBuf| {
            let text = path.to_str().map(str::to_owned);
            let path = text.ok_or_else(|| error::data(format!("{} has a name that is not UTF-8", path.display())))?;
            Ok(Entry { path, label: None, page: 0 })
        };
        let entries = paths.iter().map(entry).collect::<Result<_>>()?;
        Self::of(Path::new(""), fit, Rejections::of_call(), [Vec::new(), entries, Vec::new()], None)
    }

    /// The image files below a folder, or a single image file, in the test split, resized by `fit`. Their labels are the
    /// sub-folders that they lie in, as in ingest; there are none for files that lie in no sub-folder. `progress` is told what is passed
    /// over.
    ///
    /// # Errors
    /// No images, or none that can be used.
    pub fn of_command(path: &Path, fit: Fit, faults: Faults, progress: Option<&Progress>) -> Result<Self> {
        let (root, files) = if store::is_folder(path) {
            let listing = list(path)?;
            progress.iter().for_each(|progress| listing.tell(progress));
            if listing.images.is_empty() {
                return Err(listing.empty());
            }
            (path, listing.images)
        } else {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| error::settings(format!("{} has no usable file name", path.display())))?;
            (path.parent().unwrap_or(Path::new("")), vec![name.to_owned()])
        };
        let split = SPLITS.iter().all(|name| store::is_folder(&root.join(name)));
        let item = |path: String| {
            let (first, rest) = path.split_once('/').unwrap_or(("", &path));
            let label =
                if split && is_split(first) { rest.split_once('/').map(|(folder, _)| folder) } else { Some(first) };
            let label = label.filter(|label| !label.is_empty()).map(str::to_owned);
            Item { path, split: Some(Split::Test), label }
        };
        let items: Vec<_> = files.into_iter().map(item).collect();
        let (mut labels, mut classes) = numbered(&items, false);
        if let Err(cause) = check_classes(classes.as_ref().map_or(0, |names| names.len())) {
            let line = format!("no labels: what {} has for them {cause}", root.display());
            progress.iter().for_each(|progress| progress.note(&line));
            (labels, classes) = (vec![None; items.len()], None);
        }
        let entries =
            items.into_iter().zip(labels).map(|(item, label)| Entry { path: item.path, label, page: 0 }).collect();
        Self::of(root, fit, Rejections::of_command(faults), [Vec::new(), entries, Vec::new()], classes)
    }
}
