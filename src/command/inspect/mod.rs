//! `limpid inspect`: describes a Parquet file, an IDX file or a picture and its provenance, and recognises other formats.

mod noise;
mod picture;
mod provenance;
mod statistics;

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, downcast_primitive_array};
use arrow_schema::{DataType, Schema};
use clap::Args;

use super::Execute;
use super::path_kind::{Kind, recognised};
use super::print::{print, print_line, print_own};
use crate::error;
use crate::image::{ImageShape, to_bytes};
use crate::source::{IdxHeader, ImageReader, Look, bytes_of, look, look_at_folder};
use crate::store;
use crate::table::{self, Images, Table, TableFile, batch_rows, errors, ids, labels, lists, pixels};
use crate::terminal::Drawing;
use crate::text;
use picture::{Range, inspect_picture};
use provenance::print_provenance;
use statistics::print_statistics;

/// Bytes of rows that are read at a time for printing.
const READ_BYTES: u64 = 4 << 20;
/// Most columns of a table that are all described and printed.
const MOST_COLUMNS: usize = 24;
/// The number of those of a wider one.
const FEW_COLUMNS: usize = 6;
/// Most characters of a text that are printed.
const MOST_CHARACTERS: usize = 1000;

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A Parquet file, an IDX file or a picture, or its URL (s3://, gs://, az://, https://).
    file: PathBuf,
    /// How many images to draw, or rows of another table to print.
    #[arg(long, value_name = "N", default_value_t = 3)]
    images: usize,
    /// How images are drawn.
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto")]
    draw: Drawing,
}

impl Execute for InspectArgs {
    /// Prints what is in a file, where it comes from and what its columns hold, and draws its first images, or prints its first
    /// rows.
    fn execute(&self) -> Result<()> {
        let path = &self.file;
        let kind = recognised(path)?;
        if let Ok(Kind::Folder) = kind {
            return Err(error::data(format!("{} is {}", path.display(), look_at_folder(path))));
        }
        let made = print_provenance(path)?;
        match kind {
            Ok(Kind::Folder) => Ok(()),
            Ok(Kind::Parquet) => inspect_parquet(self),
            Ok(Kind::Picture) => inspect_picture(path, self.draw),
            Ok(Kind::Array | Kind::Idx) | Err(_) => match look(path)? {
                Look::Idx => inspect_idx(self),
                // Other files that limpid has written are described without an error.
                Look::Other { what, whole: true, .. } if made => print(format!("{}: {what}", path.display())),
                Look::Other { what, advice, .. } => Err(error::data(format!("{} is {what}; {advice}", path.display()))),
            },
        }
    }
}

fn inspect_parquet(args: &InspectArgs) -> Result<()> {
    let path = &args.file;
    expect_end(path)?;
    describe(path)?;
    match TableFile::open(path).map(Table::from) {
        Ok(table) => {
            draw_table(&table, args)?;
            noise::print_of_table(&table)?;
        }
        // Of any other table, numbers and text are printed, and the types of other values.
        Err(_) => print_rows(path, args.images)?,
    }
    print_statistics(path)
}

/// Checks the end of a Parquet file: the error for a truncated one is clearer than that of the reader.
fn expect_end(path: &Path) -> Result<()> {
    let unreadable = || format!("cannot read {}", path.display());
    let mut file = store::reader(path).with_context(unreadable)?;
    let size = file.size();
    let mut end = [0; 4];
    file.seek(SeekFrom::Start(size.saturating_sub(4))).with_context(unreadable)?;
    file.read_exact(&mut end).with_context(unreadable)?;
    if size >= 12 && &end == b"PAR1" {
        return Ok(());
    }
    let advice = "it broke off while it was copied or written, or still is: copy or write it again";
    let what = format!("not a whole Parquet file: its end is missing ({size} bytes are there)");
    Err(error::data(format!("{} is {what}; {advice}", path.display())))
}

/// Prints the schema and the metadata of a Parquet file.
fn describe(path: &Path) -> Result<()> {
    let footer = table::footer(path)?;
    let file = footer.metadata();
    let (rows, groups) = (file.file_metadata().num_rows(), file.num_row_groups());
    print(format!("{}: {rows} rows in {groups} row groups", path.display()))?;
    print("\ncolumns")?;
    let fields = footer.schema().fields();
    for (field, name) in fields.iter().zip(names(footer.schema())).take(shown(fields.len())) {
        let nullable = if field.is_nullable() { ", nullable" } else { "" };
        print_line(format!("  {name} {}{nullable}", field.data_type()))?;
    }
    if let Some(others) = fields.get(shown(fields.len())..).filter(|others| !others.is_empty()) {
        let others: Vec<_> = others.iter().map(|field| field.name().as_str()).collect();
        print_line(format!("  and {} more: {}", others.len(), text::few(&others)))?;
    }
    let mut entries: Vec<_> = footer.schema().metadata().iter().collect();
    entries.sort();
    if !entries.is_empty() {
        print("\nmetadata")?;
    }
    entries.into_iter().try_for_each(|(key, value)| print_line(format!("  {key} = {value}")))
}

fn draw_table(table: &Table, args: &InspectArgs) -> Result<()> {
    let extent = table.content().extent();
    table.first(args.images as u64, |batch| {
        let (ids, labels, errors) = (ids(batch)?, labels(batch)?, errors(batch));
        for row in 0..batch.num_rows() {
            let label = if labels.is_null(row) { String::new() } else { format!(", label {}", labels.value(row)) };
            let error = errors.as_ref().map_or(String::new(), |errors| format!(", error {:.5}", errors.value(row)));
            print(format!("\nid {}{label}{error}", ids.value(row)))?;
            match extent {
                Some(extent) if extent.fixed().is_some_and(ImageShape::is_vector) => {
                    print_numbers(&Images::of(&batch.slice(row, 1), extent)?.numbers())?;
                }
                Some(extent) => {
                    let image = Images::of(&batch.slice(row, 1), extent)?;
                    let bytes = to_bytes(&image.numbers());
                    image.shapes().iter().try_for_each(|shape| draw(&bytes, shape, args.draw))?;
                }
                None => {
                    print_numbers(&pixels::values(&lists(batch, "code")?.slice(row, 1)))?;
                }
            }
        }
        Ok(())
    })
}

fn print_numbers(values: &[f32]) -> Result<()> {
    let numbers: Vec<_> = values.iter().map(|value| format!("{value:.3}")).collect();
    print(format!("  [{}]", numbers.join(", ")))
}

fn print_rows(path: &Path, rows: usize) -> Result<()> {
    let footer = table::footer(path)?;
    let (fields, names) = (footer.schema().fields(), names(footer.schema()));
    let mut columns = Vec::new();
    for position in 0..shown(fields.len()) {
        let mut values = Vec::new();
        for batch in table::columns(path, &footer, &[position], READ_BYTES, rows)? {
            let damaged =
                |cause| error::reading(format!("{} is damaged near row {}: {cause}", path.display(), values.len()));
            let batch = batch.map_err(damaged)?;
            values.extend((0..batch.num_rows()).map(|row| value(batch.column(0), row)));
            if values.len() >= rows {
                break;
            }
        }
        columns.push(values);
    }
    let there = footer.metadata().file_metadata().num_rows().max(0) as usize;
    for row in 0..rows.min(there) {
        print("")?;
        for (name, values) in names.iter().zip(&columns) {
            print_line(format!("  {name} {}", values[row]))?;
        }
    }
    Ok(())
}

/// How many of the columns of a table are described and printed, so that a wide one fits on a screen.
fn shown(columns: usize) -> usize {
    if columns > MOST_COLUMNS { FEW_COLUMNS } else { columns }
}

/// The names of the columns, padded to the same width.
fn names(schema: &Schema) -> Vec<String> {
    text::column(schema.fields().iter().map(|field| field.name().as_str()), 8)
}

/// A value as text: numbers and text as they are, and anything else as its type.
fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    downcast_primitive_array!(
        column => format!("{:?}", column.value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Utf8 => quoted(column.as_string::<i32>().value(row)),
        other => format!("({other})"),
    )
}

/// A quoted text, shortened if it is long.
fn quoted(value: &str) -> String {
    let end = value.char_indices().nth(MOST_CHARACTERS).map(|(end, _)| end);
    end.map_or_else(|| format!("{value:?}"), |end| format!("{:?}…", &value[..end]))
}

fn inspect_idx(args: &InspectArgs) -> Result<()> {
    let path = &args.file;
    let header = IdxHeader::read(path)?;
    let Ok(reader) = ImageReader::open(path) else {
        let sizes: Vec<_> = header.sizes.iter().map(u64::to_string).collect();
        return print(format!("{}: IDX, {} numbers of type {}", path.display(), sizes.join("×"), header.element));
    };
    let shape = reader.shape;
    print(format!("{}: IDX, {} images of {shape}", path.display(), reader.count))?;
    // The whole file is read, so that damage anywhere is found.
    let (mut drawn, mut seen) = (0, Range::default());
    for images in reader.chunks(batch_rows(bytes_of(shape))) {
        let images = images?;
        seen.see(&images);
        for image in images.chunks_exact(shape.len()).take(args.images - drawn) {
            print("")?;
            draw(image, shape, args.draw)?;
            drawn += 1;
        }
    }
    seen.print()
}

fn draw(pixels: &[u8], shape: ImageShape, drawing: Drawing) -> Result<()> {
    drawing.draw(pixels, shape)?.map_or(Ok(()), print_own)
}
