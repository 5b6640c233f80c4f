//! The transforms: for the points 0, 1, -1, 2, -2 and infinity of Lavin & Gray 2016.

use super::{INPUT, TAPS, TILE};
use crate::vector::Vector;

/// One side of a transform: a constant matrix that multiplies `F` numbers, and whose transpose does the other side.
pub trait Transform<const F: usize, const T: usize> {
    /// The product.
    ///
    /// # Safety
    /// The processor has the instruction set of the vector.
    unsafe fn apply<V: Vector>(x: [V; F]) -> [V; T];
}

/// a - b.
#[inline(always)]
fn minus<V: Vector>(a: V, b: V) -> V {
    b.fma(V::splat(-1.0), a)
}

/// a · factor + b, for a constant factor.
#[inline(always)]
fn times<V: Vector>(a: V, factor: f32, b: V) -> V {
    a.fma(V::splat(factor), b)
}

/// a · factor.
#[inline(always)]
fn scaled<V: Vector>(a: V, factor: f32) -> V {
    a.fma(V::splat(factor), V::splat(0.0))
}

/// From the 6×6 inputs of a tile.
pub struct OfInput;

impl Transform<INPUT, INPUT> for OfInput {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; INPUT]) -> [V; INPUT] {
        let (even, odd) = (times(x[2], -4.0, x[4]), times(x[1], -4.0, x[3]));
        let (near, far) = (minus(x[4], x[2]), minus(x[3], x[1]));
        [
            times(x[0], 4.0, times(x[2], -5.0, x[4])),
            even.add(odd),
            minus(even, odd),
            times(far, 2.0, near),
            times(far, -2.0, near),
            times(x[1], 4.0, times(x[3], -5.0, x[5])),
        ]
    }
}

/// From the gradient of its 4×4 outputs.
pub struct OfGradient;

impl Transform<TILE, INPUT> for OfGradient {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; TILE]) -> [V; INPUT] {
        let (even, odd) = (x[0].add(x[2]), x[1].add(x[3]));
        let (even_of_two, odd_of_two) = (times(x[2], 4.0, x[0]), times(x[3], 4.0, x[1]));
        [
            x[0],
            even.add(odd),
            minus(even, odd),
            times(odd_of_two, 2.0, even_of_two),
            times(odd_of_two, -2.0, even_of_two),
            x[3],
        ]
    }
}

/// To its outputs.
pub struct ToOutput;

impl Transform<INPUT, TILE> for ToOutput {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; INPUT]) -> [V; TILE] {
        let (sum, difference) = (x[1].add(x[2]), minus(x[1], x[2]));
        let (sum_of_two, difference_of_two) = (x[3].add(x[4]), minus(x[3], x[4]));
        [
            x[0].add(sum).add(sum_of_two),
            times(difference_of_two, 2.0, difference),
            times(sum_of_two, 4.0, sum),
            times(difference_of_two, 8.0, difference).add(x[5]),
        ]
    }
}

/// From a 3×3 kernel.
pub struct OfKernel;

impl Transform<TAPS, INPUT> for OfKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; TAPS]) -> [V; INPUT] {
        let outer = scaled(x[0].add(x[2]), -1.0 / 6.0);
        let outer_of_two = times(x[0], 1.0 / 24.0, scaled(x[2], 1.0 / 6.0));
        [
            scaled(x[0], 0.25),
            times(x[1], -1.0 / 6.0, outer),
            times(x[1], 1.0 / 6.0, outer),
            times(x[1], 1.0 / 12.0, outer_of_two),
            times(x[1], -1.0 / 12.0, outer_of_two),
            x[2],
        ]
    }
}

/// To its gradient.
pub struct ToKernel;

impl Transform<INPUT, TAPS> for ToKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; INPUT]) -> [V; TAPS] {
        let (sum, difference) = (x[1].add(x[2]), minus(x[2], x[1]));
        let (sum_of_two, difference_of_two) = (x[3].add(x[4]), minus(x[3], x[4]));
        [
            times(sum_of_two, 1.0 / 24.0, times(sum, -1.0 / 6.0, scaled(x[0], 0.25))),
            times(difference_of_two, 1.0 / 12.0, scaled(difference, 1.0 / 6.0)),
            times(minus(sum_of_two, sum), 1.0 / 6.0, x[5]),
        ]
    }
}

/// Both sides of a transform.
///
/// # Safety
/// The processor has the instruction set of the vector.
#[inline(always)]
pub unsafe fn two_sided<V: Vector, X: Transform<F, T>, const F: usize, const T: usize>(x: [[V; F]; F]) -> [[V; T]; T] {
    let mut rows = [[V::splat(0.0); F]; T];
    for column in 0..F {
        let mut numbers = [V::splat(0.0); F];
        for row in 0..F {
            numbers[row] = x[row][column];
        }
        // SAFETY: passed on from the caller.
        let numbers = unsafe { X::apply(numbers) };
        for row in 0..T {
            rows[row][column] = numbers[row];
        }
    }
    let mut made = [[V::splat(0.0); T]; T];
    for row in 0..T {
        // SAFETY: passed on from the caller.
        made[row] = unsafe { X::apply(rows[row]) };
    }
    made
}
