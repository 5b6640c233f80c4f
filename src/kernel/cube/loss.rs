//! A loss, summed over all elements, together with its gradient, on tensors of CubeCL.

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype as empty, zeros};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::{CubeCount, CubeDim};

use super::super::extension::ElementwiseLoss;
use super::sum::sum_rows;
use super::{UNITS as CUBE_UNITS, address_type};

const UNITS: usize = CUBE_UNITS as usize;
/// Most cubes; each has its partial sum.
const CUBES: usize = 1024;

#[cube(launch_unchecked, address_type = "dynamic")]
fn loss_kernel(
    logits: &[f32],
    targets: &[f32],
    gradient: &mut [f32],
    partial: &mut [f32],
    len: usize,
    scale: f32,
    #[comptime] squared: bool,
    #[comptime] of_sigmoid: bool,
) {
    let mut sum = f32::new(0.0);
    let mut place = ABSOLUTE_POS;
    while place < len {
        let (z, x) = (logits[place], targets[place]);
        if of_sigmoid {
            // exp(-|z|), which is at most 1.
            let small = (0.0 - z.abs()).exp();
            let sigmoid = select(z < 0.0, small, 1.0) / (1.0 + small);
            let difference = sigmoid - x;
            if squared {
                sum += difference * difference;
                gradient[place] = 2.0 * difference * sigmoid * (1.0 - sigmoid) * scale;
            } else {
                sum += select(z < 0.0, 0.0, z) - z * x + small.log1p();
                gradient[place] = difference * scale;
            }
        } else {
            let difference = z - x;
            sum += difference * difference;
            gradient[place] = 2.0 * difference * scale;
        }
        place += CUBE_COUNT_X as usize * UNITS;
    }
    let unit = UNIT_POS as usize;
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    shared[unit] = sum;
    sync_cube();
    let mut active = (UNITS / 2).runtime();
    while active > 0 {
        if unit < active {
            let other = shared[unit + active];
            shared[unit] += other;
        }
        sync_cube();
        active /= 2;
    }
    if unit == 0 {
        partial[CUBE_POS_X as usize] = shared[0] * scale;
    }
}

/// `scale` times the loss of logits against targets of the same shape, `[1]`, and its gradient with respect to the logits.
pub fn loss_and_gradient(
    logits: CubeTensor,
    targets: CubeTensor,
    loss: ElementwiseLoss,
    scale: f32,
) -> (CubeTensor, CubeTensor) {
    let shape = logits.meta.shape().clone();
    assert_eq!(&shape, targets.meta.shape(), "every logit has a target");
    assert!(logits.dtype == DType::F32 && targets.dtype == DType::F32, "losses are computed in 32-bit floats");
    let [logits, targets] = [logits, targets].map(into_contiguous);
    let (client, device) = (logits.client.clone(), logits.device.clone());
    let gradient = empty(client.clone(), device.clone(), shape.clone(), DType::F32);
    let len = shape.num_elements();
    if len == 0 {
        return (zeros(device, Shape::new([1]), DType::F32), gradient);
    }
    let cubes = len.div_ceil(UNITS).min(CUBES);
    let partial = empty(client.clone(), device, Shape::new([cubes, 1]), DType::F32);
    // SAFETY: places are smaller than the length that all three have, and each cube has its own part of the sum.
    unsafe {
        loss_kernel::launch_unchecked(
            &client,
            CubeCount::Static(cubes as u32, 1, 1),
            CubeDim::new_1d(CUBE_UNITS),
            address_type(&[&logits]),
            logits.into_buffer_arg(),
            targets.into_buffer_arg(),
            gradient.clone().into_buffer_arg(),
            partial.clone().into_buffer_arg(),
            len,
            scale,
            matches!(loss, ElementwiseLoss::SquaredError),
            !matches!(loss, ElementwiseLoss::SquaredDifference),
        );
    }
    (sum_rows(partial), gradient)
}
