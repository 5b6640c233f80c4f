//! The batches of a training, and the inputs and targets that are made of them.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use rayon::prelude::*;

use super::blind_spot::{BlindSpot, Hiding};
use super::image_table::ImageTable;
use super::patches::Cutter;
use super::stored;
use super::windows::{PatchWindows, WholeWindows, Window};
use crate::corruption::Corruption;
use crate::corruption::on_device::{self, Keys, Numbers};
use crate::error;
use crate::image::{ImageShape, Pixels, Split, rounded};
use crate::random::Stream;
use crate::training::settings::{InputImages, TargetImages};
use crate::vector::prefetch;

/// The training split.
pub enum TrainingImages {
    /// Whole images, each once in an epoch.
    Whole(WholeWindows),
    /// What is cut out of them.
    Patches(PatchWindows),
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
pub struct Examples<T = Vec<f32>, P = Vec<i32>> {
    /// Corrupted pixels in [0, 1]; none if the input is the target.
    pub input: Option<T>,
    /// Pixels in [0, 1]; of hidden pixels alone if there are any.
    pub target: T,
    /// The places in the image of the hidden numbers.
    pub hidden: Option<P>,
}

/// Examples on a device.
pub type PlacedExamples = Examples<Tensor<2>, Tensor<2, Int>>;

impl<T, P> Examples<T, P> {
    /// Applies `work` to inputs and targets, and `work_on_places` to places.
    pub fn each<U, Q>(&self, work: impl Fn(&T) -> U, work_on_places: impl Fn(&P) -> Q) -> Examples<U, Q> {
        Examples {
            input: self.input.as_ref().map(&work),
            target: work(&self.target),
            hidden: self.hidden.as_ref().map(work_on_places),
        }
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
    /// Whether the stored images are pairs, whose noisy version is the input.
    pub paired: bool,
    /// The images that the model gets as input.
    pub input: InputImages,
    /// The images that it is trained to output.
    pub target: TargetImages,
    /// What is hidden of the images, which are noisy themselves, to train on them alone.
    pub blind_spot: Option<BlindSpot>,
    /// The pixel format of the stored noisy set.
    pub stored: Pixels,
}

/// Makes inputs and targets of clean images.
#[derive(Clone)]
pub struct Inputs {
    /// Size of the images.
    pub image: ImageShape,
    /// Whether the images are pairs: the input is stored beside the target.
    pub paired: bool,
    /// The corruption, if inputs are corrupted.
    pub corruption: Option<Corruption>,
    /// The random numbers of inputs.
    pub stream: Stream,
    /// Those of targets, if they are corrupted too.
    pub target: Option<Stream>,
    /// What is hidden, if the images are noisy ones to train on alone.
    pub hiding: Option<Hiding>,
    /// The epoch whose random numbers are used; 0 for the stored noisy images.
    pub epoch: u32,
    /// Whether corrupted pixels are rounded as they are on disk.
    pub rounded: bool,
}

impl Inputs {
    /// The inputs for `split`: the stored noisy images in epoch 0, new noise in any other.
    pub fn new(settings: &InputSettings, split: Split, epoch: u32) -> Self {
        let InputSettings { image, seed, ref corruption, paired, input, target, blind_spot, stored } = *settings;
        // The images are noisy already if some of their pixels are to be hidden.
        let noisy = input == InputImages::Noisy && blind_spot.is_none();
        Self {
            image,
            paired,
            corruption: corruption.clone().filter(|_| noisy),
            stream: Stream::noise(seed, split),
            target: (noisy && target == TargetImages::Noisy).then(|| Stream::new(seed, "target noise", split)),
            hiding: blind_spot.map(|spots| Hiding::new(spots, seed, split)),
            epoch,
            rounded: epoch == 0 && stored == Pixels::U8,
        }
    }

    /// Numbers of the target of an image.
    pub fn targets(&self) -> usize {
        self.hiding.map_or(self.image.len(), |hiding| hiding.numbers(self.image))
    }

    /// Numbers of an image as it is stored.
    pub fn stored(&self) -> usize {
        if self.paired { 2 * self.image.len() } else { self.image.len() }
    }

    /// The examples made of the stored images with these positions in the source: clean ones, pairs, or noisy ones to train on
    /// alone.
    fn of(&self, ids: impl Iterator<Item = u64> + Clone, stored: Vec<f32>) -> Examples {
        if self.paired {
            return parted(&stored, self.image.channels);
        }
        if let Some(hiding) = &self.hiding {
            let mut input = stored;
            let (places, target) = hiding.hide(ids, self.epoch, self.image, &mut input);
            return Examples { input: Some(input), target, hidden: Some(places) };
        }
        let (clean, pixels, hidden) = (stored, self.image.len(), None);
        let Some(corruption) = &self.corruption else { return Examples { input: None, target: clean, hidden } };
        let corrupted = |stream: &Stream| {
            let mut out = vec![0.0; clean.len()];
            for ((id, clean), out) in ids.clone().zip(clean.chunks_exact(pixels)).zip(out.chunks_exact_mut(pixels)) {
                corruption.kind().apply(clean, self.image, &mut stream.generator(id, self.epoch), out);
            }
            if self.rounded { rounded(&out) } else { out }
        };
        let (input, target) = (Some(corrupted(&self.stream)), self.target.as_ref().map(corrupted));
        Examples { input, target: target.unwrap_or(clean), hidden }
    }

    /// The same for stored images `[n, numbers]` on a device, with their ids there.
    pub(super) fn of_placed(&self, stored: Tensor<2>, keys: &Keys) -> PlacedExamples {
        if self.paired {
            let ([count, _], ImageShape { height, width, channels }) = (stored.dims(), self.image);
            let both = stored.reshape([count, height * width, 2 * channels]);
            let version = |first: usize| {
                let channels = first..first + channels;
                both.clone().slice([0..count, 0..height * width, channels]).reshape([count, self.image.len()])
            };
            return Examples { input: Some(version(channels)), target: version(0), hidden: None };
        }
        if let Some(hiding) = &self.hiding {
            let (input, places, target) = hiding.hide_on_device(stored, keys, self.epoch, self.image);
            return Examples { input: Some(input), target, hidden: Some(places) };
        }
        let (clean, hidden) = (stored, None);
        let Some(corruption) = &self.corruption else { return Examples { input: None, target: clean, hidden } };
        let corrupted = |stream: &Stream| {
            let numbers = Numbers { keys, pixels: self.image.len(), stream, epoch: self.epoch };
            let out = corruption.kind().apply_on_device(clean.clone(), self.image, &numbers);
            if self.rounded { on_device::rounded(out) } else { out }
        };
        let (input, target) = (Some(corrupted(&self.stream)), self.target.as_ref().map(corrupted));
        Examples { input, target: target.unwrap_or(clean), hidden }
    }
}

impl TrainingImages {
    /// Opens the training images, or what is cut out of them, and holds them if they take at most `limit` bytes.
    ///
    /// # Errors
    /// Unreadable or empty tables, images that are not bytes, and those that are too small to cut.
    pub fn open(table: ImageTable, cutter: Option<Cutter>, seed: u64, limit: u64) -> Result<Self> {
        if table.rows() == 0 {
            return Err(error::data(format!("{} holds no images to train on", table.path().display())));
        }
        if table.rows() > u64::from(u32::MAX) {
            return Err(error::data(format!("{} has more than 2^32 - 1 rows", table.path().display())));
        }
        Ok(match cutter {
            None => Self::Whole(WholeWindows::open(table, seed, limit)?),
            Some(cutter) => Self::Patches(PatchWindows::open(table, cutter, seed, limit)?),
        })
    }

    /// Number of images of an epoch.
    pub fn count(&self) -> u64 {
        match self {
            Self::Whole(windows) => windows.count(),
            Self::Patches(windows) => windows.count(),
        }
    }

    /// The batches of an epoch, of `size` images, except the last of each window, which may have fewer. Patches are those of epoch
    /// `drawn`.
    pub fn batches(&self, epoch: u32, drawn: u32, size: usize) -> impl Iterator<Item = Result<Batch>> {
        let windows: Box<dyn Iterator<Item = Result<Window>> + '_> = match self {
            Self::Whole(windows) => Box::new(windows.of_epoch(epoch)),
            Self::Patches(windows) => Box::new(windows.of_epoch(epoch, drawn)),
        };
        windows.flat_map(move |window| {
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
    /// Inputs and targets.
    pub fn examples(&self, inputs: &Inputs) -> Examples {
        let Window { ids, bytes, .. } = self.window;
        let pixels = inputs.stored();
        let mut stored = vec![0.0; self.positions.len() * pixels];
        let size = bytes.len() / ids.len();
        let image = |position: u32| &bytes[position as usize * size..][..size];
        // Shuffled images are far apart in memory: each is prefetched while those before it are converted.
        const AHEAD: usize = 4;
        for (index, (&position, stored)) in self.positions.iter().zip(stored.chunks_exact_mut(pixels)).enumerate() {
            if let Some(&later) = self.positions.get(index + AHEAD) {
                prefetch(image(later));
            }
            stored::numbers(image(position), stored);
        }
        inputs.of(self.positions.iter().map(|&position| ids[position as usize]), stored)
    }
}

/// The examples made of a batch of stored images.
pub fn examples_of(ids: &[u64], stored: Vec<f32>, inputs: &Inputs) -> Examples {
    inputs.of(ids.iter().copied(), stored)
}

/// The examples that stored pairs are: of each pixel, so many channels are of the clean image, and the others of the noisy one.
fn parted(stored: &[f32], channels: usize) -> Examples {
    let pixels = stored.chunks_exact(2 * channels).map(|both| both.split_at(channels));
    let (mut input, mut target) = (Vec::with_capacity(stored.len() / 2), Vec::with_capacity(stored.len() / 2));
    for (clean, noisy) in pixels {
        target.extend_from_slice(clean);
        input.extend_from_slice(noisy);
    }
    Examples { input: Some(input), target, hidden: None }
}
