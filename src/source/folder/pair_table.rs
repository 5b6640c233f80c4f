//! Reads tables that list pairs, with the columns `noisy` and `clean`: CSV, or JSON lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;

use super::file_table::{self, FileTable, Row};
use super::item::{Item, LABEL_COLUMNS, SPLIT_COLUMNS, column, leads_out, normal, split_named};
use super::settings::{FolderPairs, FolderSettings};
use crate::store;

/// The content of a table of pairs.
pub struct PairTable {
    /// The clean images, each once, in the order of their paths.
    pub clean: Vec<Item>,
    /// The noisy versions of each.
    pub versions: BTreeMap<String, Vec<String>>,
}

/// Reads a table, whose files are below the folders of the pairs.
///
/// # Errors
/// A table that cannot be read, without these columns, or with files that do not exist, lead out of their folders, or
/// contradict others.
pub fn read(table: &Path, settings: &FolderSettings, pairs: &FolderPairs) -> Result<PairTable> {
    let bad = |what: String| file_table::bad(table, &what);
    let wanted = [&["noisy", "clean"][..], &LABEL_COLUMNS, &SPLIT_COLUMNS].concat();
    let FileTable { columns: head, rows } = file_table::open(table, &wanted)?;
    let required = |name: &str| {
        let missing = || bad(format!("its columns are {}; `noisy` and `clean` must name the files", head.join(", ")));
        column(&head, &[name]).ok_or_else(missing)
    };
    let (noisy, clean) = (required("noisy")?, required("clean")?);
    let (labels, splits) = (column(&head, &LABEL_COLUMNS), column(&head, &SPLIT_COLUMNS));
    [&settings.path, &pairs.noisy].into_iter().try_for_each(|root| store::list_ahead(root))?;
    let (mut items, mut versions) = (BTreeMap::<String, Item>::new(), BTreeMap::<String, Vec<String>>::new());
    let mut seen = BTreeSet::new();
    for row in rows {
        let Row { line, values } = row?;
        let text = |column: usize| values.get(column).map_or("", String::as_str);
        let file = |column: usize, root: &Path| {
            let path = normal(&text(column).replace('\\', "/"));
            if !settings.outside && leads_out(Path::new(&path)) {
                let advice = "source.folder.outside = true reads such files";
                return Err(bad(format!("line {line}: {path} leads out of {}; {advice}", root.display())));
            }
            if path.is_empty() || !store::is_file(&root.join(&path)) {
                return Err(bad(format!("line {line}: there is no file {}", root.join(&path).display())));
            }
            Ok(path)
        };
        let (noisy, clean) = (file(noisy, &pairs.noisy)?, file(clean, &settings.path)?);
        let split =
            splits.map(|column| split_named(text(column)).map_err(|cause| bad(format!("line {line}: {cause}"))));
        let label = labels.map(text).filter(|label| !label.is_empty()).map(str::to_owned);
        let item = Item { path: clean.clone(), split: split.transpose()?, label };
        let first = items.entry(clean.clone()).or_insert_with(|| item.clone());
        if *first != item {
            return Err(bad(format!("line {line}: {clean} has another split or label than in a line before")));
        }
        if !seen.insert(noisy.clone()) {
            return Err(bad(format!("line {line}: {noisy} is listed twice")));
        }
        versions.entry(clean).or_default().push(noisy);
    }
    versions.values_mut().for_each(|versions| versions.sort());
    Ok(PairTable { clean: items.into_values().collect(), versions })
}
