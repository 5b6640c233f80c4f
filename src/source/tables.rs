//! Parquet files of others: a column of encoded pictures, as Hugging Face has them, or of lists of numbers.
//!
//! The files of a split are read one after the other, in the order of their paths; rows are decoded where the row group is
//! made. An image's id is its row, counted over all files of its split, or over all files where the splits are drawn.

mod column;
mod files;

use std::path::PathBuf;

use anyhow::Result;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::Schema;
use arrow_select::filter::filter_record_batch;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

pub use files::files;

use super::draw::{Draw, Members};
use super::rejected::{Reject, Rejections};
use super::{Source, batch, check_fit};
use crate::config::{ParquetSettings, Pixels};
use crate::error;
use crate::table::{self, Classes, Content, ImageShape, RowGroup, Split, batch_rows};
use column::{Images, Labels};

/// The images of Parquet files.
pub struct Tables {
    settings: ParquetSettings,
    shape: ImageShape,
    /// The picture that has this shape.
    first: String,
    images: Images,
    labels: Labels,
    /// The files of both splits; all in the first one if the splits are drawn.
    splits: [Vec<Part>; 2],
    /// Which of their rows are of a split.
    members: [Members; 2],
    rejections: Rejections,
}

/// One file.
struct Part {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Which of its columns are read: images, then labels.
    columns: Vec<usize>,
}

/// Rows of one file.
struct Rows {
    /// Names the file in messages.
    path: String,
    /// Rows of the files before it.
    before: u64,
    /// Their positions in the file.
    positions: Vec<u64>,
    batch: RecordBatch,
}

/// Most pictures that cannot be read before one that can is no longer sought, unless they may be left out.
const MOST_TRIED: usize = 1000;
/// The names that people give to the column of images.
const IMAGE_COLUMNS: [&str; 5] = ["image", "img", "images", "pixels", "picture"];
/// And to that of labels.
const LABEL_COLUMNS: [&str; 2] = ["label", "labels"];

impl Tables {
    /// Opens the files and looks at the first picture.
    ///
    /// # Errors
    /// Files that cannot be read or are not Parquet, columns that are missing or of another type.
    pub fn open(settings: &ParquetSettings, seed: u64) -> Result<Self> {
        let [train, test] = files::splits(settings)?;
        let mut names = None;
        let mut open = |paths: Vec<PathBuf>| -> Result<Vec<Part>> {
            let part = |path: PathBuf| {
                let metadata = table::footer(&path)?;
                let wanted = columns(settings, metadata.schema(), &path, &mut names)?;
                Ok(Part { path, metadata, columns: wanted })
            };
            paths.into_iter().map(part).collect()
        };
        let splits = [open(train)?, open(test)?];
        let counts = splits.each_ref().map(|parts| parts.iter().map(Part::rows).sum::<u64>());
        let members = match settings.test_fraction {
            Some(_) if counts[0] == 0 => return Err(error::data("the files hold no rows")),
            Some(fraction) => Members::drawn(Draw::new(seed, fraction), counts[0])?,
            None => {
                if let Some(empty) = Split::ALL.into_iter().find(|split| counts[*split as usize] == 0) {
                    return Err(error::data(format!("the files of the split {} hold no rows", empty.name())));
                }
                [Members::All; 2]
            }
        };
        let all = || splits.iter().flatten();
        let schema = splits[0][0].metadata.schema();
        let images = Images::of(schema, splits[0][0].columns[0], settings)
            .map_err(|cause| error::data(format!("{}: {cause}", splits[0][0].path.display())))?;
        for part in all() {
            let (found, expected) = (part.types(), splits[0][0].types());
            if found != expected {
                let (path, first) = (part.path.display(), splits[0][0].path.display());
                return Err(error::data(format!("{path} has columns of {found}, but {first} has {expected}")));
            }
        }
        let labels = Labels::of(splits[0][0].columns.get(1).map(|column| schema.field(*column)), schema, || {
            all().map(|part| part.read(&part.columns[1..], 1 << 16).map(|reader| (part.path.clone(), reader)))
        })?;
        let rejections = Rejections::new(settings.faults, "source.parquet");
        let shape = ImageShape { height: 1, width: 1, channels: 1 };
        let (settings, first) = (settings.clone(), String::new());
        let mut tables = Self { settings, shape, first, images, labels, splits, members, rejections };
        (tables.shape, tables.first) = tables.first_shape()?;
        Ok(tables)
    }

    /// The shape of the first image that can be read, and its name.
    fn first_shape(&self) -> Result<(ImageShape, String)> {
        let mut bad = Vec::new();
        for (split, parts) in Split::ALL.iter().zip(&self.splits) {
            let mut before = 0;
            for part in parts {
                let (path, mut row) = (part.path.display().to_string(), 0);
                for batch in part.read(&part.columns[..1], 16)? {
                    let batch = batch.map_err(|cause| damaged(&path, row, &cause))?;
                    let column = batch.column(0);
                    for index in 0..batch.num_rows() {
                        match self.images.image(column, index, &self.settings.fit) {
                            Ok(picture) => return Ok((picture.shape, row_name(&path, row))),
                            // More say nothing new.
                            Err(_) if bad.len() == MOST_TRIED && !self.rejections.skips() => {
                                return Err(self.rejections.failure(&bad, "at least "));
                            }
                            Err(_) if bad.len() == MOST_TRIED => {}
                            Err(reason) => bad.push(reject(*split, before, &path, row, reason)),
                        }
                        row += 1;
                    }
                    crate::interrupt::check()?;
                }
                before += part.rows();
            }
        }
        Err(self.rejections.failure(&bad, ""))
    }

    /// The files that hold a split.
    fn parts(&self, split: Split) -> &[Part] {
        match self.members[split as usize] {
            Members::All => &self.splits[split as usize],
            Members::Drawn(..) => &self.splits[0],
        }
    }

    /// Emits the images of some rows.
    fn load(&self, split: Split, rows: &[Rows], emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        for Rows { path, before, positions, batch: rows } in rows {
            let count = positions.len();
            let mut bytes = Vec::with_capacity(count * self.shape.len());
            let (mut ids, mut labels) = (Vec::with_capacity(count), Vec::with_capacity(count));
            let column = rows.column(0);
            for (index, position) in positions.iter().enumerate() {
                let name = || row_name(path, *position);
                match self.images.image(column, index, &self.settings.fit) {
                    Ok(picture) => {
                        check_fit("source.parquet", name().as_ref(), picture.shape, &self.first, self.shape)?;
                        bytes.extend_from_slice(&picture.bytes);
                        ids.push(before + position);
                        labels.push(
                            self.labels
                                .label(rows.columns().get(1), index)
                                .map_err(|cause| error::data(format!("{}: {cause}", name())))?,
                        );
                    }
                    Err(reason) => self.rejections.add(reject(split, *before, path, *position, reason))?,
                }
            }
            self.rejections.looked_at(count)?;
            if !self.rejections.ends_the_run() {
                emit(batch(split, self.shape, ids.into_iter(), labels, bytes)?)?;
            }
        }
        Ok(())
    }
}

/// What messages call a row of a file.
fn row_name(path: &str, row: u64) -> String {
    format!("row {row} of {path}")
}

/// A row of a file with so many rows `before` it that cannot be used.
fn reject(split: Split, before: u64, path: &str, row: u64, reason: String) -> Reject {
    Reject { split, id: before + row, path: format!("{path}#{row}"), name: row_name(path, row), reason }
}

impl Part {
    fn rows(&self) -> u64 {
        self.metadata.metadata().file_metadata().num_rows().max(0) as u64
    }

    /// The types of the columns that are read.
    fn types(&self) -> String {
        let types = self.columns.iter().map(|column| self.metadata.schema().field(*column).data_type().to_string());
        types.collect::<Vec<_>>().join(" and ")
    }

    /// Reads some columns, in this order.
    fn read(
        &self,
        columns: &[usize],
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, String>> + use<>> {
        let rows = table::columns(&self.path, &self.metadata, columns, batch_rows)?;
        // Columns come in the order of the file.
        let position = |wanted: &usize| columns.iter().filter(|column| *column < wanted).count();
        let positions: Vec<usize> = columns.iter().map(position).collect();
        Ok(rows.map(move |batch| batch?.project(&positions).map_err(|cause| cause.to_string())))
    }
}

impl Source for Tables {
    fn shape(&self) -> ImageShape {
        self.shape
    }

    fn count(&self, split: Split) -> u64 {
        self.members[split as usize].count(self.parts(split).iter().map(Part::rows).sum())
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let step = batch_rows(Content::Images(self.shape, Pixels::U8)).min(rows);
        let members = self.members[split as usize];
        let mut before = 0;
        let files = self.parts(split).iter().flat_map(move |part| {
            let rows = pieces(part, before, step);
            before += part.rows();
            rows
        });
        let picked = files.map(move |rows| rows.and_then(|rows| rows.of(members)));
        let mut pieces = picked.filter(|rows| !matches!(rows, Ok(rows) if rows.positions.is_empty())).peekable();
        Ok(Box::new(std::iter::from_fn(move || {
            let (mut group, mut taken) = (Vec::new(), 0);
            while taken < rows {
                match pieces.peek() {
                    Some(Ok(piece)) if taken > 0 && taken + piece.positions.len() > rows => break,
                    None => break,
                    _ => {}
                }
                match pieces.next()? {
                    Ok(piece) => {
                        taken += piece.positions.len();
                        group.push(piece);
                    }
                    Err(cause) => return Some(Err(cause)),
                }
            }
            if group.is_empty() {
                return None;
            }
            let group: RowGroup<'_> = Box::new(move |emit| self.load(split, &group, emit));
            Some(Ok(group))
        })))
    }

    fn classes(&self) -> Classes {
        self.labels.classes()
    }

    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        self.rejections.table()
    }
}

impl Rows {
    /// Those that belong to a split.
    fn of(self, members: Members) -> Result<Self> {
        let Members::Drawn(..) = members else { return Ok(self) };
        let Self { path, before, positions, batch } = self;
        let kept: BooleanArray = positions.iter().map(|position| Some(members.has(before + position))).collect();
        let batch = filter_record_batch(&batch, &kept);
        let batch = batch.map_err(|cause| error::bug(format!("cannot pick rows: {cause}")))?;
        let positions =
            positions.into_iter().zip(kept.values()).filter_map(|(position, kept)| kept.then_some(position));
        Ok(Self { path, before, positions: positions.collect(), batch })
    }
}

/// The rows of a file that has so many `before` it, `step` at a time.
fn pieces(part: &Part, before: u64, step: usize) -> impl Iterator<Item = Result<Rows>> + Send + use<> {
    let path = part.path.display().to_string();
    let (reader, failure) = match part.read(&part.columns, step) {
        Ok(reader) => (Some(reader), None),
        Err(cause) => (None, Some(Err(cause))),
    };
    let mut first = 0;
    let rows = reader.into_iter().flatten().map(move |batch| {
        let batch = batch.map_err(|cause| damaged(&path, first, &cause))?;
        let positions = (first..first + batch.num_rows() as u64).collect();
        first += batch.num_rows() as u64;
        Ok(Rows { path: path.clone(), before, positions, batch })
    });
    failure.into_iter().chain(rows)
}

fn damaged(path: &str, row: u64, cause: &dyn std::fmt::Display) -> anyhow::Error {
    error::data(format!("{path} is damaged near row {row}: {cause}"))
}

/// The positions of the columns of images and labels. The first file decides which names they have where nobody says it.
fn columns(
    settings: &ParquetSettings,
    schema: &Schema,
    path: &std::path::Path,
    names: &mut Option<(String, Option<String>)>,
) -> Result<Vec<usize>> {
    let usual = |names: &[&str]| names.iter().find(|name| schema.index_of(name).is_ok()).map(|name| (*name).to_owned());
    let (image, label) = names.get_or_insert_with(|| {
        let image = settings.image.clone().or(usual(&IMAGE_COLUMNS)).unwrap_or(IMAGE_COLUMNS[0].to_owned());
        (image, settings.label.clone().or(usual(&LABEL_COLUMNS)))
    });
    let find = |name: &String, key: &str| {
        schema.index_of(name).map_err(|_| {
            let found: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let (path, found) = (path.display(), found.join(", "));
            error::data(format!(
                "{path} has no column `{name}`; name it with source.parquet.{key}; its columns: {found}"
            ))
        })
    };
    let image = find(image, "image")?;
    Ok([image].into_iter().chain(label.as_ref().map(|label| find(label, "label")).transpose()?).collect())
}
