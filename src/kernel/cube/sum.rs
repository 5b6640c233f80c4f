//! Sums over rows on tensors of CubeCL. Burn's own sums use one unit for each column, which is slow for many rows.

use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype as empty, zeros};
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::prelude::*;
use cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};

use super::{address_type, element};

/// Columns that a cube adds up.
pub(super) const COLUMNS: usize = 32;

/// The number of cubes that sum these columns, [`COLUMNS`] each, and the size of a cube: each line of units sums other rows.
pub(super) fn column_cubes(client: &Client, columns: usize) -> (CubeCount, CubeDim) {
    // A power of two, since the limits of devices are (1,024 or 256 units).
    let lines = (client.properties().hardware.max_units_per_cube as usize / COLUMNS).clamp(1, 32);
    let dim = CubeDim::new_2d(COLUMNS as u32, lines as u32);
    (calculate_cube_count_elemwise(client, columns.next_multiple_of(COLUMNS) * lines, dim), dim)
}

/// The sum of a column of `[rows, columns]`, in the units of the first line of a cube of [`COLUMNS`] by `lines`; 0 past the last
/// column.
#[cube]
pub(super) fn column_sum<E: Float>(
    values: &[E],
    rows: usize,
    columns: usize,
    column: usize,
    #[comptime] lines: usize,
) -> f32 {
    let mut sum = f32::new(0.0);
    let mut row = select(column < columns, UNIT_POS_Y as usize, rows);
    while row < rows {
        sum += f32::cast_from(values[row * columns + column]);
        row += lines;
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(COLUMNS * lines));
    shared[UNIT_POS as usize] = sum;
    sync_cube();
    if UNIT_POS_Y == 0 {
        for line in 1..lines {
            sum += shared[line * COLUMNS + UNIT_POS_X as usize];
        }
    }
    sum
}

#[cube(launch_unchecked, address_type = "dynamic")]
fn sum_kernel<E: Float>(
    values: &[E],
    sums: &mut [E],
    rows: usize,
    columns: usize,
    #[comptime] lines: usize,
    #[define(E)] _element: ElemType,
) {
    let column = CUBE_POS * COLUMNS + UNIT_POS_X as usize;
    let sum = column_sum::<E>(values, rows, columns, column, lines);
    if UNIT_POS_Y == 0 && column < columns {
        sums[column] = E::cast_from(sum);
    }
}

/// The sums of the columns of `[rows, columns]`.
pub fn sum_rows(values: CubeTensor) -> CubeTensor {
    let [rows, columns] = values.meta.shape().dims();
    let values = into_contiguous(values);
    let (client, device, dtype) = (values.client.clone(), values.device.clone(), values.dtype);
    if rows * columns == 0 {
        return zeros(device, Shape::new([columns]), dtype);
    }
    let sums = empty(client.clone(), device, Shape::new([columns]), dtype);
    let (cubes, dim) = column_cubes(&client, columns);
    // SAFETY: columns past the end are neither read nor written.
    unsafe {
        sum_kernel::launch_unchecked(
            &client,
            cubes,
            dim,
            address_type(&[&values]),
            values.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            rows,
            columns,
            dim.y as usize,
            element(dtype),
        );
    }
    sums
}
