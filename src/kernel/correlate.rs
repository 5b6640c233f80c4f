//! The inner loop of every convolution: correlate rows of pixels with weights.
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

/// Where rows of pixels find their inputs and outputs, in floats from the start of their slices.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Rows of pixels.
    pub rows: usize,
    /// Pixels of a row.
    pub pixels: usize,
    /// The first input of the first pixel.
    pub input: usize,
    /// From the inputs of a row of pixels to those of the next.
    pub input_row: usize,
    /// From the inputs of a pixel to those of the next.
    pub input_pixel: usize,
    /// From what a row of weights meets to what the next one meets.
    pub weight_row: usize,
    /// The first output (or gradient) of the first pixel.
    pub output: usize,
    /// From the outputs of a row of pixels to those of the next.
    pub output_row: usize,
    /// From the outputs of a pixel to those of the next.
    pub output_pixel: usize,
}

impl Grid {
    /// Asserts that all inputs and outputs lie inside slices of these lengths.
    pub fn check(&self, weights: &Weights, input: usize, channels: usize, output: usize) {
        if self.rows == 0 || self.pixels == 0 {
            return;
        }
        let (rows, pixels) = (self.rows - 1, self.pixels - 1);
        let last = self.input + rows * self.input_row + pixels * self.input_pixel;
        let last = last + weights.rows.saturating_sub(1) * self.weight_row + weights.taps;
        assert!(last <= input, "a convolution reads past its input");
        let last = self.output + rows * self.output_row + pixels * self.output_pixel + channels;
        assert!(last <= output, "a convolution leaves its output");
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
    /// The pixels to compute.
    pub grid: Grid,
    /// Where the outputs go.
    pub output: &'a mut [f32],
}

/// Runs `$call` with the constant that `$value` equals.
macro_rules! with_constant {
    ($value:expr, [$($constant:literal)*], $name:ident => $call:expr) => {
        match $value {
            $($constant => {
                const $name: usize = $constant;
                $call
            })*
            _ => unreachable!("blocks have one of the sizes listed"),
        }
    };
}
pub(super) use with_constant;

impl Kernel for Correlate<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&mut self) {
        let Weights { rows: weight_rows, taps, channels, ref values } = *self.weights;
        let padded = padded(channels);
        assert!(values.len() >= weight_rows * taps * padded && self.bias.len() >= padded);
        self.grid.check(self.weights, self.input.len(), channels, self.output.len());
        let output = self.output.as_mut_ptr();
        for row in 0..self.grid.rows {
            let mut pixel = 0;
            // SAFETY: `check` has put all reads and writes inside the slices, and the blocks below cover each pixel once.
            unsafe {
                while pixel < self.grid.pixels {
                    // Blocks of nearly the same size: enough sums to hide the latency of an addition, few enough to stay
                    // in registers.
                    let left = self.grid.pixels - pixel;
                    let most = if channels <= NARROW { LANES } else { 7 };
                    let block = left.div_ceil(left.div_ceil(most));
                    if channels <= NARROW {
                        with_constant!(block, [1 2 3 4 5 6 7 8], P => self.narrow::<V, P>(row, pixel, output));
                    } else {
                        with_constant!(block, [1 2 3 4 5 6 7], P => self.channels::<V, P>(row, pixel, output));
                    }
                    pixel += block;
                }
            }
        }
    }
}

impl Correlate<'_> {
    /// All channels of `P` pixels.
    #[inline(always)]
    unsafe fn channels<V: Vector, const P: usize>(&self, row: usize, pixel: usize, output: *mut f32) {
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
        row: usize,
        pixel: usize,
        channel: usize,
        output: *mut f32,
    ) {
        let grid = &self.grid;
        let Weights { rows, taps, channels, ref values } = *self.weights;
        let padded = padded(channels);
        // SAFETY: the caller has checked the grid; `channel + N · LANES` is at most the padded number of channels, and what
        // is stored stops at `channels`.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; P];
            for n in 0..N {
                let bias = V::load(self.bias.as_ptr().add(channel + n * LANES));
                for p in 0..P {
                    sums[p][n] = bias;
                }
            }
            let first = grid.input + row * grid.input_row + pixel * grid.input_pixel;
            for weight_row in 0..rows {
                let input = self.input.as_ptr().add(first + weight_row * grid.weight_row);
                let weights = values.as_ptr().add(weight_row * taps * padded + channel);
                for tap in 0..taps {
                    let mut weight = [V::splat(0.0); N];
                    for n in 0..N {
                        weight[n] = V::load(weights.add(tap * padded + n * LANES));
                    }
                    for p in 0..P {
                        let value = V::splat(*input.add(p * grid.input_pixel + tap));
                        for n in 0..N {
                            sums[p][n] = value.fma(weight[n], sums[p][n]);
                        }
                    }
                }
            }
            let first = grid.output + row * grid.output_row + pixel * grid.output_pixel + channel;
            for p in 0..P {
                let to = output.add(first + p * grid.output_pixel);
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

    /// Every channel of `P` pixels, at most as many as a vector has lanes, as a scalar product over the taps.
    #[inline(always)]
    unsafe fn narrow<V: Vector, const P: usize>(&self, row: usize, pixel: usize, output: *mut f32) {
        let grid = &self.grid;
        let Weights { rows, taps, channels, ref values } = *self.weights;
        let whole = taps / LANES * LANES;
        let first_input = grid.input + row * grid.input_row + pixel * grid.input_pixel;
        let first_output = grid.output + row * grid.output_row + pixel * grid.output_pixel;
        // SAFETY: the caller has checked the grid; reads of taps stop at `taps`.
        unsafe {
            for channel in 0..channels {
                let mut sums = [V::splat(0.0); LANES];
                let mut rest = [self.bias[channel]; LANES];
                for weight_row in 0..rows {
                    let input = self.input.as_ptr().add(first_input + weight_row * grid.weight_row);
                    let weights = values.as_ptr().add((channel * rows + weight_row) * taps);
                    for tap in (0..whole).step_by(LANES) {
                        let weight = V::load(weights.add(tap));
                        for p in 0..P {
                            sums[p] = V::load(input.add(p * grid.input_pixel + tap)).fma(weight, sums[p]);
                        }
                    }
                    for tap in whole..taps {
                        for p in 0..P {
                            rest[p] += *input.add(p * grid.input_pixel + tap) * *weights.add(tap);
                        }
                    }
                }
                let sums = V::sums(sums).add(V::load(rest.as_ptr()));
                let lanes = if self.relu { sums.relu() } else { sums }.lanes();
                for p in 0..P {
                    *output.add(first_output + p * grid.output_pixel + channel) = lanes[p];
                }
            }
        }
    }
}
