//! Training images in shuffled order, held in memory as bytes or streamed.
//!
//! An epoch is a sequence of windows and a window is a shuffled set of images. In memory there is one window, the whole
//! split. Past the memory limit a window is a few row groups, drawn in an order of their own: every epoch still sees every
//! image once, mixed as far as memory allows. Both orders depend on (seed, epoch) alone.

use std::sync::Arc;

use anyhow::Result;
use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;

use crate::config::InputImages;
use crate::corruption::Corruption;
use crate::corruption::random::{Generator, Stream};
use crate::error;
use crate::table::{Split, TableFile, lists, pixels};

/// The training split.
pub struct TrainingImages {
    table: TableFile,
    pixels: usize,
    seed: u64,
    /// All images, if they fit the limit.
    held: Option<Window>,
    /// Row groups of one window otherwise.
    groups_per_window: usize,
}

/// Some images and the order in which they are used.
#[derive(Clone)]
pub struct Window {
    /// Position of each image in the source. Shared, like the bytes, by the windows of all epochs when they are held.
    ids: Arc<Vec<u64>>,
    bytes: Arc<Vec<u8>>,
    order: Vec<u32>,
}

/// What a model sees and what it shall give back, one image after the other.
pub struct Examples {
    /// Numbers in [0, 1], perhaps corrupted.
    pub input: Vec<f32>,
    /// Numbers in [0, 1].
    pub target: Vec<f32>,
}

/// How inputs are made of clean images.
#[derive(Clone, Copy)]
pub struct Inputs {
    /// The corruption, if the model sees corrupted images.
    pub corruption: Option<Corruption>,
    /// Its random numbers.
    pub stream: Stream,
    /// The epoch whose numbers are used; 0 for the stored ones.
    pub epoch: u32,
    /// Whether corrupted pixels are rounded as they are on disk.
    pub rounded: bool,
}

impl Inputs {
    /// The inputs for `split`: those of the stored noisy set in epoch 0, fresh ones in any other.
    pub fn new(pipeline: &crate::config::Pipeline, split: Split, epoch: u32) -> Self {
        let noisy = pipeline.training.input == InputImages::Noisy;
        Self {
            corruption: pipeline.corruption.filter(|_| noisy),
            stream: noise_stream(pipeline.seed, split),
            epoch,
            rounded: epoch == 0 && pipeline.output.pixels == crate::config::Pixels::U8,
        }
    }

    /// Makes the input of one image.
    fn apply(&self, id: u64, target: &[f32], input: &mut [f32]) {
        match self.corruption {
            None => input.copy_from_slice(target),
            Some(corruption) => {
                corruption.apply(target, &mut self.stream.generator(id, self.epoch), input);
                if self.rounded {
                    let bytes: Vec<u8> = input.iter().map(|&pixel| pixels::to_byte(pixel)).collect();
                    pixels::to_unit(&bytes, input);
                }
            }
        }
    }
}

/// The random numbers of the corruption of a split.
pub fn noise_stream(seed: u64, split: Split) -> Stream {
    Stream::new(seed, "noise", split)
}

impl TrainingImages {
    /// Opens the training images and holds them if they take at most `limit` bytes.
    ///
    /// # Errors
    /// Unreadable or empty tables, and images that are not bytes.
    pub fn open(table: TableFile, seed: u64, limit: u64) -> Result<Self> {
        if table.rows() == 0 {
            return Err(error::data(format!("{} holds no images to train on", table.path().display())));
        }
        if table.rows() > u64::from(u32::MAX) {
            return Err(error::data(format!("{} has more than 2^32 - 1 rows", table.path().display())));
        }
        let pixels = table.image_shape()?.len();
        let mut images = Self { table, pixels, seed, held: None, groups_per_window: 1 };
        if images.table.rows().saturating_mul(pixels as u64) <= limit {
            images.held = Some(images.load(&(0..images.table.row_groups()).collect::<Vec<_>>())?);
        } else {
            let group = images.table.row_group_rows(0).max(1) * pixels as u64;
            images.groups_per_window = ((limit / group) as usize).max(1);
        }
        Ok(images)
    }

    /// Number of images.
    pub fn count(&self) -> u64 {
        self.table.rows()
    }

    /// Numbers of one image.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// The windows of an epoch.
    pub fn windows(&self, epoch: u32) -> impl Iterator<Item = Result<Window>> {
        let mut random = Stream::new(self.seed, "shuffle", Split::Train).generator(0, epoch);
        let mut groups: Vec<usize> = (0..self.table.row_groups()).collect();
        if self.held.is_none() {
            shuffle(&mut groups, &mut random);
        }
        let size = if self.held.is_some() { groups.len() } else { self.groups_per_window };
        let windows: Vec<Vec<usize>> = groups.chunks(size.max(1)).map(<[usize]>::to_vec).collect();
        windows.into_iter().map(move |groups| {
            let mut window = match &self.held {
                Some(held) => held.clone(),
                None => self.load(&groups)?,
            };
            shuffle(&mut window.order, &mut random);
            Ok(window)
        })
    }

    fn load(&self, groups: &[usize]) -> Result<Window> {
        let (mut ids, mut pixels) = (Vec::new(), Vec::new());
        for &group in groups {
            for batch in self.table.row_group(group)? {
                let batch = batch?;
                let list = lists(&batch, "image")?;
                let bytes = list.values().as_primitive_opt::<UInt8Type>();
                let bytes = bytes.ok_or_else(|| error::data("training images are stored as bytes"))?;
                let (start, end) = (list.value_offset(0) as usize, list.value_offset(list.len()) as usize);
                pixels.extend_from_slice(&bytes.values()[start..end]);
                ids.extend(crate::table::ids(&batch)?.values().iter().map(|&id| id as u64));
                crate::interrupt::check()?;
            }
        }
        let order = (0..ids.len() as u32).collect();
        Ok(Window { ids: Arc::new(ids), bytes: Arc::new(pixels), order })
    }
}

impl Window {
    /// The positions of its images in the order of use, `size` at a time.
    pub fn batches(&self, size: usize) -> impl Iterator<Item = &[u32]> {
        self.order.chunks(size)
    }

    /// The images at these positions.
    pub fn examples(&self, positions: &[u32], pixels: usize, inputs: &Inputs) -> Examples {
        let mut target = vec![0.0; positions.len() * pixels];
        let mut input = vec![0.0; target.len()];
        let rows = target.chunks_exact_mut(pixels).zip(input.chunks_exact_mut(pixels));
        for (&position, (target, input)) in positions.iter().zip(rows) {
            let position = position as usize;
            pixels::to_unit(&self.bytes[position * pixels..][..pixels], target);
            inputs.apply(self.ids[position], target, input);
        }
        Examples { input, target }
    }
}

/// The corrupted or clean inputs of a batch of clean images.
pub fn examples_of(ids: &[i64], target: Vec<f32>, pixels: usize, inputs: &Inputs) -> Examples {
    let mut input = vec![0.0; target.len()];
    for ((&id, target), input) in ids.iter().zip(target.chunks_exact(pixels)).zip(input.chunks_exact_mut(pixels)) {
        inputs.apply(id as u64, target, input);
    }
    Examples { input, target }
}

/// Fisher and Yates' shuffle (Durstenfeld 1964).
fn shuffle<T>(items: &mut [T], random: &mut Generator) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_that_depends_on_its_generator() {
        let shuffled = |epoch| {
            let mut items: Vec<u32> = (0..1000).collect();
            shuffle(&mut items, &mut Stream::new(1, "shuffle", Split::Train).generator(0, epoch));
            items
        };
        let (first, second) = (shuffled(1), shuffled(2));
        assert_ne!(first, second);
        assert_eq!(first, shuffled(1));
        let fixed = first.iter().enumerate().filter(|(index, item)| *index as u32 == **item).count();
        assert!(fixed < 10, "{fixed} items stayed where they were");
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }
}
