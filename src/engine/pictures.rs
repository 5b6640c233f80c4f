//! Pictures of different sizes in a table, and large ones, through a model that takes any size.

use anyhow::Result;
use arrow_array::RecordBatch;
use rayon::prelude::*;

use super::inference::{Inference, errors};
use super::strips::Strips;
use super::tiles::Tiles;
use crate::error;
use crate::image::ImageShape;
use crate::table::{Content, Images, image_columns, pixels};

/// What the model makes of each picture of a batch, with its error against `clean`, or against the picture itself. Large pictures
/// are cut, which changes no number.
///
/// # Errors
/// A batch that does not hold such pictures, or numbers outside of [0, 1]; interruption, the device.
pub fn denoise(model: &Inference, batch: &RecordBatch, clean: Option<&[f32]>, content: Content) -> Result<RecordBatch> {
    let Content::Denoised(extent, stored) = content else { return Err(error::bug("a model makes denoised images")) };
    let images = Images::of(batch, extent)?;
    let numbers = model.checked(batch, &images)?;
    let mut made = vec![0.0; numbers.len()];
    let threads = rayon::current_num_threads();
    let mut small = Vec::new();
    // A large picture is all threads' work, one at a time whatever the batches under way.
    for ((shape, picture), (_, made)) in images.shapes().split(&numbers).zip(images.shapes().split_mut(&mut made)) {
        match Strips::new(model, shape, threads)? {
            Some(strips) => {
                let _turn = model.large_turn();
                denoise_in_strips(strips, picture, made, shape.width * shape.channels)?;
            }
            None => small.push((shape, picture, made)),
        }
    }
    // Others are one thread's each, unless there are fewer than threads. No more tiles are under way than the pool has threads.
    let count = small.len();
    let cut = |shape| {
        if count < threads { Tiles::new(model, shape, threads) } else { Tiles::of_one_among(threads, model, shape) }
    };
    let work =
        |(shape, picture, made): (ImageShape, &[f32], &mut [f32])| denoise_in_tiles(&cut(shape)?, picture, shape, made);
    if model.computes_where_called() {
        small.into_par_iter().try_for_each(work)?;
    } else {
        small.into_iter().try_for_each(work)?;
    }
    let stored = pixels::stored(made, stored);
    // The error of the pixels as they are written, rounding included.
    let errors = errors(images.shapes(), &pixels::numbers(&stored), clean.unwrap_or(&numbers));
    model.batch(batch, content, image_columns(images.shapes(), stored)?, errors)
}

/// Writes what the model makes of a picture with rows of so many numbers to `made`.
fn denoise_in_strips(mut strips: Strips<'_>, picture: &[f32], made: &mut [f32], row: usize) -> Result<()> {
    let mut next = 0;
    for rows in picture.chunks(strips.rows_at_once() * row) {
        let rows = strips.push(rows)?;
        made[next..next + rows.len()].copy_from_slice(&rows);
        next += rows.len();
    }
    Ok(())
}

/// The same in tiles.
fn denoise_in_tiles(tiles: &Tiles<'_>, picture: &[f32], shape: ImageShape, made: &mut [f32]) -> Result<()> {
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
