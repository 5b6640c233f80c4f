//! The two inner loops of every convolution: correlate a row of pixels with weights, and accumulate the weights' gradient.
//!
//! Channels come last, so that the inputs of a pixel that one row of weights meets, its taps, are consecutive floats. A
//! row of output is then a small matrix product: pixels × taps by taps × output channels, with the output channels of
//! several pixels in registers. Where there are few output channels the taps fill the registers instead.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use super::vector::{Kernel, LANES, Vector};

/// Most output channels for which the taps are put into the registers instead of the channels.
pub const NARROW: usize = 4;

/// Where a row of pixels finds its inputs and outputs.
#[derive(Debug, Clone)]
pub struct Row {
    /// For each row of weights, the first input of the first pixel.
    pub inputs: Vec<usize>,
    /// Floats from one pixel's inputs to the next one's.
    pub input_step: usize,
    /// The first output (or gradient) of the first pixel.
    pub output: usize,
    /// Floats from one pixel's outputs to the next one's.
    pub output_step: usize,
    /// Number of pixels.
    pub pixels: usize,
}

impl Row {
    fn check(&self, taps: usize, input: usize, channels: usize, output: usize) {
        if self.pixels == 0 {
            return;
        }
        let last = (self.pixels - 1) * self.input_step + taps;
        assert!(self.inputs.iter().all(|start| start + last <= input), "a row reads past its input");
        assert!(self.output + (self.pixels - 1) * self.output_step + channels <= output, "a row leaves its output");
    }
}

/// Weights as the loops want them: for wide outputs `[row][tap][channel]`, channels padded to whole vectors with zeros; for
/// narrow ones `[channel][row][tap]`.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The weights.
    pub values: Vec<f32>,
    /// Rows of weights.
    pub rows: usize,
    /// Taps of each row.
    pub taps: usize,
    /// Output channels.
    pub channels: usize,
}

impl Weights {
    /// Zeros.
    pub fn zeros(rows: usize, taps: usize, channels: usize) -> Self {
        Self { values: vec![0.0; rows * taps * padded(channels)], rows, taps, channels }
    }

    /// Where one weight is.
    pub fn index(&self, row: usize, tap: usize, channel: usize) -> usize {
        if self.channels <= NARROW {
            (channel * self.rows + row) * self.taps + tap
        } else {
            (row * self.taps + tap) * padded(self.channels) + channel
        }
    }
}

/// Channels rounded up to whole vectors, unless they are narrow.
pub fn padded(channels: usize) -> usize {
    if channels <= NARROW { channels } else { channels.next_multiple_of(LANES) }
}

/// output = input ⋆ weights + bias, perhaps through a ReLU.
pub struct Correlate<'a> {
    /// Padded images.
    pub input: &'a [f32],
    /// The weights.
    pub weights: &'a Weights,
    /// One for each output channel, padded to whole vectors.
    pub bias: &'a [f32],
    /// Whether negative outputs become zero.
    pub relu: bool,
    /// The rows to compute.
    pub rows: &'a [Row],
    /// Where the outputs go.
    pub output: &'a mut [f32],
}

impl Kernel for Correlate<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&mut self) {
        let Weights { rows: weight_rows, taps, channels, ref values } = *self.weights;
        assert!(values.len() >= weight_rows * taps * padded(channels) && self.bias.len() >= padded(channels));
        let (output, room) = (self.output.as_mut_ptr(), self.output.len());
        for index in 0..self.rows.len() {
            let row = &self.rows[index];
            assert!(row.inputs.len() == weight_rows);
            row.check(taps, self.input.len(), channels, room);
            let mut pixel = 0;
            // SAFETY: `check` has put all of the row's reads and writes inside the slices, and the blocks below cover each
            // pixel once.
            unsafe {
                if channels <= NARROW {
                    while pixel + 4 <= row.pixels {
                        self.narrow::<V, 4>(row, pixel, output);
                        pixel += 4;
                    }
                    while pixel < row.pixels {
                        self.narrow::<V, 1>(row, pixel, output);
                        pixel += 1;
                    }
                    continue;
                }
                while pixel + 7 <= row.pixels {
                    self.channels::<V, 7>(row, pixel, output);
                    pixel += 7;
                }
                while pixel + 4 <= row.pixels {
                    self.channels::<V, 4>(row, pixel, output);
                    pixel += 4;
                }
                while pixel < row.pixels {
                    self.channels::<V, 1>(row, pixel, output);
                    pixel += 1;
                }
            }
        }
    }
}

impl Correlate<'_> {
    /// All channels of `P` pixels.
    #[inline(always)]
    unsafe fn channels<V: Vector, const P: usize>(&self, row: &Row, pixel: usize, output: *mut f32) {
        let padded = padded(self.weights.channels);
        let mut channel = 0;
        // SAFETY: passed on from the caller; the blocks cover the padded channels, which weights and bias have.
        unsafe {
            while channel + 2 * LANES <= padded {
                self.block::<V, P, 2>(row, pixel, channel, output);
                channel += 2 * LANES;
            }
            if channel < padded {
                self.block::<V, P, 1>(row, pixel, channel, output);
            }
        }
    }

    /// `N` vectors of channels of `P` pixels.
    #[inline(always)]
    unsafe fn block<V: Vector, const P: usize, const N: usize>(
        &self,
        row: &Row,
        pixel: usize,
        channel: usize,
        output: *mut f32,
    ) {
        let Weights { taps, channels, ref values, .. } = *self.weights;
        let padded = padded(channels);
        // SAFETY: the caller has checked the row; `channel + N · LANES` is at most the padded number of channels, and what
        // is stored stops at `channels`.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; P];
            for n in 0..N {
                let bias = V::load(self.bias.as_ptr().add(channel + n * LANES));
                for sum in &mut sums {
                    sum[n] = bias;
                }
            }
            for (index, &start) in row.inputs.iter().enumerate() {
                let input = self.input.as_ptr().add(start + pixel * row.input_step);
                let weights = values.as_ptr().add(index * taps * padded + channel);
                for tap in 0..taps {
                    let mut weight = [V::splat(0.0); N];
                    for n in 0..N {
                        weight[n] = V::load(weights.add(tap * padded + n * LANES));
                    }
                    for p in 0..P {
                        let value = V::splat(*input.add(p * row.input_step + tap));
                        for n in 0..N {
                            sums[p][n] = value.fma(weight[n], sums[p][n]);
                        }
                    }
                }
            }
            for p in 0..P {
                let to = output.add(row.output + (pixel + p) * row.output_step + channel);
                for n in 0..N {
                    let value = if self.relu { sums[p][n].relu() } else { sums[p][n] };
                    let room = channels - (channel + n * LANES).min(channels);
                    if room >= LANES {
                        value.store(to.add(n * LANES));
                    } else {
                        let lanes = value.lanes();
                        for lane in 0..room {
                            *to.add(n * LANES + lane) = lanes[lane];
                        }
                    }
                }
            }
        }
    }

    /// Every channel of `P` pixels as a scalar product over the taps.
    #[inline(always)]
    unsafe fn narrow<V: Vector, const P: usize>(&self, row: &Row, pixel: usize, output: *mut f32) {
        let Weights { rows, taps, channels, ref values } = *self.weights;
        let whole = taps / LANES * LANES;
        // SAFETY: the caller has checked the row; reads of taps stop at `taps`.
        unsafe {
            for channel in 0..channels {
                let mut sums = [V::splat(0.0); P];
                let mut rest = [self.bias[channel]; P];
                for (index, &start) in row.inputs.iter().enumerate() {
                    let input = self.input.as_ptr().add(start + pixel * row.input_step);
                    let weights = values.as_ptr().add((channel * rows + index) * taps);
                    for tap in (0..whole).step_by(LANES) {
                        let weight = V::load(weights.add(tap));
                        for p in 0..P {
                            sums[p] = V::load(input.add(p * row.input_step + tap)).fma(weight, sums[p]);
                        }
                    }
                    for tap in whole..taps {
                        for p in 0..P {
                            rest[p] += *input.add(p * row.input_step + tap) * *weights.add(tap);
                        }
                    }
                }
                for p in 0..P {
                    let value = sums[p].sum() + rest[p];
                    let value = if self.relu && value < 0.0 { 0.0 } else { value };
                    *output.add(row.output + (pixel + p) * row.output_step + channel) = value;
                }
            }
        }
    }
}

/// weights += sum over pixels of inputs × gradients: how the loss changes with the weights of a [`Correlate`].
pub struct Accumulate<'a> {
    /// Padded images.
    pub input: &'a [f32],
    /// Gradients of the outputs, with room for a whole vector after the last.
    pub gradient: &'a [f32],
    /// The rows to add.
    pub rows: &'a [Row],
    /// Where they are added.
    pub weights: &'a mut Weights,
}

impl Kernel for Accumulate<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&mut self) {
        let Weights { rows: weight_rows, taps, channels, .. } = *self.weights;
        assert!(self.weights.values.len() >= weight_rows * taps * padded(channels));
        for index in 0..self.rows.len() {
            let row = &self.rows[index];
            assert!(row.inputs.len() == weight_rows);
            // Gradients are read in whole vectors.
            row.check(taps, self.input.len(), padded(channels), self.gradient.len());
            for weight_row in 0..weight_rows {
                // SAFETY: `check` has put all of the row's reads inside the slices, the assertion above its writes.
                unsafe {
                    if channels <= NARROW {
                        Self::narrow::<V>(self.input, self.gradient, row, weight_row, self.weights);
                    } else {
                        Self::wide::<V>(self.input, self.gradient, row, weight_row, self.weights);
                    }
                }
            }
        }
    }
}

impl Accumulate<'_> {
    #[inline(always)]
    unsafe fn wide<V: Vector>(input: &[f32], gradient: &[f32], row: &Row, weight_row: usize, to: &mut Weights) {
        let padded = padded(to.channels);
        for channel in (0..padded).step_by(2 * LANES) {
            let mut tap = 0;
            // SAFETY: passed on from the caller; the blocks cover taps and padded channels.
            unsafe {
                if channel + 2 * LANES <= padded {
                    while tap + 6 <= to.taps {
                        Self::block::<V, 6, 2>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 6;
                    }
                    while tap + 3 <= to.taps {
                        Self::block::<V, 3, 2>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 3;
                    }
                    while tap < to.taps {
                        Self::block::<V, 1, 2>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 1;
                    }
                } else {
                    while tap + 12 <= to.taps {
                        Self::block::<V, 12, 1>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 12;
                    }
                    while tap + 3 <= to.taps {
                        Self::block::<V, 3, 1>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 3;
                    }
                    while tap < to.taps {
                        Self::block::<V, 1, 1>(input, gradient, row, weight_row, to, tap, channel);
                        tap += 1;
                    }
                }
            }
        }
    }

    /// `K` taps by `N` vectors of channels, over all pixels of the row.
    #[inline(always)]
    unsafe fn block<V: Vector, const K: usize, const N: usize>(
        input: &[f32],
        gradient: &[f32],
        row: &Row,
        weight_row: usize,
        to: &mut Weights,
        tap: usize,
        channel: usize,
    ) {
        let padded = padded(to.channels);
        // SAFETY: the caller has checked the row and stays within taps and padded channels.
        unsafe {
            let to = to.values.as_mut_ptr().add((weight_row * to.taps + tap) * padded + channel);
            let mut sums = [[V::splat(0.0); N]; K];
            for k in 0..K {
                for n in 0..N {
                    sums[k][n] = V::load(to.add(k * padded + n * LANES));
                }
            }
            let input = input.as_ptr().add(row.inputs[weight_row] + tap);
            let gradient = gradient.as_ptr().add(row.output + channel);
            for pixel in 0..row.pixels {
                let mut values = [V::splat(0.0); N];
                for n in 0..N {
                    values[n] = V::load(gradient.add(pixel * row.output_step + n * LANES));
                }
                for k in 0..K {
                    let factor = V::splat(*input.add(pixel * row.input_step + k));
                    for n in 0..N {
                        sums[k][n] = factor.fma(values[n], sums[k][n]);
                    }
                }
            }
            for k in 0..K {
                for n in 0..N {
                    sums[k][n].store(to.add(k * padded + n * LANES));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn narrow<V: Vector>(input: &[f32], gradient: &[f32], row: &Row, weight_row: usize, to: &mut Weights) {
        let (taps, rows) = (to.taps, to.rows);
        for channel in 0..to.channels {
            let to = &mut to.values[(channel * rows + weight_row) * taps..][..taps];
            let mut tap = 0;
            // SAFETY: passed on from the caller; the blocks stay within the taps.
            unsafe {
                while tap + 6 * LANES <= taps {
                    Self::vectors::<V, 6>(input, gradient, row, weight_row, channel, &mut to[tap..], tap);
                    tap += 6 * LANES;
                }
                while tap + LANES <= taps {
                    Self::vectors::<V, 1>(input, gradient, row, weight_row, channel, &mut to[tap..], tap);
                    tap += LANES;
                }
                for tap in tap..taps {
                    let input = input.as_ptr().add(row.inputs[weight_row] + tap);
                    for pixel in 0..row.pixels {
                        let value = *gradient.as_ptr().add(row.output + pixel * row.output_step + channel);
                        to[tap] += value * *input.add(pixel * row.input_step);
                    }
                }
            }
        }
    }

    /// `N` vectors of taps of one channel, over all pixels of the row.
    #[inline(always)]
    unsafe fn vectors<V: Vector, const N: usize>(
        input: &[f32],
        gradient: &[f32],
        row: &Row,
        weight_row: usize,
        channel: usize,
        to: &mut [f32],
        tap: usize,
    ) {
        assert!(to.len() >= N * LANES);
        // SAFETY: the caller has checked the row and leaves N vectors of taps.
        unsafe {
            let mut sums = [V::splat(0.0); N];
            for n in 0..N {
                sums[n] = V::load(to.as_ptr().add(n * LANES));
            }
            let input = input.as_ptr().add(row.inputs[weight_row] + tap);
            let gradient = gradient.as_ptr().add(row.output + channel);
            for pixel in 0..row.pixels {
                let value = V::splat(*gradient.add(pixel * row.output_step));
                for n in 0..N {
                    sums[n] = V::load(input.add(pixel * row.input_step + n * LANES)).fma(value, sums[n]);
                }
            }
            for n in 0..N {
                sums[n].store(to.as_mut_ptr().add(n * LANES));
            }
        }
    }
}
