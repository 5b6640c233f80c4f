//! The source `vectors`: tables whose rows are the numbers of some columns, in CSV or Parquet, for models without images.
//!
//! Each column is scaled to [0, 1] as its training rows say ([`Scaler`]), so that columns of any unit count alike and a row is an image
//! of one pixel with a number for each column. A table is read twice: first for the number of rows, the labels and the scaling, then
//! row after row. Columns are told by their names, whose order is that of the first training table.

mod choice;
mod kind;
mod part;
mod settings;
mod statistics;
mod stored;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::columns::label_column;
use super::draw::{Draw, Members};
use super::label_text;
use super::rows::{Row, Table};
use super::tables::tell_links;
use super::{Source, batch, explained};
use crate::image::{Classes, PerSplit, Pixels, Shapes, Split};
use crate::progress::Progress;
use crate::scaler::Scaler;
use crate::table::{Content, RowGroup, batch_rows};
use crate::{error, interrupt, text};
use choice::{Chosen, chosen, found, names};
pub use kind::table_source;
use part::{Columns, Labels, Part, ROWS};
pub use settings::{Missing, Scale, VectorsSettings};
use statistics::{Statistic, scaler};
pub use stored::read_scaler;
use stored::{SCALER, table_of};

/// What files are that are not told to be something else than a table; text shows no format.
const PARQUET: &str = "a Parquet file";

/// The rows of tables.
pub struct Vectors {
    columns: Columns,
    scaler: Scaler,
    /// The tables of each split; those of splits that are drawn are in the first.
    splits: PerSplit<Vec<Part>>,
    members: PerSplit<Members>,
    /// Rows of the tables of each split.
    counts: PerSplit<u64>,
    classes: Classes,
    /// Numbers of each column that were outside of the range of the training rows so far.
    clipped: Vec<AtomicU64>,
    progress: Progress,
}

/// Opens a table, and says what else a file is.
fn opened(path: &Path) -> Result<Table> {
    Table::open(path).map_err(|cause| explained(path, PARQUET, cause))
}

impl Vectors {
    /// Reads the tables once: the scaling follows from the training rows.
    ///
    /// # Errors
    /// Tables that cannot be read or lack columns, and rows that lack numbers.
    fn open(settings: &VectorsSettings, seed: u64, progress: &Progress) -> Result<Self> {
        let [train, test, validation] = settings.tables()?;
        let first = opened(&train[0])?;
        let chosen = chosen(&first, settings).map_err(|cause| explained(first.path(), PARQUET, cause))?;
        let columns = Columns::of(&first, &chosen, settings.missing == Missing::Mean)?;
        tell_links(settings.patterns().map(|(_, pattern)| pattern), progress)?;
        tell_passed_over(&first, &chosen, progress);
        let part = |path: &PathBuf| -> Result<Part> {
            let table = opened(path)?;
            let label = label_column(table.head(), settings.label.as_deref());
            let label = label.map_err(|cause| error::data(format!("{} {cause}", path.display())))?;
            let chosen = found(&table, &columns.names, columns.is_list, label)?;
            Ok(Part::of(table, &chosen))
        };
        let parts = |paths: &[PathBuf]| paths.iter().map(part).collect::<Result<Vec<_>>>();
        let splits = [parts(&train)?, parts(&test)?, parts(&validation)?];
        let draw = Draw::new(seed, settings.test_fraction.unwrap_or_default(), settings.validation_fraction);
        let mut statistics = vec![Statistic::default(); columns.width];
        let (mut labels, mut counts) = (Labels::default(), PerSplit::<u64>::default());
        for (split, parts) in Split::ALL.into_iter().zip(&splits) {
            let trains = |position| split == Split::Train && draw.split(position) == Split::Train;
            counts[split as usize] = columns.scan(parts, |position, part, row| {
                if trains(position) {
                    statistics.iter_mut().zip(&row.numbers).for_each(|(statistic, number)| statistic.add(*number));
                }
                let advice = "source.vectors.label = \"none\" reads no labels";
                let bad = |cause| {
                    error::data(format!("{}: its labels column {cause}; {advice}", part.table.path().display()))
                };
                labels.see(part.label(&row)).map_err(bad)
            })?;
            if counts[split as usize] == 0 && !parts.is_empty() {
                return Err(error::data(format!("{} holds no rows", parts[0].table.path().display())));
            }
        }
        let members = Members::drawn(draw, counts[0])?.map(|members| members.unwrap_or(Members::All));
        let VectorsSettings { scale, missing, .. } = settings;
        let scaler = scaler(&statistics, &columns.names, columns.is_list, *scale, *missing);
        let scaler = scaler.map_err(|cause| error::data(format!("{}: {cause}", first.path().display())))?;
        let constant: Vec<_> = scaler.columns().iter().filter(|column| column.zero == column.one).collect();
        if !constant.is_empty() {
            let names: Vec<_> = constant.iter().map(|column| column.to_string()).collect();
            let names = text::few(&names);
            progress.note(&format!("constant in the training rows: the columns {names}; they tell nothing"));
        }
        let (classes, progress) = (labels.classes(), progress.clone());
        let clipped = scaler.columns().iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self { columns, scaler, splits, members, counts, classes, clipped, progress })
    }

    /// The rows of one table in the test split, scaled as those that a model was trained on. An integer column `id` is kept.
    ///
    /// # Errors
    /// A table that cannot be read or lacks columns, and rows that lack numbers.
    pub fn of_file(path: &Path, scaler: &Scaler, progress: &Progress) -> Result<Self> {
        Self::of_table(opened(path)?, scaler, progress)
    }

    /// The same of a table that is called `name` in messages.
    ///
    /// # Errors
    /// As [`Self::of_file`].
    pub fn held(
        name: &str,
        (schema, batches): (&Schema, Vec<RecordBatch>),
        scaler: &Scaler,
        progress: &Progress,
    ) -> Result<Self> {
        Self::of_table(Table::held(name, schema, batches), scaler, progress)
    }

    fn of_table(table: Table, scaler: &Scaler, progress: &Progress) -> Result<Self> {
        let (names, is_list, width) = (names(scaler), scaler.list().is_some(), scaler.columns().len());
        let columns = Columns { names, is_list, width, gaps: scaler.fills_gaps() };
        let free = |at: &usize| !columns.names.contains(&table.head()[*at]);
        let label = label_column(table.head(), None).ok().flatten().filter(free);
        let mut chosen =
            found(&table, &columns.names, is_list, label).map_err(|cause| explained(table.path(), PARQUET, cause))?;
        chosen.id = table.head().iter().position(|name| name == "id").filter(free);
        let mut part = Part::of(table.clone(), &chosen);
        // Nobody asked for labels and ids: unusable ones are left out.
        let (mut labels, mut can_be_labels, mut can_be_ids) = (Labels::default(), true, true);
        let count = columns.scan(std::slice::from_ref(&part), |_, part, row| {
            can_be_labels = can_be_labels && labels.see(part.label(&row)).is_ok();
            can_be_ids = can_be_ids && part.id(&row).is_none_or(|id| id.is_some());
            Ok(())
        })?;
        if count == 0 {
            return Err(error::data(format!("{} holds no rows", part.table.path().display())));
        }
        if !can_be_labels || !can_be_ids {
            let label = chosen.label.filter(|_| can_be_labels);
            part = Part::of(table, &Chosen { label, id: chosen.id.filter(|_| can_be_ids), ..chosen });
        }
        let classes = if can_be_labels { labels.classes() } else { None };
        let (splits, counts, members) = ([Vec::new(), vec![part], Vec::new()], [0, count, 0], [Members::All; 3]);
        let (scaler, progress) = (scaler.clone(), progress.clone());
        let clipped = scaler.columns().iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self { columns, scaler, splits, members, counts, classes, clipped, progress })
    }

    /// The tables that contain a split, and how many rows they have.
    fn parts(&self, split: Split) -> (&[Part], u64) {
        let at = match self.members[split as usize] {
            Members::All => split as usize,
            Members::Drawn(..) => 0,
        };
        (&self.splits[at], self.counts[at])
    }

    /// Appends the scaled numbers of a row.
    fn scale(&self, numbers: &[f64], out: &mut Vec<f32>) {
        for ((column, clipped), number) in self.scaler.columns().iter().zip(&self.clipped).zip(numbers) {
            let number = if number.is_nan() { column.missing.unwrap_or(f64::NAN) } else { *number };
            let (scaled, is_clipped) = column.scaled(number);
            clipped.fetch_add(u64::from(is_clipped), Ordering::Relaxed);
            out.push(scaled);
        }
    }

    /// The number of a label.
    fn label(&self, text: Option<&str>) -> Option<i64> {
        let text = text?;
        match &self.classes {
            Some(names) => names.binary_search_by(|name| name.as_str().cmp(text)).ok().map(|at| at as i64),
            None => label_text::integer(text),
        }
    }
}

/// Says which columns are not read.
fn tell_passed_over(table: &Table, chosen: &Chosen, progress: &Progress) {
    let Some(first) = chosen.others.first() else { return };
    let advice = match chosen.label {
        Some(_) => String::new(),
        None => format!("; no labels are read, source.vectors.label = {first:?} would take some"),
    };
    let (count, others, path) = (chosen.others.len(), text::few(&chosen.others), table.path().display());
    progress.note(&format!("passed over: {count} columns of {path}, {others}{advice}"));
}

impl Source for Vectors {
    fn content(&self) -> Content {
        Content::Images(self.scaler.shape().into(), Pixels::F32)
    }

    fn count(&self, split: Split) -> u64 {
        self.members[split as usize].count(self.parts(split).1)
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let (shape, members) = (self.scaler.shape(), self.members[split as usize]);
        let of_part = |part| -> Box<dyn Iterator<Item = Result<(&Part, usize, Row)>> + Send> {
            let part: &Part = part;
            match part.table.rows(&part.wanted) {
                Ok(rows) => Box::new(rows.enumerate().map(move |(at, row)| Ok((part, at, row?)))),
                Err(cause) => Box::new(std::iter::once(Err(cause))),
            }
        };
        let mut all = (0..).zip(self.parts(split).0.iter().flat_map(of_part));
        let mut group = move || -> Result<Option<RowGroup<'_>>> {
            let (mut ids, mut labels, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
            while ids.len() < rows {
                let Some((position, row)) = all.next() else { break };
                let (part, at, row) = row?;
                if position % ROWS == 0 {
                    interrupt::check()?;
                }
                if members.has(position) {
                    // The table may have changed since it was opened.
                    self.columns.check(&part.table, at as u64, &row.numbers)?;
                    self.scale(&row.numbers, &mut numbers);
                    ids.push(part.id(&row).flatten().map_or(position, |id| id as u64));
                    labels.push(self.label(part.label(&row)));
                }
            }
            if ids.is_empty() {
                return Ok(None);
            }
            Ok(Some(Box::new(move |emit| {
                let step = batch_rows(Content::Images(shape.into(), Pixels::F32));
                let chunks = ids.chunks(step).zip(labels.chunks(step)).zip(numbers.chunks(step * shape.len()));
                for ((ids, labels), numbers) in chunks {
                    let shapes = Shapes::Equal(shape, ids.len());
                    emit(batch(split, &shapes, ids.iter().copied(), labels.to_vec(), numbers.to_vec())?)?;
                }
                Ok(())
            })))
        };
        Ok(Box::new(std::iter::from_fn(move || group().transpose())))
    }

    fn is_sorted(&self) -> bool {
        self.splits.iter().flatten().all(|part| !part.has_ids())
    }

    fn classes(&self) -> Classes {
        self.classes.clone()
    }

    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let counts: Vec<_> = self.clipped.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let columns = self.scaler.columns().iter().zip(&counts).filter(|(_, count)| **count > 0);
        let names: Vec<_> = columns.map(|(column, _)| column.to_string()).collect();
        if !names.is_empty() {
            let (count, names) = (counts.iter().sum::<u64>(), text::few(&names));
            self.progress.note(&format!(
                "clipped: {count} numbers lie outside of the range that the training rows give their columns, {names}"
            ));
        }
        Ok(vec![(SCALER, table_of(&self.scaler)?)])
    }
}
