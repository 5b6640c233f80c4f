//! One input through a model, to its output.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;

use super::{Direction, Input, mapping};
use crate::command::output_name::name_beside;
use crate::command::output_place::publish_beside;
use crate::engine::inference::Inference;
use crate::engine::mapping::Mapping;
use crate::engine::restored;
use crate::engine::threads::{MapInput, map_table};
use crate::image::Split;
use crate::progress::{Progress, Task};
use crate::source::{REJECTED, summary_of_rejected};
use crate::table::{RowGroup, WriteOptions, carry_label_lists, row_group_rows, write_batch, write_rows, write_table};

/// How an input becomes an output.
pub struct Pass<'a> {
    /// What is made of it.
    pub direction: Direction,
    /// By this model.
    pub model: &'a Inference,
    /// How it is written.
    pub options: &'a WriteOptions,
    /// Where progress is told.
    pub progress: &'a Progress,
}

impl Pass<'_> {
    /// Writes one result under a temporary name, and renames it into place if `check` succeeds after the input was read, with
    /// those tables about its pictures that are called as in `besides`. `from` is the place of the input.
    pub fn write(
        &self,
        from: &Path,
        (output, besides): (&Path, &[String]),
        input: Input,
        check: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let Self { direction, model, options, progress } = *self;
        let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let write = |folder: &Path, temporary: &dyn Fn(&str) -> String| match input {
            Input::Table(table) => {
                let task = progress.task(name, table.rows(), "images");
                let input = MapInput { table: &table, companion: None };
                let mapping = mapping(model, table.content(), direction, from)?;
                map_table(input, (folder, &temporary(name)), options.clone(), mapping, &|rows| task.advance(rows))
                    .map(|_| ())
            }
            Input::Source(source) => {
                let task = progress.task(name, source.count(Split::Test), "images");
                let content = source.content();
                let rows = row_group_rows(content, source.count(Split::Test));
                let Mapping { content, map } = mapping(model, content, direction, from)?;
                let (classes, label_lists, sorted) = (source.classes(), source.label_lists(), source.is_sorted());
                let options = WriteOptions { classes, label_lists, sorted, ..options.clone() };
                // What a model makes of rows is written in the units of their columns.
                let columns = model.columns().filter(|_| direction == Direction::Denoise);
                let restored = columns.map(|columns| (columns, restored::schema(columns, &options.classes)));
                let map = |batch: &RecordBatch| {
                    let made = map(batch, None)?;
                    match &restored {
                        Some((columns, schema)) => restored::restored(columns, &made, schema),
                        None => carry_label_lists(batch, made),
                    }
                };
                let groups = mapped(source.row_groups(Split::Test, rows)?, &map, task);
                match &restored {
                    Some((_, schema)) => write_rows(folder, &temporary(name), schema, &options, None, groups)?,
                    None => write_table(folder, &temporary(name), content, options, groups)?,
                };
                source.passed_over().iter().for_each(|line| progress.note(line));
                // Fails now if pictures could not be decoded.
                for (table, rows) in source.tables()? {
                    let beside = name_beside(name, table);
                    if !besides.contains(&beside) {
                        continue;
                    }
                    write_batch(folder, &temporary(&beside), &rows)?;
                    let summary = summary_of_rejected(&rows, &folder.join(beside)).filter(|_| table == REJECTED);
                    summary.iter().for_each(|summary| progress.note(summary));
                }
                Ok(())
            }
        };
        publish_beside(output, besides, write, check)
    }
}

/// Row groups with `map` applied to each batch.
fn mapped<'a, 'b: 'a>(
    groups: impl Iterator<Item = Result<RowGroup<'b>>> + Send,
    map: &'a (impl Fn(&RecordBatch) -> Result<RecordBatch> + Sync),
    task: Task,
) -> impl Iterator<Item = Result<RowGroup<'a>>> + Send {
    groups.map(move |group| {
        let (group, task) = (group?, task.clone());
        let group: RowGroup<'a> = Box::new(move |emit| {
            group(&mut |batch| {
                let rows = batch.num_rows() as u64;
                emit(map(&batch)?)?;
                task.advance(rows);
                Ok(())
            })
        });
        Ok(group)
    })
}
