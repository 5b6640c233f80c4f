//! The fully connected layer and its gradients, on slices: matrix products by the `gemm` crate, on one thread.

use gemm::{Parallelism, gemm};

/// A matrix by its first number and the steps from row to row and column to column.
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

/// The product `[m, k] × [k, n]`, added to `output`, which is row-major.
fn multiply([m, n, k]: [usize; 3], left: &Matrix<'_>, right: &Matrix<'_>, output: &mut [f32]) {
    let reach = |matrix: &Matrix<'_>, rows: usize, columns: usize| {
        (rows.max(1) - 1) * matrix.row + (columns.max(1) - 1) * matrix.column < matrix.values.len()
    };
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(reach(left, m, k) && reach(right, k, n) && output.len() == m * n, "the matrices do not have their sizes");
    // SAFETY: the assertion above keeps every access inside the slices, and the output is borrowed alone.
    unsafe {
        gemm(
            m,
            n,
            k,
            output.as_mut_ptr(),
            1,
            n as isize,
            true,
            left.values.as_ptr(),
            left.column as isize,
            left.row as isize,
            right.values.as_ptr(),
            right.column as isize,
            right.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Sizes of a layer: examples, inputs, outputs.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Examples.
    pub count: usize,
    /// Inputs of the layer.
    pub inputs: usize,
    /// Outputs of the layer.
    pub outputs: usize,
}

/// Gradients of a layer.
pub struct Gradients {
    /// Of the input `[n, inputs]`, if it was asked for.
    pub input: Option<Vec<f32>>,
    /// Of the weights `[outputs, inputs]`.
    pub weight: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// x `[n, inputs]` times the transpose of weight `[outputs, inputs]` plus bias, perhaps through a ReLU.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], relu: bool, sizes: Sizes) -> Vec<f32> {
    let Sizes { count, inputs, outputs } = sizes;
    assert_eq!(bias.len(), outputs, "the bias does not have its size");
    let mut output = bias.repeat(count);
    let left = Matrix { values: x, row: inputs, column: 1 };
    let right = Matrix { values: weight, row: 1, column: inputs };
    multiply([count, outputs, inputs], &left, &right, &mut output);
    if relu {
        for value in &mut output {
            // Not `max`, which would hide NaN.
            *value = if *value < 0.0 { 0.0 } else { *value };
        }
    }
    output
}

/// The gradients, given that of the output; where there was a ReLU, `output` is what it gave.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    output: Option<&[f32]>,
    gradient: &[f32],
    needs_input: bool,
    sizes: Sizes,
) -> Gradients {
    let Sizes { count, inputs, outputs } = sizes;
    assert_eq!(gradient.len(), count * outputs, "the gradient does not have the size of the output");
    let masked: Vec<f32>;
    let gradient = match output {
        Some(output) => {
            let mask = |(&gradient, &output): (&f32, &f32)| if output > 0.0 { gradient } else { 0.0 };
            masked = gradient.iter().zip(output).map(mask).collect();
            &masked
        }
        None => gradient,
    };
    let mut bias = vec![0.0; outputs];
    for row in gradient.chunks_exact(outputs) {
        for (sum, &value) in bias.iter_mut().zip(row) {
            *sum += value;
        }
    }
    let mut to_weight = vec![0.0; outputs * inputs];
    let left = Matrix { values: gradient, row: 1, column: outputs };
    let right = Matrix { values: x, row: inputs, column: 1 };
    multiply([outputs, inputs, count], &left, &right, &mut to_weight);
    let input = needs_input.then(|| {
        let mut input = vec![0.0; count * inputs];
        let left = Matrix { values: gradient, row: outputs, column: 1 };
        let right = Matrix { values: weight, row: inputs, column: 1 };
        multiply([count, inputs, outputs], &left, &right, &mut input);
        input
    });
    Gradients { input, weight: to_weight, bias }
}
