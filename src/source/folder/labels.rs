//! Which files belong to which split, and what their labels are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Entry, list};
use crate::config::{FolderLabels, FolderSettings};
use crate::error;
use crate::source::draw::Draw;
use crate::table::{Classes, Split};

/// The files of both splits.
pub struct Labelled {
    /// In the order of their paths.
    pub splits: [Vec<Entry>; 2],
    /// The names of the labels.
    pub classes: Classes,
}

/// A file, its split if that is known, and the name of its label.
struct Item {
    path: String,
    split: Option<Split>,
    label: Option<String>,
}

/// Lists the files with their splits and labels.
pub fn labelled(settings: &FolderSettings, seed: u64) -> Result<Labelled> {
    let found = metadata(settings)?;
    let items = match &settings.csv {
        Some(csv) => from_csv(csv, &settings.path, "")?,
        None if found.is_empty() => from_folders(settings)?,
        None => from_metadata(settings, &found)?,
    };
    if items.is_empty() {
        let path = settings.path.display();
        return Err(error::data(format!(
            "{path} holds no image files: names that end in .png, .jpg, .webp, .bmp or .tiff"
        )));
    }
    let (numbers, classes) = numbered(&items, settings.csv.is_some() || !found.is_empty());
    let (mut splits, draw) = ([Vec::new(), Vec::new()], Draw::new(seed, settings.test_fraction));
    for (item, label) in items.into_iter().zip(numbers) {
        let split = item.split.unwrap_or_else(|| draw.split(key(&item.path)));
        splits[split as usize].push(Entry { path: item.path, label });
    }
    Ok(Labelled { splits, classes })
}

/// What identifies a file whose split is drawn: its name, so that it stays the same whatever other files come or go.
fn key(path: &str) -> u64 {
    let digest = blake3::hash(path.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// Labels as numbers: the positions of their sorted names, or the names themselves if they are `numeric` and may be.
fn numbered(items: &[Item], numeric: bool) -> (Vec<Option<i64>>, Classes) {
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
fn from_folders(settings: &FolderSettings) -> Result<Vec<Item>> {
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
    let mut items = Vec::new();
    for path in list(root)? {
        let (split, rest) = match split(&path) {
            Some((name, split)) => (Some(split), &path[name.len() + 1..]),
            // Where there are splits, what lies outside belongs to none.
            None if found[0] => continue,
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

/// The names that people give to the column of files.
const FILE_COLUMNS: [&str; 6] = ["file", "file_name", "filename", "path", "image", "name"];
/// And to that of labels.
const LABEL_COLUMNS: [&str; 3] = ["label", "class", "category"];

/// What Hugging Face calls the tables of its folders of images.
const METADATA: &str = "metadata.csv";

/// The tables, below the folder, that say as Hugging Face's do which labels the files have: one for all, or one in the folder
/// of each split. None where a table is named, no labels are wanted, or they do not have any.
///
/// # Errors
/// One that cannot be read.
pub fn metadata(settings: &FolderSettings) -> Result<Vec<String>> {
    if settings.csv.is_some() || settings.labels == FolderLabels::None {
        return Ok(Vec::new());
    }
    let of_splits = [&settings.train, &settings.test].map(|split| format!("{split}/{METADATA}"));
    for names in [vec![METADATA.to_owned()], of_splits.to_vec()] {
        let paths: Vec<_> = names.iter().map(|name| settings.path.join(name)).collect();
        if paths.iter().all(|path| path.is_file()) {
            let tells = |path: &PathBuf| -> Result<bool> {
                let head = open_csv(path)?.headers().map_err(|cause| bad_csv(path, &cause.to_string()))?.clone();
                Ok(column(&head, &FILE_COLUMNS).is_some() && column(&head, &LABEL_COLUMNS).is_some())
            };
            let all = paths.iter().map(tells).collect::<Result<Vec<_>>>()?.into_iter().all(|tells| tells);
            return Ok(if all { names } else { Vec::new() });
        }
    }
    Ok(Vec::new())
}

/// Labels by the tables of [`metadata`]; splits by them or, where they do not say, by sub-folder.
fn from_metadata(settings: &FolderSettings, tables: &[String]) -> Result<Vec<Item>> {
    let root = &settings.path;
    let mut items = Vec::new();
    for table in tables {
        let inside = table.strip_suffix(METADATA).unwrap_or_default();
        items.extend(from_csv(&root.join(table), root, inside)?);
    }
    items.sort_by(|one, other| one.path.cmp(&other.path));
    let splits = [&settings.train, &settings.test];
    if splits.iter().all(|name| root.join(name).is_dir()) {
        for item in items.iter_mut().filter(|item| item.split.is_none()) {
            let folder = item.path.split_once('/').map(|(folder, _)| folder);
            item.split = Split::ALL.into_iter().find(|split| folder == Some(splits[*split as usize]));
        }
    }
    Ok(items)
}

/// The position of the column that has one of these names.
fn column(head: &csv::StringRecord, names: &[&str]) -> Option<usize> {
    head.iter().position(|name| names.contains(&name.trim_start_matches('\u{feff}').trim().to_lowercase().as_str()))
}

fn bad_csv(csv: &Path, what: &str) -> anyhow::Error {
    error::data(format!("{}: {what}", csv.display()))
}

fn open_csv(csv: &Path) -> Result<csv::Reader<std::fs::File>> {
    let file = std::fs::File::open(csv).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => bad_csv(csv, "it does not exist"),
        _ => anyhow::Error::new(cause).context(format!("cannot open {}", csv.display())),
    })?;
    Ok(csv::Reader::from_reader(file))
}

/// Splits and labels by a table, whose files are below `inside` in `root`. The files are those that it lists, in the order of
/// their paths.
fn from_csv(csv: &Path, root: &Path, inside: &str) -> Result<Vec<Item>> {
    let bad = |what: String| bad_csv(csv, &what);
    let mut reader = open_csv(csv)?;
    let head = reader.headers().map_err(|cause| bad(cause.to_string()))?.clone();
    let files = column(&head, &FILE_COLUMNS).ok_or_else(|| {
        let (found, wanted) = (head.iter().collect::<Vec<_>>().join(", "), FILE_COLUMNS.join(", "));
        bad(format!("its columns are {found}; one of {wanted} must name the files"))
    })?;
    let (labels, splits) = (column(&head, &LABEL_COLUMNS), column(&head, &["split"]));
    let mut items = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|cause| bad(cause.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |column: usize| record.get(column).unwrap_or_default().trim();
        let path = format!("{inside}{}", text(files).replace('\\', "/"));
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
