//! The generator of `random.rs` for images that are on a device, as a composition of Burn's operations: Philox on 32-bit
//! integers, which every backend has, with products assembled from halves of 16 bits.

use burn::tensor::{DType, Int, Tensor, TensorData};

/// Numbers that one block of the generator gives, as 4 words of 16 counters each.
pub const BLOCK: usize = 64;
/// Counters of a block.
pub const LANES: usize = BLOCK / 4;

/// The distribution of random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Numbers in [0, 1).
    Uniform,
    /// Numbers of the standard normal distribution.
    Normal,
}

/// See [`super::random_numbers`].
pub fn random_numbers(
    ids: Tensor<2, Int>,
    pixels: usize,
    key: [u32; 2],
    epoch: u32,
    distribution: Distribution,
) -> Tensor<2> {
    let [a, b, c, d] = words(ids, pixels.div_ceil(BLOCK) * LANES, key, epoch);
    let numbers = match distribution {
        Distribution::Uniform => [a, b, c, d].map(unit),
        Distribution::Normal => {
            let ([first, second], [third, fourth]) = (box_muller(a, b), box_muller(c, d));
            [first, second, third, fourth]
        }
    };
    joined(numbers, pixels)
}

/// Interleaves the four words of each block, `[n, blocks * LANES]` each, into the order of the generator:
/// `[n, pixels]`.
fn joined(words: [Tensor<2>; 4], pixels: usize) -> Tensor<2> {
    let [count, counters] = words[0].dims();
    let blocks = counters / LANES;
    let words = words.map(|word| word.reshape([count, blocks, 1, LANES]));
    let numbers = Tensor::cat(words.to_vec(), 2).reshape([count, blocks * BLOCK]);
    numbers.slice([0..count, 0..pixels])
}

/// The random words of images: for each of the four words of a counter, `[n, counters]`.
fn words(ids: Tensor<2, Int>, counters: usize, [mut k0, mut k1]: [u32; 2], epoch: u32) -> [Tensor<2, Int>; 4] {
    let [count, _] = ids.dims();
    let shape = [count, counters];
    // Uploaded, since Tensor::arange does not count in 32 bits on every backend.
    let counter = TensorData::new((0..counters as i32).collect(), [1, counters]);
    let counter = Tensor::<2, Int>::from_data(counter, (&ids.device(), DType::I32));
    let mut a = counter.clone().expand(shape);
    let mut b = counter.bitwise_and_scalar(0).bitwise_xor_scalar(epoch as i32).expand(shape);
    let mut c = ids.clone().slice([0..count, 0..1]).expand(shape);
    let mut d = ids.slice([0..count, 1..2]).expand(shape);
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

/// The upper and the lower word of the product of words and a constant. Integers are signed and wrap around, so that a right
/// shift copies the sign bit, which is masked away.
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
    // Clamped, since a device's logarithm of nearly 1 may exceed 0.
    let logarithm = ((bits(radius) + 1.0) * (1.0 / (1 << 24) as f32)).log().clamp_max(0.0);
    let radius = (logarithm * -2.0).sqrt();
    // The generator's quadrants are rotated by an eighth of a turn.
    let angle = unit(angle) * std::f32::consts::TAU - std::f32::consts::FRAC_PI_4;
    [radius.clone() * angle.clone().cos(), radius * angle.sin()]
}
