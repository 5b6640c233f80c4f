//! Training images in shuffled order, held in memory as bytes or streamed.
//!
//! An epoch is a sequence of windows; a window is a shuffled set of images. If the split fits the memory limit, it is the only
//! window. Otherwise a window is a few row groups, in shuffled order: every epoch still sees every image once, mixed as far as
//! memory allows. Both orders depend on (seed, epoch) alone.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, FixedSizeListArray};
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::corruption::Corruption;
use crate::corruption::on_device::{self, Keys, Numbers};
use crate::error;
use crate::image::{ImageShape, Pixels, Split, rounded, to_unit};
use crate::random::{Generator, Stream};
use crate::table::{TableFile, lists};
use crate::training::settings::InputImages;
use crate::vector::prefetch;

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
pub(super) struct Window {
    /// Position of each image in the source. Shared, like the bytes, by the windows of all epochs when they are held.
    pub(super) ids: Arc<Vec<u64>>,
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) order: Vec<u32>,
}

/// The images of one optimizer step.
pub struct Batch {
    window: Arc<Window>,
    /// The part of the window's order.
    range: Range<usize>,
}

/// Some images of a batch.
pub struct MicroBatch<'a> {
    window: &'a Window,
    positions: &'a [u32],
}

/// Inputs and targets of a model, one image after the other: numbers, or a tensor `[n, pixels]`.
pub struct Examples<T = Vec<f32>> {
    /// Corrupted pixels in [0, 1]; none if the input is the target.
    pub input: Option<T>,
    /// Pixels in [0, 1].
    pub target: T,
}

impl<T> Examples<T> {
    /// Applies `work` to both.
    pub fn each<U>(&self, work: impl Fn(&T) -> U) -> Examples<U> {
        Examples { input: self.input.as_ref().map(&work), target: work(&self.target) }
    }
}

/// The settings that decide how inputs and targets are made.
#[derive(Debug, Clone)]
pub struct InputSettings {
    /// Size of the images.
    pub image: ImageShape,
    /// Seeds the noise.
    pub seed: u64,
    /// The corruption, if there is one.
    pub corruption: Option<Corruption>,
    /// The images that the model gets as input.
    pub input: InputImages,
    /// The images that it is trained to output.
    pub target: InputImages,
    /// The pixel format of the stored noisy set.
    pub stored: Pixels,
}

/// Makes inputs and targets of clean images.
#[derive(Clone)]
pub struct Inputs {
    /// Size of the images.
    pub image: ImageShape,
    /// The corruption, if inputs are corrupted.
    pub corruption: Option<Corruption>,
    /// The random numbers of inputs.
    pub stream: Stream,
    /// Those of targets, if they are corrupted too.
    pub target: Option<Stream>,
    /// The epoch whose random numbers are used; 0 for the stored noisy images.
    pub epoch: u32,
    /// Whether corrupted pixels are rounded as they are on disk.
    pub rounded: bool,
}

impl Inputs {
    /// The inputs for `split`: the stored noisy images in epoch 0, new noise in any other.
    pub fn new(settings: &InputSettings, split: Split, epoch: u32) -> Self {
        let InputSettings { image, seed, ref corruption, input, target, stored } = *settings;
        let noisy = input == InputImages::Noisy;
        Self {
            image,
            corruption: corruption.clone().filter(|_| noisy),
            stream: Stream::noise(seed, split),
            target: (noisy && target == InputImages::Noisy).then(|| Stream::new(seed, "target noise", split)),
            epoch,
            rounded: epoch == 0 && stored == Pixels::U8,
        }
    }

    /// The examples made of the `clean` images with these positions in the source.
    fn of(&self, ids: impl Iterator<Item = u64> + Clone, clean: Vec<f32>, pixels: usize) -> Examples {
        let Some(corruption) = &self.corruption else { return Examples { input: None, target: clean } };
        let corrupted = |stream: &Stream| {
            let mut out = vec![0.0; clean.len()];
            for ((id, clean), out) in ids.clone().zip(clean.chunks_exact(pixels)).zip(out.chunks_exact_mut(pixels)) {
                corruption.kind().apply(clean, self.image, &mut stream.generator(id, self.epoch), out);
            }
            if self.rounded { rounded(&out) } else { out }
        };
        let (input, target) = (Some(corrupted(&self.stream)), self.target.as_ref().map(corrupted));
        Examples { input, target: target.unwrap_or(clean) }
    }

    /// The same for `clean` images `[n, pixels]` on a device, with their ids there.
    pub(super) fn of_placed(&self, clean: Tensor<2>, keys: &Keys) -> Examples<Tensor<2>> {
        let Some(corruption) = &self.corruption else { return Examples { input: None, target: clean } };
        let corrupted = |stream: &Stream| {
            let numbers = Numbers { keys, pixels: self.image.len(), stream, epoch: self.epoch };
            let out = corruption.kind().apply_on_device(clean.clone(), self.image, &numbers);
            if self.rounded { on_device::rounded(out) } else { out }
        };
        let (input, target) = (Some(corrupted(&self.stream)), self.target.as_ref().map(corrupted));
        Examples { input, target: target.unwrap_or(clean) }
    }
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
            // The largest group: with classes held out of training, other groups may have few rows left.
            let largest = (0..images.table.row_groups()).map(|group| images.table.row_group_rows(group)).max();
            let group = largest.unwrap_or(0).max(1) * pixels as u64;
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

    /// The batches of an epoch, of `size` images, except the last of each window, which may have fewer.
    pub fn batches(&self, epoch: u32, size: usize) -> impl Iterator<Item = Result<Batch>> {
        self.windows(epoch).flat_map(move |window| {
            let (window, failure) = match window {
                Ok(window) => (Some(Arc::new(window)), None),
                Err(cause) => (None, Some(Err(cause))),
            };
            let batches = window.into_iter().flat_map(move |window| {
                let len = window.order.len();
                let range = move |start| start..len.min(start + size);
                (0..len).step_by(size).map(move |start| Ok(Batch { window: Arc::clone(&window), range: range(start) }))
            });
            failure.into_iter().chain(batches)
        })
    }

    /// The windows of an epoch.
    fn windows(&self, epoch: u32) -> impl Iterator<Item = Result<Window>> {
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
        let rows = groups.iter().map(|&group| self.table.row_group_rows(group) as usize).sum();
        // With the exact capacity: a vector that grows takes up to twice that.
        let (mut ids, mut pixels) = (Vec::with_capacity(rows), Vec::with_capacity(rows * self.pixels));
        for &group in groups {
            for batch in self.table.row_group(group)? {
                let batch = batch?;
                pixels.extend_from_slice(image_bytes(lists(&batch, "image")?)?);
                ids.extend(crate::table::ids(&batch)?.values().iter().map(|&id| id as u64));
                crate::interrupt::check()?;
            }
        }
        let order = (0..ids.len() as u32).collect();
        Ok(Window { ids: Arc::new(ids), bytes: Arc::new(pixels), order })
    }
}

impl Batch {
    /// Images in memory, `pixels` bytes each, as batches of `size`, in their order.
    pub fn of_images(bytes: Vec<u8>, pixels: usize, size: usize) -> Vec<Self> {
        let count = bytes.len() / pixels;
        let ids = Arc::new((0..count as u64).collect());
        let window = Arc::new(Window { ids, bytes: Arc::new(bytes), order: (0..count as u32).collect() });
        let range = |start| start..count.min(start + size);
        (0..count).step_by(size).map(|start| Batch { window: Arc::clone(&window), range: range(start) }).collect()
    }

    /// Its window, and its part of the window's order.
    pub(super) fn place(&self) -> (&Arc<Window>, Range<usize>) {
        (&self.window, self.range.clone())
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.range.len()
    }

    /// Its images, `size` at a time.
    pub fn micro_batches(&self, size: usize) -> impl IndexedParallelIterator<Item = MicroBatch<'_>> {
        let positions = self.window.order[self.range.clone()].par_chunks(size).with_max_len(1);
        positions.map(|positions| MicroBatch { window: &self.window, positions })
    }
}

impl MicroBatch<'_> {
    /// Inputs and targets, for images of `pixels` numbers.
    pub fn examples(&self, pixels: usize, inputs: &Inputs) -> Examples {
        let Window { ids, bytes, .. } = self.window;
        let mut target = vec![0.0; self.positions.len() * pixels];
        let image = |position: u32| &bytes[position as usize * pixels..][..pixels];
        // Shuffled images are far apart in memory: each is prefetched while those before it are converted.
        const AHEAD: usize = 4;
        for (index, (&position, target)) in self.positions.iter().zip(target.chunks_exact_mut(pixels)).enumerate() {
            if let Some(&later) = self.positions.get(index + AHEAD) {
                prefetch(image(later));
            }
            to_unit(image(position), target);
        }
        inputs.of(self.positions.iter().map(|&position| ids[position as usize]), target, pixels)
    }
}

/// The bytes of a column of images, one after the other.
///
/// # Errors
/// They are stored as something else.
pub fn image_bytes(list: &FixedSizeListArray) -> Result<&[u8]> {
    let bytes = list.values().as_primitive_opt::<UInt8Type>();
    let bytes = bytes.ok_or_else(|| error::data("training images are stored as bytes"))?;
    let (start, end) = (list.value_offset(0) as usize, list.value_offset(list.len()) as usize);
    Ok(&bytes.values()[start..end])
}

/// The examples made of a batch of clean images.
pub fn examples_of(ids: &[i64], clean: Vec<f32>, pixels: usize, inputs: &Inputs) -> Examples {
    inputs.of(ids.iter().map(|&id| id as u64), clean, pixels)
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
