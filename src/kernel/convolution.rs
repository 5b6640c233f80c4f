//! The 3×3 convolution and its gradients, plain and after nearest upsampling, on slices.
//!
//! After upsampling, neighbouring outputs see the same input pixels: an output row has one of three kinds (even, odd, and
//! last where the size is odd), each of which meets two input rows with weights that are sums of the three. The enlarged
//! image therefore never exists, and four 2×2 convolutions do 4/9 of its arithmetic.

use super::correlate::{Accumulate, Correlate, Row, Weights, padded};
use super::vector::{self, LANES};

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Images.
    pub count: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows and columns after upsampling; none if there is none.
    pub upsampled: Option<[usize; 2]>,
}

/// Gradients of a convolution.
pub struct Gradients {
    /// Of the input `[n, h, w, inputs]`, if it was asked for.
    pub input: Option<Vec<f32>>,
    /// Of the weights `[outputs, inputs, 3, 3]`.
    pub weight: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// The weights of `[outputs, inputs, 3, 3]` that are summed for each row or column of a folded kernel.
type Fold = &'static [&'static [usize]];

const PLAIN: Fold = &[&[0], &[1], &[2]];
const FLIPPED: Fold = &[&[2], &[1], &[0]];
const EVEN: Fold = &[&[0], &[1, 2]];
const ODD: Fold = &[&[0, 1], &[2]];
/// An even row at the end of an odd size: the row after it, which an even row in the middle shares, is outside.
const LAST: Fold = &[&[0], &[1]];
/// What an input pixel gave to the outputs 2i - 1 to 2i + 2.
const BACK: Fold = &[&[2], &[1, 2], &[0, 1], &[0]];
const BACK_LAST: Fold = &[&[2], &[1], &[], &[]];

impl Sizes {
    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        self.upsampled.unwrap_or([self.height, self.width])
    }

    fn input_len(&self) -> usize {
        self.height * self.width * self.inputs
    }

    /// Floats of the output of one image.
    pub fn output_len(&self) -> usize {
        let [height, width] = self.output();
        height * width * self.outputs
    }

    /// The rows of outputs of an image whose input has a border of one pixel, with the fold of rows and columns of each.
    /// Outputs start at `origin` and have rows of `stride` pixels.
    fn passes(&self, origin: usize, stride: usize) -> Vec<(Fold, Fold, Vec<Row>)> {
        let inner = (self.width + 2) * self.inputs;
        let Some([height, width]) = self.upsampled else {
            let rows = (0..self.height).map(|i| Row {
                inputs: (0..3).map(|k| (i + k) * inner).collect(),
                input_step: self.inputs,
                output: origin + i * stride * self.outputs,
                output_step: self.outputs,
                pixels: self.width,
            });
            return vec![(PLAIN, PLAIN, rows.collect())];
        };
        // For each kind: the first output, the first padded input that it meets, and how many outputs there are.
        let kinds = |small: usize, large: usize| {
            let odd_size = large % 2;
            [(EVEN, 0, 0, small - odd_size), (ODD, 1, 1, small - odd_size), (LAST, large - 1, small - 1, odd_size)]
        };
        let mut passes = Vec::new();
        for (row_fold, row_out, row_in, rows) in kinds(self.height, height) {
            for (column_fold, column_out, column_in, pixels) in kinds(self.width, width) {
                let rows = (0..rows).map(|i| Row {
                    inputs: (0..2).map(|k| (row_in + i + k) * inner + column_in * self.inputs).collect(),
                    input_step: self.inputs,
                    output: origin + ((row_out + 2 * i) * stride + column_out) * self.outputs,
                    output_step: 2 * self.outputs,
                    pixels,
                });
                passes.push((row_fold, column_fold, rows.collect::<Vec<_>>()));
            }
        }
        passes.retain(|(_, _, rows)| rows.iter().any(|row| row.pixels > 0));
        passes
    }

    /// The rows of input gradients of an image whose output gradients have a border of one pixel before and as many as
    /// needed after, with rows of `stride` pixels.
    fn back_passes(&self, stride: usize) -> Vec<(Fold, Fold, Vec<Row>)> {
        let inner = stride * self.outputs;
        let Some([height, width]) = self.upsampled else {
            let rows = (0..self.height).map(|i| Row {
                inputs: (0..3).map(|k| (i + k) * inner).collect(),
                input_step: self.outputs,
                output: i * self.width * self.inputs,
                output_step: self.inputs,
                pixels: self.width,
            });
            return vec![(FLIPPED, FLIPPED, rows.collect())];
        };
        let kinds = |small: usize, large: usize| {
            let odd_size = large % 2;
            [(BACK, 0, small - odd_size), (BACK_LAST, small - 1, odd_size)]
        };
        let mut passes = Vec::new();
        for (row_fold, first_row, rows) in kinds(self.height, height) {
            for (column_fold, first_column, pixels) in kinds(self.width, width) {
                let rows = (first_row..first_row + rows).map(|i| Row {
                    inputs: (0..4).map(|k| (2 * i + k) * inner + 2 * first_column * self.outputs).collect(),
                    input_step: 2 * self.outputs,
                    output: (i * self.width + first_column) * self.inputs,
                    output_step: self.inputs,
                    pixels,
                });
                passes.push((row_fold, column_fold, rows.collect::<Vec<_>>()));
            }
        }
        passes
    }
}

/// Folds `[outputs, inputs, 3, 3]` for a pass. `transposed` makes inputs of outputs, for the way back.
fn fold(weight: &[f32], sizes: &Sizes, rows: Fold, columns: Fold, transposed: bool) -> Weights {
    let (from, to) = if transposed { (sizes.outputs, sizes.inputs) } else { (sizes.inputs, sizes.outputs) };
    let mut folded = Weights::zeros(rows.len(), columns.len() * from, to);
    for (row, row_terms) in rows.iter().enumerate() {
        for (column, column_terms) in columns.iter().enumerate() {
            for channel in 0..from {
                for output in 0..to {
                    let (o, c) = if transposed { (channel, output) } else { (output, channel) };
                    let kernel = &weight[(o * sizes.inputs + c) * 9..][..9];
                    let terms = row_terms.iter().flat_map(|y| column_terms.iter().map(move |x| kernel[y * 3 + x]));
                    let index = folded.index(row, column * from + channel, output);
                    folded.values[index] = terms.sum();
                }
            }
        }
    }
    folded
}

/// Adds a pass's gradient to that of `[outputs, inputs, 3, 3]`.
fn unfold(folded: &Weights, sizes: &Sizes, rows: Fold, columns: Fold, weight: &mut [f32]) {
    for (row, row_terms) in rows.iter().enumerate() {
        for (column, column_terms) in columns.iter().enumerate() {
            for channel in 0..sizes.inputs {
                for output in 0..sizes.outputs {
                    let value = folded.values[folded.index(row, column * sizes.inputs + channel, output)];
                    let kernel = &mut weight[(output * sizes.inputs + channel) * 9..][..9];
                    for y in *row_terms {
                        for x in *column_terms {
                            kernel[y * 3 + x] += value;
                        }
                    }
                }
            }
        }
    }
}

/// Copies an image `[h, w, c]` into the middle of a larger one with rows of `stride` pixels, one pixel from its corner.
fn embed(image: &[f32], width: usize, channels: usize, stride: usize, to: &mut [f32]) {
    let len = width * channels;
    for (row, line) in image.chunks_exact(len).enumerate() {
        to[((row + 1) * stride + 1) * channels..][..len].copy_from_slice(line);
    }
}

fn check(x: &[f32], weight: &[f32], sizes: &Sizes) {
    assert_eq!(x.len(), sizes.count * sizes.input_len(), "the input does not have its size");
    assert_eq!(weight.len(), sizes.outputs * sizes.inputs * 9, "the weights do not have their size");
}

/// The outputs `[n, h, w, outputs]`.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], relu: bool, sizes: &Sizes) -> Vec<f32> {
    check(x, weight, sizes);
    let mut bias = bias.to_vec();
    bias.resize(padded(sizes.outputs), 0.0);
    let [_, out_width] = sizes.output();
    let passes: Vec<_> = sizes
        .passes(0, out_width)
        .into_iter()
        .map(|(rows, columns, lines)| (fold(weight, sizes, rows, columns, false), lines))
        .collect();
    let mut output = vec![0.0; sizes.count * sizes.output_len()];
    let mut input = vec![0.0; (sizes.height + 2) * (sizes.width + 2) * sizes.inputs];
    for (image, output) in x.chunks_exact(sizes.input_len()).zip(output.chunks_exact_mut(sizes.output_len())) {
        embed(image, sizes.width, sizes.inputs, sizes.width + 2, &mut input);
        for (weights, rows) in &passes {
            vector::run(&mut Correlate { input: &input, weights, bias: &bias, relu, rows, output });
        }
    }
    output
}

/// The gradients, given that of the output; where there was a ReLU, `output` is what it gave.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    output: Option<&[f32]>,
    gradient: &[f32],
    needs_input: bool,
    sizes: &Sizes,
) -> Gradients {
    check(x, weight, sizes);
    assert_eq!(gradient.len(), sizes.count * sizes.output_len(), "the gradient does not have the size of the output");
    assert!(output.is_none_or(|output| output.len() == gradient.len()), "the output does not have its size");
    let [_, out_width] = sizes.output();
    // One pixel before; after, what the last row and column of the way back meet, and a vector to read past the end.
    let (high, stride) = match sizes.upsampled {
        Some(_) => (2 * sizes.height + 2, 2 * sizes.width + 2),
        None => (sizes.height + 2, sizes.width + 2),
    };
    let mut padded_gradient = vec![0.0; high * stride * sizes.outputs + LANES];
    let mut input = vec![0.0; (sizes.height + 2) * (sizes.width + 2) * sizes.inputs];
    let mut masked = vec![0.0; sizes.output_len()];
    let passes = sizes.passes((stride + 1) * sizes.outputs, stride);
    let back: Vec<_> = if needs_input { sizes.back_passes(stride) } else { Vec::new() };
    let back: Vec<_> =
        back.into_iter().map(|(rows, columns, lines)| (fold(weight, sizes, rows, columns, true), lines)).collect();
    let mut sums: Vec<Weights> = passes
        .iter()
        .map(|(rows, columns, _)| Weights::zeros(rows.len(), columns.len() * sizes.inputs, sizes.outputs))
        .collect();
    let no_bias = vec![0.0; sizes.inputs.next_multiple_of(LANES)];
    let mut bias = vec![0.0; sizes.outputs];
    let mut to_input = needs_input.then(|| vec![0.0; x.len()]);
    for index in 0..sizes.count {
        let part = |all: &[f32], len: usize| -> std::ops::Range<usize> {
            debug_assert!((index + 1) * len <= all.len());
            index * len..(index + 1) * len
        };
        let from = &gradient[part(gradient, sizes.output_len())];
        match output {
            Some(output) => {
                let output = &output[part(output, sizes.output_len())];
                for ((masked, &gradient), &output) in masked.iter_mut().zip(from).zip(output) {
                    *masked = if output > 0.0 { gradient } else { 0.0 };
                }
            }
            None => masked.copy_from_slice(from),
        }
        for pixel in masked.chunks_exact(sizes.outputs) {
            for (sum, &value) in bias.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
        embed(&masked, out_width, sizes.outputs, stride, &mut padded_gradient);
        embed(&x[part(x, sizes.input_len())], sizes.width, sizes.inputs, sizes.width + 2, &mut input);
        for ((_, _, rows), weights) in passes.iter().zip(&mut sums) {
            vector::run(&mut Accumulate { input: &input, gradient: &padded_gradient, rows, weights });
        }
        if let Some(to_input) = &mut to_input {
            let output = &mut to_input[part(x, sizes.input_len())];
            for (weights, rows) in &back {
                let input = &padded_gradient;
                vector::run(&mut Correlate { input, weights, bias: &no_bias, relu: false, rows, output });
            }
        }
    }
    let mut to_weight = vec![0.0; weight.len()];
    for ((rows, columns, _), folded) in passes.iter().zip(&sums) {
        unfold(folded, sizes, rows, columns, &mut to_weight);
    }
    Gradients { input: to_input, weight: to_weight, bias }
}
