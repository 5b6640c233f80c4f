//! The 2×2 max-pooling of a channels-last image, with the origin of each maximum, and its backward pass.

use crate::vector::{Instructions, Kernel, NARROW_LANES, Single, Vector, WIDE_LANES};

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
    unsafe fn run<I: Instructions>(&mut self) {
        let [height, width, channels] = self.size;
        assert_eq!(self.input.len(), height * width * channels, "the input does not have its size");
        let (high, wide) = (height.div_ceil(2), width.div_ceil(2));
        assert_eq!(self.output.len(), high * wide * channels, "the output does not have its size");
        assert_eq!(self.origin.len(), high * wide * channels, "every maximum has an origin");
        for pixel in 0..high * wide {
            let (row, column) = (2 * (pixel / wide), 2 * (pixel % wide));
            // A pixel outside is replaced by one inside, which does not change the maximum.
            let (down, right) = (usize::from(row + 1 < height), usize::from(column + 1 < width));
            let at = |down: usize, right: usize| ((row + down) * width + column + right) * channels;
            let from = [at(0, 0), at(0, right), at(down, 0), if down * right == 1 { at(1, 1) } else { at(0, 0) }];
            let to = pixel * channels;
            // SAFETY: the pixels lie inside the image and the output, whose sizes were checked; the vectors cover their
            // channels.
            unsafe {
                let mut channel = 0;
                while channel + WIDE_LANES <= channels {
                    self.greatest::<I::Wide>(from, to, channel);
                    channel += WIDE_LANES;
                }
                while channel + NARROW_LANES <= channels {
                    self.greatest::<I::Narrow>(from, to, channel);
                    channel += NARROW_LANES;
                }
                while channel < channels {
                    self.greatest::<Single>(from, to, channel);
                    channel += 1;
                }
            }
        }
    }
}

impl MaxPool<'_> {
    /// The greatest of four pixels for one vector of channels.
    #[inline(always)]
    unsafe fn greatest<V: Vector>(&mut self, from: [usize; 4], to: usize, channel: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let input = self.input.as_ptr().add(channel);
            let (mut best, mut mark) = (V::load(input.add(from[0])), V::splat(0.0));
            for (which, from) in from.into_iter().enumerate().skip(1) {
                V::raise(&mut best, V::load(input.add(from)), &mut mark, V::splat(which as f32));
            }
            let best = if self.relu { best.relu() } else { best };
            best.store(self.output.as_mut_ptr().add(to + channel));
            mark.store_bytes(self.origin.as_mut_ptr().add(to + channel));
        }
    }
}

/// The backward pass of pooling and ReLU: writes the gradient into an image with a border, and adds its sum over the pixels,
/// the gradient of the bias, to `bias`.
pub struct Spread<'a> {
    /// `[rows, pixels, channels]`, of the output.
    pub gradient: &'a [f32],
    /// The output of the ReLU, if there was one.
    pub output: Option<&'a [f32]>,
    /// The origin of each maximum, if there was a pooling.
    pub origin: Option<&'a [u8]>,
    /// Height, width and channels before the pooling.
    pub size: [usize; 3],
    /// Receives the gradient before pooling and ReLU.
    pub to: &'a mut [f32],
    /// The offset of the first number in `to`, and the distance of its rows.
    pub place: (usize, usize),
    /// One for each channel, added to.
    pub bias: &'a mut [f32],
}

impl Kernel for Spread<'_> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let [height, width, channels] = self.size;
        let halved = |side: usize| if self.origin.is_some() { side.div_ceil(2) } else { side };
        let (high, wide) = (halved(height), halved(width));
        let (first, stride) = self.place;
        let len = high * wide * channels;
        assert_eq!(self.gradient.len(), len, "the gradient does not have the size of the output");
        assert!(self.output.is_none_or(|output| output.len() == len), "the output does not have its size");
        assert!(self.origin.is_none_or(|origin| origin.len() == len), "every maximum has an origin");
        assert_eq!(self.bias.len(), channels, "the bias does not have its size");
        assert!(len == 0 || first + (height - 1) * stride + width * channels <= self.to.len(), "there is no room");
        for row in 0..high {
            // SAFETY: the assertions put every pixel inside its slice; the vectors cover the channels.
            unsafe {
                let mut channel = 0;
                while channel + WIDE_LANES <= channels {
                    self.row::<I::Wide>(row, wide, channel);
                    channel += WIDE_LANES;
                }
                while channel + NARROW_LANES <= channels {
                    self.row::<I::Narrow>(row, wide, channel);
                    channel += NARROW_LANES;
                }
                while channel < channels {
                    self.row::<Single>(row, wide, channel);
                    channel += 1;
                }
            }
        }
    }
}

impl Spread<'_> {
    /// One vector of channels of one row.
    #[inline(always)]
    unsafe fn row<V: Vector>(&mut self, row: usize, wide: usize, channel: usize) {
        let [height, width, channels] = self.size;
        let (first, stride) = self.place;
        // SAFETY: passed on from the caller.
        unsafe {
            let to = self.to.as_mut_ptr().add(first + channel);
            let bias = self.bias.as_mut_ptr().add(channel);
            let mut sums = V::load(bias);
            for pixel in 0..wide {
                let at = (row * wide + pixel) * channels + channel;
                let mut gradient = V::load(self.gradient.as_ptr().add(at));
                if let Some(output) = self.output {
                    gradient = gradient.where_positive(V::load(output.as_ptr().add(at)));
                }
                sums = sums.add(gradient);
                let Some(origin) = self.origin else {
                    gradient.store(to.add(row * stride + pixel * channels));
                    continue;
                };
                let mark = V::load_bytes(origin.as_ptr().add(at));
                for which in 0..4 {
                    let (y, x) = (2 * row + which / 2, 2 * pixel + which % 2);
                    if y < height && x < width {
                        let part = gradient.where_equal(mark, V::splat(which as f32));
                        part.store(to.add(y * stride + x * channels));
                    }
                }
            }
            sums.store(bias);
        }
    }
}
