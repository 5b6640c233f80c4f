//! The transforms: of a convolution by itself for the points 0, 1, -1, 2, -2 and infinity of Lavin & Gray 2016, F(4×4, 3×3); after
//! upsampling as the module above says.

use super::TAPS;
use crate::vector::Vector;

/// One side of a transform: a constant matrix that multiplies `F` numbers, and whose transpose does the other side.
pub trait Transform<const F: usize, const T: usize> {
    /// The product. Where it depends on it, `cut` says that the tile ends after the first of its outputs.
    ///
    /// # Safety
    /// The processor has the instruction set of the vector.
    unsafe fn apply<V: Vector>(x: [V; F], cut: bool) -> [V; T];
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

impl Transform<6, 6> for OfInput {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 6], _: bool) -> [V; 6] {
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

impl Transform<4, 6> for OfGradient {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 4], _: bool) -> [V; 6] {
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

impl Transform<6, 4> for ToOutput {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 6], _: bool) -> [V; 4] {
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

impl Transform<TAPS, 6> for OfKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; TAPS], _: bool) -> [V; 6] {
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

impl Transform<6, TAPS> for ToKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 6], _: bool) -> [V; TAPS] {
        let (sum, difference) = (x[1].add(x[2]), minus(x[2], x[1]));
        let (sum_of_two, difference_of_two) = (x[3].add(x[4]), minus(x[3], x[4]));
        [
            times(sum_of_two, 1.0 / 24.0, times(sum, -1.0 / 6.0, scaled(x[0], 0.25))),
            times(difference_of_two, 1.0 / 12.0, scaled(difference, 1.0 / 6.0)),
            times(minus(sum_of_two, sum), 1.0 / 6.0, x[5]),
        ]
    }
}

/// From the 3×3 inputs around a pixel that is upsampled.
pub struct OfUpsampled;

impl Transform<3, 3> for OfUpsampled {
    #[inline(always)]
    unsafe fn apply<V: Vector>([left, centre, right]: [V; 3], _: bool) -> [V; 3] {
        [minus(left, centre), centre, minus(right, centre)]
    }
}

/// To its 2×2 outputs.
pub struct ToUpsampled;

impl Transform<3, 2> for ToUpsampled {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 3], cut: bool) -> [V; 2] {
        let (even, odd) = (x[0].add(x[1]), x[1].add(x[2]));
        [if cut { even.add(x[2]) } else { even }, odd]
    }
}

/// From the gradient of these.
pub struct OfUpsampledGradient;

impl Transform<2, 3> for OfUpsampledGradient {
    #[inline(always)]
    unsafe fn apply<V: Vector>([even, odd]: [V; 2], cut: bool) -> [V; 3] {
        [even, even.add(odd), if cut { even } else { odd }]
    }
}

/// From the gradient of the 4×4 outputs that depend on a pixel, of which those of its tile are in the middle.
pub struct OfUpsampledOutputs;

impl Transform<4, 3> for OfUpsampledOutputs {
    #[inline(always)]
    unsafe fn apply<V: Vector>([before, even, odd, after]: [V; 4], cut: bool) -> [V; 3] {
        [minus(after, even), even.add(odd), minus(before, if cut { even } else { odd })]
    }
}

/// To the gradient of the pixel.
pub struct ToSource;

impl Transform<3, 1> for ToSource {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 3], _: bool) -> [V; 1] {
        [x[0].add(x[1]).add(x[2])]
    }
}

/// From a 3×3 kernel that follows an upsampling.
pub struct OfUpsampledKernel;

impl Transform<TAPS, 3> for OfUpsampledKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; TAPS], _: bool) -> [V; 3] {
        [x[0], x[0].add(x[1]).add(x[2]), x[2]]
    }
}

/// To its gradient.
pub struct ToUpsampledKernel;

impl Transform<3, TAPS> for ToUpsampledKernel {
    #[inline(always)]
    unsafe fn apply<V: Vector>(x: [V; 3], _: bool) -> [V; TAPS] {
        [x[0].add(x[1]), x[1], x[2].add(x[1])]
    }
}

/// Both sides of a transform, of a tile that may be cut in each direction.
///
/// # Safety
/// The processor has the instruction set of the vector.
#[inline(always)]
pub unsafe fn two_sided<V: Vector, X: Transform<F, T>, const F: usize, const T: usize>(
    x: [[V; F]; F],
    cut: [bool; 2],
) -> [[V; T]; T] {
    let mut rows = [[V::splat(0.0); F]; T];
    for column in 0..F {
        let mut numbers = [V::splat(0.0); F];
        for row in 0..F {
            numbers[row] = x[row][column];
        }
        // SAFETY: passed on from the caller.
        let numbers = unsafe { X::apply(numbers, cut[0]) };
        for row in 0..T {
            rows[row][column] = numbers[row];
        }
    }
    let mut made = [[V::splat(0.0); T]; T];
    for row in 0..T {
        // SAFETY: passed on from the caller.
        made[row] = unsafe { X::apply(rows[row], cut[1]) };
    }
    made
}
