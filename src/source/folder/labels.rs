//! The splits and labels of the files of a folder, from sub-folders, tables, or a draw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use super::file_table::{self, FileTable, Row};
use super::settings::{FolderLabels, FolderSettings};
use super::{Entry, list, list_in};
use crate::error;
use crate::image::{Classes, Split};
use crate::progress::Progress;
use crate::source::check_classes;
use crate::source::draw::Draw;
use crate::store::local::real;

/// The files of both splits.
pub struct Labelled {
    /// In the order of their paths.
    pub splits: [Vec<Entry>; 2],
    /// The names of the labels.
    pub classes: Classes,
}

/// A file, its split if it is not drawn, and the name of its label.
pub struct Item {
    /// Its path below the folder.
    pub path: String,
    /// Its split.
    pub split: Option<Split>,
    /// The name of its label.
    pub label: Option<String>,
}

/// Lists the files with their splits and labels.
pub fn labelled(settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<Labelled> {
    let found = metadata(settings)?;
    let by_table = settings.csv.is_some() || found.is_some();
    let items = match (&settings.csv, found) {
        (Some(csv), _) => from_table(csv, settings, "")?,
        (None, Some(found)) => from_metadata(settings, &found.paths)?,
        (None, None) => from_folders(settings, progress)?,
    };
    if items.is_empty() {
        let path = settings.path.display();
        return Err(error::data(format!(
            "{path} holds no image files: names that end in .png, .jpg, .webp, .bmp or .tiff"
        )));
    }
    if by_table {
        check_distinct(&settings.path, &items)?;
    }
    let (numbers, classes) = numbered(&items, by_table);
    check_classes(classes.as_ref().map_or(0, |names| names.len())).map_err(|cause| {
        let advice = match settings.csv {
            Some(_) => "leave the column out of the table",
            None => "source.folder.labels = \"none\" reads it without labels",
        };
        let path = settings.path.display();
        error::data(format!("what {path} has for labels {cause}; {advice}"))
    })?;
    let (mut splits, draw) = ([Vec::new(), Vec::new()], Draw::new(seed, settings.test_fraction));
    let mut drawn = 0;
    for (item, label) in items.into_iter().zip(numbers) {
        let split = item.split.unwrap_or_else(|| {
            drawn += 1;
            draw.split(key(&item.path))
        });
        splits[split as usize].push(Entry { path: item.path, label, page: 0 });
    }
    if let Some(split) = Split::ALL.into_iter().find(|split| splits[*split as usize].is_empty()) {
        let (path, name) = (settings.path.display(), split.name());
        return Err(if drawn > 0 {
            draw.empty(drawn, split)
        } else {
            error::data(format!("{path} holds no images for the split {name}"))
        });
    }
    Ok(Labelled { splits, classes })
}

/// Refuses a file that is listed under two paths, since it could be in both splits.
fn check_distinct(root: &Path, items: &[Item]) -> Result<()> {
    let real_root = real(root).unwrap_or_default();
    let mut seen = BTreeMap::new();
    for Item { path, .. } in items {
        // Links inside the folder are not resolved: they count as separate files.
        let around = path.starts_with('/') || path.split('/').any(|part| part == "..");
        let place = if around { real_parent(&root.join(path)) } else { Some(real_root.join(path)) };
        if let Some(other) = place.and_then(|place| seen.insert(place, path)) {
            return Err(error::data(format!("{other} and {path} are the same file, which is listed twice")));
        }
    }
    Ok(())
}

/// A path whose folders are resolved, without links and `..`.
fn real_parent(path: &Path) -> Option<PathBuf> {
    Some(real(path.parent()?)?.join(path.file_name()?))
}

/// The key of a file in the draw of splits: from its path, so that its split does not depend on other files.
fn key(path: &str) -> u64 {
    let digest = blake3::hash(path.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// Labels as numbers: the positions of their sorted names, or the numbers that the names are, if `numeric` and all are numbers.
pub fn numbered(items: &[Item], numeric: bool) -> (Vec<Option<i64>>, Classes) {
    let names: BTreeSet<&str> = items.iter().filter_map(|item| item.label.as_deref()).collect();
    let label = |item: &Item, number: &dyn Fn(&str) -> Option<i64>| item.label.as_deref().and_then(number);
    if names.is_empty() || (numeric && names.iter().all(|name| name.parse::<i64>().is_ok())) {
        return (items.iter().map(|item| label(item, &|name| name.parse().ok())).collect(), None);
    }
    let positions: BTreeMap<&str, i64> = names.iter().copied().zip(0..).collect();
    let numbers = items.iter().map(|item| label(item, &|name| positions.get(name).copied())).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    (numbers, Some(classes.into()))
}

/// Splits and labels by sub-folder.
fn from_folders(settings: &FolderSettings, progress: &Progress) -> Result<Vec<Item>> {
    let FolderSettings { path: root, train, test, .. } = settings;
    let found = [train, test].map(|name| root.join(name).is_dir());
    let split = |path: &str| {
        let folders = [train, test].into_iter().zip(Split::ALL);
        folders.into_iter().find(|(name, _)| path.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    if found[0] != found[1] {
        let (there, missing, key) = if found[0] { (train, test, "test") } else { (test, train, "train") };
        let message = format!("{} has a sub-folder {there} but none called {missing}", root.display());
        let inside = root.join(there);
        let advice = format!("or source.folder.path = {:?} to have the splits drawn", inside.display().to_string());
        return Err(error::data(format!("{message}; name it with source.folder.{key}, {advice}")));
    }
    // If there are folders of splits, files outside of them belong to none.
    let listing = if found[0] { list_in(root, &[train, test])? } else { list(root)? };
    listing.tell(progress);
    let mut items = Vec::new();
    if !found[0] && settings.labels == FolderLabels::Folders {
        refuse_other_case(root, [train, test])?;
    }
    for path in listing.images {
        let (split, rest) = match split(&path) {
            Some((name, split)) => (Some(split), &path[name.len() + 1..]),
            None => (None, path.as_str()),
        };
        let label = match settings.labels {
            FolderLabels::Folders => rest.split_once('/').map(|(folder, _)| folder.to_owned()),
            FolderLabels::None => None,
        };
        items.push(Item { path, split, label });
    }
    if let (Some(labelled), Some(bare)) =
        (items.iter().find(|item| item.label.is_some()), items.iter().find(|item| item.label.is_none()))
    {
        let (bare, labelled) = (root.join(&bare.path), &labelled.path);
        let message =
            format!("{} lies in no sub-folder that could be its label, while {labelled} does", bare.display());
        return Err(error::data(format!("{message}; set source.folder.labels = \"none\", or move it")));
    }
    Ok(items)
}

/// Refuses sub-folders whose names are those of the splits in other case: they would be taken for labels.
fn refuse_other_case(root: &Path, names: [&str; 2]) -> Result<()> {
    let unreadable = || format!("cannot read {}", root.display());
    let mut alike = [None, None];
    for entry in root.read_dir().with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        let found = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_dir());
        for (alike, name) in alike.iter_mut().zip(names) {
            *alike =
                alike.take().or(found.filter(|found| found.to_lowercase() == name.to_lowercase()).map(str::to_owned));
        }
    }
    let [Some(train), Some(test)] = alike else { return Ok(()) };
    let message = format!("{} has sub-folders {train} and {test}, which would be labels", root.display());
    let advice = format!(
        "if they are splits, set source.folder.train = {train:?} and source.folder.test = {test:?}; if they are labels, set these to \
         names that no sub-folder has"
    );
    Err(error::data(format!("{message}; {advice}")))
}

/// Usual names of the column of files, in order of preference; Hugging Face's is `file_name`.
const FILE_COLUMNS: [&str; 6] = ["file_name", "file", "filename", "path", "image", "name"];
/// Usual names of the column of labels.
const LABEL_COLUMNS: [&str; 3] = ["label", "class", "category"];

/// Usual names of the column of splits.
const SPLIT_COLUMNS: [&str; 1] = ["split"];

/// All of these names.
fn wanted() -> Vec<&'static str> {
    [&FILE_COLUMNS[..], &LABEL_COLUMNS, &SPLIT_COLUMNS].concat()
}

/// Names of the metadata tables in Hugging Face's image folders.
const METADATA: [&str; 2] = ["metadata.csv", "metadata.jsonl"];

/// Metadata tables in a folder in Hugging Face's format, which hold the labels of the files.
pub struct Metadata {
    /// Their file name.
    pub name: &'static str,
    /// Their paths below the folder: one for all, or one in the folder of each split.
    pub paths: Vec<String>,
}

/// The files of a source: those that its table lists, which may be the one that [`metadata`] found, or all in the folder. A table
/// that cannot be read lists none, which ingest reports.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(settings: &FolderSettings, found: Option<&Metadata>) -> Result<Vec<String>> {
    let listed = match (&settings.csv, found) {
        (Some(csv), _) => from_table(csv, settings, ""),
        (None, Some(found)) => from_metadata(settings, &found.paths),
        (None, None) => {
            let splits = [settings.train.as_str(), &settings.test];
            let found = splits.iter().all(|name| settings.path.join(name).is_dir());
            let listing = if found { list_in(&settings.path, &splits) } else { list(&settings.path) };
            return Ok(listing?.images);
        }
    };
    Ok(listed.unwrap_or_default().into_iter().map(|item| item.path).collect())
}

/// The metadata tables of a folder. None if the settings name a table, if no labels are wanted, or if the tables have none.
///
/// # Errors
/// One that cannot be read.
pub fn metadata(settings: &FolderSettings) -> Result<Option<Metadata>> {
    if settings.csv.is_some() || settings.labels == FolderLabels::None {
        return Ok(None);
    }
    for name in METADATA {
        let of_splits = [&settings.train, &settings.test].map(|split| format!("{split}/{name}"));
        for paths in [vec![name.to_owned()], of_splits.to_vec()] {
            if paths.iter().all(|path| settings.path.join(path).is_file()) {
                let tells = |path: &String| -> Result<bool> {
                    let columns = file_table::open(&settings.path.join(path), &wanted())?.columns;
                    Ok(column(&columns, &FILE_COLUMNS).is_some() && column(&columns, &LABEL_COLUMNS).is_some())
                };
                let all = paths.iter().map(tells).collect::<Result<Vec<_>>>()?.into_iter().all(|tells| tells);
                return Ok(all.then_some(Metadata { name, paths }));
            }
        }
    }
    Ok(None)
}

/// Labels from the tables of [`metadata`]; splits from them or, where they have none, from sub-folders.
fn from_metadata(settings: &FolderSettings, tables: &[String]) -> Result<Vec<Item>> {
    let root = &settings.path;
    let mut items = Vec::new();
    for table in tables {
        let inside = table.rfind('/').map_or("", |slash| &table[..=slash]);
        items.extend(from_table(&root.join(table), settings, inside)?);
    }
    items.sort_by(|one, other| one.path.cmp(&other.path));
    let splits = [&settings.train, &settings.test];
    if splits.iter().all(|name| root.join(name).is_dir()) {
        for item in items.iter_mut().filter(|item| item.split.is_none()) {
            let folder = item.path.split_once('/').map(|(folder, _)| folder);
            item.split = Split::ALL.into_iter().find(|split| folder == Some(splits[*split as usize]));
        }
        // As without a table, files outside of both folders belong to no split.
        items.retain(|item| item.split.is_some());
    }
    Ok(items)
}

/// The position of the first of these names that is a column, ignoring case.
fn column(columns: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|wanted| columns.iter().position(|name| name.to_lowercase() == *wanted))
}

/// Splits and labels from a table, whose files are below `inside` in `root`. The files are those that it lists, sorted by
/// path.
fn from_table(table: &Path, settings: &FolderSettings, inside: &str) -> Result<Vec<Item>> {
    let root = &settings.path;
    let bad = |what: String| file_table::bad(table, &what);
    let FileTable { columns: head, rows } = file_table::open(table, &wanted())?;
    let files = column(&head, &FILE_COLUMNS).ok_or_else(|| {
        let (found, wanted) = (head.join(", "), FILE_COLUMNS.join(", "));
        bad(format!("its columns are {found}; one of {wanted} must name the files"))
    })?;
    let (labels, splits) = (column(&head, &LABEL_COLUMNS), column(&head, &SPLIT_COLUMNS));
    let mut items = BTreeMap::new();
    for row in rows {
        let Row { line, values } = row?;
        let text = |column: usize| values.get(column).map_or("", String::as_str);
        let path = normal(&format!("{inside}{}", text(files).replace('\\', "/")));
        if !settings.outside && leads_out(Path::new(&path)) {
            let advice = "source.folder.outside = true reads such files";
            return Err(bad(format!("line {line}: {path} leads out of {}; {advice}", root.display())));
        }
        if text(files).is_empty() || !root.join(&path).is_file() {
            return Err(bad(format!("line {line}: there is no file {}", root.join(&path).display())));
        }
        let split = match splits.map(text) {
            None => None,
            Some("train" | "training") => Some(Split::Train),
            Some("test" | "testing" | "valid" | "val" | "validation") => Some(Split::Test),
            Some(other) => return Err(bad(format!("line {line}: the split is {other:?}, expected train or test"))),
        };
        let label = labels.map(text).filter(|label| !label.is_empty()).map(str::to_owned);
        if items.insert(path.clone(), Item { path: path.clone(), split, label }).is_some() {
            return Err(bad(format!("line {line}: {path} is listed twice")));
        }
    }
    Ok(items.into_values().collect())
}

/// Whether a path may leave the folder in which it begins, judged without the file system.
fn leads_out(path: &Path) -> bool {
    let depth = path.components().try_fold(0_usize, |depth, part| match part {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    });
    depth.is_none()
}

/// A path without empty and `.` parts, so that a file has one name.
fn normal(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("{root}{}", parts.join("/"))
}
