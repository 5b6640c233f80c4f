//! Reads tables that describe the files of a folder: CSV, or JSON lines where the name ends in `.jsonl`, or Parquet.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use serde_json::{Map, Value};

use crate::store::{self, RangeReader};
use crate::{error, interrupt, table};

/// Most bytes of a row; parsed JSON may take thirty times as much memory.
const MOST_ROW: usize = 4 << 20;

/// A row of a table, as text.
pub struct Row {
    /// The line of the file on which it begins.
    pub line: u64,
    /// A value for each column; empty where it is missing.
    pub values: Vec<String>,
}

/// A table that is read row after row.
pub struct FileTable {
    /// The names of its columns; for JSON lines, all keys of the first object, and the wanted keys of the others.
    pub columns: Vec<String>,
    /// Its rows; reading ends at the first error.
    pub rows: Box<dyn Iterator<Item = Result<Row>>>,
}

/// Opens a table; `wanted` are the names of columns that the caller looks for.
///
/// # Errors
/// A file that cannot be opened, or a damaged header.
pub fn open(path: &Path, wanted: &[&str]) -> Result<FileTable> {
    if store::exists(path) && !store::is_file(path) {
        return Err(bad(path, "it is not a file"));
    }
    let file = store::reader(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => bad(path, "it does not exist"),
        _ => anyhow::Error::new(cause).context(format!("cannot open {}", path.display())),
    })?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("jsonl") => json_lines(path, file, wanted),
        Some("parquet") => parquet(path, wanted),
        _ => csv(path, file),
    }
}

/// Rows of Parquet that are read at a time.
const PARQUET_ROWS: usize = 1024;

/// The wanted columns as text; the others, which may hold pictures, are empty.
fn parquet(path: &Path, wanted: &[&str]) -> Result<FileTable> {
    let footer = table::footer(path)?;
    let columns: Vec<String> = footer.schema().fields().iter().map(|field| field.name().clone()).collect();
    let is_wanted = |name: &String| wanted.contains(&name.as_str()) || wanted.contains(&name.to_lowercase().as_str());
    let read: Vec<usize> = (0..columns.len()).filter(|at| is_wanted(&columns[*at])).collect();
    let (path, count) = (path.to_owned(), columns.len());
    let mut line = 0;
    let batches = table::columns(&path, &footer, &read, MOST_ROW as u64, PARQUET_ROWS)?;
    let rows = batches.flat_map(move |batch| {
        let rows = batch.and_then(|batch| {
            let text = |column: &ArrayRef| arrow_cast::cast(column, &DataType::Utf8).map_err(|cause| cause.to_string());
            let texts = batch.columns().iter().map(text).collect::<Result<Vec<_>, _>>()?;
            let row = |row: usize| {
                line += 1;
                let mut values = vec![String::new(); count];
                for (at, column) in read.iter().zip(&texts) {
                    let column = column.as_string::<i32>();
                    if column.is_valid(row) {
                        values[*at] = column.value(row).trim().to_owned();
                    }
                }
                Ok(Row { line, values })
            };
            Ok((0..batch.num_rows()).map(row).collect::<Vec<_>>())
        });
        rows.unwrap_or_else(|cause: String| vec![Err(bad(&path, &format!("it is damaged near row {line}: {cause}")))])
    });
    Ok(FileTable { columns, rows: Box::new(rows) })
}

/// Bytes that were read since the last row; the consumer of rows resets it.
type Since = Rc<Cell<usize>>;

/// A reader that fails if a row exceeds [`MOST_ROW`].
struct Rows<R> {
    file: R,
    since: Since,
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.since.set(self.since.get() + read);
        if self.since.get() > MOST_ROW {
            let message = format!("it has a row of more than {} MiB", MOST_ROW >> 20);
            return Err(io::Error::new(ErrorKind::FileTooLarge, message));
        }
        Ok(read)
    }
}

/// The error for a bad table.
pub fn bad(path: &Path, what: &str) -> anyhow::Error {
    error::data(format!("{}: {what}", path.display()))
}

fn csv(path: &Path, file: RangeReader) -> Result<FileTable> {
    let since = Since::default();
    let mut reader = csv::Reader::from_reader(Rows { file, since: since.clone() });
    let head = reader.headers().map_err(|cause| csv_failure(path, cause))?;
    let columns = head.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
    let path = path.to_owned();
    let rows = reader.into_records().map(move |record| {
        since.set(0);
        let record = record.map_err(|cause| csv_failure(&path, cause))?;
        let line = record.position().map_or(0, csv::Position::line);
        Ok(Row { line, values: record.iter().map(|value| value.trim().to_owned()).collect() })
    });
    Ok(FileTable { columns, rows: Box::new(rows) })
}

/// The error of reading CSV: bad data, or an I/O error.
fn csv_failure(path: &Path, cause: csv::Error) -> anyhow::Error {
    let what = cause.to_string();
    match cause.into_kind() {
        csv::ErrorKind::Io(cause) if cause.kind() == ErrorKind::FileTooLarge => bad(path, &what),
        csv::ErrorKind::Io(cause) => anyhow::Error::new(cause).context(unreadable(path)),
        _ => bad(path, &what),
    }
}

fn json_lines(path: &Path, mut file: RangeReader, wanted: &[&str]) -> Result<FileTable> {
    let mut names: Vec<String> = Vec::new();
    for object in objects(path, &mut file) {
        // All keys of the first object, which error messages list, and the wanted keys of the others.
        let first = names.is_empty();
        for (name, _) in object?.1 {
            let is_wanted = wanted.contains(&name.as_str()) || wanted.contains(&name.to_lowercase().as_str());
            if first || (is_wanted && !names.contains(&name)) {
                names.push(name);
            }
        }
    }
    let columns = names.clone();
    file.rewind().with_context(|| unreadable(path))?;
    let rows = objects(path, file).map(move |object| {
        let (line, mut object) = object?;
        let values = names.iter().map(|name| match object.remove(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => other.to_string(),
        });
        Ok(Row { line, values: values.collect() })
    });
    Ok(FileTable { columns, rows: Box::new(rows) })
}

/// The objects of JSON lines, each with the number of its line.
fn objects<R: Read>(path: &Path, file: R) -> impl Iterator<Item = Result<(u64, Map<String, Value>)>> + use<R> {
    let path = path.to_owned();
    let since = Since::default();
    let lines = BufReader::new(Rows { file, since: since.clone() }).lines();
    let objects = (1..).zip(lines).map(move |(line, text)| {
        interrupt::check()?;
        since.set(0);
        let text = match text {
            Err(cause) if matches!(cause.kind(), ErrorKind::InvalidData | ErrorKind::FileTooLarge) => {
                return Err(bad(&path, &format!("line {line} is no JSON object: {cause}")));
            }
            text => text.with_context(|| unreadable(&path))?,
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        // Empty lines are skipped; text editors leave one at the end.
        let object = if text.is_empty() { Ok(Map::new()) } else { serde_json::from_str(text) };
        Ok((line, object.map_err(|cause| bad(&path, &format!("line {line} is no JSON object: {cause}")))?))
    });
    objects.filter(|object| object.as_ref().map_or(true, |(_, object)| !object.is_empty()))
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}", path.display())
}
