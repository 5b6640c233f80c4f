//! One input through a model, to its output.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;

use super::{Direction, Input};
use crate::command::output_name::name_beside;
use crate::command::output_place::{publish_beside, remove_old};
use crate::engine::inference::Inference;
use crate::engine::making::Making;
use crate::engine::threads::{MapInput, map_table};
use crate::image::Split;
use crate::progress::{Progress, Task};
use crate::source::{REJECTED, summary_of_rejected};
use crate::table::{RowGroup, WriteOptions, row_group_rows, write_batch, write_rows};

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
                let mapping = direction.mapping(model, table.content(), from)?;
                map_table(input, (folder, &temporary(name)), options.clone(), mapping, &|rows| task.advance(rows))
                    .map(|_| ())
            }
            Input::Source(source) => {
                let task = progress.task(name, source.count(Split::Test), "images");
                let content = source.content();
                let rows = row_group_rows(content, source.count(Split::Test));
                let labels = (source.classes(), source.label_lists());
                let making = Making::new(model, content, (&labels.0, labels.1.as_ref()), direction, from)?;
                let options = WriteOptions { sorted: source.is_sorted(), ..options.clone() };
                let groups = mapped(source.row_groups(Split::Test, rows)?, &making.map, task);
                write_rows(folder, &temporary(name), &making.schema, &options, None, groups)?;
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
        publish_beside(output, besides, write, check)?;
        let rejected = name_beside(name, REJECTED);
        if besides.contains(&rejected) { Ok(()) } else { remove_old(&output.with_file_name(rejected)) }
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
