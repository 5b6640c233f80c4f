//! The 3×3 convolution on tensors of CubeCL.
//!
//! Pooling and activation follow in registers: a unit holds each 2×2 that a pooling reduces. Sums are 32-bit floats, also of
//! 16-bit numbers.
#![expect(clippy::eq_op, reason = "what is not a number is not equal to itself")]

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype as empty;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::convolution::{Method, Resize};
use super::super::extension::{convolution_sizes, output_shape};
use super::tile::{PAIRS, PIXELS, Sizes, activate, add_products, block, of_pair, store};
use super::{address_type, element, unit_cubes, vector_size};

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
                // NaN is greater than any number.
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

/// Arguments of both kernels.
struct Arguments {
    x: CubeTensor,
    /// `[3, 3, inputs, outputs]`.
    weight: CubeTensor,
    bias: CubeTensor,
    sizes: Sizes,
    /// Of the output.
    shape: Shape,
    /// Channels that are read at once: of the input and of the output.
    vectors: [usize; 2],
    /// Units that have work.
    blocks: usize,
}

impl Arguments {
    fn of(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, resize: Resize) -> Self {
        assert_eq!([weight.dtype, bias.dtype], [x.dtype; 2], "layers compute as precisely as their input is");
        let sizes =
            convolution_sizes(x.meta.shape(), weight.meta.shape(), bias.meta.shape(), resize, Method::Direct.into());
        let shape = output_shape(&sizes);
        let sizes = Sizes::of(&sizes);
        let [x, bias] = [x, bias].map(into_contiguous);
        let weight = into_contiguous(permute(weight, &[2, 3, 1, 0]));
        let vectors = [sizes.inputs, sizes.outputs].map(vector_size);
        Self { x, weight, bias, sizes, shape, vectors, blocks: sizes.blocks(sizes.outputs, vectors[1]) }
    }
}

/// A convolution, perhaps of an upsampled input: x `[n, h, w, inputs]`, weight `[outputs, inputs, 3, 3]` and bias to
/// `[n, h, w, outputs]`.
pub fn convolve(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool, resize: Resize) -> CubeTensor {
    let Arguments { x, weight, bias, sizes, shape, vectors: [ni, no], blocks } = Arguments::of(x, weight, bias, resize);
    let output = empty(x.client.clone(), x.device.clone(), shape, x.dtype);
    if blocks == 0 {
        return output;
    }
    let (client, dtype) = (x.client.clone(), x.dtype);
    let (cubes, dim) = unit_cubes(&client, blocks);
    // SAFETY: places in x are clamped to it, those in the weights and the bias follow from the channels, which are checked, and
    // those in the output are inside by a condition.
    unsafe {
        convolve_kernel::launch_unchecked(
            &client,
            cubes,
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

/// A convolution and its 2×2 max-pooling, `[n, ceil(h / 2), ceil(w / 2), outputs]`, with the pixel that each maximum came from:
/// 2 · row + column.
pub fn convolve_pool(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool) -> (CubeTensor, CubeTensor) {
    let Arguments { x, weight, bias, sizes, shape, vectors: [ni, no], blocks } =
        Arguments::of(x, weight, bias, Resize::MaxPool);
    let new = |dtype| empty(x.client.clone(), x.device.clone(), shape.clone(), dtype);
    let (output, origin) = (new(x.dtype), new(DType::I32));
    if blocks == 0 {
        return (output, origin);
    }
    let (client, dtype) = (x.client.clone(), x.dtype);
    let (cubes, dim) = unit_cubes(&client, blocks);
    // SAFETY: as in `convolve`.
    unsafe {
        convolve_pool_kernel::launch_unchecked(
            &client,
            cubes,
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
