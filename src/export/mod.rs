//! Copies of a run's tables in another layout, for other programs.
//!
//! The tables of a run always have limpid's own form, which every stage reads. An export is a copy of them in another
//! [`Layout`]: the same rows, the same numbers. The stage `export` and the command `limpid export` both write it with
//! [`write_tables`].

mod card;
pub mod pictures;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::image::Split;
use crate::progress::Progress;
use crate::record::TableSet;
use crate::record::workspace::Workspace;
use crate::store;
use crate::table::layout::{Layout, Profile};
use crate::table::{FileRecord, RowGroup, Table, WriteOptions, write_file, write_rows};

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

/// Writes tables of the run called `name` to `folder`, in one folder for each set, and for Hugging Face a dataset card
/// (README.md). The folders inside are synced, `folder` itself is not.
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
) -> Result<Vec<FileRecord>> {
    let mut files = Vec::new();
    let task = progress.task("export", tables.iter().map(|source| source.table.rows()).sum(), "rows");
    for Source { set, split, table } in tables {
        let inside = folder.join(set.name());
        store::of(&inside).create_folder(&inside)?;
        let rows = table.rows();
        let part_rows = layout.rows_of_part(table);
        let parts = rows.div_ceil(part_rows).max(1);
        let converter = layout.converter(table)?;
        let converter = &converter;
        let options = WriteOptions { sorted: options.sorted && table.is_sorted(), ..options.clone() };
        for part in 0..parts {
            let range = part * part_rows..rows.min((part + 1) * part_rows);
            let groups = row_ranges(table).filter_map(|(index, start, end)| {
                let (from, to) = (range.start.max(start), range.end.min(end));
                (from < to).then_some((index, (from - start) as usize, (to - start) as usize))
            });
            let groups = groups.map(|(index, from, to)| -> Result<RowGroup<'_>> {
                let task = task.clone();
                Ok(Box::new(move |emit| {
                    let mut at = 0;
                    for batch in table.row_group(index)? {
                        let batch = batch?;
                        let (start, end) = (at.max(from), (at + batch.num_rows()).min(to));
                        if start < end {
                            emit(converter.convert(&batch.slice(start - at, end - start))?)?;
                            task.advance((end - start) as u64);
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
            let name = split.shard_name(part as usize, parts as usize);
            let file = write_rows(&inside, &name, converter.schema(), &options, layout.compression(), groups)?;
            files.push(FileRecord { name: format!("{}/{name}", set.name()), ..file });
        }
        store::of(&inside).sync_folder(&inside)?;
    }
    if layout.profile == Profile::Hf {
        files.push(write_file(folder, "README.md", card::card(name, tables, &files).as_bytes())?);
    }
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
