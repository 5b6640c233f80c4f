//! The weights of a 3×3 convolution in the order of the loops, summed where an upsampling has neighbours read the same pixel.

use super::correlate::{Aligned, FEW_CHANNELS, Weights, padded};

/// The weights of `[outputs, inputs, 3, 3]` that are summed for each row or column of a folded kernel.
pub type Fold = &'static [&'static [usize]];

/// As they are.
pub const PLAIN: Fold = &[&[0], &[1], &[2]];
/// In the backward pass.
pub const FLIPPED: Fold = &[&[2], &[1], &[0]];
/// Of an even row or column after an upsampling.
pub const EVEN: Fold = &[&[0], &[1, 2]];
/// Of an odd one.
pub const ODD: Fold = &[&[0, 1], &[2]];
/// An even row at the end of an odd size: the row after it, which an even row in the middle shares, is outside.
pub const LAST: Fold = &[&[0], &[1]];
/// The weights with which an input pixel contributes to the outputs 2i - 1 to 2i + 2.
pub const BACK: Fold = &[&[2], &[1, 2], &[0, 1], &[0]];
/// The same for the last input of an odd size.
pub const BACK_LAST: Fold = &[&[2], &[1], &[], &[]];

/// The nine weights of every pair of channels in the order of [`Weights`], as blocks that folding adds up whole.
pub struct Taps {
    /// Three rows of weights, of three columns each.
    weights: Weights,
    /// Channels that are multiplied with the weights.
    from: usize,
}

impl Taps {
    /// Zeros, for so many channels that are multiplied with them and that they give.
    pub fn zeros(from: usize, to: usize) -> Self {
        Self { weights: Weights::zeros(3, 3 * from, to), from }
    }

    /// From `[outputs, inputs, 3, 3]`; `transposed` swaps inputs and outputs, for the backward pass.
    pub fn new(weight: &[f32], [inputs, outputs]: [usize; 2], transposed: bool) -> Self {
        let (from, to) = if transposed { (outputs, inputs) } else { (inputs, outputs) };
        let mut taps = Self::zeros(from, to);
        for (index, kernel) in weight.chunks_exact(9).enumerate() {
            let (o, i) = (index / inputs, index % inputs);
            let (channel, output) = if transposed { (o, i) } else { (i, o) };
            for (k, &value) in kernel.iter().enumerate() {
                let at = taps.weights.index(k / 3, k % 3 * from + channel, output);
                taps.weights.values[at] = value;
            }
        }
        taps
    }

    /// Calls `add` with the offsets of each block of a folded kernel and of a block that is summed into it, and their length.
    fn blocks(&self, folded: &Weights, rows: Fold, columns: Fold, mut add: impl FnMut(usize, usize, usize)) {
        let narrow = folded.channels <= FEW_CHANNELS;
        let len = if narrow { self.from } else { self.from * padded(folded.channels) };
        for output in 0..if narrow { folded.channels } else { 1 } {
            for (row, row_terms) in rows.iter().enumerate() {
                for (column, column_terms) in columns.iter().enumerate() {
                    let at = folded.index(row, column * self.from, output);
                    for y in *row_terms {
                        for x in *column_terms {
                            add(at, self.weights.index(*y, x * self.from, output), len);
                        }
                    }
                }
            }
        }
    }

    /// The weights of a pass.
    pub fn fold(&self, rows: Fold, columns: Fold) -> Weights {
        let mut folded = Weights::zeros(rows.len(), columns.len() * self.from, self.weights.channels);
        let mut values = std::mem::replace(&mut folded.values, Aligned::zeros(0));
        self.blocks(&folded, rows, columns, |at, from, len| {
            for (sum, value) in values[at..][..len].iter_mut().zip(&self.weights.values[from..][..len]) {
                *sum += value;
            }
        });
        folded.values = values;
        folded
    }

    /// Adds the gradient of a pass's folded weights to that of the weights.
    pub fn unfold(&mut self, folded: &Weights, rows: Fold, columns: Fold) {
        let mut values = std::mem::replace(&mut self.weights.values, Aligned::zeros(0));
        self.blocks(folded, rows, columns, |from, at, len| {
            for (sum, value) in values[at..][..len].iter_mut().zip(&folded.values[from..][..len]) {
                *sum += value;
            }
        });
        self.weights.values = values;
    }

    /// As `[outputs, inputs, 3, 3]`.
    pub fn into_weight(self, [inputs, outputs]: [usize; 2]) -> Vec<f32> {
        let mut weight = vec![0.0; outputs * inputs * 9];
        for (index, kernel) in weight.chunks_exact_mut(9).enumerate() {
            let (output, channel) = (index / inputs, index % inputs);
            for (k, value) in kernel.iter_mut().enumerate() {
                *value = self.weights.values[self.weights.index(k / 3, k % 3 * self.from + channel, output)];
            }
        }
        weight
    }
}
