//! The gradient of the input of a 3×3 convolution, and the backward pass of a pooling, on tensors of CubeCL.
//!
//! The gradient is a convolution too; that of an upsampling adds up each 2×2 in a unit's registers.

use burn::tensor::DType;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype as empty;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::tile::{PAIRS, PIXELS, Sizes, add_products, block, of_pair, store};
use super::{address_type, element, half, input_of, unit_cubes, unpooled as unpooled_shape, vector_size};

/// The gradient of the input: that of the output convolved with the flipped weights and, after an upsampling, summed over each
/// 2×2.
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

/// The gradient before a pooling and its ReLU: that of the maximum at its origin, 0 elsewhere.
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

/// The gradient before a pooling that gave `output`, and before its ReLU if it had one: `[n, height, width, channels]`.
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
    let (cubes, dim) = unit_cubes(&client, units);
    // SAFETY: units past the end return, and halves of places inside are inside the pooled image.
    unsafe {
        unpool_kernel::launch_unchecked(
            &client,
            cubes,
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

/// The gradient of the input of a convolution, from that of its output before pooling, `[n, h, w, outputs]`.
pub fn input_gradient(gradient: CubeTensor, weight: CubeTensor, upsampled: bool) -> CubeTensor {
    let [count, height, width, outputs] = gradient.meta.shape().dims();
    let [_, inputs, ..] = weight.meta.shape().dims::<4>();
    assert_eq!(weight.meta.shape().dims(), [outputs, inputs, 3, 3], "the gradient has {outputs} channels");
    assert_eq!(gradient.dtype, weight.dtype, "gradients are as precise as the layer");
    let shape = input_of(gradient.meta.shape(), weight.meta.shape(), upsampled);
    let gradient = into_contiguous(gradient);
    let weight = into_contiguous(permute(weight, &[2, 3, 0, 1]));
    // Inputs and outputs change places in the backward pass.
    let sizes = Sizes { count, height, width, inputs: outputs, outputs: inputs };
    let output = empty(gradient.client.clone(), gradient.device.clone(), shape, gradient.dtype);
    let (ni, no) = (vector_size(outputs), vector_size(inputs));
    let blocks = sizes.blocks(inputs, no);
    if blocks == 0 {
        return output;
    }
    let (client, dtype) = (gradient.client.clone(), gradient.dtype);
    let (cubes, dim) = unit_cubes(&client, blocks);
    // SAFETY: as in `convolve`.
    unsafe {
        back_kernel::launch_unchecked(
            &client,
            cubes,
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
