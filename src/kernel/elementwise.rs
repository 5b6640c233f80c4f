//! Losses, the sigmoid and exponentials. A loss and its gradient are computed in one pass.
//!
//! Written as loops over small arrays of plain arithmetic, which the compiler turns into vector instructions of the
//! processor's width. Sums are taken lane by lane in f32, and added up in f64.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::vector::{self, Instructions, Kernel};

/// Numbers that a loop handles at once.
const WIDTH: usize = 16;

/// A loss, summed over all numbers and scaled, and its gradient with respect to the logits.
pub struct LossAndGradient {
    /// The scaled sum.
    pub loss: f32,
    /// One for each logit.
    pub gradient: Vec<f32>,
}

/// One summand of a loss and its derivative with respect to the logit. A trait, since a closure would not be inlined into
/// code for another instruction set.
trait Term {
    fn at<I: Instructions>(z: f32, x: f32) -> (f32, f32);
}

struct CrossEntropy;

impl Term for CrossEntropy {
    #[inline(always)]
    fn at<I: Instructions>(z: f32, x: f32) -> (f32, f32) {
        let t = exp_negative::<I>(z.abs());
        // The sigmoid of |z|.
        let inverse = inverse::<I>(1.0 + t);
        let sigmoid = if z < 0.0 { t * inverse } else { inverse };
        let positive = if z < 0.0 { 0.0 } else { z };
        (I::fma(-z, x, positive) + ln_1p::<I>(t), sigmoid - x)
    }
}

struct SquaredError;

impl Term for SquaredError {
    #[inline(always)]
    fn at<I: Instructions>(z: f32, x: f32) -> (f32, f32) {
        let s = sigmoid_of::<I>(z);
        let difference = s - x;
        (difference * difference, 2.0 * difference * s * (1.0 - s))
    }
}

struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    fn at<I: Instructions>(z: f32, x: f32) -> (f32, f32) {
        let difference = z - x;
        (difference * difference, 2.0 * difference)
    }
}

/// max(z, 0) - z·x + ln(1 + exp(-|z|)) for logits z and targets x; its gradient is sigmoid(z) - x.
pub fn cross_entropy(logits: &[f32], targets: &[f32], scale: f32) -> LossAndGradient {
    each::<CrossEntropy>(logits, targets, scale)
}

/// (sigmoid(z) - x)², and its gradient 2 (s - x) s (1 - s).
pub fn squared_error(logits: &[f32], targets: &[f32], scale: f32) -> LossAndGradient {
    each::<SquaredError>(logits, targets, scale)
}

/// (z - x)², and its gradient 2 (z - x).
pub fn squared_difference(outputs: &[f32], targets: &[f32], scale: f32) -> LossAndGradient {
    each::<SquaredDifference>(outputs, targets, scale)
}

/// 1 / (1 + exp(-z)) of every number.
pub fn sigmoid(logits: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; logits.len()];
    vector::run(&mut Sigmoid { logits, output: &mut output });
    output
}

struct Sigmoid<'a> {
    logits: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Sigmoid<'_> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        for (output, &z) in self.output.iter_mut().zip(self.logits) {
            *output = sigmoid_of::<I>(z);
        }
    }
}

#[inline(always)]
fn sigmoid_of<I: Instructions>(z: f32) -> f32 {
    let t = exp_negative::<I>(z.abs());
    let inverse = inverse::<I>(1.0 + t);
    if z < 0.0 { t * inverse } else { inverse }
}

/// exp(-a) of every number, all of which are 0 or more, in place.
pub fn exp_of_negatives(numbers: &mut [f32]) {
    vector::run(&mut ExpOfNegatives(numbers));
}

struct ExpOfNegatives<'a>(&'a mut [f32]);

impl Kernel for ExpOfNegatives<'_> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        for number in &mut *self.0 {
            *number = exp_negative::<I>(*number);
        }
    }
}

fn each<T: Term>(logits: &[f32], targets: &[f32], scale: f32) -> LossAndGradient {
    assert_eq!(logits.len(), targets.len(), "logits and targets differ in size");
    let mut gradient = Vec::with_capacity(logits.len());
    let room = &mut gradient.spare_capacity_mut()[..logits.len()];
    let mut sum = Sum::<T> { logits, targets, scale, gradient: room, loss: 0.0, term: PhantomData };
    vector::run(&mut sum);
    let loss = (f64::from(scale) * sum.loss) as f32;
    // SAFETY: the kernel has written one number for each logit.
    unsafe { gradient.set_len(logits.len()) };
    LossAndGradient { loss, gradient }
}

struct Sum<'a, T> {
    logits: &'a [f32],
    targets: &'a [f32],
    scale: f32,
    gradient: &'a mut [MaybeUninit<f32>],
    loss: f64,
    term: PhantomData<T>,
}

impl<T: Term> Kernel for Sum<'_, T> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let scale = self.scale;
        let (z_wholes, z_rest) = self.logits.as_chunks::<WIDTH>();
        let (x_wholes, x_rest) = self.targets.as_chunks::<WIDTH>();
        let (g_wholes, g_rest) = self.gradient.as_chunks_mut::<WIDTH>();
        // A few hundred numbers are added in f32 before they go into f64, so that neither precision nor speed suffers.
        const STRIDE: usize = 16;
        for ((z, x), g) in z_wholes.chunks(STRIDE).zip(x_wholes.chunks(STRIDE)).zip(g_wholes.chunks_mut(STRIDE)) {
            let mut sums = [0.0_f32; WIDTH];
            for ((z, x), g) in z.iter().zip(x).zip(g) {
                for lane in 0..WIDTH {
                    let (value, slope) = T::at::<I>(z[lane], x[lane]);
                    sums[lane] += value;
                    g[lane].write(normal(scale * slope));
                }
            }
            self.loss += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        }
        for ((&z, &x), g) in z_rest.iter().zip(x_rest).zip(g_rest) {
            let (value, slope) = T::at::<I>(z, x);
            self.loss += f64::from(value);
            g.write(normal(scale * slope));
        }
    }
}

/// A gradient, or 0 if it is too small to move a weight: a few layers further it would be subnormal, and arithmetic with
/// subnormal numbers takes processors a hundred times as long. Adam divides by no less than 1e-8.
#[inline(always)]
fn normal(gradient: f32) -> f32 {
    if gradient.abs() < 1e-25 { 0.0 } else { gradient }
}

/// 1 / u for u in [1, 2]; relative error below 2e-7. Newton's iteration from the quadratic with the least relative error,
/// a Chebyshev polynomial: several times faster than division, which processors do not pipeline.
#[inline(always)]
fn inverse<I: Instructions>(u: f32) -> f32 {
    let mut y = I::fma(I::fma(0.323_232_32, u, -1.454_545_5), u, 2.121_212);
    for _ in 0..2 {
        y = I::fma(y, I::fma(-u, y, 1.0), y);
    }
    y
}

/// exp(-a) for a ≥ 0; relative error below 2e-7 down to exp(-87), about the least normal number, which replaces all smaller
/// results. NaN for NaN. Polynomial of Cephes' `expf`.
#[inline(always)]
fn exp_negative<I: Instructions>(a: f32) -> f32 {
    let x = if a > 87.0 { -87.0 } else { -a };
    // Adding 1.5 · 2^23 rounds to a whole number, which is then in the lower bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = I::fma(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the product with n is exact.
    let r = I::fma(n, 2.121_944_4e-4, I::fma(n, -0.693_359_4, x));
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = I::fma(p, r, coefficient);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3F80_0000));
    I::fma(I::fma(p, r * r, r), power, power)
}

/// ln(1 + t) for t in [0, 1]; relative error below 2e-7, for small numbers too. Minimax polynomial of ln(1 + t) / t, of
/// degree 9, by Remez' algorithm.
#[inline(always)]
fn ln_1p<I: Instructions>(t: f32) -> f32 {
    let mut p = -3.244_024_5e-3;
    for coefficient in [
        1.985_146e-2,
        -5.695_953e-2,
        1.060_365_4e-1,
        -1.530_559_2e-1,
        1.967_593_9e-1,
        -2.495_413_4e-1,
        3.332_996_4e-1,
        -4.999_990_2e-1,
        1.0,
    ] {
        p = I::fma(p, t, coefficient);
    }
    p * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_gradients_agree_with_f64() {
        let logits: Vec<f32> = (-4000..4000).map(|index| index as f32 / 40.0).collect();
        let targets: Vec<f32> = (0..logits.len()).map(|index| (index % 256) as f32 / 255.0).collect();
        let entropy = cross_entropy(&logits, &targets, 1.0);
        let squared = squared_error(&logits, &targets, 1.0);
        let plain = squared_difference(&logits, &targets, 1.0);
        let (mut entropy_sum, mut squared_sum, mut plain_sum) = (0.0, 0.0, 0.0);
        for (index, (&z, &x)) in logits.iter().zip(&targets).enumerate() {
            let (z, x) = (f64::from(z), f64::from(x));
            let s = 1.0 / (1.0 + (-z).exp());
            entropy_sum += z.max(0.0) - z * x + (-z.abs()).exp().ln_1p();
            squared_sum += (s - x) * (s - x);
            plain_sum += (z - x) * (z - x);
            assert!((f64::from(plain.gradient[index]) - 2.0 * (z - x)).abs() < 2e-5, "at {z}");
            assert!((f64::from(entropy.gradient[index]) - (s - x)).abs() < 2e-7, "at {z}");
            let slope = 2.0 * (s - x) * s * (1.0 - s);
            assert!((f64::from(squared.gradient[index]) - slope).abs() < 2e-7, "at {z}");
            assert!((f64::from(sigmoid(&[z as f32])[0]) - s).abs() < 2e-7, "at {z}");
        }
        assert!((f64::from(entropy.loss) / entropy_sum - 1.0).abs() < 1e-6);
        assert!((f64::from(squared.loss) / squared_sum - 1.0).abs() < 1e-6);
        assert!((f64::from(plain.loss) / plain_sum - 1.0).abs() < 1e-6);
        let scaled = cross_entropy(&logits, &targets, 0.25);
        assert_eq!(scaled.loss, 0.25 * entropy.loss);
        assert!(scaled.gradient.iter().zip(&entropy.gradient).all(|(scaled, whole)| *scaled == 0.25 * whole));
    }

    #[test]
    fn exponentials_agree_with_f64() {
        let numbers: Vec<f32> = (0..8000).map(|index| index as f32 / 100.0).collect();
        let mut exponentials = numbers.clone();
        exp_of_negatives(&mut exponentials);
        for (number, exponential) in numbers.iter().zip(&exponentials) {
            let exact = (-f64::from(*number)).exp();
            assert!((f64::from(*exponential) / exact - 1.0).abs() < 3e-7, "at {number}");
        }
        let mut odd = [0.0, f32::INFINITY, f32::NAN];
        exp_of_negatives(&mut odd);
        assert_eq!(odd[0], 1.0);
        assert!(odd[1] < 1e-37 && odd[2].is_nan());
    }

    #[test]
    fn a_small_loss_keeps_its_precision() {
        for z in [5.0_f32, 10.0, 15.0] {
            let exact = (-f64::from(z)).exp().ln_1p();
            assert!((f64::from(cross_entropy(&[z], &[1.0], 1.0).loss) / exact - 1.0).abs() < 1e-5, "at {z}");
        }
    }

    #[test]
    fn gradients_are_of_a_size_that_processors_like_or_none() {
        let logits: Vec<f32> = (0..1000).map(|index| index as f32 / -10.0).collect();
        for loss in [cross_entropy, squared_error] {
            let gradient = loss(&logits, &[0.0; 1000], 1e-6).gradient;
            assert!(gradient.iter().all(|&number| number == 0.0 || number >= 1e-25));
            assert!(gradient[0] > 0.0 && gradient[999] == 0.0);
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        assert!(cross_entropy(&[f32::NAN; 20], &[0.5; 20], 1.0).loss.is_nan());
        assert!(cross_entropy(&[f32::NAN], &[0.5], 1.0).gradient[0].is_nan());
        assert!(!cross_entropy(&[f32::INFINITY], &[0.5], 1.0).loss.is_finite());
        assert!(sigmoid(&[f32::NAN])[0].is_nan());
        assert_eq!(sigmoid(&[f32::INFINITY, f32::NEG_INFINITY])[0], 1.0);
        assert!(sigmoid(&[f32::NEG_INFINITY])[0] < 1e-37);
        assert_eq!(cross_entropy(&[], &[], 1.0).loss, 0.0);
    }
}
