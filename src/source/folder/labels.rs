//! The splits and labels of the files of a folder, from sub-folders, tables, or a draw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::arranged::{Arranged, from_folders};
use super::file_table::{self, FileTable, Row};
use super::files::Entry;
use super::item::{Item, LABEL_COLUMNS, SPLIT_COLUMNS, column, leads_out, normal, split_named};
use super::layout::{layout, validation_beside};
use super::settings::{FolderLabels, FolderSettings};
use super::{list, pair_table};
use crate::error;
use crate::image::{Classes, PerSplit, Split};
use crate::progress::Progress;
use crate::source::check_classes;
use crate::source::draw::{Draw, key};
use crate::source::label_text::{self, Texts};
use crate::store::{self, real};
use crate::text;

/// The files of the splits.
pub struct Labelled {
    /// In the order of their paths.
    pub splits: PerSplit<Vec<Entry>>,
    /// The names of the labels.
    pub classes: Classes,
}

/// Lists the files with their splits and labels.
pub fn labelled(settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<Labelled> {
    let found = metadata(settings)?;
    if let Some(found) = found.as_ref().filter(|found| !found.labelled) {
        tell_unlabelled(&found.paths[0], &found.columns, progress);
    }
    let found = found.filter(|found| found.labelled);
    let by_table = settings.csv.is_some() || found.is_some();
    let mut items = match (&settings.csv, &settings.pairs, found) {
        (Some(csv), Some(pairs), _) => pair_table::read(csv, settings, pairs)?.clean,
        (Some(csv), None, _) => split_by_folders(settings, from_table(csv, settings, "")?),
        (None, _, Some(found)) => from_metadata(settings, &found.paths)?,
        (None, _, None) => from_folders(settings, progress)?,
    };
    if let (Some(pairs), None) = (&settings.pairs, &settings.csv) {
        let is_clean = pairs.is_clean()?;
        items.retain(|item| is_clean(&item.path));
        if items.is_empty() {
            let (path, name) = (settings.path.display(), &pairs.clean_name);
            return Err(error::data(format!("{path} holds no image files with names like {name}")));
        }
    }
    if items.is_empty() {
        let path = settings.path.display();
        return Err(error::data(format!(
            "{path} holds no image files: names that end in .png, .jpg, .webp, .gif, .bmp or .tiff"
        )));
    }
    if by_table {
        check_distinct(&settings.path, &items, progress)?;
        tell_unlisted(settings, &items, progress)?;
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
    Ok(Labelled { splits: into_splits(items, numbers, settings, seed)?, classes })
}

/// Puts the files into their splits, with their labels; splits that none of them names are drawn.
fn into_splits(
    mut items: Vec<Item>,
    labels: Vec<Option<i64>>,
    settings: &FolderSettings,
    seed: u64,
) -> Result<PerSplit<Vec<Entry>>> {
    let named = |items: &[Item], split: Option<Split>| items.iter().any(|item| item.split == split);
    // Images for validation are for testing where no others are.
    if !named(&items, Some(Split::Test)) && !named(&items, None) {
        for item in items.iter_mut().filter(|item| item.split == Some(Split::Validation)) {
            item.split = Some(Split::Test);
        }
    }
    let validation = if named(&items, Some(Split::Validation)) { 0.0 } else { settings.validation_fraction };
    let draw = Draw::new(seed, settings.test_fraction, validation);
    let of_train = Draw::new(seed, 0.0, validation);
    let (mut splits, mut drawn) = (PerSplit::<Vec<Entry>>::default(), [0, 0]);
    for (item, label) in items.into_iter().zip(labels) {
        let split = match item.split {
            None => {
                drawn[0] += 1;
                draw.split(key(&item.path))
            }
            Some(Split::Train) if of_train.takes_any() => {
                drawn[1] += 1;
                of_train.split(key(&item.path))
            }
            Some(split) => split,
        };
        splits[split as usize].push(Entry { path: item.path, label, page: 0 });
    }
    let wanted = |split: &Split| !split.is_optional() || of_train.takes(*split);
    if let Some(split) = Split::ALL.into_iter().find(|split| wanted(split) && splits[*split as usize].is_empty()) {
        return Err(match drawn {
            [0, 0] => {
                error::data(format!("{} holds no images for the split {}", settings.path.display(), split.name()))
            }
            [0, count] => of_train.empty(count, split),
            [count, _] => draw.empty(count, split),
        });
    }
    Ok(splits)
}

/// Refuses a file that is listed under two paths, since it could be in both splits, and tells of links.
fn check_distinct(root: &Path, items: &[Item], progress: &Progress) -> Result<()> {
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
    // Programs that keep files by their content have a link for each name, so that equal images have the same target.
    let mut targets = BTreeSet::new();
    let links = items.iter().map(|item| root.join(&item.path)).filter(|path| path.is_symlink());
    let repeats =
        |link: &PathBuf| real(link).is_some_and(|target| seen.contains_key(&target) || !targets.insert(target));
    let repeated: Vec<_> = links.filter(repeats).collect();
    if let Some(first) = repeated.first() {
        progress.note(&format!(
            "links to files that are listed too, each of which is an image of its own, maybe in another split: {}, such as {}",
            repeated.len(),
            first.display()
        ));
    }
    Ok(())
}

/// A path whose folders are resolved, without links and `..`.
fn real_parent(path: &Path) -> Option<PathBuf> {
    Some(real(path.parent()?)?.join(path.file_name()?))
}

/// Labels as numbers: the positions of their sorted names, or the numbers that the names are, if `numeric` and all are numbers.
pub fn numbered(items: &[Item], numeric: bool) -> (Vec<Option<i64>>, Classes) {
    let names: BTreeSet<&str> = items.iter().filter_map(|item| item.label.as_deref()).collect();
    let texts = if numeric { Texts::of(&names) } else { Texts::Names };
    if names.is_empty() || texts == Texts::Integers {
        return (items.iter().map(|item| item.label.as_deref().and_then(label_text::integer)).collect(), None);
    }
    let positions: BTreeMap<&str, i64> = names.iter().copied().zip(0..).collect();
    let number = |item: &Item| item.label.as_deref().and_then(|name| positions.get(name).copied());
    let numbers = items.iter().map(number).collect();
    let classes: Vec<String> = names.into_iter().map(str::to_owned).collect();
    (numbers, Some(classes.into()))
}

/// Says that a table has no labels, and what would be taken for them.
fn tell_unlabelled(table: &str, columns: &[String], progress: &Progress) {
    let used = |name: &&String| [&FILE_COLUMNS[..], &SPLIT_COLUMNS].concat().contains(&name.to_lowercase().as_str());
    let others: Vec<_> = columns.iter().filter(|name| !used(name)).map(String::as_str).collect();
    if let [first, ..] = others[..] {
        let (wanted, others) = (LABEL_COLUMNS.join(", "), text::few(&others));
        progress.note(&format!(
            "no labels: {table} has no column called {wanted}, but {others}; source.folder.label = {first:?} would take one"
        ));
    }
}

/// Says how many images a table does not list.
fn tell_unlisted(settings: &FolderSettings, items: &[Item], progress: &Progress) -> Result<()> {
    let root = &settings.path;
    if let Some(csv) = &settings.csv
        && items.iter().all(|item| item.label.is_none())
    {
        let columns = file_table::open(csv, &wanted(settings))?.columns;
        tell_unlabelled(&csv.display().to_string(), &columns, progress);
    }
    if !store::is_folder(root) {
        return Ok(());
    }
    let listed: BTreeSet<&str> = items.iter().map(|item| item.path.as_str()).collect();
    let unlisted: Vec<_> = list(root)?.images.into_iter().filter(|path| !listed.contains(path.as_str())).collect();
    if let [example, ..] = &unlisted[..] {
        let count = unlisted.len();
        progress.note(&format!(
            "passed over: {count} images that the table of the files does not list for a split, such as {example}; their lines in it \
             would have them read"
        ));
    }
    Ok(())
}

/// Usual names of the column of files, in order of preference; Hugging Face's is `file_name`.
const FILE_COLUMNS: [&str; 6] = ["file_name", "file", "filename", "path", "image", "name"];

/// All of these names, and the one in the settings.
fn wanted(settings: &FolderSettings) -> Vec<&str> {
    let named = settings.label.as_deref();
    [&FILE_COLUMNS[..], &LABEL_COLUMNS, &SPLIT_COLUMNS, named.as_slice()].concat()
}

/// The position of the column of labels.
fn label_column(columns: &[String], settings: &FolderSettings) -> Option<usize> {
    match &settings.label {
        Some(named) => columns.iter().position(|column| column == named),
        None => column(columns, &LABEL_COLUMNS),
    }
}

/// Names of the metadata tables in Hugging Face's image folders.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Metadata tables in a folder in Hugging Face's format, which hold the labels of the files.
pub struct Metadata {
    /// Their file name.
    pub name: &'static str,
    /// Their paths below the folder: one for all, or one in the folder of each split.
    pub paths: Vec<String>,
    /// Whether they say the labels of files.
    pub labelled: bool,
    /// The columns of the first.
    columns: Vec<String>,
}

/// The files of a source: those that its table lists, which may be the one that [`metadata`] found, or all in the folder. A table
/// that cannot be read lists none, which ingest reports.
///
/// # Errors
/// A folder that cannot be read, sub-folders that are not clearly the splits.
pub fn files(settings: &FolderSettings, found: Option<&Metadata>) -> Result<Vec<String>> {
    let listed = match (&settings.csv, &settings.pairs, found) {
        (Some(csv), Some(pairs), _) => pair_table::read(csv, settings, pairs).map(|table| table.clean),
        (Some(csv), None, _) => from_table(csv, settings, ""),
        (None, _, Some(found)) => from_metadata(settings, &found.paths),
        (None, _, None) => return Ok(Arranged::new(settings)?.read().images.clone()),
    };
    Ok(listed.unwrap_or_default().into_iter().map(|item| item.path).collect())
}

/// The metadata tables of a folder. None if the settings name a table, or if no labels are wanted.
///
/// # Errors
/// One that cannot be read.
pub fn metadata(settings: &FolderSettings) -> Result<Option<Metadata>> {
    store::list_ahead(&settings.path)?;
    if settings.csv.is_some() || settings.labels == FolderLabels::None {
        return Ok(None);
    }
    let is_there = |path: &String| store::is_file(&settings.path.join(path));
    // All tables or those of train and test; validation images may do without.
    let candidates = |starts: &[String]| {
        METADATA.into_iter().find_map(|name| {
            let paths: Vec<_> = starts.iter().map(|start| format!("{start}{name}")).collect();
            let needed = paths.iter().take(2).all(is_there);
            needed.then(|| (name, paths.into_iter().filter(is_there).collect::<Vec<_>>()))
        })
    };
    let validation = validation_beside(settings, "", [&settings.train, &settings.test])?;
    let named = [Some(&settings.train), Some(&settings.test), validation.as_ref()];
    let named: Vec<_> = named.into_iter().flatten().map(|split| format!("{split}/")).collect();
    let of_splits = || -> Result<_> {
        let any = |start: &String| METADATA.iter().any(|name| store::is_file(&settings.path.join(start).join(name)));
        // A listing is needed only for tables in folders of other names.
        let inner = store::of(&settings.path).list(&settings.path).unwrap_or_default().iter().any(any);
        let splits = if inner { layout(settings, &list(&settings.path)?.images)?.splits } else { Vec::new() };
        let starts: Vec<_> = splits.into_iter().map(|(_, start)| start).collect();
        Ok(if starts.is_empty() { None } else { candidates(&starts) })
    };
    let found = match candidates(&[String::new()]).or_else(|| candidates(&named)) {
        Some(found) => Some(found),
        None => of_splits()?,
    };
    let Some((name, paths)) = found else { return Ok(None) };
    let open = |path: &String| Ok(file_table::open(&settings.path.join(path), &wanted(settings))?.columns);
    let columns = paths.iter().map(open).collect::<Result<Vec<_>>>()?;
    let tells =
        |columns: &Vec<String>| column(columns, &FILE_COLUMNS).is_some() && label_column(columns, settings).is_some();
    let labelled = columns.iter().all(tells);
    Ok(Some(Metadata { name, paths, labelled, columns: columns.into_iter().next().unwrap_or_default() }))
}

/// Gives the files of a table without splits those of their sub-folders, if there are files of both.
fn split_by_folders(settings: &FolderSettings, mut items: Vec<Item>) -> Vec<Item> {
    let paths: Vec<_> = items.iter().map(|item| item.path.clone()).collect();
    let Ok(layout) = layout(settings, &paths) else { return items };
    if items.iter().any(|item| item.split.is_some()) {
        return items;
    }
    let found: Vec<_> = paths.iter().map(|path| layout.place(path).0).collect();
    if [Split::Train, Split::Test].into_iter().all(|split| found.contains(&Some(split))) {
        items.iter_mut().zip(&found).for_each(|(item, split)| item.split = *split);
        items.retain(|item| item.split.is_some());
    }
    items
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
    if items.iter().any(|item| item.split.is_none()) {
        let paths: Vec<_> = items.iter().map(|item| item.path.clone()).collect();
        let layout = layout(settings, &paths)?;
        if layout.says_splits() {
            for item in items.iter_mut().filter(|item| item.split.is_none()) {
                item.split = layout.place(&item.path).0;
            }
            // As without a table, files outside of these folders belong to no split.
            items.retain(|item| item.split.is_some());
        }
    }
    Ok(items)
}

/// Splits and labels from a table, whose files are below `inside` in `root`. The files are those that it lists, sorted by
/// path.
fn from_table(table: &Path, settings: &FolderSettings, inside: &str) -> Result<Vec<Item>> {
    let root = &settings.path;
    let bad = |what: String| file_table::bad(table, &what);
    let FileTable { columns: head, rows } = file_table::open(table, &wanted(settings))?;
    store::list_ahead(root)?;
    let files = column(&head, &FILE_COLUMNS).ok_or_else(|| {
        let (found, wanted) = (head.join(", "), FILE_COLUMNS.join(", "));
        bad(format!("its columns are {found}; one of {wanted} must name the files"))
    })?;
    let (labels, splits) = (label_column(&head, settings), column(&head, &SPLIT_COLUMNS));
    if let (None, Some(named)) = (labels, &settings.label) {
        return Err(bad(format!(
            "it has no column {named}, which source.folder.label names; it has {}",
            head.join(", ")
        )));
    }
    let mut items = BTreeMap::new();
    for row in rows {
        let Row { line, values } = row?;
        let text = |column: usize| values.get(column).map_or("", String::as_str);
        let path = normal(&format!("{inside}{}", text(files).replace('\\', "/")));
        if !settings.outside && leads_out(Path::new(&path)) {
            let advice = "source.folder.outside = true reads such files";
            return Err(bad(format!("line {line}: {path} leads out of {}; {advice}", root.display())));
        }
        if text(files).is_empty() || !store::is_file(&root.join(&path)) {
            return Err(bad(format!("line {line}: there is no file {}", root.join(&path).display())));
        }
        let split =
            splits.map(|column| split_named(text(column)).map_err(|cause| bad(format!("line {line}: {cause}"))));
        let split = split.transpose()?;
        let label = labels.map(text).filter(|label| !label.is_empty()).map(str::to_owned);
        if items.insert(path.clone(), Item { path: path.clone(), split, label }).is_some() {
            return Err(bad(format!("line {line}: {path} is listed twice")));
        }
    }
    Ok(items.into_values().collect())
}
