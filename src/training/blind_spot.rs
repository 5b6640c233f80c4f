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
    /// Whether the noise is equally strong everywhere: denoised images are then combined with the noisy ones.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub constant_noise: bool,
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
    /// Whether the noise has the same standard deviation everywhere.
    pub constant_noise: Option<bool>,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use burn::tensor::TensorData;

    use super::*;
    use crate::device::tests::devices;

    const KEYS: [u64; 4] = [0, 77, (1 << 40) + 5, u64::MAX];
    const SHAPES: [[usize; 3]; 5] = [[24, 40, 1], [9, 31, 3], [3, 50, 1], [1, 2, 2], [64, 64, 1]];

    fn hiding(fraction: f64, radius: usize) -> Hiding {
        Hiding::new(BlindSpot { fraction, radius, constant_noise: false }, 1, Split::Train)
    }

    fn shape([height, width, channels]: [usize; 3]) -> ImageShape {
        ImageShape { height, width, channels }
    }

    /// Images of this shape whose numbers all differ.
    fn images(image: ImageShape) -> Vec<f32> {
        (0..KEYS.len() * image.len()).map(|at| at as f32).collect()
    }

    #[test]
    fn each_hidden_pixel_is_hidden_once_behind_another_of_its_neighbourhood() {
        for image in SHAPES.map(shape) {
            for (fraction, radius) in [(0.0001, 1), (0.06, 2), (0.3, 5), (0.5, 32)] {
                let (hiding, before) = (hiding(fraction, radius), images(image));
                let mut after = before.clone();
                let (places, hidden) = hiding.hide(KEYS.into_iter(), 3, image, &mut after);
                let area = image.height * image.width;
                let wanted = ((fraction * area as f64).round() as usize).max(1) * image.channels;
                assert_eq!((hiding.numbers(image), places.len()), (wanted, KEYS.len() * wanted), "{image}");
                for (index, places) in places.chunks_exact(wanted).enumerate() {
                    let start = index * image.len();
                    let distinct: BTreeSet<_> = places.iter().map(|&place| place as usize).collect();
                    assert_eq!(distinct.len(), wanted, "{image}");
                    for (&place, &hidden) in places.iter().zip(&hidden[index * wanted..]) {
                        let at = start + place as usize;
                        assert_eq!(hidden, before[at]);
                        // The value tells where it came from.
                        let pixel = |number: usize| (number - start) / image.channels;
                        let (spot, other) = (pixel(at), pixel(after[at] as usize));
                        let away =
                            |of: fn(usize, usize) -> usize| of(spot, image.width).abs_diff(of(other, image.width));
                        // In a window that lies in the image, off the middle at its borders, up to twice as far.
                        let inside = |at: usize, side: usize| at >= radius && at + radius < side;
                        let most = |at: usize, side: usize| if inside(at, side) { radius } else { 2 * radius };
                        assert!(spot != other, "{image}: {spot} is hidden behind itself");
                        assert!(away(|at, width| at / width) <= most(spot / image.width, image.height), "{image}");
                        assert!(away(|at, width| at % width) <= most(spot % image.width, image.width), "{image}");
                        assert_eq!(after[at] as usize % image.channels, at % image.channels, "{image}");
                    }
                    for at in (0..image.len()).filter(|at| !distinct.contains(at)) {
                        assert_eq!(after[start + at], before[start + at]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_hidden_depends_on_the_key_and_the_epoch_and_on_no_other_image() {
        let image = shape(SHAPES[0]);
        let hide = |seed, split, keys: &[u64], epoch| {
            let spots = BlindSpot { fraction: 0.1, radius: 2, constant_noise: false };
            let mut pixels = images(image)[..keys.len() * image.len()].to_vec();
            let (places, _) = Hiding::new(spots, seed, split).hide(keys.iter().copied(), epoch, image, &mut pixels);
            (places, pixels)
        };
        let (places, pixels) = hide(1, Split::Train, &KEYS, 4);
        let count = places.len() / KEYS.len();
        // Alone, the first image of the batch is made of the numbers of that place.
        let (alone, of_alone) = hide(1, Split::Train, &KEYS[..1], 4);
        assert!(alone == places[..count] && of_alone == pixels[..image.len()]);
        assert_eq!(hide(1, Split::Train, &[KEYS[2], KEYS[0]], 4).0[..count], places[2 * count..3 * count]);
        for other in [hide(2, Split::Train, &KEYS, 4), hide(1, Split::Test, &KEYS, 4), hide(1, Split::Train, &KEYS, 5)]
        {
            assert_ne!(other.0, places);
        }
    }

    #[test]
    fn every_pixel_is_hidden_as_often_and_behind_each_of_its_neighbours() {
        let (image, epochs) = (ImageShape { height: 8, width: 8, channels: 1 }, 4000);
        let hiding = hiding(0.1, 1);
        let (mut times, mut behind) = (vec![0_u32; 64], vec![0_u32; 64]);
        for epoch in 0..epochs {
            for [spot, other] in hiding.drawn(&mut hiding.stream.generator(9, epoch), image) {
                times[spot] += 1;
                behind[other] += u32::from(spot == 27);
            }
        }
        // 6 of 64 pixels, each from a run of 10 or 11: expected 4000 / 10 or 4000 / 11 times, with a deviation of 19.
        assert!(times.iter().all(|&times| (264..500).contains(&times)), "{times:?}");
        let neighbours = [18, 19, 20, 26, 28, 34, 35, 36];
        assert!((0..64).all(|at| (behind[at] > 0) == neighbours.contains(&at)), "{behind:?}");
    }

    #[test]
    fn the_same_pixels_are_hidden_on_every_device() {
        for device in devices() {
            let device = device.inference();
            for image in SHAPES.map(shape) {
                for (fraction, radius) in [(0.06, 2), (0.5, 5)] {
                    let hiding = hiding(fraction, radius);
                    let before: Vec<f32> = images(image).iter().map(|number| number / 64.0).collect();
                    let mut after = before.clone();
                    let (places, hidden) = hiding.hide(KEYS.into_iter(), 7, image, &mut after);
                    let placed = Tensor::from_data(TensorData::new(before, [KEYS.len(), image.len()]), &device);
                    let (found, found_places, found_hidden) =
                        hiding.hide_on_device(placed, &Keys::new(&KEYS, &device), 7, image);
                    let numbers = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("are floats");
                    assert_eq!(
                        found_places.into_data().try_into_vec::<i32>().expect("are integers"),
                        places,
                        "{image}"
                    );
                    // The numbers are multiples of 1/64: their differences and sums are exact.
                    assert!(numbers(found) == after && numbers(found_hidden) == hidden, "{image}");
                }
            }
        }
    }
}
