//! Pictures of different sizes in a table through a model that takes any size.

use anyhow::Result;
use arrow_array::RecordBatch;
use rayon::prelude::*;

use super::inference::Inference;
use super::tiles::Tiles;
use crate::error;
use crate::image::{ImageShape, Shapes};
use crate::table::{Content, Images, image_columns, pixels};

/// What the model makes of each picture of a batch, with its error against `clean`, or against the picture itself. Large pictures
/// are cut into tiles, which changes no number.
///
/// # Errors
/// A batch that does not hold such pictures, or numbers outside of [0, 1]; interruption, the device.
pub fn denoise(model: &Inference, batch: &RecordBatch, clean: Option<&[f32]>, content: Content) -> Result<RecordBatch> {
    let Content::Denoised(extent, stored) = content else { return Err(error::bug("a model makes denoised images")) };
    let images = Images::of(batch, extent)?;
    let numbers = model.checked(batch, &images)?;
    let mut made = vec![0.0; numbers.len()];
    let pairs: Vec<_> = images.shapes().split(&numbers).zip(images.shapes().split_mut(&mut made)).collect();
    let (threads, count) = (rayon::current_num_threads(), pairs.len());
    // A picture is one thread's work, unless there are fewer than threads. No more tiles are under way than the pool has threads,
    // however many batches are.
    let cut = |shape| {
        if count < threads { Tiles::new(model, shape, threads) } else { Tiles::of_one_among(threads, model, shape) }
    };
    let work = |((shape, picture), (_, made))| denoise_one(&cut(shape)?, picture, shape, made);
    if model.computes_where_called() {
        pairs.into_par_iter().try_for_each(work)?;
    } else {
        pairs.into_iter().try_for_each(work)?;
    }
    let stored = pixels::stored(made, stored);
    // The error of the pixels as they are written, rounding included.
    let errors = errors(images.shapes(), &pixels::numbers(&stored), clean.unwrap_or(&numbers));
    model.batch(batch, content, image_columns(images.shapes(), stored)?, errors)
}

/// Writes what the model makes of a picture, in tiles, to `made`.
fn denoise_one(tiles: &Tiles<'_>, picture: &[f32], shape: ImageShape, made: &mut [f32]) -> Result<()> {
    let line = shape.width * shape.channels;
    for band in tiles.bands() {
        let read = |row: usize, columns: std::ops::Range<usize>, to: &mut [f32]| {
            to.copy_from_slice(&picture[row * line..][columns.start * shape.channels..columns.end * shape.channels]);
            Ok(())
        };
        for tile in tiles.make(&band, &read, &|made| made)? {
            let columns = tile.columns.start * shape.channels..tile.columns.end * shape.channels;
            for (row, from) in tile.rows.zip(tile.made.chunks_exact(columns.len())) {
                made[row * line..][columns.clone()].copy_from_slice(from);
            }
        }
    }
    Ok(())
}

/// Mean squared error of each picture.
fn errors(shapes: &Shapes, made: &[f32], clean: &[f32]) -> arrow_array::Float32Array {
    let error = |made: &[f32], clean: &[f32]| {
        let sum: f64 = made.iter().zip(clean).map(|(made, clean)| f64::from(made - clean).powi(2)).sum();
        (sum / made.len() as f64) as f32
    };
    let pairs = shapes.split(made).zip(shapes.split(clean));
    pairs.map(|((_, made), (_, clean))| error(made, clean)).collect::<Vec<_>>().into()
}
