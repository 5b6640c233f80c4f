//! Decides where the labels of rows come from: a column of labels, one of lists of them, the names of folders, or nowhere.

use std::path::Path;

use anyhow::Result;

use super::choice::{self, Wanted};
use super::kinds::{ADVICE, Labels};
use super::lists::LabelLists;
use super::part::Part;
use super::partition;
use crate::error;
use crate::image::PerSplit;
use crate::source::Asker;

/// The labels of the rows of all files.
pub struct Labelling {
    /// One of each row.
    pub labels: Labels,
    /// A list of each row.
    pub lists: Option<LabelLists>,
}

/// Reads the labels as far as they have to be known before the rows: their names. What cannot be labels is left out of the columns
/// that are read, with a `note`, unless the settings name it.
///
/// # Errors
/// Files that cannot be read, and a column that the settings name and that cannot be labels.
pub fn labelling(splits: &mut PerSplit<Vec<Part>>, wanted: &Wanted, note: &dyn Fn(&str)) -> Result<Labelling> {
    let of_column = |column: fn(&Part) -> Option<usize>| {
        let read = move |part: &Part| part.read(column(part).as_slice(), 1 << 16);
        splits.iter().flatten().map(move |part| read(part).map(|reader| (part.path.clone(), reader)))
    };
    // Nobody asked for what no setting names.
    let usable = |cause: String| -> Result<()> {
        match wanted.asker {
            Asker::Section(_) if wanted.label.is_some() => return Err(error::data(format!("{cause}; {ADVICE}"))),
            Asker::Section(_) => note(&format!("no labels: {cause}; {ADVICE}")),
            Asker::Command | Asker::Call => note(&format!("no labels: {cause}")),
        }
        Ok(())
    };
    let Some(first) = splits.iter().flatten().next() else { return Err(error::bug("a Parquet source without files")) };
    let schema = first.schema();
    let labels = Labels::of(first.columns.label.map(|label| schema.field(label)), schema, || {
        of_column(|part| part.columns.label)
    })?;
    let labels = labels.or_else(|cause| usable(cause).map(|()| Labels::None))?;
    let lists = match first.columns.lists {
        Some(lists) => LabelLists::of(schema.field(lists), schema, || of_column(|part| part.columns.lists))?
            .map_or_else(|cause| usable(cause).map(|()| None), |lists| Ok(Some(lists)))?,
        None => None,
    };
    let (has_labels, has_lists) = (labels != Labels::None, lists.is_some());
    for part in splits.iter_mut().flatten() {
        part.columns.label = part.columns.label.filter(|_| has_labels);
        part.columns.lists = part.columns.lists.filter(|_| has_lists);
    }
    // A command is told only what it asks for.
    if let (Asker::Section(_), Some(first)) = (wanted.asker, splits.iter().flatten().next()) {
        first.columns.tell_others(wanted, first.schema(), &first.path, note);
    }
    if has_labels || has_lists || wanted.label.as_deref() == Some(choice::NONE) {
        return Ok(Labelling { labels, lists });
    }
    let paths: Vec<&Path> = splits.iter().flatten().map(|part| part.path.as_path()).collect();
    if let Some((labels, of_parts)) = partition::labels(wanted.label.as_deref(), &paths) {
        splits.iter_mut().flatten().zip(of_parts).for_each(|(part, label)| part.label = label);
        return Ok(Labelling { labels, lists });
    }
    if let (None, Asker::Section(_), Some(first)) = (&wanted.label, wanted.asker, splits.iter().flatten().next()) {
        first.columns.tell_other_labels(first.schema(), note);
    }
    Ok(Labelling { labels, lists })
}
