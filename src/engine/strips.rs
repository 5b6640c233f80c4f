//! A large picture through a model, a few rows after the other, in strips side by side that all threads share.
//!
//! The rows that a layer needs again are kept ([`rows`]), so that none is computed twice. Strips overlap by as much as the model looks
//! to the side, and begin where blocks of the whole begin ([`Reach`]): the result is, bit for bit on flex, that of the whole picture at
//! once, and memory is that of the rows under way.

mod rows;

use anyhow::Result;
use rayon::prelude::*;

use super::inference::Inference;
use super::tiles::{Span, spans};
use crate::image::ImageShape;
use crate::model::Reach;
use crate::{error, interrupt};
use rows::{Held, Rows};

/// The strips of a picture.
pub struct Strips<'a> {
    model: &'a Inference,
    picture: ImageShape,
    strips: Vec<Strip>,
    rows_at_once: usize,
}

/// One of the strips.
struct Strip {
    columns: Span,
    rows: Rows,
    /// What was given and has not been made an image of: noise is added to it.
    given: Held,
}

impl<'a> Strips<'a> {
    /// Cuts a picture into strips for so many threads; none if it is small, or if the model is not applied so.
    ///
    /// # Errors
    /// A model for images of other channels.
    pub fn new(model: &'a Inference, picture: ImageShape, threads: usize) -> Result<Option<Self>> {
        let channels = model.channels_for(picture)?;
        let (seen, planes) = (ImageShape { channels, ..picture }, picture.channels / channels);
        let Some((reach, rows_at_once)) = model.takes_strips(seen, planes) else { return Ok(None) };
        let halo = reach.halo.next_multiple_of(reach.multiple);
        // More strips than threads would take more memory, and be computed twice where they overlap.
        let most = picture.width.div_ceil(threads).max(2 * halo).next_multiple_of(reach.multiple);
        Ok(Some(Self::of_width(model, picture, reach, most, rows_at_once)))
    }

    /// As [`Self::new`], with strips of at most this width, and so many rows at once, a multiple of the model's each.
    fn of_width(model: &'a Inference, picture: ImageShape, reach: Reach, most: usize, rows_at_once: usize) -> Self {
        let strips = spans(picture.width, most, reach, 1).into_iter().map(|columns| {
            let rows = Rows::new(model.steps(), [picture.height, columns.outer.len()]);
            Strip { columns, rows, given: Held::default() }
        });
        Self { model, picture, strips: strips.collect(), rows_at_once }
    }

    /// Rows that [`Self::push`] is best given at once.
    pub fn rows_at_once(&self) -> usize {
        self.rows_at_once
    }

    /// Gives the next rows of the picture, in [0, 1], and gets those of the result that are complete.
    ///
    /// # Errors
    /// The device fails; interruption.
    pub fn push(&mut self, rows: &[f32]) -> Result<Vec<f32>> {
        interrupt::check()?;
        let Self { model, picture, ref mut strips, .. } = *self;
        let stride = picture.width * picture.channels;
        let parts = strips.par_iter_mut().map(|strip| strip.push(model, picture.channels, rows.chunks_exact(stride)));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let count = parts.iter().map(Vec::len).sum::<usize>() / stride;
        let mut made = vec![0.0; count * stride];
        for (strip, part) in strips.iter().zip(parts) {
            let columns = strip.columns.inner.start * picture.channels..strip.columns.inner.end * picture.channels;
            for (to, from) in made.chunks_exact_mut(stride).zip(part.chunks_exact(columns.len())) {
                to[columns.clone()].copy_from_slice(from);
            }
        }
        Ok(made)
    }
}

impl Strip {
    /// The complete rows of its inner columns, channels last.
    fn push<'r>(
        &mut self,
        model: &Inference,
        channels: usize,
        rows: impl ExactSizeIterator<Item = &'r [f32]> + Clone,
    ) -> Result<Vec<f32>> {
        let (outer, inner) = (&self.columns.outer, &self.columns.inner);
        let (seen, planes) = (model.image().channels, channels / model.image().channels);
        let mut pixels = Vec::with_capacity(rows.len() * outer.len() * channels);
        // A grey model sees each channel by itself.
        for plane in 0..planes {
            for row in rows.clone() {
                let row = &row[outer.start * channels..outer.end * channels];
                if planes == 1 {
                    pixels.extend_from_slice(row);
                } else {
                    pixels.extend(row.iter().skip(plane).step_by(channels));
                }
            }
        }
        let pixels = model.tensor_of_rows(pixels, [planes, rows.len(), outer.len(), seen]);
        self.given.push(pixels.clone());
        let Some(logits) = self.rows.push(pixels) else { return Ok(Vec::new()) };
        let [_, count, ..] = logits.dims();
        let from = self.given.first();
        let given = self.given.get(from..from + count).ok_or_else(|| error::bug("more rows come out than go in"))?;
        self.given.drop_before(from + count);
        let images = model.images_of_rows(logits, given)?;
        let mut made = Vec::with_capacity(count * inner.len() * channels);
        let plane = images.len() / planes;
        for row in 0..count {
            for column in inner.start - outer.start..inner.end - outer.start {
                let at = (row * outer.len() + column) * seen;
                (0..planes).for_each(|index| made.extend_from_slice(&images[index * plane + at..][..seen]));
            }
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests;
