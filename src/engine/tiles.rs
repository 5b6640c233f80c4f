//! A model on a picture of any size: at once if it is small, and else cut into tiles that overlap, taken through the model one by one,
//! cropped and put together.
//!
//! The result of tiles is, bit for bit on flex, that of the whole picture at once by the same method; small pictures are computed by
//! a faster one. Each tile has so much around it as its model looks at
//! ([`Reach`]), and begins where the poolings of the whole picture begin anew, so that its layers compute the same sums. Its right or
//! lower side is either such a place too or that of the picture, where odd sizes are rounded as in the whole.
//!
//! A side that is shorter than the least that the model takes is continued by its mirror image, behind its last pixel and without
//! repeating that, up to the least side; what becomes of the rest is cut off. The whole picture is that then.
//!
//! Nothing here holds the picture: whoever has it decoded reads a few rows after the other, those of [`Band::window`], and gets
//! those of [`Band::rows`].

use std::ops::Range;

use anyhow::Result;
use rayon::prelude::*;

use super::ensemble::mirrored;
use super::inference::Inference;
use crate::image::ImageShape;
use crate::kernel::Method;
use crate::model::Reach;
use crate::{error, interrupt};

/// Largest side of a tile without what is around it. Larger ones save little of that, and leave the caches.
const MOST_SIDE: usize = 512;
/// Least side of a tile, unless that of the picture is shorter.
const LEAST_SIDE: usize = 64;
/// A tile is at least so many times as wide as the halo, without it: its whole is then four times as large.
const LEAST_HALOS: usize = 2;
/// Bytes of all tiles under way, and of those of each thread.
const TILES_BYTES: usize = 128 << 20;
const THREAD_BYTES: usize = 32 << 20;
/// Most bytes of a single tile.
const MOST_TILE_BYTES: usize = 2 << 30;

/// A part of a side of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    /// What is made of it.
    pub inner: Range<usize>,
    /// What it is made from. It may pass the end of a picture that is continued.
    pub outer: Range<usize>,
}

/// How a picture is cut.
pub struct Tiles<'a> {
    model: &'a Inference,
    picture: ImageShape,
    /// Those of a picture that is continued, if it is too small for the model.
    rows: Vec<Span>,
    columns: Vec<Span>,
    /// Rows of tiles that are taken together, so that all threads have work.
    rows_at_once: usize,
    tiles_at_once: usize,
    /// How they are computed.
    method: Method,
}

/// Rows of the picture that are made at once.
#[derive(Debug, Clone)]
pub struct Band {
    tiles: Range<usize>,
    /// The rows that are made.
    pub rows: Range<usize>,
    /// The rows of the picture that they are made from.
    pub window: Range<usize>,
}

/// What was made of a tile.
pub struct Tile<T> {
    /// Its rows in the picture.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
    /// What became of its numbers.
    pub made: T,
}

impl<'a> Tiles<'a> {
    /// Cuts a picture of this size into tiles whose number and size suit so many threads.
    ///
    /// # Errors
    /// A model that is for images of one size or of other channels, or that looks further than memory reaches.
    pub fn new(model: &'a Inference, picture: ImageShape, threads: usize) -> Result<Self> {
        let threads = if model.computes_where_called() { threads.max(1) } else { 1 };
        Self::within(model, picture, threads, TILES_BYTES.saturating_add(THREAD_BYTES.saturating_mul(threads)))
    }

    /// As [`Self::new`], on one thread, for one of so many pictures that are made at the same time and share the memory.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_one_among(pictures: usize, model: &'a Inference, picture: ImageShape) -> Result<Self> {
        Self::within(model, picture, 1, TILES_BYTES / pictures.max(1) + THREAD_BYTES)
    }

    /// Cuts a picture into tiles of which so many threads hold no more than the budget, in bytes, if they can be so small.
    fn within(model: &'a Inference, picture: ImageShape, threads: usize, budget: usize) -> Result<Self> {
        let reach = model.reach()?;
        let channels = model.image().channels;
        if model.takes_whole(ImageShape { channels, ..picture }) {
            let side = picture.height.max(picture.width).next_multiple_of(reach.multiple);
            return Self::of_side(model, picture, side, 1, Method::Fastest);
        }
        let bytes = |side: usize| bytes(model, picture, reach, side);
        let least = LEAST_SIDE.max(reach.halo.saturating_mul(LEAST_HALOS)).saturating_add(reach.multiple - 1);
        let least = least / reach.multiple * reach.multiple;
        let mut side = MOST_SIDE.max(least) / reach.multiple * reach.multiple;
        // Smaller ones if these are too large for the memory, or too few for the threads.
        let number = |side: usize| picture.height.div_ceil(side).saturating_mul(picture.width.div_ceil(side));
        while side / 2 >= least && (bytes(side).saturating_mul(threads) > budget || number(side) < threads) {
            side = (side / 2).next_multiple_of(reach.multiple);
        }
        if bytes(side) > MOST_TILE_BYTES {
            let (halo, mib) = (reach.halo, bytes(side) >> 20);
            let advice = "train one with fewer channels, residual blocks or poolings";
            return Err(error::settings(format!(
                "the model looks {halo} pixels far, so that a part of a picture takes {mib} MiB of memory; {advice}"
            )));
        }
        let at_once = (budget / bytes(side).max(1)).clamp(1, threads);
        Self::of_side(model, picture, side, at_once, Method::Direct)
    }

    /// As [`Self::new`], with tiles of at most this side, a multiple of the model's, of which so many are under way at once.
    fn of_side(
        model: &'a Inference,
        picture: ImageShape,
        side: usize,
        tiles_at_once: usize,
        method: Method,
    ) -> Result<Self> {
        let reach = model.reach()?;
        model.channels_for(picture)?;
        let ends = if model.is_ensemble() { reach.multiple } else { 1 };
        let spans = |length| spans(length, side, reach, ends);
        let (rows, columns) = (spans(picture.height), spans(picture.width));
        let rows_at_once = tiles_at_once.div_ceil(columns.len().max(1));
        Ok(Self { model, picture, rows, columns, rows_at_once, tiles_at_once, method })
    }

    /// The model.
    pub fn model(&self) -> &Inference {
        self.model
    }

    /// The bands of the picture, from the top.
    pub fn bands(&self) -> impl Iterator<Item = Band> + '_ {
        (0..self.rows.len()).step_by(self.rows_at_once).map(|first| {
            let tiles = first..(first + self.rows_at_once).min(self.rows.len());
            let (top, bottom) = (&self.rows[tiles.start], &self.rows[tiles.end - 1]);
            let window = top.outer.start..bottom.outer.end.min(self.picture.height);
            Band { rows: top.inner.start..bottom.inner.end, window, tiles }
        })
    }

    /// Makes the tiles of a band. `read` writes the numbers in [0, 1] of some columns of a row of its window; `keep` is called on
    /// any thread with those of a tile, row by row.
    ///
    /// # Errors
    /// What `read` fails with, the device, interruption.
    pub fn make<T: Send>(
        &self,
        band: &Band,
        read: &(impl Fn(usize, Range<usize>, &mut [f32]) -> Result<()> + Sync),
        keep: &(impl Fn(Vec<f32>) -> T + Sync),
    ) -> Result<Vec<Tile<T>>> {
        let rows = self.rows[band.tiles.clone()].iter();
        let tiles: Vec<_> = rows.flat_map(|rows| self.columns.iter().map(move |columns| (rows, columns))).collect();
        let make = |(rows, columns): &(&Span, &Span)| {
            interrupt::check()?;
            let made = self.tile(rows, columns, read)?;
            Ok(Tile { rows: rows.inner.clone(), columns: columns.inner.clone(), made: keep(made) })
        };
        if !self.model.computes_where_called() {
            return tiles.iter().map(make).collect();
        }
        let mut made = Vec::with_capacity(tiles.len());
        for tiles in tiles.chunks(self.tiles_at_once) {
            made.extend(tiles.par_iter().map(make).collect::<Result<Vec<_>>>()?);
        }
        Ok(made)
    }

    fn tile(
        &self,
        rows: &Span,
        columns: &Span,
        read: &impl Fn(usize, Range<usize>, &mut [f32]) -> Result<()>,
    ) -> Result<Vec<f32>> {
        let ImageShape { height, width, channels } = self.picture;
        let shape = ImageShape { height: rows.outer.len(), width: columns.outer.len(), channels };
        let mut pixels = vec![0.0; shape.len()];
        let there = columns.outer.start..columns.outer.end.min(width);
        for (row, line) in rows.outer.clone().zip(pixels.chunks_exact_mut(shape.width * channels)) {
            read(mirrored(row, height), there.clone(), &mut line[..there.len() * channels])?;
            for column in there.len()..shape.width {
                let from = (mirrored(columns.outer.start + column, width) - columns.outer.start) * channels;
                line.copy_within(from..from + channels, column * channels);
            }
        }
        let grey = ImageShape { channels: 1, ..shape };
        let made = if self.model.image().channels == channels {
            self.model.apply_at_any_size(pixels, shape, self.method)?
        } else {
            let mut made = vec![0.0; shape.len()];
            for channel in 0..channels {
                let plane = pixels.iter().skip(channel).step_by(channels).copied().collect();
                let plane = self.model.apply_at_any_size(plane, grey, self.method)?;
                for (to, from) in made.iter_mut().skip(channel).step_by(channels).zip(plane) {
                    *to = from;
                }
            }
            made
        };
        let lines = made.chunks_exact(shape.width * channels).skip(rows.inner.start - rows.outer.start);
        let first = (columns.inner.start - columns.outer.start) * channels;
        let line = |line: &[f32]| line[first..first + columns.inner.len() * channels].to_vec();
        Ok(lines.take(rows.inner.len()).flat_map(line).collect())
    }
}

/// Bytes that a tile of this side takes.
fn bytes(model: &Inference, picture: ImageShape, reach: Reach, side: usize) -> usize {
    let whole = side.saturating_add(reach.halo.next_multiple_of(reach.multiple).saturating_mul(2));
    let [height, width] = [picture.height, picture.width].map(|length| length.max(reach.least).min(whole));
    // A product that is too large to be counted is too large for every memory.
    if height.saturating_mul(width) > MOST_TILE_BYTES {
        return usize::MAX;
    }
    let layers = model.bytes(ImageShape { height, width, channels: model.image().channels });
    layers.saturating_add(3 * picture.channels * height * width * size_of::<f32>())
}

/// Cuts a side of so many pixels into parts of nearly the same length, at most `most`, which is a multiple of the model's. The side is
/// continued to a multiple of `ends`.
pub(super) fn spans(length: usize, most: usize, reach: Reach, ends: usize) -> Vec<Span> {
    let Reach { halo, multiple, least } = reach;
    let end = length.max(least).next_multiple_of(ends);
    let part = length.div_ceil(length.div_ceil(most).max(1)).next_multiple_of(multiple);
    let halo = halo.next_multiple_of(multiple);
    let starts = (0..length).step_by(part);
    starts
        .map(|start| {
            let inner = start..length.min(start + part);
            // A side that is continued is short, and its mirror image may come from anywhere in it.
            let outer = if length < least { 0..end } else { start.saturating_sub(halo)..end.min(start + part + halo) };
            Span { inner, outer }
        })
        .collect()
}

#[cfg(test)]
mod tests;
