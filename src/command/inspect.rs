//! `limpid inspect`

use std::path::Path;

use anyhow::Result;
use arrow_array::Array;

use super::print;
use crate::cli::InspectArgs;
use crate::error;
use crate::source::ImageReader;
use crate::table::{ImageShape, TableFile, errors, ids, labels, lists, pixels};

/// Prints what is in a file and draws its first images.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    match TableFile::open(&args.file) {
        Ok(table) => inspect_table(&table, args.images),
        Err(not_a_table) => match ImageReader::open(&args.file) {
            Ok(reader) => inspect_idx(&args.file, reader, args.images),
            // What it claims to be decides which complaint helps.
            Err(_) if starts_with(&args.file, b"PAR1") => Err(not_a_table),
            Err(not_idx) if args.file.exists() => Err(not_idx),
            Err(_) => Err(error::settings(format!("{} does not exist", args.file.display()))),
        },
    }
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    use std::io::Read;
    let mut start = vec![0; magic.len()];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == magic
}

fn inspect_table(table: &TableFile, images: usize) -> Result<()> {
    let metadata = table.metadata();
    print(format!("{}: {} rows in {} row groups", table.path().display(), table.rows(), table.row_groups()))?;
    print("\ncolumns")?;
    for field in metadata.schema().fields() {
        let nullable = if field.is_nullable() { ", nullable" } else { "" };
        print(format!("  {:8} {}{nullable}", field.name(), field.data_type()))?;
    }
    print("\nmetadata")?;
    let mut entries: Vec<_> = metadata.schema().metadata().iter().collect();
    entries.sort();
    for (key, value) in entries {
        print(format!("  {key} = {value}"))?;
    }
    let Some(batch) = table.all()?.next().transpose()? else { return Ok(()) };
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

fn inspect_idx(path: &Path, reader: ImageReader, images: usize) -> Result<()> {
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
