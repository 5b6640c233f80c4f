//! The inner loop of every backward pass of a convolution: accumulates the gradient of the weights.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use super::correlate::{FEW_CHANNELS, Grid, Weights, padded, with_constant};
use crate::vector::{Instructions, Kernel, NARROW_LANES, Single, Vector, WIDE_LANES};

/// Short rows are added together until they have so many pixels, so that sums are seldom loaded and stored. The rows that are read
/// again for every block of sums stay in the cache.
const PIXELS: usize = 64;

/// weights += sum over pixels of inputs × gradients: the gradient of the loss with respect to the weights of a
pub struct Accumulate<'a> {
    /// Padded images.
    pub input: &'a [f32],
    /// Gradients of the outputs, with room for a whole vector after the last.
    pub gradient: &'a [f32],
    /// The pixels to add.
    pub grid: Grid,
    /// The gradient that is added to.
    pub weights: &'a mut Weights,
}

impl Kernel for Accumulate<'_> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let Weights { rows: weight_rows, taps, channels, .. } = *self.weights;
        assert!(self.weights.values.len() >= weight_rows * taps * padded(channels));
        // Gradients are read in whole vectors.
        self.grid.check(self.weights, self.input.len(), padded(channels), self.gradient.len());
        let at_once = PIXELS.div_ceil(self.grid.pixels.max(1));
        for first in (0..self.grid.rows).step_by(at_once) {
            let rows = [first, self.grid.rows.min(first + at_once)];
            for weight_row in 0..weight_rows {
                // SAFETY: `check` has put all reads inside the slices, the assertion above all writes.
                unsafe {
                    if channels <= FEW_CHANNELS {
                        self.taps_in_registers::<I>(rows, weight_row);
                    } else {
                        self.channels_in_registers::<I>(rows, weight_row);
                    }
                }
            }
        }
    }
}

impl Accumulate<'_> {
    /// Adds the part of the rows of pixels between these two to one row of weights, with channels in the registers.
    #[inline(always)]
    unsafe fn channels_in_registers<I: Instructions>(&mut self, rows: [usize; 2], weight_row: usize) {
        let padded = padded(self.weights.channels);
        let mut channel = 0;
        // SAFETY: passed on from the caller; the vectors cover the padded channels.
        unsafe {
            while I::WIDE_REGISTERS >= 32 && channel + 2 * WIDE_LANES <= padded {
                self.blocks_of_taps::<I::Wide, 2>(rows, weight_row, channel, I::WIDE_REGISTERS);
                channel += 2 * WIDE_LANES;
            }
            while channel + WIDE_LANES <= padded {
                self.blocks_of_taps::<I::Wide, 1>(rows, weight_row, channel, I::WIDE_REGISTERS);
                channel += WIDE_LANES;
            }
            if channel < padded {
                self.blocks_of_taps::<I::Narrow, 1>(rows, weight_row, channel, 2 * I::WIDE_REGISTERS);
            }
        }
    }

    /// All taps for `N` vectors of channels, with a number of registers of the vector's size.
    #[inline(always)]
    unsafe fn blocks_of_taps<V: Vector, const N: usize>(
        &mut self,
        rows: [usize; 2],
        weight_row: usize,
        channel: usize,
        registers: usize,
    ) {
        // Blocks of nearly the same size, so that none has too few sums to hide the latency of an addition.
        let taps = self.weights.taps;
        let most = ((registers - 2) / N).min(12);
        let blocks = taps.div_ceil(most);
        for block in 0..blocks {
            let (tap, end) = (block * taps / blocks, (block + 1) * taps / blocks);
            // SAFETY: passed on from the caller; the blocks cover the taps.
            unsafe {
                with_constant!(end - tap, [1 2 3 4 5 6 7 8 9 10 11 12],
                    K => self.block::<V, K, N>(rows, weight_row, tap, channel));
            }
        }
    }

    /// `K` taps by `N` vectors of channels, over all pixels of the rows.
    #[inline(always)]
    unsafe fn block<V: Vector, const K: usize, const N: usize>(
        &mut self,
        rows: [usize; 2],
        weight_row: usize,
        tap: usize,
        channel: usize,
    ) {
        let (grid, padded) = (&self.grid, padded(self.weights.channels));
        // SAFETY: the caller has checked the grid and stays within taps and padded channels.
        unsafe {
            let to = self.weights.values.as_mut_ptr().add((weight_row * self.weights.taps + tap) * padded + channel);
            let mut sums = [[V::splat(0.0); N]; K];
            for k in 0..K {
                for n in 0..N {
                    sums[k][n] = V::load(to.add(k * padded + n * V::LANES));
                }
            }
            for row in rows[0]..rows[1] {
                let first = grid.input + row * grid.input_row + weight_row * grid.weight_row + tap;
                let input = self.input.as_ptr().add(first);
                let gradient = self.gradient.as_ptr().add(grid.output + row * grid.output_row + channel);
                for pixel in 0..grid.pixels {
                    let mut values = [V::splat(0.0); N];
                    for n in 0..N {
                        values[n] = V::load(gradient.add(pixel * grid.output_pixel + n * V::LANES));
                    }
                    for k in 0..K {
                        let factor = V::splat(*input.add(pixel * grid.input_pixel + k));
                        for n in 0..N {
                            sums[k][n] = factor.fma(values[n], sums[k][n]);
                        }
                    }
                }
            }
            for k in 0..K {
                for n in 0..N {
                    sums[k][n].store(to.add(k * padded + n * V::LANES));
                }
            }
        }
    }

    /// Adds the part of the rows of pixels between these two to one row of weights, with taps in the registers.
    #[inline(always)]
    unsafe fn taps_in_registers<I: Instructions>(&mut self, rows: [usize; 2], weight_row: usize) {
        let Weights { taps, channels, .. } = *self.weights;
        for channel in 0..channels {
            let mut tap = 0;
            // SAFETY: passed on from the caller; the blocks stay within the taps.
            unsafe {
                while tap + 6 * WIDE_LANES <= taps {
                    self.vectors::<I::Wide, 6>(rows, weight_row, channel, tap);
                    tap += 6 * WIDE_LANES;
                }
                while tap + 3 * WIDE_LANES <= taps {
                    self.vectors::<I::Wide, 3>(rows, weight_row, channel, tap);
                    tap += 3 * WIDE_LANES;
                }
                while tap + NARROW_LANES <= taps {
                    self.vectors::<I::Narrow, 1>(rows, weight_row, channel, tap);
                    tap += NARROW_LANES;
                }
                while tap < taps {
                    self.vectors::<Single, 1>(rows, weight_row, channel, tap);
                    tap += 1;
                }
            }
        }
    }

    /// `N` vectors of taps of one channel, over all pixels of the rows.
    #[inline(always)]
    unsafe fn vectors<V: Vector, const N: usize>(
        &mut self,
        rows: [usize; 2],
        weight_row: usize,
        channel: usize,
        tap: usize,
    ) {
        let grid = &self.grid;
        // SAFETY: the caller has checked the grid and leaves N vectors of taps.
        unsafe {
            let Weights { rows: weight_rows, taps, .. } = *self.weights;
            let to = self.weights.values.as_mut_ptr().add((channel * weight_rows + weight_row) * taps + tap);
            let mut sums = [V::splat(0.0); N];
            for n in 0..N {
                sums[n] = V::load(to.add(n * V::LANES));
            }
            for row in rows[0]..rows[1] {
                let first = grid.input + row * grid.input_row + weight_row * grid.weight_row + tap;
                let input = self.input.as_ptr().add(first);
                let gradient = self.gradient.as_ptr().add(grid.output + row * grid.output_row + channel);
                for pixel in 0..grid.pixels {
                    let value = V::splat(*gradient.add(pixel * grid.output_pixel));
                    for n in 0..N {
                        sums[n] = V::load(input.add(pixel * grid.input_pixel + n * V::LANES)).fma(value, sums[n]);
                    }
                }
            }
            for n in 0..N {
                sums[n].store(to.add(n * V::LANES));
            }
        }
    }
}
