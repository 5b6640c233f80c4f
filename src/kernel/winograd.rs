//! The 3×3 convolution and its gradients by Winograd's minimal filtering (Winograd 1980; Lavin & Gray 2016), with a fraction of the
//! multiplications.
//!
//! Images are cut into tiles. Transforms of inputs and weights turn the convolution of a tile into products, one for each of N×N numbers
//! that stand for the tile; summed over channels, and for many tiles at once, these are matrix products, which the loops of
//! `correlate.rs` and `accumulate.rs` compute. The gradient of the weights is the same backwards.
//!
//! A convolution by itself has tiles of 4×4 outputs, which depend on 6×6 inputs: 36 products in place of 144. Its results differ from
//! those of the direct loops by rounding, some 1e-6 of the largest; and a pixel's result depends, in its last bits, on all the inputs of
//! its tile. Images that are cut into parts, whose results must not depend on where, are not computed so.
//!
//! After nearest upsampling a tile is a pixel of the input, with 2×2 outputs. In one dimension, and with s = w₀ + w₁ + w₂, they are
//!
//! ```text
//! even = w₀·(left − centre) + s·centre        odd = s·centre + w₂·(right − centre)
//! ```
//!
//! so that three products make two outputs, and nine make four: in place of 16 of the folded convolutions, and of 36. An output depends on
//! the pixel and its neighbours in the same way wherever they are. At the end of an odd size the even output is the last, and there is
//! zero after it and not the pixel again, which w₂·(0 − centre) takes away.

mod passes;
mod tiling;
mod transform;

use std::marker::PhantomData;
use std::ops::Range;

use super::accumulate::Accumulate;
use super::correlate::{Aligned, Correlate, Grid, Weights};
use crate::vector::{self, NARROW_LANES};
use passes::{Join, Matrices, Split};
use tiling::{Plane, Tiles};
pub use tiling::{Scheme, Tiling};
use transform::{
    OfGradient, OfInput, OfKernel, OfUpsampled, OfUpsampledGradient, OfUpsampledKernel, OfUpsampledOutputs, ToKernel,
    ToOutput, ToSource, ToUpsampled, ToUpsampledKernel, Transform,
};

/// Rows and columns of outputs of a tile of a convolution by itself.
pub const TILE: usize = 4;
/// Rows and columns of a kernel.
const TAPS: usize = 3;
/// Rows of numbers of the tiles that are transformed and multiplied together: they stay in the cache, and make whole blocks of the 14
/// pixels that the products take at once.
const AT_ONCE: usize = 6 * 28;

/// Whether convolutions between so many channels are computed here.
pub fn suits(inputs: usize, outputs: usize, scheme: Scheme) -> bool {
    let least = scheme.least_channels();
    [inputs, outputs].iter().all(|channels| *channels >= least && channels.is_multiple_of(NARROW_LANES))
}

/// What follows the convolution.
pub struct End<'a> {
    /// One for each output channel.
    pub bias: &'a [f32],
    /// Whether negative outputs become zero.
    pub relu: bool,
}

/// The outputs `[n, h, w, outputs]` for x `[n, h, w, inputs]`, of which rows around those of the outputs are seen and no more.
pub fn forward(x: &[f32], weight: &[f32], end: &End<'_>, tiling: Tiling) -> Vec<f32> {
    let channels = channels(weight, end.bias.len());
    let (tiles, from, to) = (tiling.tiles(), tiling.input(), tiling.output());
    match tiling.scheme {
        Scheme::Same => {
            let matrices = matrices::<OfKernel, 6>(weight, channels, Order::Forward);
            convolve::<OfInput, ToOutput, 6, 6, 4>(x, &matrices, end, tiles, (from, to))
        }
        Scheme::Upsample(_) => {
            let matrices = matrices::<OfUpsampledKernel, 3>(weight, channels, Order::Forward);
            convolve::<OfUpsampled, ToUpsampled, 3, 3, 2>(x, &matrices, end, tiles, (from, to))
        }
    }
}

/// The gradient of the input `[n, h, w, inputs]`, given that of the outputs.
pub fn input_gradient(gradient: &[f32], weight: &[f32], outputs: usize, tiling: Tiling) -> Vec<f32> {
    let channels = channels(weight, outputs);
    let none = vec![0.0; channels[0]];
    let end = End { bias: &none, relu: false };
    match tiling.scheme {
        // The same with the kernel turned around.
        Scheme::Same => {
            let matrices = matrices::<OfKernel, 6>(weight, channels, Order::Turned);
            let planes = (tiling.input(), tiling.output());
            convolve::<OfInput, ToOutput, 6, 6, 4>(gradient, &matrices, &end, tiling.tiles(), planes)
        }
        Scheme::Upsample(_) => {
            let matrices = matrices::<OfUpsampledKernel, 3>(weight, channels, Order::Transposed);
            let planes = (tiling.outputs_around(), tiling.source());
            convolve::<OfUpsampledOutputs, ToSource, 4, 3, 1>(gradient, &matrices, &end, tiling.tiles(), planes)
        }
    }
}

/// The gradient of the weights `[outputs, inputs, 3, 3]`, given the inputs `[n, h, w, inputs]` and the gradient of the outputs.
pub fn weight_gradient(x: &[f32], gradient: &[f32], channels: [usize; 2], tiling: Tiling) -> Vec<f32> {
    match tiling.scheme {
        Scheme::Same => accumulate::<OfInput, OfGradient, ToKernel, 6, 4, 6>(x, gradient, channels, tiling),
        Scheme::Upsample(_) => {
            accumulate::<OfUpsampled, OfUpsampledGradient, ToUpsampledKernel, 3, 2, 3>(x, gradient, channels, tiling)
        }
    }
}

/// Channels of the inputs and outputs of weights `[outputs, inputs, 3, 3]`.
fn channels(weight: &[f32], outputs: usize) -> [usize; 2] {
    [weight.len() / (outputs * TAPS * TAPS), outputs]
}

/// How weights are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// From inputs to outputs.
    Forward,
    /// From outputs to inputs.
    Transposed,
    /// The same with the kernel turned around.
    Turned,
}

/// The weights `[outputs, inputs, 3, 3]` as a matrix for each of the numbers of a tile.
fn matrices<X: Transform<TAPS, N>, const N: usize>(
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    order: Order,
) -> Vec<Weights> {
    assert_eq!(weight.len(), outputs * inputs * TAPS * TAPS, "the weights do not have their size");
    let (from, to) = if order == Order::Forward { (inputs, outputs) } else { (outputs, inputs) };
    let mut taps = vec![Weights::zeros(1, from, to); TAPS * TAPS];
    for (index, kernel) in weight.chunks_exact(TAPS * TAPS).enumerate() {
        let (o, i) = (index / inputs, index % inputs);
        let at = if order == Order::Forward { i * outputs + o } else { o * inputs + i };
        for (k, &value) in kernel.iter().enumerate() {
            taps[if order == Order::Turned { TAPS * TAPS - 1 - k } else { k }].values[at] = value;
        }
    }
    let mut matrices = vec![Weights::zeros(1, from, to); N * N];
    vector::run(&mut Matrices::<X, TAPS, N> { from: &taps, to: &mut matrices, transform: PhantomData });
    matrices
}

/// What matrices make of the pixels of the first plane, on the second.
fn convolve<X, Y, const F: usize, const N: usize, const T: usize>(
    x: &[f32],
    matrices: &[Weights],
    end: &End<'_>,
    all: Tiles,
    (from, to): (Plane, Plane),
) -> Vec<f32>
where
    X: Transform<F, N>,
    Y: Transform<N, T>,
{
    let (inputs, outputs) = (matrices[0].taps, matrices[0].channels);
    assert_eq!(x.len(), from.len(inputs), "the input does not have its size");
    let mut values = vec![0.0; to.len(outputs)];
    let mut split = Aligned::zeros(AT_ONCE * N * inputs);
    let mut products = Aligned::zeros(AT_ONCE * N * outputs);
    let none = vec![0.0; outputs];
    let zeros = vec![0.0; inputs];
    for tiles in all.groups(AT_ONCE / N) {
        let count = tiles.len();
        split_images::<X, F, N>(x, &zeros, (all, from), tiles.clone(), &mut split);
        for (number, weights) in matrices.iter().enumerate() {
            let grid = grid(number, count, inputs, outputs);
            let (input, output) = (&split, &mut *products);
            vector::run(&mut Correlate { input, weights, bias: &none, relu: false, grid, output });
        }
        let transform = PhantomData::<Y>;
        vector::run(&mut Join::<Y, N, T> {
            products: &products,
            channels: outputs,
            end,
            all,
            plane: to,
            tiles,
            to: &mut values,
            transform,
        });
    }
    values
}

/// The gradient of the weights, by the transforms of the inputs, of the gradient of the outputs, and back to kernels.
fn accumulate<X, Y, Z, const F: usize, const T: usize, const N: usize>(
    x: &[f32],
    gradient: &[f32],
    [inputs, outputs]: [usize; 2],
    tiling: Tiling,
) -> Vec<f32>
where
    X: Transform<F, N>,
    Y: Transform<T, N>,
    Z: Transform<N, TAPS>,
{
    let (all, from, made) = (tiling.tiles(), tiling.input(), tiling.output());
    assert_eq!(x.len(), from.len(inputs), "the input does not have its size");
    assert_eq!(gradient.len(), made.len(outputs), "the gradient does not have its size");
    let mut matrices = vec![Weights::zeros(1, inputs, outputs); N * N];
    let mut split = Aligned::zeros(AT_ONCE * N * inputs);
    let mut gradients = Aligned::zeros(AT_ONCE * N * outputs);
    let zeros = vec![0.0; inputs.max(outputs)];
    for tiles in all.groups(AT_ONCE / N) {
        let count = tiles.len();
        split_images::<X, F, N>(x, &zeros[..inputs], (all, from), tiles.clone(), &mut split);
        split_images::<Y, T, N>(gradient, &zeros[..outputs], (all, made), tiles, &mut gradients);
        for (number, weights) in matrices.iter_mut().enumerate() {
            let grid = grid(number, count, inputs, outputs);
            vector::run(&mut Accumulate { input: &split, gradient: &gradients, grid, weights });
        }
    }
    let mut taps = vec![Weights::zeros(1, inputs, outputs); TAPS * TAPS];
    vector::run(&mut Matrices::<Z, N, TAPS> { from: &matrices, to: &mut taps, transform: PhantomData });
    let mut weight = vec![0.0; outputs * inputs * TAPS * TAPS];
    for (index, kernel) in weight.chunks_exact_mut(TAPS * TAPS).enumerate() {
        let at = index % inputs * outputs + index / inputs;
        for (value, taps) in kernel.iter_mut().zip(&taps) {
            *value = taps.values[at];
        }
    }
    weight
}

/// The matrix product of one of the numbers of so many tiles.
fn grid(number: usize, tiles: usize, inputs: usize, outputs: usize) -> Grid {
    Grid {
        rows: 1,
        pixels: tiles,
        input: number * tiles * inputs,
        input_row: 0,
        input_pixel: inputs,
        weight_row: 0,
        output: number * tiles * outputs,
        output_row: 0,
        output_pixel: outputs,
    }
}

/// The numbers of some tiles, `[N², tiles, channels]`; the zeros are a pixel of all channels.
fn split_images<X: Transform<F, N>, const F: usize, const N: usize>(
    images: &[f32],
    zeros: &[f32],
    (all, plane): (Tiles, Plane),
    tiles: Range<usize>,
    to: &mut [f32],
) {
    let channels = zeros.len();
    vector::run(&mut Split::<X, F, N> { images, channels, all, plane, tiles, zeros, to, transform: PhantomData });
}
