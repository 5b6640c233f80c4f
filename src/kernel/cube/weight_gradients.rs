//! The gradients of the weights and the bias of a 3×3 convolution on tensors of CubeCL. There are no atomic additions, so that
//! the same input gives the same bits.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype as empty, zeros};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::{CubeCount, CubeDim};

use super::sum::{COLUMNS, column_cubes, column_sum};
use super::tile::Sizes;
use super::{UNITS, address_type, element, half, vector_size};

/// Cubes that share the sum over all pixels: enough for every core of a GPU, few enough to add their partial sums quickly.
const CUBES: usize = 1024;

/// Partial gradients of weights and bias, `[cubes, 9 inputs + 1, outputs]`. A unit sums, along some rows, the products of one
/// input channel's nine pixels with the gradients of some output channels; units of a cube with the same channels and other
/// rows (lanes) then add up their sums.
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
        // The nine input pixels around the pixel whose gradient is next.
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

/// Adds up the partial gradients, and puts weights in the order `[outputs, inputs, 3, 3]`.
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

/// The gradients of weights `[outputs, inputs, 3, 3]` and bias, from the input of a convolution and the gradient of its
/// output before pooling, `[n, h, w, outputs]`.
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
