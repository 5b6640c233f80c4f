//! The source `columns`: tables with a column for each pixel, in CSV or Parquet, as Kaggle's `train.csv` of digits.
//!
//! Pixels are the columns whose names count up, as `pixel0` to `pixel783`, or say row and column, as `1x1` to `28x28`; their order is that
//! of the numbers, and not that of the columns, which programs sort as text. A table is read twice: first for the number of rows, the
//! labels and the range of the numbers, then row after row.

mod layout;
mod settings;
mod table;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::draw::{Draw, Members, pick};
use super::label_text::{self, Texts};
use super::settings::drawn;
use super::{Outside, Source, SourceKind, batch, bytes_of, check_classes};
use crate::error;
use crate::image::{Classes, ImageShape, PerSplit, Shapes, Split, to_byte};
use crate::progress::Progress;
use crate::table::{Content, RowGroup, batch_rows};
pub use layout::{Layout, label_column};
pub use settings::ColumnsSettings;
use table::PixelTable;

/// Most rows, as IDX files can have images.
const MOST_ROWS: u64 = u32::MAX as u64;

/// The images of tables with a column for each pixel.
struct Columns {
    shape: ImageShape,
    scale: Scale,
    splits: PerSplit<Option<Part>>,
    classes: Classes,
}

/// The table of a split.
#[derive(Clone)]
struct Part {
    table: PixelTable,
    rows: u64,
    labels: Option<Vec<Option<i64>>>,
    members: Members,
}

/// What the numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// Whole numbers from 0 to 255.
    Bytes,
    /// Numbers from 0 to 1.
    Unit,
}

/// What is known of a table after the first reading.
struct Seen {
    table: PixelTable,
    rows: u64,
    scale: Scale,
    /// A position in `names` for each row, or none.
    labels: Vec<Option<u32>>,
    names: Vec<String>,
}

impl Seen {
    fn of(path: &Path, settings: &ColumnsSettings, note: &dyn Fn(&str)) -> Result<Self> {
        let table = PixelTable::open(path, settings, note)?;
        let (mut labels, mut known, mut names) = (Vec::new(), HashMap::new(), Vec::new());
        let (mut rows, mut least, mut most, mut whole) = (0, f64::INFINITY, f64::NEG_INFINITY, true);
        for row in table.rows()? {
            let row = row?;
            for &number in &row.numbers {
                if !number.is_finite() {
                    return Err(error::data(format!("{}: row {rows} holds {number}", path.display())));
                }
                (least, most, whole) = (least.min(number), most.max(number), whole && number.trunc() == number);
            }
            labels.push(row.texts.into_iter().next().flatten().map(|label| {
                *known.entry(label).or_insert_with_key(|label| {
                    names.push(label.clone());
                    names.len() as u32 - 1
                })
            }));
            rows += 1;
            check_classes(names.len())
                .map_err(|cause| error::data(format!("{}: its labels column {cause}", path.display())))?;
            if rows > MOST_ROWS {
                return Err(error::data(format!("{} has more than {MOST_ROWS} rows", path.display())));
            }
        }
        if rows == 0 {
            return Err(error::data(format!("{} holds no rows", path.display())));
        }
        // Zeros and ones written as floats are the ends of the range from 0 to 1.
        let scale = if whole && !(most <= 1.0 && table.has_floats()) { Scale::Bytes } else { Scale::Unit };
        let (top, range) = match scale {
            Scale::Bytes => (255.0, "whole numbers must lie between 0 and 255"),
            Scale::Unit => (1.0, "floats must lie in [0, 1]"),
        };
        if least < 0.0 || most > top {
            let (path, value) = (path.display(), if least < 0.0 { least } else { most });
            return Err(error::data(format!("{path}: its pixels are as {value}; {range}")));
        }
        Ok(Self { table, rows, scale, labels, names })
    }

    /// The labels as numbers, where all names are `names`, sorted, or numbers if there are none.
    fn part(self, names: Option<&[String]>) -> Part {
        let number = |name: &String| match names {
            Some(names) => names.binary_search(name).ok().map(|at| at as i64),
            None => label_text::integer(name),
        };
        let numbers: Vec<_> = self.names.iter().map(number).collect();
        let labels = self
            .table
            .has_labels()
            .then(|| self.labels.iter().map(|label| label.and_then(|label| numbers[label as usize])).collect());
        Part { table: self.table, rows: self.rows, labels, members: Members::All }
    }
}

impl Columns {
    fn open(settings: &ColumnsSettings, seed: u64, note: &dyn Fn(&str)) -> Result<Self> {
        let train = Seen::of(&settings.train, settings, note)?;
        let (shape, scale) = (train.table.shape(), train.scale);
        let mut others = Vec::new();
        for (split, path) in [(Split::Test, &settings.test), (Split::Validation, &settings.validation)] {
            let Some(path) = path else { continue };
            let seen = Seen::of(path, settings, note)?;
            let (one, other) = (settings.train.display(), path.display());
            if seen.table.shape() != shape {
                return Err(error::data(format!("{other} has images of {}, but {one} of {shape}", seen.table.shape())));
            }
            if seen.scale != scale {
                return Err(error::data(format!("one of {one} and {other} has pixels up to 1, the other up to 255")));
            }
            others.push((split, seen));
        }
        let mut names: Vec<String> =
            train.names.iter().chain(others.iter().flat_map(|(_, seen)| &seen.names)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let texts = Texts::of(&names.iter().map(String::as_str).collect());
        let named = (texts == Texts::Names && !names.is_empty()).then_some(names);
        let train = train.part(named.as_deref());
        let draw = Draw::new(seed, settings.test_fraction.unwrap_or_default(), settings.validation_fraction);
        let drawn = Members::drawn(draw, train.rows)?;
        let mut splits = drawn.map(|members| members.map(|members| Part { members, ..train.clone() }));
        for (split, seen) in others {
            splits[split as usize] = Some(seen.part(named.as_deref()));
        }
        Ok(Self { shape, scale, splits, classes: named.map(Into::into) })
    }
}

impl Source for Columns {
    fn content(&self) -> Content {
        bytes_of(self.shape)
    }

    fn count(&self, split: Split) -> u64 {
        self.splits[split as usize].as_ref().map_or(0, |part| part.members.count(part.rows))
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let (shape, scale) = (self.shape, self.scale);
        let Some(part) = &self.splits[split as usize] else { return Ok(Box::new(std::iter::empty())) };
        let Part { table, labels, members, .. } = part;
        let mut all = table.rows()?;
        let chunks = std::iter::from_fn(move || {
            let mut bytes = Vec::new();
            for row in all.by_ref().take(rows) {
                match row {
                    Ok(row) => bytes.extend(row.numbers.iter().map(|number| scale.byte(*number))),
                    Err(cause) => return Some(Err(cause)),
                }
            }
            (!bytes.is_empty()).then_some(Ok(bytes))
        });
        Ok(Box::new(pick(chunks, shape.len(), rows, *members).map(move |picked| -> Result<RowGroup<'_>> {
            let (ids, bytes) = picked?;
            Ok(Box::new(move |emit| {
                let step = batch_rows(bytes_of(shape));
                for (ids, chunk) in ids.chunks(step).zip(bytes.chunks(step * shape.len())) {
                    let label = |id: &u64| labels.as_ref().and_then(|labels| *labels.get(*id as usize)?);
                    let labels = ids.iter().map(label).collect();
                    let shapes = Shapes::Equal(shape, ids.len());
                    emit(batch(split, &shapes, ids.iter().copied(), labels, chunk.to_vec())?)?;
                }
                Ok(())
            }))
        })))
    }

    fn classes(&self) -> Classes {
        self.classes.clone()
    }
}

impl Scale {
    fn byte(self, number: f64) -> u8 {
        match self {
            Scale::Bytes => number as u8,
            Scale::Unit => to_byte(number as f32),
        }
    }
}

/// The settings of the files.
const SETTINGS: PerSplit<&str> = ["source.columns.train", "source.columns.test", "source.columns.validation"];

impl SourceKind for ColumnsSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train: _, test: _, validation: _, test_fraction, validation_fraction, label, shape } = self;
        drawn(json!({ "label": label, "shape": shape }), *test_fraction, *validation_fraction, seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        let files = [Some(&self.train), self.test.as_ref(), self.validation.as_ref()];
        SETTINGS.into_iter().zip(files).filter_map(|(setting, path)| Some((setting, path?.as_path()))).collect()
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let file = |(setting, path): (_, &Path)| (setting, Outside::File(PathBuf::from(path)));
        Ok(self.places().into_iter().map(file).collect())
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Columns::open(self, seed, &|note| progress.note(note))?))
    }
}
