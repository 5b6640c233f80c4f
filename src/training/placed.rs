//! Training images in the memory of a device other than flex.
//!
//! They are uploaded once, bytes four in a 32-bit word, which every backend has, and floats as they are. Batches are gathered, scaled and corrupted
//! on the device, so that a step uploads no pixels. Since this takes hundreds of commands, it is done for several steps at once.

use std::ops::Range;
use std::sync::{Arc, Weak};

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batches::{Inputs, PlacedExamples};
use super::stored;
use super::windows::Window;
use crate::corruption::on_device::{Keys, arrived, integers};
use crate::device::attempt;
use crate::error;

/// The numbers of images.
#[derive(Clone)]
enum Stored {
    /// `[n, words]`, the first number in the lowest byte.
    Bytes(Tensor<2, Int>),
    /// `[n, pixels]`
    Floats(Tensor<2>),
}

/// Images on a device.
#[derive(Clone)]
pub struct PlacedImages {
    numbers: Stored,
    keys: Keys,
    pixels: usize,
}

impl PlacedImages {
    /// Places images of `pixels` [stored](super::stored) numbers each, with these positions in the source.
    ///
    /// # Errors
    /// The device's memory does not hold them.
    pub fn new(ids: &[u64], bytes: &[u8], pixels: usize, device: &Device) -> Result<Self> {
        let placed = attempt(|| {
            let numbers = if bytes.len() == ids.len() * pixels {
                let words = integers(words(bytes, pixels), [ids.len(), pixels.div_ceil(4)], device);
                // Waits, so that a failure shows here and not in a later step.
                arrived(&words)?;
                Stored::Bytes(words)
            } else {
                let mut floats = vec![0.0; ids.len() * pixels];
                stored::numbers(bytes, &mut floats);
                Stored::Floats(Tensor::from_data(TensorData::new(floats, [ids.len(), pixels]), device))
            };
            let placed = Self { numbers, keys: Keys::new(ids, device), pixels };
            placed.keys.arrived()?;
            Ok(placed)
        });
        placed.map_err(|cause| {
            let (count, mib) = (ids.len(), bytes.len() as f64 / f64::from(1 << 20));
            let advice = "try a smaller training.memory-mib";
            error::settings(format!("the device cannot hold {count} images ({mib:.1} MiB): {cause}; {advice}"))
        })
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        match &self.numbers {
            Stored::Bytes(words) => words.dims()[0],
            Stored::Floats(floats) => floats.dims()[0],
        }
    }

    /// The examples made of the images with these indices.
    pub fn examples(&self, indices: Tensor<1, Int>, inputs: &Inputs) -> PlacedExamples {
        let images = match &self.numbers {
            Stored::Bytes(words) => {
                let words = words.clone().select(0, indices.clone());
                let [count, width] = words.dims();
                let byte = |shift: i32| words.clone().bitwise_right_shift_scalar(shift).bitwise_and_scalar(0xFF);
                let bytes = [0, 8, 16, 24].map(|shift| byte(shift).unsqueeze_dim::<3>(2));
                let bytes = Tensor::cat(bytes.to_vec(), 2).reshape([count, 4 * width]);
                bytes.slice([0..count, 0..self.pixels]).float() / 255.0
            }
            Stored::Floats(floats) => floats.clone().select(0, indices.clone()),
        };
        inputs.of_placed(images, &self.keys.select(indices))
    }
}

/// The bytes of images of `pixels` bytes each, four in a word; each image begins with a word of its own.
fn words(bytes: &[u8], pixels: usize) -> Vec<i32> {
    let of_image = |image: &[u8]| {
        let words = image.chunks(4).map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            i32::from_le_bytes(word)
        });
        words.collect::<Vec<_>>()
    };
    bytes.chunks_exact(pixels).flat_map(of_image).collect()
}

/// Numbers that are prepared at once for the next steps; each takes a few 4-byte words of temporary memory.
const NUMBERS_AHEAD: usize = 1 << 22;

/// A window of training images on a device. The host's copy need not stay in memory.
pub(super) struct PlacedWindow {
    window: Weak<Window>,
    bytes: Weak<Vec<u8>>,
    images: PlacedImages,
    order: Tensor<1, Int>,
    /// Examples that were prepared ahead, and their part of the order.
    made: Option<(Range<usize>, PlacedExamples)>,
}

impl PlacedWindow {
    /// Places a window. If `last` has the same bytes, as the windows of all epochs may, its images are reused.
    ///
    /// # Errors
    /// The device's memory does not hold it.
    pub fn new(window: &Arc<Window>, pixels: usize, device: &Device, last: Option<Self>) -> Result<Self> {
        let images = match last {
            Some(last) if last.bytes.ptr_eq(&Arc::downgrade(&window.bytes)) => last.images,
            // Freed before the next is placed, so that both need not fit at once.
            last => {
                drop(last);
                PlacedImages::new(&window.ids, &window.bytes, pixels, device)?
            }
        };
        let order = window.order.iter().map(|&index| index as i32).collect();
        let order = integers(order, [window.order.len()], device);
        Ok(Self { window: Arc::downgrade(window), bytes: Arc::downgrade(&window.bytes), images, order, made: None })
    }

    /// Whether it is this window.
    pub fn is(&self, window: &Arc<Window>) -> bool {
        self.window.ptr_eq(&Arc::downgrade(window))
    }

    /// The examples of a part of the window's order; `inputs` must be the same in every call.
    pub fn examples(&mut self, range: Range<usize>, inputs: &Inputs) -> PlacedExamples {
        let made = self.made.take().filter(|(made, _)| made.start <= range.start && range.end <= made.end);
        let (made, examples) = made.unwrap_or_else(|| {
            let ahead = range.start + (NUMBERS_AHEAD / self.images.pixels).max(range.len());
            let made = range.start..ahead.min(self.order.dims()[0]);
            let examples = self.images.examples(self.order.clone().slice([made.clone()]), inputs);
            (made, examples)
        });
        let rows = range.start - made.start..range.end - made.start;
        let some =
            examples.each(|tensor| tensor.clone().slice([rows.clone()]), |places| places.clone().slice([rows.clone()]));
        self.made = Some((made, examples));
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{Corruption, Masking};
    use crate::device::tests::devices;
    use crate::image::Split;
    use crate::image::{ImageShape, to_unit};
    use crate::random::Stream;
    use crate::training::batches::examples_of;

    #[test]
    fn placed_images_come_back_scaled_and_in_the_order_that_is_asked_for() {
        let inputs = Inputs {
            image: ImageShape { height: 1, width: 1, channels: 1 },
            paired: false,
            corruption: None,
            stream: Stream::new(1, "noise", Split::Train),
            target: None,
            hiding: None,
            epoch: 1,
            rounded: false,
        };
        for device in devices() {
            // Sizes that are and are not multiples of a word.
            for size in [1, 4, 7, 300] {
                let bytes: Vec<u8> = (0..3 * size).map(|index| (index * 37 % 256) as u8).collect();
                let images = PlacedImages::new(&[5, 6, 7], &bytes, size, &device.inference()).expect("fit");
                let indices = integers(vec![2, 0], [2], &device.inference());
                let found: Vec<f32> =
                    images.examples(indices, &inputs).target.into_data().try_into_vec().expect("floats");
                let mut expected = vec![0.0; 2 * size];
                to_unit(&[&bytes[2 * size..], &bytes[..size]].concat(), &mut expected);
                let most = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(most < 1e-7 && found.len() == expected.len(), "{device}, {size} pixels: off by {most}");
            }
        }
    }

    #[test]
    fn pairs_are_taken_apart_on_devices_as_on_the_host() {
        let inputs = Inputs {
            image: ImageShape { height: 2, width: 1, channels: 3 },
            paired: true,
            corruption: None,
            stream: Stream::new(1, "noise", Split::Train),
            target: None,
            hiding: None,
            epoch: 1,
            rounded: false,
        };
        // Three channels of a clean pixel, then three of a noisy one.
        let bytes: Vec<u8> = (0..24).collect();
        let mut stored = vec![0.0; 24];
        to_unit(&bytes, &mut stored);
        let expected = examples_of(&[0, 1], stored, &inputs);
        let pixel = |first: u8| [first, first + 1, first + 2];
        let pixels = |firsts: [u8; 4]| {
            let mut numbers = vec![0.0; 12];
            to_unit(&firsts.map(pixel).concat(), &mut numbers);
            numbers
        };
        assert_eq!(expected.target, pixels([0, 6, 12, 18]));
        assert_eq!(expected.input.as_ref(), Some(&pixels([3, 9, 15, 21])));
        for device in devices() {
            let images = PlacedImages::new(&[0, 1], &bytes, inputs.stored(), &device.inference()).expect("fit");
            let indices = integers(vec![0, 1], [2], &device.inference());
            let found = images.examples(indices, &inputs);
            let numbers = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("floats");
            let pairs = [(found.target, &expected.target), (found.input.expect("is there"), &pixels([3, 9, 15, 21]))];
            for (found, expected) in pairs {
                let found = numbers(found);
                let most = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(most < 1e-7 && found.len() == 12, "{device}: off by {most}");
            }
        }
    }

    #[test]
    fn what_is_made_ahead_is_what_every_step_asks_for() {
        let inputs = Inputs {
            image: ImageShape { height: 1, width: NUMBERS_AHEAD / 8, channels: 1 },
            paired: false,
            corruption: Some(Corruption::Masking(Masking { fraction: 0.5 })),
            stream: Stream::new(1, "noise", Split::Train),
            target: None,
            hiding: None,
            epoch: 1,
            rounded: false,
        };
        // Eight images are prepared at once.
        let pixels = NUMBERS_AHEAD / 8;
        let order: Vec<u32> = vec![3, 1, 4, 9, 5, 2, 6, 0, 8, 7];
        let bytes = (0..10 * pixels).map(|index| (index * 37 % 256) as u8).collect();
        let window =
            Arc::new(Window { ids: Arc::new((0..10).collect()), bytes: Arc::new(bytes), order: order.clone() });
        let numbers = |tensor: Tensor<2>| tensor.into_data().try_into_vec::<f32>().expect("floats");
        for device in devices() {
            let mut placed = PlacedWindow::new(&window, pixels, &device.inference(), None).expect("fits");
            // Forwards, across the eighth, and back.
            for range in [0..3, 3..6, 6..10, 1..2] {
                let found = placed.examples(range.clone(), &inputs);
                let indices = order[range.clone()].iter().map(|&index| index as i32).collect();
                let indices = integers(indices, [range.len()], &device.inference());
                let expected = placed.images.examples(indices, &inputs);
                let [found, expected] = [found, expected]
                    .map(|examples| [numbers(examples.input.expect("is masked")), numbers(examples.target)]);
                assert!(found == expected, "{device}: {range:?}");
            }
        }
    }
}
