//! The splits and labels of files by the sub-folders that they lie in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::item::Item;
use super::layout::{Layout, layout, without_validation};
use super::listing::Listing;
use super::settings::{FolderLabels, FolderSettings};
use super::{list, list_in};
use crate::error;
use crate::image::Split;
use crate::progress::Progress;
use crate::source::Asker;
use crate::source::split_name::{Name, Role};

/// Most sub-folders that a message counts.
const MOST_FOLDERS: usize = 6;

/// The images below the folder, those of its splits, and what its sub-folders are.
pub struct Arranged {
    whole: Listing,
    splits: Option<Listing>,
    layout: Layout,
}

impl Arranged {
    /// Lists the folder.
    ///
    /// # Errors
    /// A folder that cannot be read, sub-folders that are not clearly the splits.
    pub fn new(settings: &FolderSettings) -> Result<Self> {
        let root = &settings.path;
        let whole = list(root)?;
        let layout = layout(settings, &whole.images)?;
        // Listed again, since what links in a split lead to belongs to it.
        let starts: Vec<_> = layout.splits.iter().map(|(_, start)| start.as_str()).collect();
        let splits = layout.says_splits().then(|| list_in(root, &starts)).transpose()?;
        Ok(Self { whole, splits, layout })
    }

    /// The files that are read.
    pub fn read(&self) -> &Listing {
        self.splits.as_ref().unwrap_or(&self.whole)
    }

    /// What the sub-folders were taken for.
    fn found(&self) -> String {
        let Layout { splits, around, in_labels } = &self.layout;
        if splits.is_empty() {
            return format!(
                "labels are the sub-folders of {}, which is around all images",
                around.trim_end_matches('/')
            );
        }
        // Of each split the first folder, and the images of all of them.
        let said = Split::ALL.into_iter().filter_map(|split| {
            let starts: Vec<_> = splits.iter().filter(|(of, _)| *of == split).map(|(_, start)| start).collect();
            let is_inside = |path: &&String| starts.iter().any(|start| path.starts_with(start.as_str()));
            let count = self.read().images.iter().filter(is_inside).count();
            let unit = if split == Split::Train { " images" } else { "" };
            Some(format!("{} is {} ({count}{unit})", split.name(), starts.first()?.trim_end_matches('/')))
        });
        let said = said.collect::<Vec<_>>().join(", ");
        match in_labels {
            true => format!("labels are the sub-folders, each with its splits, of which the first: {said}"),
            false => format!("splits by sub-folders: {said}"),
        }
    }

    /// Says what the sub-folders were taken for, and what is passed over.
    fn tell(&self, settings: &FolderSettings, progress: &Progress) {
        let read = self.read();
        if self.layout.is_found(settings) {
            progress.note(&self.found());
        }
        read.tell_links(progress);
        self.whole.tell_others(progress, Asker::Section("source.folder"));
        let outside = self.splits.as_ref().map(|splits| self.whole.outside(splits)).unwrap_or_default();
        if let [example, ..] = outside[..] {
            let folder = |path: &&String| path.split_once('/').map(|(folder, _)| folder.to_owned());
            let mut counts: BTreeMap<Option<String>, usize> = BTreeMap::new();
            outside.iter().for_each(|path| *counts.entry(folder(path)).or_default() += 1);
            let validation = |folder: &&String| Name::read(folder).is_some_and(|name| name.role == Role::Validation);
            let advice = match counts.keys().flatten().find(validation) {
                Some(folder) => {
                    format!("source.folder.validation = {folder:?} would choose weights by those in {folder}")
                }
                None => "source.folder.train and .test say which sub-folders are read".to_owned(),
            };
            let counts = counts.iter().map(|(folder, count)| match folder {
                Some(folder) => format!("{count} in {folder}"),
                None => format!("{count} in no sub-folder"),
            });
            let counts = counts.take(MOST_FOLDERS).collect::<Vec<_>>().join(", ");
            let (count, which) = (outside.len(), if self.layout.has(Split::Validation) { "all" } else { "both" });
            progress.note(&format!(
                "passed over: {count} images outside of {which} splits ({counts}), such as {example}; {advice}"
            ));
        }
    }
}

/// Splits and labels by sub-folder.
///
/// # Errors
/// As [`Arranged::new`]; files with and without a label, splits of one label each that the other lacks.
pub fn from_folders(settings: &FolderSettings, progress: &Progress) -> Result<Vec<Item>> {
    let root = &settings.path;
    let arranged = Arranged::new(settings)?;
    arranged.tell(settings, progress);
    let items = arranged.read().images.iter().map(|path| {
        let (split, rest) = arranged.layout.place(path);
        let label = match settings.labels {
            FolderLabels::Folders => rest.split_once('/').map(|(folder, _)| folder.to_owned()),
            FolderLabels::None => None,
        };
        Item { path: path.clone(), split, label }
    });
    let items: Vec<_> = items.collect();
    if let Some(name) = &settings.validation
        && arranged.layout.has(Split::Validation)
        && !items.iter().any(|item| item.split == Some(Split::Validation))
    {
        return Err(without_validation(settings, name));
    }
    if let (Some(labelled), Some(bare)) =
        (items.iter().find(|item| item.label.is_some()), items.iter().find(|item| item.label.is_none()))
    {
        let (bare, labelled) = (root.join(&bare.path), &labelled.path);
        let message =
            format!("{} lies in no sub-folder that could be its label, while {labelled} does", bare.display());
        return Err(error::data(format!("{message}; set source.folder.labels = \"none\", or move it")));
    }
    refuse_lone_labels(root, &items)?;
    Ok(items)
}

/// Refuses splits of one label each that the other lacks: it is another name of the split.
fn refuse_lone_labels(root: &Path, items: &[Item]) -> Result<()> {
    let labels = |split: Split| {
        let of = items.iter().filter(move |item| item.split == Some(split));
        of.filter_map(|item| item.label.as_deref()).collect::<BTreeSet<_>>()
    };
    let all = Split::ALL.map(labels).map(|labels| labels.into_iter().collect::<Vec<_>>());
    let [train] = all[Split::Train as usize][..] else { return Ok(()) };
    for (split, aim) in [(Split::Test, "testing"), (Split::Validation, "validation")] {
        if let [other] = all[split as usize][..]
            && other != train
        {
            let root = root.display();
            let message =
                format!("in {root} all images for training have the label {train}, and all for {aim} {other}");
            let advice = format!(
                "name the folders of the labels with source.folder.train and .{}, or set source.folder.labels = \"none\"",
                split.name()
            );
            return Err(error::data(format!("{message}; {advice}")));
        }
    }
    Ok(())
}
