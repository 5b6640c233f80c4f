//! The 2×2 maximum of a channels-last image, where each maximum came from, and the way back.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use super::vector::{Kernel, LANES, Vector};

/// Maxima of each 2×2 pixels of an image; odd sizes keep their last row and column. NaN counts as greater than
/// everything; of equals the first is taken.
pub struct MaxPool<'a> {
    /// `[height, width, channels]`
    pub input: &'a [f32],
    /// Height, width and channels.
    pub size: [usize; 3],
    /// Whether negative maxima become zero.
    pub relu: bool,
    /// `[ceil(height / 2), ceil(width / 2), channels]`
    pub output: &'a mut [f32],
    /// For each maximum, which of its pixels it was: 2 · row + column.
    pub origin: &'a mut [u8],
}

impl Kernel for MaxPool<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&mut self) {
        let [height, width, channels] = self.size;
        assert_eq!(self.input.len(), height * width * channels, "the input does not have its size");
        let (high, wide) = (height.div_ceil(2), width.div_ceil(2));
        assert_eq!(self.output.len(), high * wide * channels, "the output does not have its size");
        for pixel in 0..high * wide {
            let (row, column) = (2 * (pixel / wide), 2 * (pixel % wide));
            // What lies outside is replaced by the first pixel, which never exceeds itself.
            let (down, right) = (usize::from(row + 1 < height), usize::from(column + 1 < width));
            let input = |down: usize, right: usize| {
                &self.input[((row + down) * width + column + right) * channels..][..channels]
            };
            let inputs = [
                input(0, 0),
                input(0, right),
                input(down, 0),
                if down * right == 1 { input(1, 1) } else { input(0, 0) },
            ];
            let output = &mut self.output[pixel * channels..][..channels];
            let origin = &mut self.origin[pixel * channels..][..channels];
            let mut channel = 0;
            while channel + LANES <= channels {
                greatest::<LANES>(inputs, channel, self.relu, output, origin);
                channel += LANES;
            }
            for channel in channel..channels {
                greatest::<1>(inputs, channel, self.relu, output, origin);
            }
        }
    }
}

/// The greatest of four, for `W` channels.
#[inline(always)]
fn greatest<const W: usize>(inputs: [&[f32]; 4], channel: usize, relu: bool, output: &mut [f32], origin: &mut [u8]) {
    let part = |slice: &[f32]| -> [f32; W] { std::array::from_fn(|lane| slice[channel + lane]) };
    let mut best = part(inputs[0]);
    let mut from = [0_u32; W];
    for which in 1..4 {
        let value = part(inputs[which]);
        for lane in 0..W {
            // NaN is greater than any number, and is not replaced.
            let greater = value[lane] > best[lane] || (value[lane].is_nan() && !best[lane].is_nan());
            best[lane] = if greater { value[lane] } else { best[lane] };
            from[lane] = if greater { which as u32 } else { from[lane] };
        }
    }
    for lane in 0..W {
        let value = best[lane];
        output[channel + lane] = if relu && value < 0.0 { 0.0 } else { value };
        origin[channel + lane] = from[lane] as u8;
    }
}

/// The gradient of a layer's output on its way back through ReLU and pooling, into an image with room around it, and
/// its sum over the pixels, which is the gradient of the bias.
pub struct Spread<'a> {
    /// `[rows, pixels, channels]`, of what came out.
    pub gradient: &'a [f32],
    /// What the ReLU gave, if there was one.
    pub output: Option<&'a [f32]>,
    /// Where each maximum came from, if there was a pooling.
    pub origin: Option<&'a [u8]>,
    /// Height, width and channels before the pooling.
    pub size: [usize; 3],
    /// Where the gradient before pooling and ReLU goes.
    pub to: &'a mut [f32],
    /// The place of the first number, and the distance of rows, in `to`.
    pub place: (usize, usize),
    /// One for each channel, added to.
    pub bias: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    unsafe fn run<V: Vector>(&mut self) {
        let [_, _, channels] = self.size;
        let (high, wide) = self.pooled();
        let (first, stride) = self.place;
        let len = high * wide * channels;
        assert_eq!(self.gradient.len(), len, "the gradient does not have the size of the output");
        assert!(self.output.is_none_or(|output| output.len() == len), "the output does not have its size");
        assert!(self.origin.is_none_or(|origin| origin.len() == len), "every maximum has an origin");
        assert_eq!(self.bias.len(), channels, "the bias does not have its size");
        for row in 0..high {
            let mut channel = 0;
            while channel + LANES <= channels {
                self.row::<LANES>(row, wide, channel, first, stride);
                channel += LANES;
            }
            for channel in channel..channels {
                self.row::<1>(row, wide, channel, first, stride);
            }
        }
    }
}

impl Spread<'_> {
    /// Rows and columns of the gradient.
    #[inline(always)]
    fn pooled(&self) -> (usize, usize) {
        let [height, width, _] = self.size;
        if self.origin.is_some() { (height.div_ceil(2), width.div_ceil(2)) } else { (height, width) }
    }

    /// `W` channels of one row.
    #[inline(always)]
    fn row<const W: usize>(&mut self, row: usize, wide: usize, channel: usize, first: usize, stride: usize) {
        let [height, width, channels] = self.size;
        let mut sums = [0.0_f32; W];
        for pixel in 0..wide {
            let at = (row * wide + pixel) * channels + channel;
            let mut gradient: [f32; W] = std::array::from_fn(|lane| self.gradient[at..at + W][lane]);
            if let Some(output) = self.output {
                let output = &output[at..at + W];
                for lane in 0..W {
                    gradient[lane] = if output[lane] > 0.0 { gradient[lane] } else { 0.0 };
                }
            }
            for lane in 0..W {
                sums[lane] += gradient[lane];
            }
            let Some(origin) = self.origin else {
                let to = first + row * stride + pixel * channels + channel;
                self.to[to..to + W].copy_from_slice(&gradient);
                continue;
            };
            let origin = &origin[at..at + W];
            for which in 0..4_u8 {
                let (y, x) = (2 * row + usize::from(which / 2), 2 * pixel + usize::from(which % 2));
                if y < height && x < width {
                    let to = first + y * stride + x * channels + channel;
                    let to = &mut self.to[to..to + W];
                    for lane in 0..W {
                        to[lane] = if origin[lane] == which { gradient[lane] } else { 0.0 };
                    }
                }
            }
        }
        for lane in 0..W {
            self.bias[channel + lane] += sums[lane];
        }
    }
}
