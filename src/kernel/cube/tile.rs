//! The tile of a unit in the convolution kernels: two rows and four columns of a vector of output channels. A unit reads four
//! rows and six columns of the input, and uses each weight eight times.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::super::convolution;

/// Pairs of columns of a tile.
pub const PAIRS: usize = 2;
/// Pixels of a tile: those of the first row, then those of the second.
pub const PIXELS: usize = 4 * PAIRS;

const fn row_of(pixel: usize) -> usize {
    pixel / (2 * PAIRS)
}

const fn column_of(pixel: usize) -> usize {
    pixel % (2 * PAIRS)
}

/// The index in a tile of a pixel of a pair of columns: 0 and 1 in the first row, 2 and 3 below.
pub const fn of_pair(pair: usize, pixel: usize) -> usize {
    (pixel / 2) * 2 * PAIRS + 2 * pair + pixel % 2
}

/// Sizes of the image that is convolved (after an upsampling, before a pooling), and its channels.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub struct Sizes {
    /// Images.
    pub count: usize,
    /// Rows that are convolved.
    pub height: usize,
    /// Columns that are convolved.
    pub width: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
}

impl Sizes {
    /// The sizes of a convolution on tensors.
    pub fn of(sizes: &convolution::Sizes) -> Self {
        let &convolution::Sizes { count, inputs, outputs, .. } = sizes;
        let [height, width] = sizes.convolved();
        Self { count, height, width, inputs, outputs }
    }

    /// The same as an argument of a kernel.
    pub fn launch(self) -> SizesLaunch {
        SizesLaunch::new(self.count, self.height, self.width, self.inputs, self.outputs)
    }

    /// The number of tiles for `channels` output channels, `vector` in each.
    pub fn blocks(self, channels: usize, vector: usize) -> usize {
        self.count * self.height.div_ceil(2) * self.width.div_ceil(2 * PAIRS) * (channels / vector)
    }
}

/// Image, pair of rows, block of columns and vector of channels of a unit's tile.
#[cube]
pub fn block(position: usize, sizes: &Sizes, #[comptime] vector: usize) -> (usize, usize, usize, usize) {
    let vectors = sizes.outputs / vector;
    let (rows, columns) = (sizes.height.div_ceil(2), sizes.width.div_ceil(comptime!(2 * PAIRS)));
    let channel = position % vectors;
    let place = position / vectors;
    (place / (columns * rows), (place / columns) % rows, place % columns, channel)
}

/// The rows (or columns) that a tile reads, from the one before its first to the one after its last, clamped to the image.
/// After an upsampling, those of the small image.
#[cube]
fn neighbours(block: usize, size: usize, #[comptime] pairs: usize, #[comptime] upsampled: bool) -> Sequence<usize> {
    let mut places = Sequence::<usize>::new();
    // Positions plus one, so that the one before the first is not negative.
    let start = if upsampled { block * pairs } else { block * comptime!(2 * pairs) };
    let last = if upsampled { size.div_ceil(2) } else { size };
    #[unroll]
    for seen in 0..comptime!(2 * pairs + 2) {
        let next = start + comptime!(if upsampled { seen.div_ceil(2) } else { seen });
        if comptime!(seen == 0) {
            places.push(select(next >= 1, next - 1, 0usize));
        } else if comptime!(seen == 1 || upsampled && seen == 2) {
            // Always inside; both rows of a pair are the same row of the small image.
            places.push(next - 1);
        } else {
            places.push(select(next <= last, next - 1, last - 1));
        }
    }
    places
}

/// Whether the rows (or columns) that a tile reads are inside the image.
#[cube]
fn insides(block: usize, size: usize, #[comptime] pairs: usize) -> Sequence<bool> {
    let mut inside = Sequence::<bool>::new();
    #[unroll]
    for seen in 0..comptime!(2 * pairs + 2) {
        let next = block * comptime!(2 * pairs) + seen;
        inside.push(next >= 1 && next <= size);
    }
    inside
}

/// Adds the products of a tile's input pixels with the weights `[3, 3, inputs, outputs]`, flipped if `turned`, to the sums of
/// the tile.
#[cube]
pub fn add_products<E: Float, NI: Size, NO: Size>(
    x: &[Vector<E, NI>],
    weight: &[Vector<E, NO>],
    sums: &mut Array<Vector<f32, NO>>,
    sizes: &Sizes,
    position: (usize, usize, usize, usize),
    #[comptime] upsampled: bool,
    #[comptime] turned: bool,
) {
    let (image, row, column, channel) = position;
    let rows = neighbours(row, sizes.height, 1usize, upsampled);
    let columns = neighbours(column, sizes.width, PAIRS, upsampled);
    let rows_inside = insides(row, sizes.height, 1usize);
    let columns_inside = insides(column, sizes.width, PAIRS);
    let mut height = sizes.height;
    let mut width = sizes.width;
    if upsampled {
        height = sizes.height.div_ceil(2);
        width = sizes.width.div_ceil(2);
    }
    let vectors = sizes.inputs / NI::value();
    let stride = sizes.outputs / NO::value();
    let wide = comptime!(2 * PAIRS + 2);
    for vector in 0..vectors {
        let mut patch = Array::<Vector<f32, NI>>::new(comptime!(4 * wide));
        #[unroll]
        for r in 0..4usize {
            let start = (image * height + rows[r]) * width;
            #[unroll]
            for c in 0..wide {
                let value = Vector::<f32, NI>::cast_from(x[(start + columns[c]) * vectors + vector]);
                patch[r * wide + c] = select(rows_inside[r] && columns_inside[c], value, Vector::<f32, NI>::new(0.0));
            }
        }
        #[unroll]
        for lane in 0..NI::value() {
            let input = vector * NI::value() + lane;
            #[unroll]
            for tap in 0..9usize {
                let from = comptime!(if turned { 8 - tap } else { tap });
                let factor = Vector::<f32, NO>::cast_from(weight[(from * sizes.inputs + input) * stride + channel]);
                #[unroll]
                for pixel in 0..PIXELS {
                    let seen = comptime!((row_of(pixel) + tap / 3) * wide + column_of(pixel) + tap % 3);
                    sums[pixel] = fma(Vector::<f32, NO>::new(patch[seen].extract(lane)), factor, sums[pixel]);
                }
            }
        }
    }
}

/// max(x, 0), NaN for NaN.
#[cube]
pub fn activate<N: Size>(sum: Vector<f32, N>, #[comptime] relu: bool) -> Vector<f32, N> {
    let mut activated = sum;
    if relu {
        #[unroll]
        for lane in 0..N::value() {
            let value = sum.extract(lane);
            activated.insert(lane, select(value < 0.0, 0.0, value));
        }
    }
    activated
}

/// Writes the sums of a tile, as far as it is inside the image.
#[cube]
pub fn store<E: Float, N: Size>(
    output: &mut [Vector<E, N>],
    sums: &Array<Vector<f32, N>>,
    sizes: &Sizes,
    position: (usize, usize, usize, usize),
    #[comptime] relu: bool,
) {
    let (image, row, column, channel) = position;
    #[unroll]
    for pixel in 0..PIXELS {
        let y = 2 * row + comptime!(row_of(pixel));
        let x = column * comptime!(2 * PAIRS) + comptime!(column_of(pixel));
        if y < sizes.height && x < sizes.width {
            let place = ((image * sizes.height + y) * sizes.width + x) * (sizes.outputs / N::value()) + channel;
            output[place] = Vector::cast_from(activate(sums[pixel], relu));
        }
    }
}
