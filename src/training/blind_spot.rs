//! Blind spots: training on noisy images alone (Krull et al. 2019, Noise2Void).
//!
//! Some pixels of every image are hidden from the model, each behind another pixel of its neighbourhood, and the loss is that of
//! the hidden pixels alone: their noisy values are the targets. Where the noise of a pixel says nothing about that of others, no
//! model can predict it from what it sees, and the best prediction is the image without noise. After training nothing is hidden.
//!
//! Which pixels are hidden is a function of (seed, split, epoch, image) alone. The pixels of an image, row by row, are cut into
//! as many runs as are to be hidden, and one pixel of each is: no pixel is hidden twice, and their number is that of the share.

use burn::tensor::{IndexingUpdateOp, Int, IntDType, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corruption::on_device::{Keys, Numbers, integers};
use crate::image::{ImageShape, Split};
use crate::random::{Generator, Stream};

/// Which pixels are hidden, and behind what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BlindSpot {
    /// Share of the pixels of an image that are hidden at a time, in (0, 1].
    pub fraction: f64,
    /// Most rows and columns between a hidden pixel and the one that it is hidden behind.
    pub radius: usize,
}

/// Which pixels a training on noisy images alone hides.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawBlindSpot {
    /// Share of the pixels of an image, or of a patch, that are hidden at a time.
    #[schemars(range(min = 0.0001, max = 0.5))]
    pub fraction: Option<f64>,
    /// Most rows and columns between a hidden pixel and the one that takes its place.
    #[schemars(range(min = 1, max = 32))]
    pub radius: Option<i64>,
}

/// Hides pixels of the images of a split.
#[derive(Debug, Clone, Copy)]
pub struct Hiding {
    spots: BlindSpot,
    stream: Stream,
}

/// What the random numbers that choose the other pixels are for.
const OTHERS: &str = "others";

/// A stretch of pixels, of which one is hidden.
struct Run {
    start: usize,
    len: usize,
}

impl BlindSpot {
    /// Number of hidden pixels of an image.
    fn count(&self, image: ImageShape) -> usize {
        let area = image.height * image.width;
        ((self.fraction * area as f64).round() as usize).clamp(1, area)
    }

    /// Hidden numbers of an image: those of all channels of its hidden pixels.
    pub fn numbers(&self, image: ImageShape) -> usize {
        self.count(image) * image.channels
    }

    fn runs(&self, image: ImageShape) -> impl Iterator<Item = Run> {
        let (area, count) = (image.height * image.width, self.count(image));
        (0..count).map(move |run| {
            let start = run * area / count;
            Run { start, len: (run + 1) * area / count - start }
        })
    }

    /// Rows and columns of the window around a pixel that the other one is taken from. It lies in the image, off the middle at the
    /// borders, so that the other pixel is never the hidden one.
    fn window(&self, image: ImageShape) -> [usize; 2] {
        [image.height, image.width].map(|side| side.min(2 * self.radius + 1))
    }
}

impl Hiding {
    /// The blind spots of a split.
    pub fn new(spots: BlindSpot, seed: u64, split: Split) -> Self {
        Self { spots, stream: Stream::new(seed, "blind spots", split) }
    }

    /// Hidden numbers of an image.
    pub fn numbers(&self, image: ImageShape) -> usize {
        self.spots.numbers(image)
    }

    /// Hides pixels of images of this shape, one after the other, with these keys. Returns the places in each image of the hidden
    /// numbers, and the numbers.
    pub fn hide(
        &self,
        keys: impl Iterator<Item = u64>,
        epoch: u32,
        image: ImageShape,
        images: &mut [f32],
    ) -> (Vec<i32>, Vec<f32>) {
        let channels = image.channels;
        let (mut places, mut hidden) = (Vec::new(), Vec::new());
        for (key, pixels) in keys.zip(images.chunks_exact_mut(image.len())) {
            let spots = self.drawn(&mut self.stream.generator(key, epoch), image);
            // From the image as it was: the other pixel may be hidden too.
            let others: Vec<f32> =
                spots.iter().flat_map(|[_, other]| pixels[other * channels..][..channels].to_vec()).collect();
            for ([spot, _], others) in spots.iter().zip(others.chunks_exact(channels)) {
                let pixel = &mut pixels[spot * channels..][..channels];
                hidden.extend_from_slice(pixel);
                pixel.copy_from_slice(others);
                places.extend((0..channels).map(|channel| (spot * channels + channel) as i32));
            }
        }
        (places, hidden)
    }

    /// The hidden pixels of an image and the others that take their places.
    fn drawn(&self, generator: &mut Generator, image: ImageShape) -> Vec<[usize; 2]> {
        let [height, width] = self.spots.window(image);
        let count = self.spots.count(image);
        let (mut places, mut others) = (vec![0.0; count], vec![0.0; count]);
        generator.fill_uniform(&mut places);
        generator.apart(OTHERS).fill_uniform(&mut others);
        // A number below 1 times a whole number, rounded to f32, is below it.
        let below = |uniform: f32, bound: usize| (uniform * bound as f32) as usize;
        let spots = self.spots.runs(image).zip(places).zip(others).map(|((run, place), other)| {
            let spot = run.start + below(place, run.len);
            let (row, column) = (spot / image.width, spot % image.width);
            let top = row.saturating_sub(self.spots.radius).min(image.height - height);
            let left = column.saturating_sub(self.spots.radius).min(image.width - width);
            let middle = (row - top) * width + column - left;
            // Any but the middle; the only pixel of an image of one.
            let other = below(other, (height * width - 1).max(1));
            let other = if other >= middle && height * width > 1 { other + 1 } else { other };
            [spot, (top + other / width) * image.width + left + other % width]
        });
        spots.collect()
    }

    /// [`Self::hide`] for images `[n, pixels]` on a device: the images with pixels hidden, the places and the numbers
    /// `[n, hidden]`.
    pub(super) fn hide_on_device(
        &self,
        images: Tensor<2>,
        keys: &Keys,
        epoch: u32,
        image: ImageShape,
    ) -> (Tensor<2>, Tensor<2, Int>, Tensor<2>) {
        let (count, channels) = (self.spots.count(image), image.channels as i32);
        let [n, _] = images.dims();
        let device = images.device();
        let whole = |of: fn(Run) -> usize| {
            integers(self.spots.runs(image).map(|run| of(run) as i32).collect(), [1, count], &device)
        };
        let uniform = |stream: &Stream| Numbers { keys, pixels: count, stream, epoch }.uniform();
        let [height, width] = self.spots.window(image).map(|side| side as i32);
        let radius = self.spots.radius as i32;
        let place = uniform(&self.stream) * whole(|run| run.len).float();
        let spot = floor(place) + whole(|run| run.start);
        let columns = image.width as i32;
        let row = spot.clone() / columns;
        let column = spot.clone() - row.clone() * columns;
        let top = (row.clone() - radius).clamp(0, image.height as i32 - height);
        let left = (column.clone() - radius).clamp(0, columns - width);
        let middle = (row - top.clone()) * width + column - left.clone();
        let other = floor(uniform(&self.stream.apart(OTHERS)) * ((height * width - 1).max(1) as f32));
        let other = if height * width > 1 {
            other.clone() + other.greater_equal(middle).int().cast(IntDType::I32)
        } else {
            other
        };
        let down = other.clone() / width;
        let other = (top + down.clone()) * columns + left + other - down * width;
        // The numbers of all channels of pixels.
        let each = integers((0..channels).collect(), [1, 1, image.channels], &device);
        let numbers = |pixels: Tensor<2, Int>| {
            let numbers = (pixels * channels).unsqueeze_dim::<3>(2).expand([n, count, image.channels])
                + each.clone().expand([n, count, image.channels]);
            numbers.reshape([n, count * image.channels])
        };
        let (places, others) = (numbers(spot), numbers(other));
        let hidden = images.clone().gather(1, places.clone());
        let change = images.clone().gather(1, others) - hidden.clone();
        (images.scatter(1, places.clone(), change, IndexingUpdateOp::Add), places, hidden)
    }
}

/// The whole part of numbers that are not negative.
fn floor(numbers: Tensor<2>) -> Tensor<2, Int> {
    numbers.floor().cast(IntDType::I32)
}
