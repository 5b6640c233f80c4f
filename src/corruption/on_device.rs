//! Corruptions as operations on a device, for batches of images that are there already.
//!
//! The random words are those of `random.rs`, to the bit: Philox on 32-bit integers, which every backend has, its products put
//! together from halves of 16 bits. An image has therefore the same noise on every device, up to the rounding of the logarithm
//! and the cosine; masks are the same.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::Corruption;
use super::random::Stream;

/// Numbers that one block of the generator gives, as 4 words of 16 counters each.
const BLOCK: usize = 64;
const LANES: usize = BLOCK / 4;

/// What the random numbers of the images of a batch are made of, on the device.
#[derive(Clone)]
pub struct Keys {
    /// Positions of the images in the source, as lower and upper words, `[n, 2]`.
    ids: Tensor<2, Int>,
    /// The counters of the generator, enough for the numbers of an image, `[1, counters]`.
    counters: Tensor<2, Int>,
}

impl Keys {
    /// The keys of images of `pixels` numbers with these positions in the source.
    pub fn new(ids: &[u64], pixels: usize, device: &Device) -> Self {
        let counters = pixels.div_ceil(BLOCK) * LANES;
        let counters = integers((0..counters as i32).collect(), [1, counters], device);
        let words = ids.iter().flat_map(|id| [*id as u32 as i32, (id >> 32) as u32 as i32]).collect::<Vec<_>>();
        Self { ids: integers(words, [ids.len(), 2], device), counters }
    }

    /// Those of some of the images.
    pub fn select(&self, indices: Tensor<1, Int>) -> Self {
        Self { ids: self.ids.clone().select(0, indices), counters: self.counters.clone() }
    }
}

/// 32-bit integers, whatever the device's default is.
pub fn integers<const D: usize>(values: Vec<i32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I32))
}

impl Corruption {
    /// Corrupts images `[n, pixels]` in [0, 1] as [`Self::apply`] does with the generators of these keys and this epoch.
    pub fn apply_on_device(&self, images: Tensor<2>, keys: &Keys, stream: &Stream, epoch: u32) -> Tensor<2> {
        let [count, pixels] = images.dims();
        let words = || words(keys, stream, epoch);
        let uniform = |words: [Tensor<2, Int>; 4]| joined(words.map(unit), pixels);
        match *self {
            Corruption::Gaussian { std } => {
                let [a, b, c, d] = words();
                let [first, second] = box_muller(a, b);
                let [third, fourth] = box_muller(c, d);
                let normal = joined([first, second, third, fourth], pixels);
                (images + normal * std as f32).clamp(0.0, 1.0)
            }
            Corruption::Grayscale {} => {
                let colours = images.reshape([count, pixels / 3, 3]);
                let colour = |index: usize| colours.clone().slice([0..count, 0..pixels / 3, index..index + 1]);
                let grey = colour(0) * 0.299 + colour(1) * 0.587 + colour(2) * 0.114;
                grey.repeat_dim(2, 3).reshape([count, pixels])
            }
            Corruption::Masking { fraction } => {
                let hit = uniform(words()).lower_elem(fraction as f32);
                images.mask_fill(hit, 0.0)
            }
            Corruption::SaltAndPepper { fraction } => {
                let number = uniform(words());
                let salted = images.mask_fill(number.clone().lower_elem(fraction as f32), 1.0);
                salted.mask_fill(number.lower_elem(fraction as f32 / 2.0), 0.0)
            }
        }
    }
}

/// The pixels as they come back from being stored as bytes.
pub fn rounded(images: Tensor<2>) -> Tensor<2> {
    (images * 255.0 + 0.5).floor() / 255.0
}

/// Numbers of blocks, `[n, blocks * LANES]` for each of the four words, in the order in which the generator gives them:
/// `[n, pixels]`.
fn joined(words: [Tensor<2>; 4], pixels: usize) -> Tensor<2> {
    let [count, counters] = words[0].dims();
    let blocks = counters / LANES;
    let words = words.map(|word| word.reshape([count, blocks, 1, LANES]));
    let numbers = Tensor::cat(words.to_vec(), 2).reshape([count, blocks * BLOCK]);
    numbers.slice([0..count, 0..pixels])
}

/// The words of the generators of images, `[n, counters]` for each of the four of a block. Everything is made of what is on the
/// device already: to bring it a number is to wait for it, on some.
fn words(keys: &Keys, stream: &Stream, epoch: u32) -> [Tensor<2, Int>; 4] {
    let ([count, _], [_, counters]) = (keys.ids.dims(), keys.counters.dims());
    let shape = [count, counters];
    let mut a = keys.counters.clone().expand(shape);
    let mut b = keys.counters.clone().bitwise_and_scalar(0).bitwise_xor_scalar(epoch as i32).expand(shape);
    let mut c = keys.ids.clone().slice([0..count, 0..1]).expand(shape);
    let mut d = keys.ids.clone().slice([0..count, 1..2]).expand(shape);
    let [mut k0, mut k1] = stream.key();
    for _ in 0..10 {
        let [first_high, first_low] = product(a, 0xD251_1F53);
        let [second_high, second_low] = product(c, 0xCD9E_8D57);
        a = second_high.bitwise_xor(b).bitwise_xor_scalar(k0 as i32);
        b = second_low;
        c = first_high.bitwise_xor(d).bitwise_xor_scalar(k1 as i32);
        d = first_low;
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// The upper and the lower word of the product of words and a constant. Integers are signed and wrap around, so that a shift to
/// the right brings copies of the sign, which are masked away.
fn product(x: Tensor<2, Int>, by: u32) -> [Tensor<2, Int>; 2] {
    let (by_high, by_low) = ((by >> 16) as i32, (by & 0xFFFF) as i32);
    let (high, low) = (upper(x.clone()), lower(x.clone()));
    let middle = high.clone() * by_low + upper(low.clone() * by_low);
    let other = low * by_high + lower(middle.clone());
    [high * by_high + upper(middle) + upper(other), x * (by as i32)]
}

/// The upper 16 bits.
fn upper(x: Tensor<2, Int>) -> Tensor<2, Int> {
    x.bitwise_right_shift_scalar(16).bitwise_and_scalar(0xFFFF)
}

/// The lower 16 bits.
fn lower(x: Tensor<2, Int>) -> Tensor<2, Int> {
    x.bitwise_and_scalar(0xFFFF)
}

/// The upper 24 bits of words as whole numbers.
fn bits(words: Tensor<2, Int>) -> Tensor<2> {
    words.bitwise_right_shift_scalar(8).bitwise_and_scalar(0x00FF_FFFF).float()
}

/// The upper 24 bits of words as numbers in [0, 1).
fn unit(words: Tensor<2, Int>) -> Tensor<2> {
    bits(words) * (1.0 / (1 << 24) as f32)
}

/// Two normal numbers from each pair of words.
fn box_muller(radius: Tensor<2, Int>, angle: Tensor<2, Int>) -> [Tensor<2>; 2] {
    // Not above 0, also where a device's logarithm of nearly 1 is.
    let logarithm = ((bits(radius) + 1.0) * (1.0 / (1 << 24) as f32)).log().clamp_max(0.0);
    let radius = (logarithm * -2.0).sqrt();
    // The generator's quadrants begin an eighth of a turn before the axes.
    let angle = unit(angle) * std::f32::consts::TAU - std::f32::consts::FRAC_PI_4;
    [radius.clone() * angle.clone().cos(), radius * angle.sin()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::devices;
    use crate::table::Split;

    const IDS: [u64; 5] = [0, 1, 77, (1 << 32) + 5, u64::MAX];

    /// Images of `pixels` numbers, corrupted on the host and on a device.
    fn both(corruption: Corruption, pixels: usize, device: &Device) -> [Vec<f32>; 2] {
        let stream = Stream::new(3, "noise", Split::Train);
        let clean: Vec<f32> = (0..IDS.len() * pixels).map(|index| (index % 256) as f32 / 255.0).collect();
        let mut host = vec![0.0; clean.len()];
        for ((id, clean), out) in IDS.iter().zip(clean.chunks(pixels)).zip(host.chunks_mut(pixels)) {
            corruption.apply(clean, &mut stream.generator(*id, 9), out);
        }
        let images = Tensor::from_data(TensorData::new(clean, [IDS.len(), pixels]), device);
        let corrupted = corruption.apply_on_device(images, &Keys::new(&IDS, pixels, device), &stream, 9);
        [host, corrupted.into_data().try_into_vec().expect("are floats")]
    }

    #[test]
    fn an_image_has_the_same_noise_on_every_device() {
        for device in devices() {
            // Less than a block, whole blocks, and some more.
            for pixels in [3, 63, 64, 192, 783, 2352] {
                for corruption in [Corruption::Masking { fraction: 0.3 }, Corruption::SaltAndPepper { fraction: 0.4 }] {
                    let [host, found] = both(corruption, pixels, &device.inference());
                    assert_eq!(host, found, "{device}: {corruption:?}, {pixels} pixels");
                }
                let mut others = vec![Corruption::Gaussian { std: 0.5 }];
                others.extend((pixels % 3 == 0).then_some(Corruption::Grayscale {}));
                for corruption in others {
                    let [host, found] = both(corruption, pixels, &device.inference());
                    let most = host.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most < 1e-5, "{device}: {corruption:?}, {pixels} pixels: off by {most}");
                }
            }
        }
    }

    #[test]
    fn rounding_on_a_device_is_that_of_the_files() {
        for device in devices() {
            let pixels: Vec<f32> = (0..=5100).map(|step| step as f32 / 5100.0).collect();
            let images = Tensor::from_data(TensorData::new(pixels.clone(), [1, pixels.len()]), &device.inference());
            let found: Vec<f32> = rounded(images).into_data().try_into_vec().expect("are floats");
            let expected = crate::table::pixels::rounded(&pixels);
            let most = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1e-6, "{device}: off by {most}");
        }
    }
}
