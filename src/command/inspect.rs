//! `limpid inspect`: any Parquet or IDX file, of which limpid's own tables and images are drawn.

use std::path::Path;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, downcast_primitive_array};
use arrow_schema::{DataType, Schema};

use super::{Kind, kind, print};
use crate::cli::InspectArgs;
use crate::config::Fit;
use crate::error;
use crate::source::{IdxHeader, ImageReader, decode};
use crate::table::{self, ImageShape, TableFile, errors, ids, labels, lists, pixels};

/// Prints what is in a file and draws its first images, or prints its first rows.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    match kind(&args.file)? {
        Kind::Parquet => {}
        Kind::Idx => return inspect_idx(&args.file, args.images),
        Kind::Picture => return inspect_picture(&args.file),
        Kind::Folder => {
            let advice = "name a file in it, or a run directory with `limpid show`";
            return Err(error::settings(format!("{} is a folder; {advice}", args.file.display())));
        }
    }
    describe(&args.file)?;
    match TableFile::open(&args.file) {
        Ok(table) => draw_table(&table, args.images),
        // Any other table is shown as far as its values are numbers and text.
        Err(_) => print_rows(&args.file, args.images),
    }
}

/// Prints the schema and the metadata of a Parquet file.
fn describe(path: &Path) -> Result<()> {
    let footer = table::footer(path)?;
    let file = footer.metadata();
    let (rows, groups) = (file.file_metadata().num_rows(), file.num_row_groups());
    print(format!("{}: {rows} rows in {groups} row groups", path.display()))?;
    print("\ncolumns")?;
    let width = name_width(footer.schema());
    for field in footer.schema().fields() {
        let nullable = if field.is_nullable() { ", nullable" } else { "" };
        print(format!("  {:width$} {}{nullable}", field.name(), field.data_type()))?;
    }
    let mut entries: Vec<_> = footer.schema().metadata().iter().collect();
    entries.sort();
    if !entries.is_empty() {
        print("\nmetadata")?;
    }
    entries.into_iter().try_for_each(|(key, value)| print(format!("  {key} = {value}")))
}

fn draw_table(table: &TableFile, images: usize) -> Result<()> {
    let Some(batch) = table.all().next().transpose()? else { return Ok(()) };
    let shape = table.image_shape().ok();
    let column = lists(&batch, if shape.is_some() { "image" } else { "code" })?;
    for row in 0..images.min(batch.num_rows()) {
        let labels = labels(&batch)?;
        let label = if labels.is_null(row) { String::new() } else { format!(", label {}", labels.value(row)) };
        let error = errors(&batch).map_or(String::new(), |errors| format!(", error {:.5}", errors.value(row)));
        print(format!("\nid {}{label}{error}", ids(&batch)?.value(row)))?;
        let values = pixels::values(&column.slice(row, 1));
        match shape {
            Some(shape) => draw(&values, shape)?,
            None => {
                let numbers: Vec<_> = values.iter().map(|value| format!("{value:.3}")).collect();
                print(format!("  [{}]", numbers.join(", ")))?;
            }
        }
    }
    Ok(())
}

fn print_rows(path: &Path, rows: usize) -> Result<()> {
    let Some(batch) = table::first_rows(path, rows)? else { return Ok(()) };
    let width = name_width(batch.schema_ref());
    for row in 0..batch.num_rows() {
        print("")?;
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            print(format!("  {:width$} {}", field.name(), value(column, row)))?;
        }
    }
    Ok(())
}

/// The width of the column that names the columns.
fn name_width(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| field.name().chars().count()).max().unwrap_or(0).max(8)
}

/// A number or a text; of anything else, the type.
fn value(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return "null".to_owned();
    }
    downcast_primitive_array!(
        column => format!("{:?}", column.value(row)),
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Utf8 => format!("{:?}", column.as_string::<i32>().value(row)),
        other => format!("({other})"),
    )
}

fn inspect_picture(path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let bad = |cause| error::data(format!("cannot use {}: {cause}", path.display()));
    let picture = decode(&bytes, &Fit::default()).map_err(bad)?;
    print(format!("{}: a picture of {}\n", path.display(), picture.shape))?;
    let mut values = vec![0.0; picture.bytes.len()];
    pixels::to_unit(&picture.bytes, &mut values);
    draw(&values, picture.shape)
}

fn inspect_idx(path: &Path, images: usize) -> Result<()> {
    let header = IdxHeader::read(path)?;
    let Ok(reader) = ImageReader::open(path) else {
        let sizes: Vec<_> = header.sizes.iter().map(u64::to_string).collect();
        return print(format!("{}: IDX, {} numbers of type {}", path.display(), sizes.join("×"), header.element));
    };
    let shape = reader.shape;
    print(format!("{}: IDX, {} images of {shape}", path.display(), reader.count))?;
    for image in reader.chunks(1).take(images) {
        let bytes = image?;
        let mut values = vec![0.0; bytes.len()];
        pixels::to_unit(&bytes, &mut values);
        print("")?;
        draw(&values, shape)?;
    }
    Ok(())
}

/// Draws an image with two rows of pixels to a line; colours are averaged. Wide images are thinned out.
fn draw(values: &[f32], shape: ImageShape) -> Result<()> {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    const MOST_COLUMNS: usize = 100;
    let step = shape.width.div_ceil(MOST_COLUMNS).max(1);
    let grey = |row: usize, column: usize| {
        let pixel = &values[(row * shape.width + column) * shape.channels..][..shape.channels];
        pixel.iter().sum::<f32>() / shape.channels as f32
    };
    for row in (0..shape.height).step_by(2 * step) {
        let shade = |column: usize| {
            let below = (row + step).min(shape.height - 1);
            let mean = (grey(row, column) + grey(below, column)) / 2.0;
            SHADES[((mean.clamp(0.0, 1.0) * 4.0).round()) as usize]
        };
        let line: String = (0..shape.width).step_by(step).map(shade).collect();
        print(format!("  {}", line.trim_end()))?;
    }
    Ok(())
}
