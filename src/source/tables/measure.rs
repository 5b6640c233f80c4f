//! Whether the pictures of a source have one size, and how deep they are.

use anyhow::Result;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::column::Images;
use super::part::{Part, damaged, reject, row_name};
use crate::image::{PerSplit, Split};
use crate::interrupt;
use crate::source::rejected::Rejections;
use crate::source::settings::Fit;
use crate::source::sizes::Sizes;

/// Pictures whose headers are read at a time.
const AT_ONCE: usize = 1024;
/// Undecodable pictures after which the search for a first good one ends, unless such pictures may be left out.
const MOST_TRIED: usize = 1000;

/// The sizes of the pictures of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Whether they have one size, and how deep they are.
    pub sizes: Sizes,
    /// The most numbers of a picture.
    pub largest: usize,
    /// The numbers of the pictures of each split together, as far as headers tell.
    pub numbers: PerSplit<u64>,
}

/// The pictures of a source as its files have them.
pub struct Read<'a> {
    /// What they are converted to.
    pub fit: &'a Fit,
    /// How a column has them.
    pub images: Images,
    /// The files of each split; of those that are drawn, in the first.
    pub splits: &'a PerSplit<Vec<Part>>,
}

/// The sizes of pictures as the first that can be decoded tells them.
///
/// # Errors
/// None that can be decoded, unreadable files, interruption.
pub fn first_sizes(read: &Read<'_>, rejections: &Rejections) -> Result<Sizes> {
    let (mut bad, mut least) = (Vec::new(), "");
    for (split, parts) in Split::ALL.iter().zip(read.splits) {
        let mut before = 0;
        for part in parts {
            let (path, mut row) = (part.path.display().to_string(), 0);
            for batch in part.read(&part.columns.pictures(), 16)? {
                let batch = batch.map_err(|cause| damaged(&path, row, &cause))?;
                for index in 0..batch.num_rows() {
                    match read.images.image(batch.columns(), index, read.fit, rejections.asker()) {
                        Ok(picture) => return Ok(Sizes::of(row_name(&path, row), &picture)),
                        // Further bad pictures would only lengthen the message.
                        Err(_) if bad.len() == MOST_TRIED => {
                            least = "at least ";
                            if !rejections.skips() {
                                return Err(rejections.failure(&bad, least));
                            }
                        }
                        Err(reason) => bad.push(reject(*split, before, &path, row, reason)),
                    }
                    row += 1;
                }
                interrupt::check()?;
            }
            before += part.rows();
        }
    }
    Err(rejections.failure(&bad, least))
}

/// Reads the headers of all encoded pictures, or the columns with their sides; other lists of numbers have one shape. `sizes` are as the first picture tells them.
///
/// # Errors
/// Unreadable files, interruption.
pub fn measured(read: &Read<'_>, sizes: Sizes) -> Result<Measured> {
    let largest = sizes.first_len();
    let mut all = Measured { sizes, largest, numbers: [0; _] };
    if matches!(read.images, Images::Numbers(_)) {
        return Ok(all);
    }
    for (split, part) in
        read.splits.iter().enumerate().flat_map(|(split, parts)| parts.iter().map(move |part| (split, part)))
    {
        let (path, mut row) = (part.path.display().to_string(), 0);
        for batch in part.read(&part.columns.pictures(), AT_ONCE)? {
            interrupt::check()?;
            let batch = batch.map_err(|cause| damaged(&path, row, &cause))?;
            let header = |index: usize| read.images.header(batch.columns(), index, read.fit);
            let headers: Vec<_> = (0..batch.num_rows()).into_par_iter().map(header).collect();
            for (row, header) in (row..).zip(headers).filter_map(|(row, header)| Some((row, header?))) {
                let len = all.sizes.see(header, read.fit, || row_name(&path, row));
                all.numbers[split] += len as u64;
                all.largest = all.largest.max(len);
            }
            row += batch.num_rows() as u64;
        }
    }
    Ok(all)
}
