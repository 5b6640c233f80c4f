//! Images in memory, or in files that are named one by one, as a source for a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::SchemaRef;

use crate::command::apply::fit;
use crate::engine::inference::Inference;
use crate::error;
use crate::image::Pixels;
use crate::progress::Progress;
use crate::scaler::Scaler;
use crate::source::settings::Pages;
use crate::source::{Folder, HeldArray, Numpy, Source, Tables, Vectors, floats_of};
use crate::table::pixels::fixed_size_list;
use crate::table::{Content, HeldTable, write_batch};

/// Images for a model.
pub enum Images {
    /// An array of numbers: of images, or of rows for a model of rows.
    Array(HeldArray),
    /// A table with a column of images, or with the columns of rows.
    Table {
        /// What it is called in messages.
        name: String,
        /// Its columns.
        schema: SchemaRef,
        /// Its rows.
        batches: Vec<RecordBatch>,
    },
    /// Picture files.
    Files(Vec<PathBuf>),
}

/// How images are read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// Whether pictures are scaled to the size of the model's images.
    pub resize: bool,
    /// Whether pictures are scaled until they cover that size, and the middle is kept.
    pub crop: bool,
    /// The column of images; one with a usual name unless given.
    pub column: Option<String>,
}

impl Images {
    /// What they are called in messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Array(array) => &array.name,
            Self::Table { name, .. } => name,
            Self::Files(_) => "the list",
        }
    }

    /// Whether they may be pictures, which can be scaled.
    pub fn are_pictures(&self) -> bool {
        !matches!(self, Self::Array(_))
    }

    /// The source of these images for a model.
    ///
    /// # Errors
    /// Images that cannot be read, or settings that are not for them.
    pub fn source(self, model: &Inference, reading: &Reading, progress: &Progress) -> Result<Found> {
        let Reading { resize, crop, column } = reading;
        if *resize && *crop {
            return Err(error::settings("resize and crop exclude each other"));
        }
        let is_asked = *resize || *crop || column.is_some();
        match (self, model.columns()) {
            (_, Some(_)) if is_asked => {
                let advice = "the model takes rows of tables, by the names of their columns";
                Err(error::settings(format!("resize, crop and column are for images, but {advice}")))
            }
            (Self::Array(_), None) if is_asked => {
                Err(error::settings("resize, crop and column are for pictures and tables, not for arrays"))
            }
            (Self::Array(array), Some(columns)) => of_rows(rows(columns, array)?, model, columns, progress),
            (Self::Table { name, schema, batches }, Some(columns)) => {
                of_rows((name, schema, batches), model, columns, progress)
            }
            (Self::Files(_), Some(_)) => Err(error::data("the model takes rows of numbers, and no pictures")),
            (Self::Array(array), None) => {
                Ok(Found::Source(Box::new(Numpy::held(unfolded(array, model), model.levels())?)))
            }
            (Self::Table { name, schema, batches }, None) => {
                let column = column.as_deref().filter(|column| *column != "image");
                if column.is_none()
                    && let Some(table) = own(&name, &schema, &batches, model)?
                {
                    return Ok(table);
                }
                if is_empty(&batches) {
                    return Ok(Found::None(Content::Images(model.image().into(), Pixels::U8)));
                }
                let (fit, note) = (fit(model, *resize, *crop, Pages::default()), |line: &str| progress.note(line));
                let tables = Tables::held(&name, (schema, batches), column, fit, model.image(), &note)?;
                Ok(Found::Source(Box::new(tables)))
            }
            (Self::Files(paths), None) if paths.is_empty() => {
                Ok(Found::None(Content::Images(model.image().into(), Pixels::U8)))
            }
            (Self::Files(paths), None) => {
                let fit = fit(model, *resize, *crop, Pages::default());
                Ok(Found::Source(Box::new(Folder::of_files(&paths, fit)?)))
            }
        }
    }
}

/// What there is to be applied a model to.
pub enum Found {
    /// Images.
    Source(Box<dyn Source + Send>),
    /// None; those that there are not have this content.
    None(Content),
}

fn is_empty(batches: &[RecordBatch]) -> bool {
    batches.iter().all(|batch| batch.num_rows() == 0)
}

/// A table of images that limpid wrote, or one with the same columns; none if it is any other table.
fn own(name: &str, schema: &SchemaRef, batches: &[RecordBatch], model: &Inference) -> Result<Option<Found>> {
    let Some(table) = HeldTable::of(name, schema, batches, model.image())? else { return Ok(None) };
    if table.content().extent().is_none() {
        return Err(error::data(format!("cannot use {name}: it holds features, not images")));
    }
    Ok(Some(Found::Source(Box::new(table))))
}

/// The rows of a table for a model of these columns; those of limpid's own tables are scaled already.
fn of_rows(
    (name, schema, batches): (String, SchemaRef, Vec<RecordBatch>),
    model: &Inference,
    columns: &Scaler,
    progress: &Progress,
) -> Result<Found> {
    if Content::is_of(&schema)
        && let Some(table) = own(&name, &schema, &batches, model)?
    {
        return Ok(table);
    }
    if is_empty(&batches) {
        return Ok(Found::None(Content::Images(model.image().into(), Pixels::F32)));
    }
    Ok(Found::Source(Box::new(Vectors::held(&name, (&schema, batches), columns, progress)?)))
}

/// An array of images as it is, or with the sides of the model's images if they are flat.
fn unfolded(array: HeldArray, model: &Inference) -> HeldArray {
    let image = model.image();
    match array.sizes[..] {
        [count, numbers] if numbers == image.len() as u64 => {
            let sides = [image.height, image.width, image.channels].map(|side| side as u64);
            HeldArray { sizes: [&[count], sides.as_slice()].concat(), ..array }
        }
        _ => array,
    }
}

/// The table of an array whose rows are those of a model's columns, in their order.
fn rows(columns: &Scaler, array: HeldArray) -> Result<(String, SchemaRef, Vec<RecordBatch>)> {
    let width = columns.columns().len();
    if array.sizes.len() != 2 || array.sizes[1] != width as u64 {
        let sizes = array.sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        return Err(error::data(format!("{} has the sizes ({sizes}); the model takes (count, {width})", array.name)));
    }
    let batch = match columns.list() {
        Some(name) => {
            let lists = fixed_size_list(Arc::new(Float64Array::from(floats_of(&array)?)), width);
            batch_of(vec![(name.to_owned(), lists)])?
        }
        None => by_column(&array, columns.columns().iter().map(|column| column.column.clone()).collect())?,
    };
    Ok((array.name, batch.schema(), vec![batch]))
}

/// The rows of an array as a batch with these columns.
fn by_column(array: &HeldArray, names: Vec<String>) -> Result<RecordBatch> {
    let (floats, width) = (floats_of(array)?, names.len());
    let column = |at: usize| Float64Array::from_iter_values(floats.iter().skip(at).step_by(width).copied());
    batch_of(names.into_iter().enumerate().map(|(at, name)| (name, Arc::new(column(at)) as ArrayRef)).collect())
}

fn batch_of(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch> {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, false)))
        .map_err(|cause| error::bug(format!("cannot make rows of an array: {cause}")))
}

/// Writes the rows of an array to a Parquet file, with columns that are called x0, x1 and so on, for the source `vectors`.
///
/// # Errors
/// An array of other dimensions; the file system.
pub fn write_rows(folder: &Path, name: &str, array: &HeldArray) -> Result<()> {
    let [_, width] = array.sizes[..] else {
        return Err(error::data(format!(
            "{} has {} dimensions; rows of numbers have 2",
            array.name,
            array.sizes.len()
        )));
    };
    let names = (0..width).map(|at| format!("x{at}")).collect();
    write_batch(folder, name, &by_column(array, names)?).map(|_| ())
}
