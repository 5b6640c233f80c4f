//! Whether the pictures of a source have one size, and how deep they are.

use std::io::Cursor;

use anyhow::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Tables;
use super::column::{Images, encoded};
use super::part::{damaged, row_name};
use crate::image::{Extent, ImageShape, PerSplit, Pixels};
use crate::interrupt;
use crate::source::picture::shape_of;
use crate::source::settings::Size;

/// Pictures whose headers are read at a time.
const AT_ONCE: usize = 1024;

/// The sizes of the pictures of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Whether they have one size.
    pub extent: Extent,
    /// How the pixels of all are stored.
    pub pixels: Pixels,
    /// The most numbers of a picture.
    pub largest: usize,
    /// The numbers of the pictures of each split together.
    pub numbers: PerSplit<u64>,
    /// The name and the shape of a picture of another size than the first one.
    pub differing: Option<(String, ImageShape)>,
    /// Those of the one with the shortest side.
    pub narrowest: Option<(String, ImageShape)>,
}

/// Reads the headers of all encoded pictures; lists of numbers have one shape. `first` is that of the first picture, `pixels` how its
/// pixels are stored.
///
/// # Errors
/// Unreadable files, interruption.
pub fn measured(tables: &Tables, first: ImageShape, pixels: Pixels) -> Result<Measured> {
    let extent = Extent::Fixed(first);
    let mut all = Measured { extent, pixels, largest: first.len(), numbers: [0; _], differing: None, narrowest: None };
    if tables.images != Images::Encoded {
        return Ok(all);
    }
    for (split, part) in
        tables.splits.iter().enumerate().flat_map(|(split, parts)| parts.iter().map(move |part| (split, part)))
    {
        let (path, mut row) = (part.path.display().to_string(), 0);
        for batch in part.read(&[part.columns.image], AT_ONCE)? {
            interrupt::check()?;
            let batch = batch.map_err(|cause| damaged(&path, row, &cause))?;
            let column = batch.column(0);
            let shape = |index: usize| shape_of(Cursor::new(encoded(column, index)?), &tables.fit);
            let shapes: Vec<_> = (0..batch.num_rows()).into_par_iter().map(shape).collect();
            for (row, (shape, pixels)) in (row..).zip(&shapes).filter_map(|(row, found)| Some((row, (*found)?))) {
                all.pixels = all.pixels.as_deep_as(pixels);
                if tables.fit.size != Size::Same {
                    continue;
                }
                all.numbers[split] += shape.len() as u64;
                all.largest = all.largest.max(shape.len());
                let side = |shape: ImageShape| shape.height.min(shape.width);
                if all.narrowest.as_ref().is_none_or(|(_, least)| side(shape) < side(*least)) {
                    all.narrowest = Some((row_name(&path, row), shape));
                }
                // Pictures of other channels are refused when they are decoded.
                if all.differing.is_none() && (shape.height, shape.width) != (first.height, first.width) {
                    all.differing = Some((row_name(&path, row), shape));
                }
            }
            row += batch.num_rows() as u64;
        }
    }
    if all.differing.is_some() || first.len() > ImageShape::MAX_LEN {
        all.extent = Extent::Mixed { channels: first.channels };
    }
    Ok(all)
}
