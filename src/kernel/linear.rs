//! The fully connected layer and its gradients, on slices.
//!
//! Examples are treated as pixels of one row and their inputs as taps, so that the loops of the convolution are used here too,
//! with bias and ReLU inside: the layers of an autoencoder are too narrow on one side for a general matrix product, which would
//! spend most of its time on packing.

use std::borrow::Cow;

use super::accumulate::Accumulate;
use super::correlate::{Correlate, FEW_CHANNELS, Grid, Weights, padded};
use crate::vector::{self, Loop};

/// Sizes of a layer: examples, inputs, outputs.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Examples.
    pub count: usize,
    /// Inputs of the layer.
    pub inputs: usize,
    /// Outputs of the layer.
    pub outputs: usize,
}

/// Gradients of a layer.
pub struct Gradients {
    /// Of the input `[n, inputs]`, if requested.
    pub input: Option<Vec<f32>>,
    /// Of the weights `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// The grid of a product of `[count, taps]` that gives `[count, outputs]`.
fn grid(count: usize, taps: usize, outputs: usize) -> Grid {
    Grid {
        rows: 1,
        pixels: count,
        input: 0,
        input_row: 0,
        input_pixel: taps,
        weight_row: 0,
        output: 0,
        output_row: 0,
        output_pixel: outputs,
    }
}

/// x `[n, inputs]` times the transpose of weight `[outputs, inputs]` plus bias, perhaps with a ReLU.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], relu: bool, sizes: Sizes) -> Vec<f32> {
    let Sizes { count, inputs, outputs } = sizes;
    assert_eq!(weight.len(), outputs * inputs, "the weights do not have their size");
    assert_eq!(bias.len(), outputs, "the bias does not have its size");
    let mut weights = Weights::zeros(1, inputs, outputs);
    if outputs <= FEW_CHANNELS {
        weights.values.copy_from_slice(weight);
    } else {
        vector::vectorise(&mut Transpose {
            from: weight,
            columns: inputs,
            to: &mut weights.values,
            stride: padded(outputs),
        });
    }
    multiply(x, &weights, bias, relu, count)
}

/// The gradients, given that of the output; where there was a ReLU, `output` is its result.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    output: Option<&[f32]>,
    gradient: &[f32],
    needs_input: bool,
    sizes: Sizes,
) -> Gradients {
    let Sizes { count, inputs, outputs } = sizes;
    assert_eq!(x.len(), count * inputs, "the input does not have its size");
    assert_eq!(weight.len(), outputs * inputs, "the weights do not have their size");
    assert_eq!(gradient.len(), count * outputs, "the gradient does not have the size of the output");
    let mut masked = output.map(|output| vec![0.0; output.len()]);
    if let (Some(output), Some(masked)) = (output, &mut masked) {
        vector::vectorise(&mut Mask { output, gradient, masked });
    }
    let gradient = masked.as_deref().unwrap_or(gradient);
    let mut bias = vec![0.0; outputs];
    vector::vectorise(&mut ColumnSums { rows: gradient, sums: &mut bias });

    // Inputs take the place of output channels here, which are read in whole vectors.
    let mut to_weight = Weights::zeros(1, outputs, inputs);
    let grid = grid(count, outputs, padded(inputs));
    let x = padded_rows(x, inputs);
    vector::run(&mut Accumulate { input: gradient, gradient: &x, grid, weights: &mut to_weight });

    let input = needs_input.then(|| {
        let mut weights = Weights::zeros(1, outputs, inputs);
        if inputs <= FEW_CHANNELS {
            vector::vectorise(&mut Transpose {
                from: weight,
                columns: inputs,
                to: &mut weights.values,
                stride: outputs,
            });
        } else {
            for (to, from) in weights.values.chunks_exact_mut(padded(inputs)).zip(weight.chunks_exact(inputs)) {
                to[..inputs].copy_from_slice(from);
            }
        }
        multiply(gradient, &weights, &[], false, count)
    });
    Gradients { input, weight: unpadded(&to_weight), bias }
}

/// The product of `[count, taps]` with weights, plus a bias unless it is empty.
fn multiply(x: &[f32], weights: &Weights, bias: &[f32], relu: bool, count: usize) -> Vec<f32> {
    let mut whole_bias = bias.to_vec();
    whole_bias.resize(padded(weights.channels), 0.0);
    let mut output = vec![0.0; count * weights.channels];
    let grid = grid(count, weights.taps, weights.channels);
    vector::run(&mut Correlate { input: x, weights, bias: &whole_bias, relu, grid, output: &mut output });
    output
}

/// Rows of `len` numbers, each followed by zeros up to whole vectors.
fn padded_rows(rows: &[f32], len: usize) -> Cow<'_, [f32]> {
    let stride = padded(len);
    if stride == len {
        return Cow::Borrowed(rows);
    }
    let mut wide = vec![0.0; rows.len() / len * stride];
    for (to, from) in wide.chunks_exact_mut(stride).zip(rows.chunks_exact(len)) {
        to[..len].copy_from_slice(from);
    }
    Cow::Owned(wide)
}

/// Weights of one row without padding, as `[taps, channels]`.
fn unpadded(weights: &Weights) -> Vec<f32> {
    let Weights { taps, channels, ref values, .. } = *weights;
    if channels <= FEW_CHANNELS {
        return (0..taps * channels).map(|at| values[at % channels * taps + at / channels]).collect();
    }
    let mut rows = Vec::with_capacity(taps * channels);
    for row in values.chunks_exact(padded(channels)) {
        rows.extend_from_slice(&row[..channels]);
    }
    rows
}

/// Rows of `from` become columns of `to`.
struct Transpose<'a> {
    from: &'a [f32],
    columns: usize,
    to: &'a mut [f32],
    /// From one row of `to` to the next.
    stride: usize,
}

impl Loop for Transpose<'_> {
    #[inline(always)]
    fn run(&mut self) {
        // As many rows as a cache line of the result holds floats.
        const BLOCK: usize = 16;
        let (columns, stride) = (self.columns, self.stride);
        let (blocks, rest) = self.from.split_at(self.from.len() / (BLOCK * columns) * BLOCK * columns);
        for (block, rows) in blocks.chunks_exact(BLOCK * columns).enumerate() {
            let rows: [&[f32]; BLOCK] = std::array::from_fn(|row| &rows[row * columns..][..columns]);
            for (column, to) in self.to.chunks_mut(stride).take(columns).enumerate() {
                let line: [f32; BLOCK] = rows.map(|row| row[column]);
                to[block * BLOCK..][..BLOCK].copy_from_slice(&line);
            }
        }
        let done = blocks.len() / columns;
        for (row, from) in rest.chunks_exact(columns).enumerate() {
            for (to, &value) in self.to.chunks_mut(stride).zip(from) {
                to[done + row] = value;
            }
        }
    }
}

/// The gradient before a ReLU: that after it where its output is positive, else 0.
struct Mask<'a> {
    output: &'a [f32],
    gradient: &'a [f32],
    masked: &'a mut [f32],
}

impl Loop for Mask<'_> {
    #[inline(always)]
    fn run(&mut self) {
        for ((masked, &gradient), &output) in self.masked.iter_mut().zip(self.gradient).zip(self.output) {
            *masked = if output > 0.0 { gradient } else { 0.0 };
        }
    }
}

/// The sum of all rows.
struct ColumnSums<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl Loop for ColumnSums<'_> {
    #[inline(always)]
    fn run(&mut self) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
}
