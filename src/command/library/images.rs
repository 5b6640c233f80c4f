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

    /// The source of these images for a model, or the content of none.
    ///
    /// # Errors
    /// Images that cannot be read, or settings that are not for them.
    pub fn source(
        self,
        model: &Inference,
        reading: &Reading,
        progress: &Progress,
    ) -> Result<Result<Box<dyn Source + Send>, Content>> {
        let Reading { resize, crop, column } = reading;
        if *resize && *crop {
            return Err(error::settings("resize and crop exclude each other"));
        }
        let none = |pixels| Ok(Err(Content::Images(model.image().into(), pixels)));
        if let Some(columns) = model.columns() {
            if *resize || *crop || column.is_some() {
                let advice = "the model takes rows of tables, by the names of their columns";
                return Err(error::settings(format!("resize, crop and column are for images, but {advice}")));
            }
            let (name, schema, batches) = match self {
                Self::Array(array) => rows(model, array)?,
                Self::Table { name, schema, batches } => (name, schema, batches),
                Self::Files(_) => return Err(error::data("the model takes rows of numbers, and no pictures")),
            };
            if Content::is_of(&schema)
                && let Some(table) = HeldTable::of(&name, &schema, &batches, model.image())?
            {
                return Ok(Ok(Box::new(table)));
            }
            if batches.iter().all(|batch| batch.num_rows() == 0) {
                return none(Pixels::F32);
            }
            return Ok(Ok(Box::new(Vectors::held(&name, (&schema, batches), columns, progress)?)));
        }
        let (image, fit) = (model.image(), fit(model, *resize, *crop, Pages::default()));
        Ok(Ok(match self {
            Self::Array(mut array) => {
                if *resize || *crop || column.is_some() {
                    return Err(error::settings("resize, crop and column are for pictures and tables, not for arrays"));
                }
                // A flat image shows no rows and columns.
                if let [count, numbers] = array.sizes[..]
                    && numbers == image.len() as u64
                {
                    array.sizes =
                        [count as usize, image.height, image.width, image.channels].map(|size| size as u64).to_vec();
                }
                Box::new(Numpy::held(array, model.levels())?)
            }
            Self::Table { name, schema, batches } => {
                let column = column.as_deref().filter(|column| *column != "image");
                if column.is_none()
                    && let Some(table) = HeldTable::of(&name, &schema, &batches, image)?
                {
                    return match table.content().extent() {
                        Some(_) => Ok(Ok(Box::new(table))),
                        None => Err(error::data(format!("cannot use {name}: it holds features, not images"))),
                    };
                }
                if batches.iter().all(|batch| batch.num_rows() == 0) {
                    return none(Pixels::U8);
                }
                let note = |line: &str| progress.note(line);
                Box::new(Tables::held(&name, (schema, batches), column, fit, image, &note)?)
            }
            Self::Files(paths) if paths.is_empty() => return none(Pixels::U8),
            Self::Files(paths) => Box::new(Folder::of_files(&paths, fit)?),
        }))
    }
}

/// The table of an array whose rows are those of a model's columns, in their order.
fn rows(model: &Inference, array: HeldArray) -> Result<(String, SchemaRef, Vec<RecordBatch>)> {
    let columns = model.columns().ok_or_else(|| error::bug("a model of images takes no rows"))?;
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
