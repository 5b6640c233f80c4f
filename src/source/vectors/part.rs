//! The tables of the source `vectors`, and what is required of their rows.

use std::collections::BTreeSet;

use anyhow::Result;

use super::choice::Chosen;
use crate::image::{Classes, ImageShape};
use crate::source::check_classes;
use crate::source::label_text::Texts;
use crate::source::rows::{Row, Table, Wanted};
use crate::{error, interrupt};

/// Most rows of a split, as IDX files can have images.
const MOST_ROWS: u64 = u32::MAX as u64;
/// Rows between two looks at whether the user has had enough.
pub const ROWS: u64 = 1 << 12;

/// A table, and which of its columns are read.
#[derive(Debug, Clone)]
pub struct Part {
    /// The table.
    pub table: Table,
    /// The columns that are read.
    pub wanted: Wanted,
    has_label: bool,
}

impl Part {
    /// A table with the columns that were chosen.
    pub fn of(table: Table, chosen: &Chosen) -> Self {
        Self { table, wanted: chosen.wanted(), has_label: chosen.label.is_some() }
    }

    /// The text of the label of a row.
    pub fn label<'a>(&self, row: &'a Row) -> Option<&'a str> {
        if self.has_label { row.texts.first()?.as_deref() } else { None }
    }

    /// Whether it has ids.
    pub fn has_ids(&self) -> bool {
        self.wanted.texts.len() > usize::from(self.has_label)
    }

    /// The id that the row says, if the table has ids.
    pub fn id(&self, row: &Row) -> Option<Option<i64>> {
        let text = row.texts.get(usize::from(self.has_label))?;
        Some(text.as_ref().and_then(|text| text.parse().ok()))
    }
}

/// What is required of the numbers of a row.
pub struct Columns {
    /// The names of the columns, or of the one of lists.
    pub names: Vec<String>,
    /// Whether it is one of lists.
    pub is_list: bool,
    /// Numbers of a row.
    pub width: usize,
    /// Whether some may be missing.
    pub gaps: bool,
}

impl Columns {
    /// Those that were chosen of the first table.
    ///
    /// # Errors
    /// Rows of too many numbers, and lists that cannot be read.
    pub fn of(first: &Table, chosen: &Chosen, gaps: bool) -> Result<Self> {
        let names: Vec<_> = chosen.numbers.iter().map(|at| first.head()[*at].clone()).collect();
        let width = if chosen.is_list {
            first.rows(&chosen.wanted())?.next().transpose()?.map_or(0, |row| row.numbers.len())
        } else {
            names.len()
        };
        if ImageShape::new(1, 1, width).is_none() {
            let (path, most) = (first.path().display(), ImageShape::MAX_LEN);
            return Err(error::data(format!("{path} has {width} numbers in its first row; from 1 to {most} work")));
        }
        Ok(Self { names, is_list: chosen.is_list, width, gaps })
    }

    /// Checks the numbers of a row.
    ///
    /// # Errors
    /// A number that is missing or infinite, or a list of another length.
    pub fn check(&self, table: &Table, row: u64, numbers: &[f64]) -> Result<()> {
        let bad = |what: String| Err(error::data(format!("{}: row {row} has {what}", table.path().display())));
        if numbers.len() != self.width {
            let (name, found, wanted) = (&self.names[0], numbers.len(), self.width);
            return bad(format!("a list of {found} numbers in its column {name}, expected {wanted}"));
        }
        let fits = |number: &f64| number.is_finite() || (self.gaps && number.is_nan());
        let Some(at) = numbers.iter().position(|number| !fits(number)) else { return Ok(()) };
        let name = if self.is_list { format!("{}[{at}]", self.names[0]) } else { self.names[at].clone() };
        if numbers[at].is_nan() {
            let advice = "training with source.vectors.missing = \"mean\" puts the mean of the column in its place";
            return bad(format!("no number in its column {name}; {advice}"));
        }
        bad(format!("an infinite number in its column {name}"))
    }

    /// Hands every row of the parts to `each`, with its position, and returns their number.
    ///
    /// # Errors
    /// Rows that cannot be read or used, errors of `each`, interruption.
    pub fn scan(&self, parts: &[Part], mut each: impl FnMut(u64, &Part, Row) -> Result<()>) -> Result<u64> {
        let mut position = 0;
        for part in parts {
            for (row, found) in part.table.rows(&part.wanted)?.enumerate() {
                let found = found?;
                self.check(&part.table, row as u64, &found.numbers)?;
                each(position, part, found)?;
                position += 1;
                if position % ROWS == 0 {
                    interrupt::check()?;
                }
                if position > MOST_ROWS {
                    return Err(error::data(format!("the tables hold more than {MOST_ROWS} rows")));
                }
            }
        }
        Ok(position)
    }
}

/// The texts of labels that were seen.
#[derive(Default)]
pub struct Labels(BTreeSet<String>);

impl Labels {
    /// Adds one.
    ///
    /// # Errors
    /// There are too many different ones; as text that follows the name of the column.
    pub fn see(&mut self, text: Option<&str>) -> Result<(), String> {
        if let Some(text) = text.filter(|text| !self.0.contains(*text)) {
            self.0.insert(text.to_owned());
        }
        check_classes(self.0.len())
    }

    /// The names of the classes, unless the labels are numbers.
    pub fn classes(self) -> Classes {
        let texts = Texts::of(&self.0.iter().map(String::as_str).collect());
        (texts == Texts::Names && !self.0.is_empty()).then(|| self.0.into_iter().collect())
    }
}
