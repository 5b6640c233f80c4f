//! The generator of `random.rs` on tensors of CubeCL.

use std::f32::consts::{FRAC_PI_4, TAU};

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype as empty;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::random::{BLOCK, Distribution, LANES};
use super::{address_type, unit_cubes};

/// The distance of two numbers in [0, 1).
const STEP: f32 = 1.0 / (1 << 24) as f32;

/// The upper 24 bits of a word as a whole number.
#[cube]
fn bits(word: u32) -> f32 {
    f32::cast_from(word >> 8)
}

/// A number in [0, 1).
#[cube]
fn unit(word: u32) -> f32 {
    bits(word) * STEP
}

/// Each unit computes the cipher of one counter, which gives four numbers.
#[cube(launch_unchecked, address_type = "dynamic")]
fn random_kernel(
    ids: &[i32],
    numbers: &mut [f32],
    count: usize,
    pixels: usize,
    first_key: u32,
    second_key: u32,
    epoch: u32,
    #[comptime] distribution: Distribution,
) {
    let counters = pixels.div_ceil(BLOCK) * LANES;
    if ABSOLUTE_POS >= count * counters {
        terminate!();
    }
    let (counter, image) = (ABSOLUTE_POS % counters, ABSOLUTE_POS / counters);
    let mut a = u32::cast_from(counter);
    let mut b = epoch;
    let mut c = u32::cast_from(ids[2 * image]);
    let mut d = u32::cast_from(ids[2 * image + 1]);
    let mut k0 = first_key;
    let mut k1 = second_key;
    #[unroll]
    for _ in 0..10 {
        let (first_high, first_low) = (a.mul_hi(0xD251_1F53u32), a * 0xD251_1F53u32);
        let (second_high, second_low) = (c.mul_hi(0xCD9E_8D57u32), c * 0xCD9E_8D57u32);
        a = second_high ^ b ^ k0;
        b = second_low;
        c = first_high ^ d ^ k1;
        d = first_low;
        k0 += 0x9E37_79B9u32;
        k1 += 0xBB67_AE85u32;
    }
    let mut made = Array::<f32>::new(4usize);
    match comptime!(distribution) {
        Distribution::Uniform => {
            made[0] = unit(a);
            made[1] = unit(b);
            made[2] = unit(c);
            made[3] = unit(d);
        }
        Distribution::Normal => {
            let (first, second) = box_muller(a, b);
            let (third, fourth) = box_muller(c, d);
            made[0] = first;
            made[1] = second;
            made[2] = third;
            made[3] = fourth;
        }
    }
    #[unroll]
    for word in 0..4usize {
        let pixel = (counter / LANES) * BLOCK + word * LANES + counter % LANES;
        if pixel < pixels {
            numbers[image * pixels + pixel] = made[word];
        }
    }
}

/// Two normal numbers of two words.
#[cube]
fn box_muller(radius: u32, angle: u32) -> (f32, f32) {
    let logarithm = ((bits(radius) + 1.0) * STEP).ln();
    // Clamped, since a device's logarithm of nearly 1 may exceed 0.
    let logarithm = select(logarithm > 0.0, f32::new(0.0), logarithm);
    let radius = (logarithm * f32::new(-2.0)).sqrt();
    // The generator's quadrants are rotated by an eighth of a turn.
    let angle = unit(angle) * TAU - FRAC_PI_4;
    (radius * angle.cos(), radius * angle.sin())
}

/// See [`super::super::random_numbers`]; ids are `[n, 2]`.
pub fn random_numbers(
    ids: CubeTensor,
    pixels: usize,
    key: [u32; 2],
    epoch: u32,
    distribution: Distribution,
) -> CubeTensor {
    let [count, 2] = ids.meta.shape().dims() else { panic!("positions have two words") };
    assert_eq!(ids.dtype, DType::I32, "words have 32 bits");
    let ids = into_contiguous(ids);
    let numbers = empty(ids.client.clone(), ids.device.clone(), Shape::new([count, pixels]), DType::F32);
    let units = count * pixels.div_ceil(BLOCK) * LANES;
    if units == 0 {
        return numbers;
    }
    let client = ids.client.clone();
    let (cubes, dim) = unit_cubes(&client, units);
    // SAFETY: units past the last image return, and pixels past the last one are not written.
    unsafe {
        random_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&numbers]),
            ids.into_buffer_arg(),
            numbers.clone().into_buffer_arg(),
            count,
            pixels,
            key[0],
            key[1],
            epoch,
            distribution,
        );
    }
    numbers
}
