//! Copies of a run's tables in another layout, for other programs.
//!
//! The tables of a run always have limpid's own form, which every stage reads. An export is a copy of them in another
//! [`Layout`]: the same rows, the same numbers. The command `limpid export` writes all at once, with [`write_tables`]; the stage
//! `export` has it written by a [`job::ExportJob`] for each file of its input, which is the unit of work of a process. Both give the
//! same files, since where a file of an export begins and ends ([`parts`]) follows from the rows of the whole table.

mod card;
pub mod job;
pub mod parts;
pub mod pictures;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use crate::image::Split;
use crate::progress::Progress;
use crate::record::TableSet;
use crate::record::workspace::Workspace;
use crate::store;
use crate::table::layout::{Layout, Profile};
use crate::table::{FileRecord, RowGroup, Table, WriteOptions, write_file, write_rows};
use parts::FileParts;

/// A table of a run.
pub struct Source {
    /// The tables that it is one of.
    pub set: TableSet,
    /// Its split.
    pub split: Split,
    /// The table.
    pub table: Table,
}

/// The tables of a set that a stage has published, one for each split; `files` has the digests of its files by `stage/name`.
///
/// # Errors
/// They cannot be read.
pub fn tables(workspace: &Workspace, files: &BTreeMap<String, String>, set: TableSet) -> Result<Vec<Source>> {
    let table =
        |split: Split| -> Result<Source> { Ok(Source { set, split, table: set.table(workspace, files, split)? }) };
    set.splits(files).map(table).collect()
}

/// Writes tables of the run called `name` to `folder`, in one folder for each set, and for Hugging Face a dataset card. The folders
/// inside are synced, `folder` itself is not.
///
/// # Errors
/// Unreadable tables, images that the layout cannot hold, the file system.
pub fn write_tables(
    name: &str,
    tables: &[Source],
    folder: &Path,
    layout: &Layout,
    options: &WriteOptions,
    progress: &Progress,
) -> Result<()> {
    let mut files = Vec::new();
    let task = progress.task("export", tables.iter().map(|source| source.table.rows()).sum(), "rows");
    for Source { set, split, table } in tables {
        let parts = FileParts::new(layout, table.rows(), || Ok(table.clone()))?;
        let place = Place { folder, set: set.name(), split: *split, before: 0 };
        let all = 0..parts.count();
        files.extend(write_parts(table, &place, layout, (parts, all), options, &|rows| task.advance(rows))?);
    }
    if layout.profile == Profile::Hf {
        write_card(name, tables, &files, folder)?;
    }
    Ok(())
}

/// Writes the dataset card of tables that were written as `files` to `folder`.
///
/// # Errors
/// The file system.
pub fn write_card(name: &str, tables: &[Source], files: &[FileRecord], folder: &Path) -> Result<FileRecord> {
    write_file(folder, "README.md", card::card(name, tables, files).as_bytes())
}

/// Where rows are written, and which rows these are.
struct Place<'a> {
    /// The folder of the export.
    folder: &'a Path,
    /// The folder in it.
    set: &'a str,
    /// Their split.
    split: Split,
    /// Rows of the split before them.
    before: u64,
}

/// Writes some parts of the split that `table` holds the rows of, or some of them. Their folder is synced.
fn write_parts(
    table: &Table,
    place: &Place<'_>,
    layout: &Layout,
    (parts, which): (FileParts, Range<u64>),
    options: &WriteOptions,
    rows_done: &(dyn Fn(u64) + Sync),
) -> Result<Vec<FileRecord>> {
    let Place { folder, set, split, before } = *place;
    let folder = folder.join(set);
    store::of(&folder).create_folder(&folder)?;
    let converter = layout.converter(table)?;
    let converter = &converter;
    let options = WriteOptions { sorted: options.sorted && table.is_sorted(), ..options.clone() };
    let mut files = Vec::new();
    for part in which {
        let range = parts.range(part);
        let range = range.start.saturating_sub(before)..range.end.saturating_sub(before);
        let groups = row_ranges(table).filter_map(|(index, start, end)| {
            let (from, to) = (range.start.max(start), range.end.min(end));
            (from < to).then_some((index, (from - start) as usize, (to - start) as usize))
        });
        let groups = groups.map(|(index, from, to)| -> Result<RowGroup<'_>> {
            Ok(Box::new(move |emit| {
                let mut at = 0;
                for batch in table.row_group(index)? {
                    let batch = batch?;
                    let (start, end) = (at.max(from), (at + batch.num_rows()).min(to));
                    if start < end {
                        emit(converter.convert(&batch.slice(start - at, end - start))?)?;
                        rows_done((end - start) as u64);
                    }
                    at += batch.num_rows();
                    // The rest of the row group belongs to the next part.
                    if at >= to {
                        break;
                    }
                }
                Ok(())
            }))
        });
        let name = parts.name(split, part);
        let file = write_rows(&folder, &name, converter.schema(), &options, layout.compression(), groups)?;
        files.push(FileRecord { name: format!("{set}/{name}"), ..file });
    }
    store::of(&folder).sync_folder(&folder)?;
    Ok(files)
}

/// Index, first row and end row of each row group.
fn row_ranges(table: &Table) -> impl Iterator<Item = (usize, u64, u64)> + Send {
    (0..table.row_groups()).scan(0, |end, index| {
        let start = *end;
        *end += table.row_group_rows(index);
        Some((index, start, *end))
    })
}
