//! The 3×3 convolution and its gradients by Winograd's minimal filtering (Winograd 1980; Lavin & Gray 2016, F(4×4, 3×3)), with a quarter
//! of the multiplications.
//!
//! Images are cut into tiles of 4×4 outputs, which depend on 6×6 inputs. Transforms of inputs and weights turn the convolution of a tile
//! into 36 products, one for each of 36 numbers that stand for the tile; summed over channels, and for many tiles at once, these are
//! matrix products, which the loops of `correlate.rs` and `accumulate.rs` compute. The gradient of the weights is the same backwards.
//!
//! Results differ from those of the direct loops by rounding, some 1e-6 of the largest; and a pixel's result depends, in its last bits,
//! on all the inputs of its tile. Images that are cut into parts, whose results must not depend on where, are not computed so.

mod passes;
mod transform;

use std::marker::PhantomData;
use std::ops::Range;

use super::accumulate::Accumulate;
use super::correlate::{Aligned, Correlate, Grid, Weights};
use crate::vector::{self, NARROW_LANES};
use passes::{Join, Matrices, Split};
use transform::{OfGradient, OfInput, OfKernel, ToKernel, Transform};

/// Rows and columns of outputs of a tile.
pub const TILE: usize = 4;
/// Rows and columns of inputs of a tile, and of the numbers that stand for it.
const INPUT: usize = 6;
/// Rows and columns of a kernel.
const TAPS: usize = 3;
/// Tiles that are transformed and multiplied together: their numbers stay in the cache.
const AT_ONCE: usize = 32;
/// Fewest channels, of input and output, for which the transforms pay.
const LEAST_CHANNELS: usize = 16;

/// Images and the tiles that they are cut into.
#[derive(Debug, Clone, Copy)]
pub struct Tiling {
    /// Images.
    pub count: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Rows of the input before and after these, 0 or 1 each.
    pub around: [usize; 2],
}

/// Whether convolutions between so many channels are computed here.
pub fn suits(inputs: usize, outputs: usize) -> bool {
    [inputs, outputs].iter().all(|channels| *channels >= LEAST_CHANNELS && channels.is_multiple_of(NARROW_LANES))
}

/// What follows the convolution.
pub struct End<'a> {
    /// One for each output channel.
    pub bias: &'a [f32],
    /// Whether negative outputs become zero.
    pub relu: bool,
}

impl Tiling {
    fn sides(&self) -> [usize; 2] {
        [self.height.div_ceil(TILE), self.width.div_ceil(TILE)]
    }

    fn tiles(&self) -> usize {
        let [high, wide] = self.sides();
        self.count * high * wide
    }

    fn len(&self, channels: usize) -> usize {
        self.count * self.height * self.width * channels
    }

    /// Rows of the input.
    fn input_height(&self) -> usize {
        let [above, below] = self.around;
        above + self.height + below
    }

    fn input_len(&self, channels: usize) -> usize {
        self.count * self.input_height() * self.width * channels
    }

    /// The image, the first row and the first column of a tile.
    fn place(&self, tile: usize) -> [usize; 3] {
        let [high, wide] = self.sides();
        [tile / (high * wide), tile / wide % high * TILE, tile % wide * TILE]
    }

    fn groups(self) -> impl Iterator<Item = Range<usize>> {
        let tiles = self.tiles();
        (0..tiles).step_by(AT_ONCE).map(move |first| first..tiles.min(first + AT_ONCE))
    }
}

/// The weights `[outputs, inputs, 3, 3]` as a matrix for each of the 36 numbers of a tile; `transposed` gives those of the backward pass.
pub fn transformed(weight: &[f32], inputs: usize, outputs: usize, transposed: bool) -> Vec<Weights> {
    assert_eq!(weight.len(), outputs * inputs * TAPS * TAPS, "the weights do not have their size");
    let (from, to) = if transposed { (outputs, inputs) } else { (inputs, outputs) };
    let mut taps = vec![Weights::zeros(1, from, to); TAPS * TAPS];
    for (index, kernel) in weight.chunks_exact(TAPS * TAPS).enumerate() {
        let (o, i) = (index / inputs, index % inputs);
        for (k, &value) in kernel.iter().enumerate() {
            // A transposed convolution has its kernel turned around.
            if transposed {
                taps[TAPS * TAPS - 1 - k].values[o * inputs + i] = value;
            } else {
                taps[k].values[i * outputs + o] = value;
            }
        }
    }
    let mut matrices = vec![Weights::zeros(1, from, to); INPUT * INPUT];
    vector::run(&mut Matrices { from: &taps, to: &mut matrices, transform: PhantomData::<OfKernel> });
    matrices
}

/// The outputs `[n, h, w, outputs]` for x `[n, h, w, inputs]`, of which rows around those of the outputs are seen and no more.
pub fn convolve(x: &[f32], matrices: &[Weights], end: &End<'_>, tiling: Tiling) -> Vec<f32> {
    let (inputs, outputs) = (matrices[0].taps, matrices[0].channels);
    assert_eq!(x.len(), tiling.input_len(inputs), "the input does not have its size");
    let mut values = vec![0.0; tiling.len(outputs)];
    let mut split = Aligned::zeros(INPUT * INPUT * AT_ONCE * inputs);
    let mut products = Aligned::zeros(INPUT * INPUT * AT_ONCE * outputs);
    let none = vec![0.0; outputs];
    for tiles in tiling.groups() {
        let count = tiles.len();
        split_images::<OfInput, INPUT>(x, inputs, tiling, tiles.clone(), &mut split);
        for (number, weights) in matrices.iter().enumerate() {
            let grid = grid(number, count, inputs, outputs);
            let (input, output) = (&split, &mut *products);
            vector::run(&mut Correlate { input, weights, bias: &none, relu: false, grid, output });
        }
        vector::run(&mut Join { products: &products, channels: outputs, end, tiling, tiles, to: &mut values });
    }
    values
}

/// The gradient of the weights `[outputs, inputs, 3, 3]`, given the inputs `[n, h, w, inputs]` and the gradient of the outputs.
pub fn weight_gradient(x: &[f32], gradient: &[f32], inputs: usize, outputs: usize, tiling: Tiling) -> Vec<f32> {
    assert_eq!(x.len(), tiling.len(inputs), "the input does not have its size");
    assert_eq!(gradient.len(), tiling.len(outputs), "the gradient does not have its size");
    let mut matrices = vec![Weights::zeros(1, inputs, outputs); INPUT * INPUT];
    let mut split = Aligned::zeros(INPUT * INPUT * AT_ONCE * inputs);
    let mut gradients = Aligned::zeros(INPUT * INPUT * AT_ONCE * outputs);
    for tiles in tiling.groups() {
        let count = tiles.len();
        split_images::<OfInput, INPUT>(x, inputs, tiling, tiles.clone(), &mut split);
        split_images::<OfGradient, TILE>(gradient, outputs, tiling, tiles, &mut gradients);
        for (number, weights) in matrices.iter_mut().enumerate() {
            let grid = grid(number, count, inputs, outputs);
            vector::run(&mut Accumulate { input: &split, gradient: &gradients, grid, weights });
        }
    }
    let mut taps = vec![Weights::zeros(1, inputs, outputs); TAPS * TAPS];
    vector::run(&mut Matrices { from: &matrices, to: &mut taps, transform: PhantomData::<ToKernel> });
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

/// The 36 numbers of some tiles: `[36, tiles, channels]`.
fn split_images<X: Transform<F, INPUT>, const F: usize>(
    images: &[f32],
    channels: usize,
    tiling: Tiling,
    tiles: Range<usize>,
    to: &mut [f32],
) {
    let zeros = &vec![0.0; channels];
    vector::run(&mut Split::<X, F> { images, channels, tiling, tiles, zeros, to, transform: PhantomData });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_several_images_are_cut_one_after_the_other() {
        let tiling = Tiling { count: 2, height: 5, width: 9, around: [0, 0] };
        let places: Vec<_> = (0..tiling.tiles()).map(|tile| tiling.place(tile)).collect();
        let one = [[0, 0], [0, 4], [0, 8], [4, 0], [4, 4], [4, 8]];
        let expected: Vec<_> = (0..2).flat_map(|image| one.map(|[row, column]| [image, row, column])).collect();
        assert_eq!(places, expected);
    }
}
