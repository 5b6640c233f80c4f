//! The 3×3 convolution and its gradients on tensors of CubeCL.
//!
//! A unit makes two rows and four columns of a few channels: it reads four rows and six columns of the input, and uses each
//! weight eight times. What comes after the convolution stays in its registers: a pooling takes the greatest of each 2×2, and
//! the way back through an upsampling adds them up. Sums are 32-bit floats, also of 16-bit numbers. Nothing is added
//! atomically, so that the same input gives the same bits.
#![expect(clippy::eq_op, reason = "what is not a number is not equal to itself")]

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype as empty, zeros};
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};

use super::super::convolution::{self, Resize};
use super::super::extension::{convolution_sizes, output_shape};
use super::sum::{COLUMNS, column_cubes, column_sum};
use super::{UNITS, address_type, element, half, input_of, unpooled as unpooled_shape, vector_size};

/// Cubes that share the sum over all pixels: enough for every core of a GPU, few enough that their sums are soon added.
const CUBES: usize = 1024;

/// Pairs of columns that a unit makes.
const PAIRS: usize = 2;
/// Pixels that a unit makes: those of the first row and those of the second.
const PIXELS: usize = 4 * PAIRS;

const fn row_of(pixel: usize) -> usize {
    pixel / (2 * PAIRS)
}

const fn column_of(pixel: usize) -> usize {
    pixel % (2 * PAIRS)
}

/// The first pixel of a pair of columns, the one beside it, and the two below.
const fn of_pair(pair: usize, pixel: usize) -> usize {
    (pixel / 2) * 2 * PAIRS + 2 * pair + pixel % 2
}

/// Sizes of the image that is convolved (behind an upsampling, before a pooling), and its channels.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Sizes {
    count: usize,
    height: usize,
    width: usize,
    inputs: usize,
    outputs: usize,
}

impl Sizes {
    fn of(sizes: &convolution::Sizes) -> Self {
        let &convolution::Sizes { count, inputs, outputs, .. } = sizes;
        let [height, width] = sizes.convolved();
        Self { count, height, width, inputs, outputs }
    }

    fn launch(self) -> SizesLaunch {
        SizesLaunch::new(self.count, self.height, self.width, self.inputs, self.outputs)
    }

    /// Units that make two rows and some columns of `channels`, `vector` at a time.
    fn blocks(self, channels: usize, vector: usize) -> usize {
        self.count * self.height.div_ceil(2) * self.width.div_ceil(2 * PAIRS) * (channels / vector)
    }
}

/// Which image, pair of rows, block of columns and vector of channels a unit makes.
#[cube]
fn block(position: usize, sizes: &Sizes, #[comptime] vector: usize) -> (usize, usize, usize, usize) {
    let vectors = sizes.outputs / vector;
    let (rows, columns) = (sizes.height.div_ceil(2), sizes.width.div_ceil(comptime!(2 * PAIRS)));
    let channel = position % vectors;
    let place = position / vectors;
    (place / (columns * rows), (place / columns) % rows, place % columns, channel)
}

/// Where the rows (or columns) are that some pairs of them see, from the one before the first to the one after the last; the
/// nearest one that there is for those that are outside. After an upsampling, those of the small image.
#[cube]
fn neighbours(block: usize, size: usize, #[comptime] pairs: usize, #[comptime] upsampled: bool) -> Sequence<usize> {
    let mut places = Sequence::<usize>::new();
    // One more than the place, so that there is one before the first.
    let start = if upsampled { block * pairs } else { block * comptime!(2 * pairs) };
    let last = if upsampled { size.div_ceil(2) } else { size };
    #[unroll]
    for seen in 0..comptime!(2 * pairs + 2) {
        let next = start + comptime!(if upsampled { seen.div_ceil(2) } else { seen });
        if comptime!(seen == 0) {
            places.push(select(next >= 1, next - 1, 0usize));
        } else if comptime!(seen == 1 || upsampled && seen == 2) {
            // Always there, and both of a pair lie on the same row of the small image.
            places.push(next - 1);
        } else {
            places.push(select(next <= last, next - 1, last - 1));
        }
    }
    places
}

/// Whether these rows (or columns) are inside.
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

/// Adds to the sums of two rows and some columns the products of the pixels around them with the weights
/// `[3, 3, inputs, outputs]`, or with those turned around.
#[cube]
fn add_products<E: Float, NI: Size, NO: Size>(
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
fn activate<N: Size>(sum: Vector<f32, N>, #[comptime] relu: bool) -> Vector<f32, N> {
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

/// Writes the sums of two rows and some columns where they are inside.
#[cube]
fn store<E: Float, N: Size>(
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

#[cube(launch_unchecked, address_type = "dynamic")]
fn convolve_kernel<E: Float, NI: Size, NO: Size>(
    x: &[Vector<E, NI>],
    weight: &[Vector<E, NO>],
    bias: &[Vector<E, NO>],
    output: &mut [Vector<E, NO>],
    sizes: Sizes,
    blocks: usize,
    #[comptime] upsampled: bool,
    #[comptime] relu: bool,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= blocks {
        terminate!();
    }
    let position = block(ABSOLUTE_POS, &sizes, NO::value());
    let (_, _, _, channel) = position;
    let mut sums = Array::<Vector<f32, NO>>::new(PIXELS);
    let start = Vector::<f32, NO>::cast_from(bias[channel]);
    #[unroll]
    for pixel in 0..PIXELS {
        sums[pixel] = start;
    }
    add_products(x, weight, &mut sums, &sizes, position, upsampled, false);
    store(output, &sums, &sizes, position, relu);
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn convolve_pool_kernel<E: Float, NI: Size, NO: Size>(
    x: &[Vector<E, NI>],
    weight: &[Vector<E, NO>],
    bias: &[Vector<E, NO>],
    output: &mut [Vector<E, NO>],
    origin: &mut [Vector<i32, NO>],
    sizes: Sizes,
    blocks: usize,
    #[comptime] relu: bool,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= blocks {
        terminate!();
    }
    let position = block(ABSOLUTE_POS, &sizes, NO::value());
    let (image, row, column, channel) = position;
    let mut sums = Array::<Vector<f32, NO>>::new(PIXELS);
    let start = Vector::<f32, NO>::cast_from(bias[channel]);
    #[unroll]
    for pixel in 0..PIXELS {
        sums[pixel] = start;
    }
    add_products(x, weight, &mut sums, &sizes, position, false, false);
    let pooled_columns = sizes.width.div_ceil(2);
    #[unroll]
    for pair in 0..PAIRS {
        let place = column * PAIRS + pair;
        let mut greatest = sums[2 * pair];
        let mut from = Vector::<i32, NO>::new(0);
        #[unroll]
        for pixel in 1..4usize {
            let inside =
                2 * row + comptime!(pixel / 2) < sizes.height && 2 * place + comptime!(pixel % 2) < sizes.width;
            let sum = sums[comptime!(of_pair(pair, pixel))];
            #[unroll]
            for lane in 0..NO::value() {
                let (value, best) = (sum.extract(lane), greatest.extract(lane));
                // What is not a number is the greatest.
                let taken = inside && (value > best || value != value);
                greatest.insert(lane, select(taken, value, best));
                from.insert(lane, select(taken, comptime!(pixel as i32).runtime(), from.extract(lane)));
            }
        }
        if place < pooled_columns {
            let line = image * sizes.height.div_ceil(2) + row;
            let at = (line * pooled_columns + place) * (sizes.outputs / NO::value()) + channel;
            output[at] = Vector::cast_from(activate(greatest, relu));
            origin[at] = from;
        }
    }
}

/// The gradient of the input: the gradient of the output convolved with the weights turned around, and added up for each two
/// rows and columns that an upsampling made of one.
#[cube(launch_unchecked, address_type = "dynamic")]
fn back_kernel<E: Float, NI: Size, NO: Size>(
    gradient: &[Vector<E, NI>],
    weight: &[Vector<E, NO>],
    output: &mut [Vector<E, NO>],
    sizes: Sizes,
    blocks: usize,
    #[comptime] upsampled: bool,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS >= blocks {
        terminate!();
    }
    let position = block(ABSOLUTE_POS, &sizes, NO::value());
    let (image, row, column, channel) = position;
    let mut sums = Array::<Vector<f32, NO>>::new(PIXELS);
    let zero = Vector::<f32, NO>::new(0.0);
    #[unroll]
    for pixel in 0..PIXELS {
        sums[pixel] = zero;
    }
    add_products(gradient, weight, &mut sums, &sizes, position, false, true);
    if upsampled {
        let small_columns = sizes.width.div_ceil(2);
        #[unroll]
        for pair in 0..PAIRS {
            let place = column * PAIRS + pair;
            let mut total = zero;
            #[unroll]
            for pixel in 0..4usize {
                let inside =
                    2 * row + comptime!(pixel / 2) < sizes.height && 2 * place + comptime!(pixel % 2) < sizes.width;
                let sum = sums[comptime!(of_pair(pair, pixel))];
                total += select(inside, sum, zero);
            }
            if place < small_columns {
                let line = image * sizes.height.div_ceil(2) + row;
                let at = (line * small_columns + place) * (sizes.outputs / NO::value()) + channel;
                output[at] = Vector::cast_from(total);
            }
        }
    } else {
        store(output, &sums, &sizes, position, false);
    }
}

/// The gradient before a pooling and its ReLU: where a maximum came from, that of the maximum; elsewhere nothing.
#[cube(launch_unchecked, address_type = "dynamic")]
fn unpool_kernel<E: Float, N: Size>(
    gradient: &[Vector<E, N>],
    output: &[Vector<E, N>],
    origin: &[Vector<i32, N>],
    unpooled: &mut [Vector<E, N>],
    sizes: Sizes,
    #[comptime] relu: bool,
    #[define(E)] _element: ElemType,
) {
    let vectors = sizes.outputs / N::value();
    if ABSOLUTE_POS >= sizes.count * sizes.height * sizes.width * vectors {
        terminate!();
    }
    let (channel, place) = (ABSOLUTE_POS % vectors, ABSOLUTE_POS / vectors);
    let (x, line) = (place % sizes.width, place / sizes.width);
    let (y, image) = (line % sizes.height, line / sizes.height);
    let (rows, columns) = (sizes.height.div_ceil(2), sizes.width.div_ceil(2));
    let pooled = ((image * rows + y / 2) * columns + x / 2) * vectors + channel;
    let here = i32::cast_from(2 * (y % 2) + x % 2);
    let (gradients, maxima, origins) = (gradient[pooled], output[pooled], origin[pooled]);
    let mut value = Vector::<E, N>::new(E::new(0.0));
    #[unroll]
    for lane in 0..N::value() {
        let mut passes = origins.extract(lane) == here;
        if relu {
            passes = passes && maxima.extract(lane) > E::new(0.0);
        }
        value.insert(lane, select(passes, gradients.extract(lane), E::new(0.0)));
    }
    unpooled[ABSOLUTE_POS] = value;
}

/// A part of the gradients of weights and bias, `[cubes, 9 inputs + 1, outputs]`. A unit adds up, along some rows, the products
/// of one input channel's nine pixels with the gradients of some output channels; units of a cube with the same channels and
/// other rows (lanes) then add up what they have.
#[cube(launch_unchecked, address_type = "dynamic")]
fn weights_kernel<E: Float, N: Size>(
    x: &[E],
    gradient: &[Vector<E, N>],
    partial: &mut [Vector<f32, N>],
    sizes: Sizes,
    tiles: usize,
    lanes: usize,
    #[comptime] units: usize,
    #[comptime] upsampled: bool,
    #[define(E)] _element: ElemType,
) {
    let vectors = sizes.outputs / N::value();
    let unit = UNIT_POS as usize;
    let (tile, lane) = (CUBE_POS_Y as usize * tiles + unit % tiles, unit / tiles);
    let (input, channel) = (tile % sizes.inputs, tile / sizes.inputs);
    let mut height = sizes.height;
    let mut width = sizes.width;
    if upsampled {
        height = sizes.height.div_ceil(2);
        width = sizes.width.div_ceil(2);
    }
    let mut sums = Array::<Vector<f32, N>>::new(10usize);
    #[unroll]
    for tap in 0..10usize {
        sums[tap] = Vector::<f32, N>::new(0.0);
    }
    let works = channel < vectors && lane < lanes;
    let end = select(works, sizes.count * sizes.height, 0usize);
    let mut line = CUBE_POS_X as usize * lanes + lane;
    while line < end {
        let (row, image) = (line % sizes.height, line / sizes.height);
        let mut starts = Sequence::<usize>::new();
        let mut inside = Sequence::<bool>::new();
        #[unroll]
        for r in 0..3usize {
            let there = row + r >= 1 && row + r <= sizes.height;
            let mut at = select(there, row + r - 1, row);
            if upsampled {
                at /= 2;
            }
            starts.push((image * height + at) * width);
            inside.push(there);
        }
        // The nine pixels around the one whose gradient is next.
        let mut window = Array::<f32>::new(9usize);
        #[unroll]
        for r in 0..3usize {
            let value = f32::cast_from(x[starts[r] * sizes.inputs + input]);
            window[3 * r + 1] = 0.0;
            window[3 * r + 2] = select(inside[r], value, 0.0);
        }
        for column in 0..sizes.width {
            let there = column + 1 < sizes.width;
            let mut next = select(there, column + 1, column);
            if upsampled {
                next /= 2;
            }
            #[unroll]
            for r in 0..3usize {
                let value = f32::cast_from(x[(starts[r] + next) * sizes.inputs + input]);
                window[3 * r] = window[3 * r + 1];
                window[3 * r + 1] = window[3 * r + 2];
                window[3 * r + 2] = select(there && inside[r], value, 0.0);
            }
            let factor = Vector::<f32, N>::cast_from(gradient[(line * sizes.width + column) * vectors + channel]);
            #[unroll]
            for tap in 0..9usize {
                sums[tap] = fma(Vector::<f32, N>::new(window[tap]), factor, sums[tap]);
            }
            sums[9] += factor;
        }
        line += CUBE_COUNT_X as usize * lanes;
    }
    let mut shared = Shared::<[Vector<f32, N>]>::new_slice(units);
    #[unroll]
    for tap in 0..10usize {
        shared[unit] = sums[tap];
        sync_cube();
        let mut active = lanes;
        while active > 1 {
            let half = active.div_ceil(2);
            if lane + half < active {
                let other = shared[unit + half * tiles];
                shared[unit] += other;
            }
            sync_cube();
            active = half;
        }
        let first = CUBE_POS_X as usize * (9 * sizes.inputs + 1);
        if works && lane == 0 {
            if comptime!(tap < 9) {
                partial[(first + tap * sizes.inputs + input) * vectors + channel] = shared[unit];
            } else if input == 0 {
                partial[(first + 9 * sizes.inputs) * vectors + channel] = shared[unit];
            }
        }
        sync_cube();
    }
}

/// Adds up the parts, and puts weights in the order `[outputs, inputs, 3, 3]`.
#[cube(launch_unchecked, address_type = "dynamic")]
fn gather_kernel<E: Float>(
    partial: &[f32],
    weight: &mut [E],
    bias: &mut [E],
    parts: usize,
    inputs: usize,
    outputs: usize,
    #[comptime] lines: usize,
    #[define(E)] _element: ElemType,
) {
    let columns = (9 * inputs + 1) * outputs;
    let column = CUBE_POS * COLUMNS + UNIT_POS_X as usize;
    let sum = column_sum::<f32>(partial, parts, columns, column, lines);
    if UNIT_POS_Y == 0 && column < columns {
        let (output, row) = (column % outputs, column / outputs);
        if row == 9 * inputs {
            bias[output] = E::cast_from(sum);
        } else {
            weight[(output * inputs + row % inputs) * 9 + row / inputs] = E::cast_from(sum);
        }
    }
}

/// The sizes of a convolution of these, and the shape of what it gives.
fn checked(x: &CubeTensor, weight: &CubeTensor, bias: &CubeTensor, resize: Resize) -> (Sizes, Shape) {
    assert_eq!([weight.dtype, bias.dtype], [x.dtype; 2], "layers compute as precisely as their input is");
    let sizes = convolution_sizes(x.meta.shape(), weight.meta.shape(), bias.meta.shape(), resize);
    (Sizes::of(&sizes), output_shape(&sizes))
}

/// A convolution with what comes before it: x `[n, h, w, inputs]`, weight `[outputs, inputs, 3, 3]` and bias to
/// `[n, h, w, outputs]`.
pub fn convolve(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool, resize: Resize) -> CubeTensor {
    let (sizes, shape) = checked(&x, &weight, &bias, resize);
    let Sizes { inputs, outputs, .. } = sizes;
    let [x, bias] = [x, bias].map(into_contiguous);
    let weight = into_contiguous(permute(weight, &[2, 3, 1, 0]));
    let output = empty(x.client.clone(), x.device.clone(), shape, x.dtype);
    let (ni, no) = (vector_size(inputs), vector_size(outputs));
    let blocks = sizes.blocks(outputs, no);
    if blocks == 0 {
        return output;
    }
    let (client, dtype) = (x.client.clone(), x.dtype);
    let dim = CubeDim::new_1d(UNITS);
    // SAFETY: places in x are clamped to it, those in the weights and the bias follow from the channels, which are checked, and
    // those in the output are inside by a condition.
    unsafe {
        convolve_kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, blocks, dim),
            dim,
            address_type(&[&x, &weight, &output]),
            ni,
            no,
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            bias.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            sizes.launch(),
            blocks,
            matches!(resize, Resize::Upsample(_)),
            relu,
            element(dtype),
        );
    }
    output
}

/// A convolution and the greatest of each 2×2 pixels of it, `[n, ceil(h / 2), ceil(w / 2), outputs]`, with which of the four
/// that was (the lower bit is its column).
pub fn convolve_pool(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool) -> (CubeTensor, CubeTensor) {
    let (sizes, shape) = checked(&x, &weight, &bias, Resize::MaxPool);
    let Sizes { inputs, outputs, .. } = sizes;
    let [x, bias] = [x, bias].map(into_contiguous);
    let weight = into_contiguous(permute(weight, &[2, 3, 1, 0]));
    let new = |dtype| empty(x.client.clone(), x.device.clone(), shape.clone(), dtype);
    let (output, origin) = (new(x.dtype), new(DType::I32));
    let (ni, no) = (vector_size(inputs), vector_size(outputs));
    let blocks = sizes.blocks(outputs, no);
    if blocks == 0 {
        return (output, origin);
    }
    let (client, dtype) = (x.client.clone(), x.dtype);
    let dim = CubeDim::new_1d(UNITS);
    // SAFETY: as in `convolve`.
    unsafe {
        convolve_pool_kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, blocks, dim),
            dim,
            address_type(&[&x, &weight, &output]),
            ni,
            no,
            x.into_buffer_arg(),
            weight.into_buffer_arg(),
            bias.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            origin.clone().into_buffer_arg(),
            sizes.launch(),
            blocks,
            relu,
            element(dtype),
        );
    }
    (output, origin)
}

/// The gradient before a pooling to `output`, and before its ReLU if it had one: `[n, h, w, channels]` for these rows and columns.
pub fn unpool(
    gradient: CubeTensor,
    output: CubeTensor,
    origin: CubeTensor,
    [height, width]: [usize; 2],
    relu: bool,
) -> CubeTensor {
    let [count, rows, columns, outputs] = output.meta.shape().dims();
    assert_eq!([rows, columns], half([height, width]), "is not pooled from {height}×{width}");
    let shapes = [&gradient, &origin].map(|tensor| tensor.meta.shape());
    assert_eq!(shapes, [output.meta.shape(); 2], "each maximum has a gradient and an origin");
    assert_eq!([gradient.dtype, origin.dtype], [output.dtype, DType::I32], "gradients are as precise as the layer");
    let shape = unpooled_shape(gradient.meta.shape(), [height, width]);
    let [gradient, output, origin] = [gradient, output, origin].map(into_contiguous);
    let unpooled = empty(gradient.client.clone(), gradient.device.clone(), shape, gradient.dtype);
    let vector = vector_size(outputs);
    let sizes = Sizes { count, height, width, inputs: outputs, outputs };
    let units = count * height * width * outputs / vector;
    if units == 0 {
        return unpooled;
    }
    let (client, dtype) = (gradient.client.clone(), gradient.dtype);
    let dim = CubeDim::new_1d(UNITS);
    // SAFETY: units past the end return, and halves of places inside are inside the pooled image.
    unsafe {
        unpool_kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, units, dim),
            dim,
            address_type(&[&unpooled]),
            vector,
            gradient.into_buffer_arg(),
            output.into_buffer_arg(),
            origin.into_buffer_arg(),
            unpooled.clone().into_buffer_arg(),
            sizes.launch(),
            relu,
            element(dtype),
        );
    }
    unpooled
}

/// The gradient of the input of a convolution, from that of what it computed, `[n, h, w, outputs]`.
pub fn input_gradient(gradient: CubeTensor, weight: CubeTensor, upsampled: bool) -> CubeTensor {
    let [count, height, width, outputs] = gradient.meta.shape().dims();
    let [_, inputs, ..] = weight.meta.shape().dims::<4>();
    assert_eq!(weight.meta.shape().dims(), [outputs, inputs, 3, 3], "the gradient has {outputs} channels");
    assert_eq!(gradient.dtype, weight.dtype, "gradients are as precise as the layer");
    let shape = input_of(gradient.meta.shape(), weight.meta.shape(), upsampled);
    let gradient = into_contiguous(gradient);
    let weight = into_contiguous(permute(weight, &[2, 3, 0, 1]));
    // What goes in here came out there.
    let sizes = Sizes { count, height, width, inputs: outputs, outputs: inputs };
    let output = empty(gradient.client.clone(), gradient.device.clone(), shape, gradient.dtype);
    let (ni, no) = (vector_size(outputs), vector_size(inputs));
    let blocks = sizes.blocks(inputs, no);
    if blocks == 0 {
        return output;
    }
    let (client, dtype) = (gradient.client.clone(), gradient.dtype);
    let dim = CubeDim::new_1d(UNITS);
    // SAFETY: as in `convolve`.
    unsafe {
        back_kernel::launch_unchecked(
            &client,
            calculate_cube_count_elemwise(&client, blocks, dim),
            dim,
            address_type(&[&gradient, &weight, &output]),
            ni,
            no,
            gradient.into_buffer_arg(),
            weight.into_buffer_arg(),
            output.clone().into_buffer_arg(),
            sizes.launch(),
            blocks,
            upsampled,
            element(dtype),
        );
    }
    output
}

/// The gradients of weights `[outputs, inputs, 3, 3]` and bias, from the input of a convolution and the gradient of what it
/// computed, `[n, h, w, outputs]`.
pub fn weight_gradients(x: CubeTensor, gradient: CubeTensor, upsampled: bool) -> (CubeTensor, CubeTensor) {
    let [count, height, width, outputs] = gradient.meta.shape().dims();
    let [rows, columns] = if upsampled { half([height, width]) } else { [height, width] };
    let [.., inputs] = x.meta.shape().dims::<4>();
    assert_eq!(x.meta.shape().dims(), [count, rows, columns, inputs], "is not the input of {height}×{width} pixels");
    assert_eq!(gradient.dtype, x.dtype, "gradients are as precise as the layer");
    let [x, gradient] = [x, gradient].map(into_contiguous);
    let (client, device, dtype) = (x.client.clone(), x.device.clone(), x.dtype);
    let shapes = (Shape::new([outputs, inputs, 3, 3]), Shape::new([outputs]));
    let lines = count * height;
    if lines * width * inputs * outputs == 0 {
        return (zeros(device.clone(), shapes.0, dtype), zeros(device, shapes.1, dtype));
    }
    let vector = vector_size(outputs);
    let all_tiles = inputs * (outputs / vector);
    let tiles = all_tiles.min(UNITS as usize);
    let (groups, lanes) = (all_tiles.div_ceil(tiles), UNITS as usize / tiles);
    let parts = (CUBES / groups).clamp(1, lines.div_ceil(lanes));
    let partial = Shape::new([parts, 9 * inputs + 1, outputs]);
    let partial = empty(client.clone(), device.clone(), partial, DType::F32);
    let sizes = Sizes { count, height, width, inputs, outputs };
    // SAFETY: rows and columns of x are clamped to it, and units without channels or rows of their own write nothing.
    unsafe {
        weights_kernel::launch_unchecked(
            &client,
            CubeCount::Static(parts as u32, groups as u32, 1),
            CubeDim::new_1d(UNITS),
            address_type(&[&x, &gradient, &partial]),
            vector,
            x.into_buffer_arg(),
            gradient.into_buffer_arg(),
            partial.clone().into_buffer_arg(),
            sizes.launch(),
            tiles,
            lanes,
            UNITS as usize,
            upsampled,
            element(dtype),
        );
    }
    let new = |shape| empty(client.clone(), device.clone(), shape, dtype);
    let (weight, bias) = (new(shapes.0), new(shapes.1));
    let (cubes, dim) = column_cubes(&client, (9 * inputs + 1) * outputs);
    // SAFETY: columns past the end are neither read nor written.
    unsafe {
        gather_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&partial]),
            partial.into_buffer_arg(),
            weight.clone().into_buffer_arg(),
            bias.clone().into_buffer_arg(),
            parts,
            inputs,
            outputs,
            dim.y as usize,
            element(dtype),
        );
    }
    (weight, bias)
}
