//! Reads the rows of a table with a column for each pixel, from CSV or Parquet.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use csv::{ReaderBuilder, StringRecord};

use super::layout::Layout;
use super::settings::ColumnsSettings;
use crate::image::ImageShape;
use crate::source::{explained, gzip};
use crate::store::local;
use crate::{error, table, text};

/// Most bytes of a line of CSV.
const MOST_LINE: usize = 4 << 20;
/// Bytes of Parquet that are read at a time.
const READ_BYTES: u64 = 16 << 20;
/// Rows of Parquet that are read at a time.
const READ_ROWS: usize = 256;

/// A row.
pub struct Row {
    /// The text of its label.
    pub label: Option<String>,
    /// The numbers of its pixels, row by row.
    pub numbers: Vec<f64>,
}

/// A table that was opened once.
#[derive(Clone)]
pub struct Table {
    path: PathBuf,
    is_parquet: bool,
    has_floats: bool,
    layout: Layout,
}

type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

impl Table {
    /// Reads the names of the columns; `note` is told which are passed over.
    ///
    /// # Errors
    /// A file that cannot be read, or whose columns are no image.
    pub fn open(path: &Path, settings: &ColumnsSettings, note: &dyn Fn(&str)) -> Result<Self> {
        let mut start = Vec::new();
        let file = local::open(path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
            _ => unreadable(path, cause),
        })?;
        file.take(4).read_to_end(&mut start).map_err(|cause| unreadable(path, cause))?;
        let is_parquet = start == b"PAR1";
        let (head, types): (Vec<String>, Vec<DataType>) = if is_parquet {
            let footer = table::footer(path)?;
            let fields = footer.schema().fields();
            fields.iter().map(|field| (field.name().clone(), field.data_type().clone())).unzip()
        } else {
            let record = records(path)?.next().transpose()?.unwrap_or_default();
            let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_owned();
            record.iter().map(|field| (name(field), DataType::Utf8)).unzip()
        };
        let layout =
            Layout::of(&head, !is_parquet, settings.label.as_deref(), settings.shape.as_deref()).map_err(|cause| {
                explained(path, "a table of pixels", error::data(format!("{} {cause}", path.display())))
            })?;
        if let Some(at) = layout.pixels.iter().find(|at| is_parquet && !types[**at].is_numeric()) {
            return Err(error::data(format!(
                "{}: its column {} is {}, no number",
                path.display(),
                head[*at],
                types[*at]
            )));
        }
        if let Some(first) = layout.others.first() {
            let (others, name) = (text::few(&layout.others), path.display());
            let advice = if layout.label.is_some() {
                String::new()
            } else {
                format!("; no labels are read, source.columns.label = {first:?} would take some")
            };
            note(&format!("passed over: the columns {others} of {name}{advice}"));
        }
        // In text, a number with a point is a float.
        let has_floats = if is_parquet {
            layout.pixels.iter().any(|at| types[*at].is_floating())
        } else {
            let first = records(path)?.nth(usize::from(!layout.headless)).transpose()?.unwrap_or_default();
            layout.pixels.iter().any(|at| first.get(*at).is_some_and(|field| field.contains('.')))
        };
        Ok(Self { path: path.to_owned(), is_parquet, has_floats, layout })
    }

    /// The size of its images.
    pub fn shape(&self) -> ImageShape {
        self.layout.shape
    }

    /// Whether its pixels are written as floats.
    pub fn has_floats(&self) -> bool {
        self.has_floats
    }

    /// Whether it has labels.
    pub fn has_labels(&self) -> bool {
        self.layout.label.is_some()
    }

    /// Its rows.
    ///
    /// # Errors
    /// A file that cannot be opened; each row can fail too.
    pub fn rows(&self) -> Result<Rows> {
        if self.is_parquet { self.parquet_rows() } else { self.csv_rows() }
    }

    fn csv_rows(&self) -> Result<Rows> {
        let Self { path, layout, .. } = self.clone();
        let rows = records(&path)?.skip(usize::from(!layout.headless)).enumerate().map(move |(row, record)| {
            let record = record?;
            let number = |at: &usize| {
                let field = record.get(*at).unwrap_or_default().trim();
                field.parse::<u8>().map(f64::from).or_else(|_| field.parse::<f64>()).map_err(|_| {
                    let what = if field.is_empty() { "no number".to_owned() } else { format!("{field:?}") };
                    error::data(format!("{}: row {row} has {what} in column {}", path.display(), at + 1))
                })
            };
            let label = layout.label.map(|at| record.get(at).unwrap_or_default().trim().to_owned());
            Ok(Row { label, numbers: layout.pixels.iter().map(number).collect::<Result<_>>()? })
        });
        Ok(Box::new(rows))
    }

    fn parquet_rows(&self) -> Result<Rows> {
        let Self { path, layout, .. } = self.clone();
        let mut read = [layout.pixels.as_slice(), layout.label.as_slice()].concat();
        read.sort_unstable();
        let footer = table::footer(&path)?;
        let batches = table::columns(&path, &footer, &read, READ_BYTES, READ_ROWS)?;
        let mut before = 0;
        let rows = batches.flat_map(move |batch| {
            let bad = |what: String| error::data(format!("{}: {what}", path.display()));
            let rows = || -> Result<Vec<Result<Row>>> {
                let batch = batch.map_err(|cause| bad(format!("it is damaged near row {before}: {cause}")))?;
                let cast = |at: usize, wanted: &DataType| -> Result<ArrayRef> {
                    let column = batch.column(read.binary_search(&at).unwrap_or_default());
                    arrow_cast::cast(column, wanted).map_err(|cause| bad(cause.to_string()))
                };
                let pixels =
                    layout.pixels.iter().map(|at| cast(*at, &DataType::Float64)).collect::<Result<Vec<_>>>()?;
                let labels = layout.label.map(|at| cast(at, &DataType::Utf8)).transpose()?;
                let row = |row: usize| -> Result<Row> {
                    let number = |column: &ArrayRef| {
                        let place = || bad(format!("row {} has a null among its pixels", before + row));
                        if column.is_null(row) {
                            Err(place())
                        } else {
                            Ok(column.as_primitive::<Float64Type>().value(row))
                        }
                    };
                    let label = labels.as_ref().filter(|labels| labels.is_valid(row));
                    let label = label.map(|labels| labels.as_string::<i32>().value(row).to_owned());
                    Ok(Row { label, numbers: pixels.iter().map(number).collect::<Result<_>>()? })
                };
                Ok((0..batch.num_rows()).map(row).collect())
            };
            let rows = rows().unwrap_or_else(|cause| vec![Err(cause)]);
            before += rows.len();
            rows
        });
        Ok(Box::new(rows))
    }
}

/// The records of CSV, raw or gzip, the first line included.
fn records(path: &Path) -> Result<impl Iterator<Item = Result<StringRecord>> + Send + use<>> {
    let file = local::open(path).map_err(|cause| unreadable(path, cause))?;
    let since = Arc::new(AtomicUsize::new(0));
    let lines = Lines { file: gzip::payload(file).map_err(|cause| unreadable(path, cause))?, since: since.clone() };
    let path = path.to_owned();
    let records = ReaderBuilder::new().has_headers(false).from_reader(lines).into_records();
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
