//! Reads tables row by row, from CSV (also gzip), Parquet or memory: the numbers of some columns, and the texts of others.

use std::io::{self, BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use csv::{ReaderBuilder, StringRecord};

use super::gzip;
use crate::{error, store, table};

/// Most bytes of a line of CSV.
const MOST_LINE: usize = 4 << 20;
/// Bytes of Parquet that are read at a time.
const READ_BYTES: u64 = 16 << 20;
/// Rows of Parquet that are read at a time.
const READ_ROWS: usize = 256;
/// What programs write in place of a missing number, in lower case, besides nothing and NaN.
const GAPS: [&str; 7] = ["na", "n/a", "<na>", "null", "none", "?", "-"];

/// A row.
pub struct Row {
    /// The texts; none where there is no value.
    pub texts: Vec<Option<String>>,
    /// The numbers; NaN where one is missing.
    pub numbers: Vec<f64>,
}

/// The columns that are read, by position.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Those of numbers, or one of lists of numbers.
    pub numbers: Vec<usize>,
    /// Those of texts.
    pub texts: Vec<usize>,
    /// Whether the first line of CSV is a row already.
    pub headless: bool,
    /// Whether numbers may be missing, and be truth values.
    pub gaps: bool,
}

/// A table that was opened once.
#[derive(Debug, Clone)]
pub struct Table {
    path: PathBuf,
    head: Vec<String>,
    /// None for CSV.
    types: Option<Vec<DataType>>,
    /// What is between two values of CSV.
    delimiter: u8,
    /// The rows, if they are in memory.
    held: Option<Arc<[RecordBatch]>>,
}

/// The rows of a table.
pub type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

impl Table {
    /// Reads the names of the columns.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let mut start = Vec::new();
        let file = store::reader(path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
            _ => unreadable(path, cause),
        })?;
        file.take(4).read_to_end(&mut start).map_err(|cause| unreadable(path, cause))?;
        if start == b"PAR1" {
            let footer = table::footer(path)?;
            let fields = footer.schema().fields().iter();
            let (head, types) = fields.map(|field| (field.name().clone(), field.data_type().clone())).unzip();
            return Ok(Self { path: path.to_owned(), head, types: Some(types), delimiter: b',', held: None });
        }
        let delimiter = delimiter(path)?;
        let record = records(path, delimiter)?.next().transpose()?.unwrap_or_default();
        let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_owned();
        let head = record.iter().map(name).collect();
        Ok(Self { path: path.to_owned(), head, types: None, delimiter, held: None })
    }

    /// A table in memory that is called `name` in messages.
    pub fn held(name: &str, schema: &Schema, batches: Vec<RecordBatch>) -> Self {
        let fields = schema.fields().iter();
        let (head, types) = fields.map(|field| (field.name().clone(), field.data_type().clone())).unzip();
        Self { path: name.into(), head, types: Some(types), delimiter: b',', held: Some(batches.into()) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its columns: the first line of CSV.
    pub fn head(&self) -> &[String] {
        &self.head
    }

    /// The types of its columns; none for CSV.
    pub fn types(&self) -> Option<&[DataType]> {
        self.types.as_deref()
    }

    /// The lines of CSV after so many.
    ///
    /// # Errors
    /// A file that cannot be opened; each line can fail too.
    pub fn lines(&self, skipped: usize) -> Result<impl Iterator<Item = Result<StringRecord>> + Send + use<>> {
        Ok(records(&self.path, self.delimiter)?.skip(skipped))
    }

    /// The number of a text; NaN for none, if there may be gaps.
    pub fn number(text: &str, gaps: bool) -> Option<f64> {
        let number = text.parse::<u8>().map(f64::from).or_else(|_| text.parse::<f64>()).ok();
        if !gaps || number.is_some() {
            return number;
        }
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(1.0),
            "false" => Some(0.0),
            gap => (gap.is_empty() || GAPS.contains(&gap)).then_some(f64::NAN),
        }
    }

    /// Its rows.
    ///
    /// # Errors
    /// A file that cannot be opened; each row can fail too.
    pub fn rows(&self, wanted: &Wanted) -> Result<Rows> {
        if self.types.is_some() { self.parquet_rows(wanted.clone()) } else { self.csv_rows(wanted.clone()) }
    }

    fn csv_rows(&self, wanted: Wanted) -> Result<Rows> {
        let Self { path, head, .. } = self.clone();
        let rows = self.lines(usize::from(!wanted.headless))?.enumerate().map(move |(row, record)| {
            let record = record?;
            let number = |at: &usize| {
                let field = record.get(*at).unwrap_or_default().trim();
                Self::number(field, wanted.gaps).ok_or_else(|| {
                    let what = if field.is_empty() { "no number".to_owned() } else { format!("{field:?}") };
                    let name = if wanted.headless { String::new() } else { format!(" ({})", head[*at]) };
                    error::data(format!("{}: row {row} has {what} in column {}{name}", path.display(), at + 1))
                })
            };
            let text = |at: &usize| record.get(*at).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
            let texts = wanted.texts.iter().map(text).collect();
            Ok(Row { texts, numbers: wanted.numbers.iter().map(number).collect::<Result<_>>()? })
        });
        Ok(Box::new(rows))
    }

    fn parquet_rows(&self, wanted: Wanted) -> Result<Rows> {
        let Self { path, types, held, .. } = self.clone();
        let mut read = [wanted.numbers.as_slice(), &wanted.texts].concat();
        read.sort_unstable();
        read.dedup();
        let batches: Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send> = match held {
            None => Box::new(table::columns(&path, &table::footer(&path)?, &read, READ_BYTES, READ_ROWS)?),
            Some(held) => {
                let read = read.clone();
                let projected = move |at: usize| held[at].project(&read).map_err(|cause| cause.to_string());
                Box::new((0..self.held.as_ref().map_or(0, |held| held.len())).map(projected))
            }
        };
        let lists = types.is_some_and(|types| wanted.numbers.iter().any(|at| types[*at].is_nested()));
        let mut before = 0;
        let rows = batches.flat_map(move |batch| {
            let bad = |what: String| error::data(format!("{}: {what}", path.display()));
            let rows = batch
                .map_err(|cause| bad(format!("it is damaged near row {before}: {cause}")))
                .and_then(|batch| Batch::of(&batch, &read, &wanted, lists).map_err(bad));
            let rows = rows.map_or_else(
                |cause| vec![Err(cause)],
                |batch| (0..batch.rows).map(|row| batch.row(row, before).map_err(bad)).collect(),
            );
            before += rows.len();
            rows
        });
        Ok(Box::new(rows))
    }
}

/// The wanted columns of some rows of Parquet.
struct Batch {
    rows: usize,
    /// Floats, or one column of lists of them.
    numbers: Vec<ArrayRef>,
    lists: bool,
    texts: Vec<ArrayRef>,
    gaps: bool,
}

impl Batch {
    /// The columns of a batch, which has those at the positions `read` of the table.
    fn of(batch: &RecordBatch, read: &[usize], wanted: &Wanted, lists: bool) -> Result<Self, String> {
        let cast = |at: &usize, wanted: &DataType| -> Result<ArrayRef, String> {
            let column = batch.column(read.binary_search(at).unwrap_or_default());
            arrow_cast::cast(column, wanted).map_err(|cause| cause.to_string())
        };
        let item = || Arc::new(Field::new("item", DataType::Float64, true));
        let kind = if lists { DataType::LargeList(item()) } else { DataType::Float64 };
        Ok(Self {
            rows: batch.num_rows(),
            numbers: wanted.numbers.iter().map(|at| cast(at, &kind)).collect::<Result<_, _>>()?,
            lists,
            texts: wanted.texts.iter().map(|at| cast(at, &DataType::Utf8)).collect::<Result<_, _>>()?,
            gaps: wanted.gaps,
        })
    }

    /// A row, of which so many are `before` the first one.
    fn row(&self, row: usize, before: usize) -> Result<Row, String> {
        let text = |texts: &ArrayRef| {
            texts.is_valid(row).then(|| texts.as_string::<i32>().value(row).to_owned()).filter(|text| !text.is_empty())
        };
        let number = |column: &dyn Array, at: usize| match column.is_valid(at) {
            true => Ok(column.as_primitive::<Float64Type>().value(at)),
            false if self.gaps => Ok(f64::NAN),
            false => Err(format!("row {} has a null among its pixels", before + row)),
        };
        let numbers = if self.lists {
            // A list that is null has no numbers.
            let list = self.numbers.first().filter(|lists| lists.is_valid(row));
            let list = list.map(|lists| lists.as_list::<i64>().value(row));
            list.map_or(Ok(Vec::new()), |list| (0..list.len()).map(|at| number(&list, at)).collect())
        } else {
            self.numbers.iter().map(|column| number(column, row)).collect()
        };
        Ok(Row { texts: self.texts.iter().map(text).collect(), numbers: numbers? })
    }
}

/// What is between the values of CSV, by the first line: a comma, or else a semicolon or a tab.
fn delimiter(path: &Path) -> Result<u8> {
    let file = store::reader(path).map_err(|cause| unreadable(path, cause))?;
    let mut line = Vec::new();
    // The reader of the records reports what cannot be read, or decompressed.
    if let Ok(file) = gzip::payload(file) {
        _ = file.take(MOST_LINE as u64).read_until(b'\n', &mut line);
    }
    Ok([b',', b';', b'\t'].into_iter().find(|delimiter| line.contains(delimiter)).unwrap_or(b','))
}

/// The records of CSV, raw or gzip, the first line included.
fn records(path: &Path, delimiter: u8) -> Result<impl Iterator<Item = Result<StringRecord>> + Send + use<>> {
    let file = store::reader(path).map_err(|cause| unreadable(path, cause))?;
    let since = Arc::new(AtomicUsize::new(0));
    let lines = Lines { file: gzip::payload(file).map_err(|cause| unreadable(path, cause))?, since: since.clone() };
    let path = path.to_owned();
    let records = ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(lines).into_records();
    Ok(records.map(move |record| {
        since.store(0, Ordering::Relaxed);
        record.map_err(|cause| {
            let what = cause.to_string();
            match cause.into_kind() {
                csv::ErrorKind::Io(cause) if cause.kind() != ErrorKind::FileTooLarge && !gzip::is_damage(&cause) => {
                    unreadable(&path, cause)
                }
                _ => error::data(format!("{}: {what}", path.display())),
            }
        })
    }))
}

fn unreadable(path: &Path, cause: io::Error) -> anyhow::Error {
    anyhow::Error::new(cause).context(format!("cannot read {}", path.display()))
}

/// A reader that fails if a line exceeds [`MOST_LINE`]; `since` counts the bytes since the last one.
struct Lines<R> {
    file: R,
    since: Arc<AtomicUsize>,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if self.since.fetch_add(read, Ordering::Relaxed) + read > MOST_LINE {
            let message = format!("it has a line of more than {} MiB", MOST_LINE >> 20);
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        }
        Ok(read)
    }
}
