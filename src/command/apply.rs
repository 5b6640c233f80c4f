//! `limpid encode` and `limpid denoise`: a trained model on other data.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;

use super::{print, threads};
use crate::cli::ApplyArgs;
use crate::config::Pixels;
use crate::error;
use crate::interrupt;
use crate::progress::{Progress, Task};
use crate::source::{ImageBytes, ImageReader, row_group_of};
use crate::stage::infer::Inference;
use crate::table::{
    Content, MapInput, RowGroup, Split, TableFile, WriteOptions, map_table, row_group_rows, write_table,
};

/// Which half of the model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The code.
    Encode,
    /// The image.
    Denoise,
}

/// An input that was opened and fits the model.
enum Input {
    Table(TableFile),
    Idx(ImageReader),
}

/// Applies the model to every input. All are opened and checked before anything is written.
pub fn apply(args: &ApplyArgs, direction: Direction) -> Result<()> {
    interrupt::install()?;
    let options = WriteOptions { compression_level: 3, threads: threads(&args.work)? };
    let progress = Progress::new(args.work.log);
    let folder = if args.model.join("model.json").is_file() { args.model.clone() } else { args.model.join("train") };
    let folder = if folder.join("model.json").is_file() { folder } else { args.model.clone() };
    let model = Inference::load(&folder, args.work.device.inference())?;
    let mut inputs: Vec<(PathBuf, Input)> = Vec::new();
    for path in &args.input {
        let name = output_name(path)?;
        let output = args.output.join(&name);
        if let Some(other) = args.input.iter().zip(&inputs).find(|(_, (taken, _))| *taken == output) {
            let (first, second) = (other.0.display(), path.display());
            return Err(error::settings(format!("{first} and {second} would both be written to {name}")));
        }
        if output.canonicalize().is_ok_and(|output| path.canonicalize().is_ok_and(|path| path == output)) {
            let advice = "name another folder with -o";
            return Err(error::settings(format!(
                "{} would be overwritten by its own result; {advice}",
                path.display()
            )));
        }
        let input = open(path)?;
        let image = match &input {
            Input::Table(table) => table.image_shape()?,
            Input::Idx(reader) => reader.shape,
        };
        model.check(image, path)?;
        inputs.push((output, input));
    }
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    for (output, input) in inputs {
        write(&output, input, &model, direction, options, &progress)?;
        print(output.display())?;
    }
    Ok(())
}

/// A file is a table if it starts as Parquet does, and IDX otherwise.
fn open(path: &Path) -> Result<Input> {
    use std::io::Read;
    let mut magic = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut magic));
    let read = read.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => error::settings(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    if read == 4 && &magic == b"PAR1" {
        TableFile::open(path).map(Input::Table)
    } else {
        ImageReader::open(path).map(Input::Idx)
    }
}

/// The input's name without the ends of its format, and `.parquet`.
fn output_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| error::settings(format!("{} has no usable file name", path.display())))?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let stem = stem.strip_suffix(".parquet").or_else(|| stem.strip_suffix(".idx")).unwrap_or(stem);
    Ok(format!("{stem}.parquet"))
}

/// Writes one result beside its place and renames it into it.
fn write(
    output: &Path,
    input: Input,
    model: &Inference,
    direction: Direction,
    options: WriteOptions,
    progress: &Progress,
) -> Result<()> {
    let content = match direction {
        Direction::Encode => model.features(),
        Direction::Denoise => model.denoised(Pixels::U8),
    };
    let map = |batch: &RecordBatch| match direction {
        Direction::Encode => model.encode(batch, None),
        Direction::Denoise => model.denoise(batch, None, Pixels::U8),
    };
    let folder = output.parent().unwrap_or(Path::new("."));
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let temporary = format!(".{name}.new");
    let written = match input {
        Input::Table(table) => {
            let task = progress.task(name, table.rows(), "images");
            let input = MapInput { table: &table, companion: None };
            map_table(input, (folder, &temporary), content, options, |batch, _| map(batch), |rows| task.advance(rows))
        }
        Input::Idx(reader) => {
            let task = progress.task(name, reader.count, "images");
            write_table(
                folder,
                &temporary,
                content,
                options.compression_level,
                options.threads,
                idx(reader, &map, task),
            )
        }
    };
    let temporary = folder.join(temporary);
    let published = written.and_then(|_| {
        std::fs::rename(&temporary, output).with_context(|| format!("cannot write {}", output.display()))
    });
    published.inspect_err(|_| _ = std::fs::remove_file(&temporary))
}

/// The row groups that `map` makes of an IDX file, whose split is unknown and counts as test.
fn idx<'a>(
    reader: ImageReader,
    map: &'a (impl Fn(&RecordBatch) -> Result<RecordBatch> + Sync),
    task: Task,
) -> impl Iterator<Item = Result<RowGroup<'a>>> + Send {
    let shape = reader.shape;
    let mut first = 0;
    reader.chunks(row_group_rows(Content::Images(shape, Pixels::U8))).map(move |bytes| {
        let bytes = bytes?;
        let rows = (bytes.len() / shape.len()) as u64;
        let images = ImageBytes { split: Split::Test, shape, first, bytes: bytes.into(), labels: None };
        first += rows;
        let task = task.clone();
        let group: RowGroup<'a> = Box::new(move |emit| {
            row_group_of(images)(&mut |batch| {
                let rows = batch.num_rows() as u64;
                emit(map(&batch)?)?;
                task.advance(rows);
                Ok(())
            })
        });
        Ok(group)
    })
}
