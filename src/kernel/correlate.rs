//! The inner loop of every convolution: correlates rows of pixels with weights.
//!
//! Channels come last, so that the inputs of a pixel under one row of weights, its taps, are consecutive floats. A
//! row of output is then a small matrix product: pixels × taps by taps × output channels, with the output channels of
//! several pixels in registers. Where there are few output channels the taps fill the registers instead.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use std::ops::{Deref, DerefMut};

use crate::vector::{Instructions, Kernel, NARROW_LANES, NarrowVector, Vector, WIDE_LANES, WideVector};

/// Most output channels for which the taps are put into the registers instead of the channels.
pub const FEW_CHANNELS: usize = 4;

/// Offsets and strides of the inputs and outputs of rows of pixels, in floats from the start of their slices.
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
    /// From the inputs of a row of weights to those of the next.
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

/// Floats that start at a cache line, so that whole vectors of weights do not straddle two.
#[derive(Debug, Clone)]
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; WIDE_LANES]);

impl Aligned {
    /// Zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; WIDE_LANES]); len.div_ceil(WIDE_LANES)], len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: lines are whole arrays of floats without gaps, and hold at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the lines are borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Weights in the layout of the loops: for wide outputs `[row][tap][channel]`, channels padded to whole vectors with zeros; for
/// narrow ones `[channel][row][tap]`.
#[derive(Debug, Clone)]
pub struct Weights {
    /// The weights.
    pub values: Aligned,
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
        Self { values: Aligned::zeros(rows * taps * padded(channels)), rows, taps, channels }
    }

    /// The index of one weight.
    pub fn index(&self, row: usize, tap: usize, channel: usize) -> usize {
        if self.channels <= FEW_CHANNELS {
            (channel * self.rows + row) * self.taps + tap
        } else {
            (row * self.taps + tap) * padded(self.channels) + channel
        }
    }
}

/// Channels rounded up to whole narrow vectors, unless there are few.
pub fn padded(channels: usize) -> usize {
    if channels <= FEW_CHANNELS { channels } else { channels.next_multiple_of(NARROW_LANES) }
}

/// output = input ⋆ weights + bias, perhaps with a ReLU.
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
    /// The outputs.
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
    unsafe fn run<I: Instructions>(&mut self) {
        let Weights { rows: weight_rows, taps, channels, ref values } = *self.weights;
        let padded = padded(channels);
        assert!(values.len() >= weight_rows * taps * padded && self.bias.len() >= padded);
        self.grid.check(self.weights, self.input.len(), channels, self.output.len());
        let output = self.output.as_mut_ptr();
        for row in 0..self.grid.rows {
            // SAFETY: `check` has put all reads and writes inside the slices, and the blocks cover each pixel and each padded
            // channel, which weights and bias have, once.
            unsafe {
                if channels <= FEW_CHANNELS {
                    for channel in 0..channels {
                        self.row_of_scalar_products::<I>(row, channel, output);
                    }
                    continue;
                }
                let mut channel = 0;
                // Two wide vectors of channels share every input, if the registers hold them for enough pixels.
                while I::WIDE_REGISTERS >= 32 && channel + 2 * WIDE_LANES <= padded {
                    self.row_of_blocks::<I::Wide, 2>(row, channel, I::WIDE_REGISTERS, output);
                    channel += 2 * WIDE_LANES;
                }
                while channel + WIDE_LANES <= padded {
                    self.row_of_blocks::<I::Wide, 1>(row, channel, I::WIDE_REGISTERS, output);
                    channel += WIDE_LANES;
                }
                if channel < padded {
                    self.row_of_blocks::<I::Narrow, 1>(row, channel, 2 * I::WIDE_REGISTERS, output);
                }
            }
        }
    }
}

impl Correlate<'_> {
    /// `N` vectors of channels of a row of pixels, with a number of registers of the vector's size.
    #[inline(always)]
    unsafe fn row_of_blocks<V: Vector, const N: usize>(
        &self,
        row: usize,
        channel: usize,
        registers: usize,
        output: *mut f32,
    ) {
        // Enough sums to hide the latency of an addition, few enough to stay in registers.
        let most = ((registers - 2) / N).min(7);
        let mut pixel = 0;
        while pixel < self.grid.pixels {
            let left = self.grid.pixels - pixel;
            // SAFETY: passed on from the caller.
            unsafe {
                if left >= 14 && 14 * N + N < registers {
                    self.block::<V, 14, N>(row, pixel, channel, output);
                    pixel += 14;
                    continue;
                }
                // Blocks of nearly the same size.
                let block = left.div_ceil(left.div_ceil(most));
                with_constant!(block, [1 2 3 4 5 6 7], P => self.block::<V, P, N>(row, pixel, channel, output));
                pixel += block;
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
        // SAFETY: the caller has checked the grid; the vectors end within the padded channels, and what is stored stops at
        // `channels`.
        unsafe {
            let mut sums = [[V::splat(0.0); N]; P];
            for n in 0..N {
                let bias = V::load(self.bias.as_ptr().add(channel + n * V::LANES));
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
                        weight[n] = V::load(weights.add(tap * padded + n * V::LANES));
                    }
                    for p in 0..P {
                        let value = V::splat(*input.add(p * grid.input_pixel + tap));
                        for n in 0..N {
                            sums[p][n] = value.fma(weight[n], sums[p][n]);
                        }
                    }
                }
            }
            if self.relu {
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n] = sums[p][n].relu();
                    }
                }
            }
            let to = output.add(grid.output + row * grid.output_row + pixel * grid.output_pixel + channel);
            // Two loops, each simple enough to be unrolled: the sums stay in registers only in unrolled loops.
            if channel + N * V::LANES <= channels {
                for p in 0..P {
                    for n in 0..N {
                        sums[p][n].store(to.add(p * grid.output_pixel + n * V::LANES));
                    }
                }
            } else {
                let room = channels - channel;
                for p in 0..P {
                    for n in 0..N {
                        let count = room.saturating_sub(n * V::LANES).min(V::LANES);
                        sums[p][n].store_first(to.wrapping_add(p * grid.output_pixel + n * V::LANES), count);
                    }
                }
            }
        }
    }

    /// One channel of a row of pixels, as scalar products over the taps.
    #[inline(always)]
    unsafe fn row_of_scalar_products<I: Instructions>(&self, row: usize, channel: usize, output: *mut f32) {
        let mut pixel = 0;
        while pixel < self.grid.pixels {
            let block = (self.grid.pixels - pixel).min(NARROW_LANES);
            // SAFETY: passed on from the caller.
            unsafe {
                with_constant!(block, [1 2 3 4 5 6 7 8],
                    P => self.scalar_products::<I, P>(row, pixel, channel, output));
            }
            pixel += block;
        }
    }

    /// One channel of `P` pixels, at most as many as a narrow vector has lanes.
    #[inline(always)]
    unsafe fn scalar_products<I: Instructions, const P: usize>(
        &self,
        row: usize,
        pixel: usize,
        channel: usize,
        output: *mut f32,
    ) {
        let grid = &self.grid;
        let Weights { rows, taps, ref values, .. } = *self.weights;
        let wide = taps / WIDE_LANES * WIDE_LANES;
        let whole = taps / NARROW_LANES * NARROW_LANES;
        let first_input = grid.input + row * grid.input_row + pixel * grid.input_pixel;
        let first_output = grid.output + row * grid.output_row + pixel * grid.output_pixel;
        // SAFETY: the caller has checked the grid; reads of taps stop at `taps`.
        unsafe {
            let mut wide_sums = [I::Wide::splat(0.0); P];
            let mut sums = [I::Narrow::splat(0.0); NARROW_LANES];
            let mut rest = [self.bias[channel]; NARROW_LANES];
            for weight_row in 0..rows {
                let input = self.input.as_ptr().add(first_input + weight_row * grid.weight_row);
                let weights = values.as_ptr().add((channel * rows + weight_row) * taps);
                for tap in (0..wide).step_by(WIDE_LANES) {
                    let weight = I::Wide::load(weights.add(tap));
                    for p in 0..P {
                        wide_sums[p] = I::Wide::load(input.add(p * grid.input_pixel + tap)).fma(weight, wide_sums[p]);
                    }
                }
                for tap in (wide..whole).step_by(NARROW_LANES) {
                    let weight = I::Narrow::load(weights.add(tap));
                    for p in 0..P {
                        sums[p] = I::Narrow::load(input.add(p * grid.input_pixel + tap)).fma(weight, sums[p]);
                    }
                }
                for tap in whole..taps {
                    for p in 0..P {
                        rest[p] += *input.add(p * grid.input_pixel + tap) * *weights.add(tap);
                    }
                }
            }
            for p in 0..P {
                sums[p] = sums[p].add(wide_sums[p].fold());
            }
            let sums = I::Narrow::sums(sums).add(I::Narrow::load(rest.as_ptr()));
            let sums = if self.relu { sums.relu() } else { sums };
            let mut lanes = [0.0; NARROW_LANES];
            sums.store(lanes.as_mut_ptr());
            for p in 0..P {
                *output.add(first_output + p * grid.output_pixel + channel) = lanes[p];
            }
        }
    }
}
