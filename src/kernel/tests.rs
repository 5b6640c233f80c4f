//! Compares the fused operations with the compositions of Burn's operations: values and all gradients.

use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::device::ComputeDevice;
use crate::device::tests::{devices, tolerance};
use crate::image::Split;
use crate::random::Stream;

/// Normal numbers, different for each `id`.
pub(super) fn random<const D: usize>(id: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    Stream::new(7, "kernel", Split::Test).generator(id, 0).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Equal up to rounding: 2e-5 of the value, or of the largest magnitude.
fn same<const D: usize>(fused: Tensor<D>, plain: Tensor<D>, what: &str) {
    near(fused, plain, 2e-5, what);
}

/// Equal up to `part` of the value, or of the largest magnitude.
fn near<const D: usize>(fused: Tensor<D>, plain: Tensor<D>, part: f32, what: &str) {
    let (fused, plain) = (fused.into_data(), plain.into_data());
    assert_eq!(fused.shape(), plain.shape(), "{what}");
    let typical =
        plain.iter::<f32>().fold(1e-3_f32, |most, value| if value.is_finite() { most.max(value.abs()) } else { most });
    for (index, (fused, plain)) in fused.iter::<f32>().zip(plain.iter::<f32>()).enumerate() {
        let is_near = fused == plain || (fused - plain).abs() <= part * typical.max(plain.abs());
        assert!(is_near || fused.is_nan() && plain.is_nan(), "{what}: {fused} and not {plain} at {index}");
    }
}

type Layer4 = dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>;

/// Value of a layer with weights, and the gradients of a sum of its outputs with random factors.
fn layer4(layer: &Layer4, x: [usize; 4], outputs: usize, device: &Device) -> [Tensor<4>; 3] {
    let inputs = x[3];
    let x = random(1, x, device).require_grad();
    let weight = random(2, [outputs, inputs, 3, 3], device).require_grad();
    let bias = random(3, [outputs], device).require_grad();
    let y = layer(x.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * random(4, y.dims(), device)).sum().backward();
    let bias = bias.grad(&gradients).expect("has a gradient");
    let first = weight.grad(&gradients).expect("has a gradient").reshape([1, 1, 1, outputs * inputs * 9]);
    let weights = Tensor::cat(vec![first, bias.reshape([1, 1, 1, outputs])], 3);
    [y.inner(), x.grad(&gradients).expect("has a gradient"), weights]
}

const PARTS: [&str; 3] = ["value", "input gradient", "weight gradients"];

fn compare(fused: &Layer4, plain: &Layer4, x: [usize; 4], outputs: usize, what: &str) {
    let results = [fused, plain].map(|layer| layer4(layer, x, outputs, &Device::flex().autodiff()));
    let [fused, plain] = results;
    for ((fused, plain), part) in fused.into_iter().zip(plain).zip(PARTS) {
        same(fused, plain, &format!("{what} {x:?} to {outputs}: {part}"));
    }
}

const ACTIVATIONS: [Activation; 2] = [Activation::Identity, Activation::Relu];
/// Less than a vector, one vector, several, and each with a remainder.
pub(super) const CHANNELS: [(usize, usize); 14] = [
    (1, 1),
    (1, 16),
    (16, 1),
    (3, 3),
    (1, 5),
    (5, 1),
    (2, 8),
    (8, 2),
    (16, 17),
    (33, 12),
    (9, 24),
    (64, 33),
    (16, 16),
    (24, 40),
];

#[test]
fn convolutions_agree_at_every_size_and_width() {
    for activation in ACTIVATIONS {
        for (inputs, outputs) in CHANNELS {
            for (count, height, width) in [(2, 1, 1), (1, 2, 3), (2, 7, 5), (1, 8, 11), (1, 14, 14), (3, 13, 15)] {
                compare(
                    &move |x, w, b| convolution(x, w, b, activation, Method::Fastest),
                    &move |x, w, b| plain::convolution(x, w, b, activation),
                    [count, height, width, inputs],
                    outputs,
                    "convolution",
                );
                compare(
                    &move |x, w, b| convolution_max_pool(x, w, b, activation, Method::Fastest),
                    &move |x, w, b| plain::convolution_max_pool(x, w, b, activation),
                    [count, height, width, inputs],
                    outputs,
                    "convolution with max-pooling",
                );
            }
        }
    }
}

#[test]
fn upsampled_convolutions_agree_at_even_and_odd_sizes() {
    for activation in ACTIVATIONS {
        for (inputs, outputs) in CHANNELS {
            for (height, width, size) in
                [(1, 1, [1, 1]), (1, 1, [2, 2]), (4, 4, [7, 7]), (3, 8, [6, 15]), (7, 2, [13, 4])]
            {
                compare(
                    &move |x, w, b| upsample_convolution(x, size, w, b, activation, Method::Direct),
                    &move |x, w, b| plain::upsample_convolution(x, size, w, b, activation),
                    [2, height, width, inputs],
                    outputs,
                    &format!("upsampled to {size:?}"),
                );
            }
        }
    }
}

/// Every device against Burn's operations on flex. One shape has more channels than a GPU's group of threads holds, and so many
/// partial sums there that one thread adds up several.
#[test]
fn convolutions_agree_on_every_device() {
    type Layer = fn(Tensor<4>, Tensor<4>, Tensor<1>, Activation) -> Tensor<4>;
    let layers: [(&str, Layer, Layer); 4] = [
        ("convolution", |x, w, b, a| convolution(x, w, b, a, Method::Fastest), plain::convolution),
        (
            "convolution with max-pooling",
            |x, w, b, a| convolution_max_pool(x, w, b, a, Method::Fastest),
            plain::convolution_max_pool,
        ),
        (
            "upsampled to twice the size",
            |x, w, b, a| upsample_convolution(x.clone(), twice(&x, 0), w, b, a, Method::Direct),
            |x, w, b, a| plain::upsample_convolution(x.clone(), twice(&x, 0), w, b, a),
        ),
        (
            "upsampled to one less",
            |x, w, b, a| upsample_convolution(x.clone(), twice(&x, 1), w, b, a, Method::Direct),
            |x, w, b, a| plain::upsample_convolution(x.clone(), twice(&x, 1), w, b, a),
        ),
    ];
    let shapes = [
        ([1, 1, 1, 1], 1),
        ([3, 5, 4, 1], 16),
        ([2, 7, 7, 8], 8),
        ([2, 4, 6, 16], 1),
        ([1, 3, 5, 3], 6),
        ([1, 2, 9, 5], 3),
        ([12, 6, 5, 33], 36),
        ([20, 14, 14, 2], 4),
    ];
    for (x, outputs) in shapes {
        for (name, layer, plain) in layers {
            for activation in ACTIVATIONS {
                let flex = Device::flex().autodiff();
                let expected = layer4(&move |x, w, b| plain(x, w, b, activation), x, outputs, &flex);
                for device in devices() {
                    let found = layer4(&move |x, w, b| layer(x, w, b, activation), x, outputs, &device.training());
                    for ((found, expected), part) in found.into_iter().zip(expected.clone()).zip(PARTS) {
                        let what = format!("{device}: {name} {x:?} to {outputs}, {activation:?}: {part}");
                        near(found, expected, tolerance(&device), &what);
                    }
                }
            }
        }
    }
}

/// Twice the rows and columns, less `less`.
pub(super) fn twice(x: &Tensor<4>, less: usize) -> [usize; 2] {
    let [_, height, width, _] = x.dims();
    [2 * height - less, 2 * width - less]
}

/// Every loop with a remainder, at sizes that Miri gets through (scripts/check_memory.sh).
#[test]
fn small_sizes_agree() {
    const RELU: Activation = Activation::Relu;
    for (inputs, outputs) in [(1, 5), (2, 1), (2, 9), (1, 17)] {
        let x = [2, 3, 2, inputs];
        compare(
            &|x, w, b| convolution(x, w, b, RELU, Method::Fastest),
            &|x, w, b| plain::convolution(x, w, b, RELU),
            x,
            outputs,
            "convolution",
        );
        compare(
            &|x, w, b| convolution_max_pool(x, w, b, RELU, Method::Fastest),
            &|x, w, b| plain::convolution_max_pool(x, w, b, RELU),
            x,
            outputs,
            "convolution with max-pooling",
        );
        compare(
            &|x, w, b| upsample_convolution(x, [5, 4], w, b, RELU, Method::Direct),
            &|x, w, b| plain::upsample_convolution(x, [5, 4], w, b, RELU),
            x,
            outputs,
            "upsampled",
        );
    }
    linear_layers(&[(3, 5, 4)], &ComputeDevice::default());
    losses(&[(2, 17)], &ComputeDevice::default());
}

#[test]
fn linear_layers_agree_on_every_device() {
    for device in devices() {
        linear_layers(&[(1, 1, 1), (3, 784, 32), (25, 32, 784), (7, 33, 5), (1000, 3, 40)], &device);
    }
}

fn linear_layers(sizes: &[(usize, usize, usize)], device: &ComputeDevice) {
    type Layer = fn(Tensor<2>, Tensor<2>, Tensor<1>, Activation) -> Tensor<2>;
    for activation in ACTIVATIONS {
        for &(count, inputs, outputs) in sizes {
            // Sums next to 0 do not enter what is differentiated: where a device rounds one to the other side of a ReLU, its
            // gradient differs altogether.
            let flex = Device::flex();
            let (x, weight) = (random(1, [count, inputs], &flex), random(2, [outputs, inputs], &flex));
            let sums = plain::linear(x, weight, random(3, [outputs], &flex), Activation::Identity);
            let factors = random(4, [count, outputs], &flex).mask_fill(sums.abs().lower_elem(0.1), 0.0).into_data();
            let result = |layer: Layer, device: &Device| {
                let x = random(1, [count, inputs], device).require_grad();
                let weight = random(2, [outputs, inputs], device).require_grad();
                let bias = random(3, [outputs], device).require_grad();
                let y = layer(x.clone(), weight.clone(), bias.clone(), activation);
                let gradients = (y.clone() * Tensor::from_data(factors.clone(), device)).sum().backward();
                let bias = bias.grad(&gradients).expect("has a gradient").reshape([1, outputs]);
                let grad = |tensor: &Tensor<2>| tensor.grad(&gradients).expect("has a gradient");
                [y.inner(), grad(&x), grad(&weight), bias]
            };
            let part = if is_flex(&device.inference()) { 2e-5 } else { tolerance(device) };
            let (found, expected) = (result(linear, &device.training()), result(plain::linear, &flex.autodiff()));
            for (found, expected) in found.into_iter().zip(expected) {
                near(found, expected, part, &format!("{device}: linear {count}×{inputs} to {outputs}"));
            }
        }
    }
}

#[test]
fn losses_agree_on_every_device() {
    for device in devices() {
        losses(&[(1, 1), (3, 784), (2, 17), (400, 784)], &device);
    }
}

fn losses(sizes: &[(usize, usize)], device: &ComputeDevice) {
    type Loss = fn(Tensor<2>, Tensor<2>, f32) -> Tensor<1>;
    let part = if is_flex(&device.inference()) { 2e-5 } else { tolerance(device) };
    for &(count, pixels) in sizes {
        let result = |loss: Loss, device: &Device| {
            let logits = random(1, [count, pixels], device) * 5.0;
            // With exact zeros, as dead codes have, where slopes must be those of the limit.
            let logits =
                logits.clone().mask_fill(random(3, [count, pixels], device).lower_elem(-0.5), 0.0).require_grad();
            let targets = random(2, [count, pixels], device).clamp(0.0, 1.0);
            let value = loss(logits.clone(), targets, 0.125);
            let gradients = value.clone().mul_scalar(0.25).backward();
            [value.inner().reshape([1, 1]), logits.grad(&gradients).expect("has a gradient")]
        };
        let losses: [(Loss, Loss); 3] = [
            (cross_entropy, plain::cross_entropy),
            (squared_error, plain::squared_error),
            (squared_difference, plain::squared_difference),
        ];
        for (loss, plain) in losses {
            let (found, expected) = (result(loss, &device.training()), result(plain, &Device::flex().autodiff()));
            for (found, expected) in found.into_iter().zip(expected) {
                near(found, expected, part, &format!("{device}: loss of {count}×{pixels}"));
            }
        }
    }
}

type Adam = fn(Tensor<1>, Vec<Tensor<1>>, [Tensor<1>; 2], AdamFactors) -> (Tensor<1>, [Tensor<1>; 2]);

#[test]
fn steps_of_adam_agree() {
    let device = Device::flex();
    for len in [1, 255, 256, 1000] {
        let result = |adam: Adam| {
            let factors = AdamFactors { beta_1: 0.9, beta_2: 0.999, rate: 1e-2, epsilon: 1e-8 };
            let mut moments = [Tensor::zeros([len], &device), Tensor::zeros([len], &device)];
            let mut parameter = random(1, [len], &device);
            for step in 0..5 {
                let gradients = (0..3).map(|part| random(10 + 3 * step + part, [len], &device)).collect();
                (parameter, moments) = adam(parameter, gradients, moments, factors);
            }
            let [first, second] = moments;
            [parameter, first, second]
        };
        for (fused, plain) in result(adam).into_iter().zip(result(plain::adam)) {
            same(fused, plain, &format!("{len} parameters"));
        }
    }
}

#[test]
fn inference_gives_the_values_of_training() {
    let device = Device::flex();
    let value = |device: &Device| {
        let (weight, bias) = (random(2, [9, 3, 3, 3], device), random(3, [9], device));
        convolution_max_pool(random(1, [2, 5, 5, 3], device), weight, bias, Activation::Relu, Method::Fastest)
            .into_data()
    };
    value(&device).assert_eq(&value(&device.clone().autodiff()), true);
    let logits = random(1, [3, 50], &device) * 10.0;
    same(sigmoid(logits.clone()), burn::tensor::activation::sigmoid(logits), "sigmoid");
}

#[test]
fn empty_batches_work() {
    let device = Device::flex();
    let (weight, bias) = (random(2, [9, 3, 3, 3], &device), random(3, [9], &device));
    let x = Tensor::zeros([0, 5, 5, 3], &device);
    let y = convolution_max_pool(x, weight, bias, Activation::Relu, Method::Fastest);
    assert_eq!(y.dims(), [0, 3, 3, 9]);
    let x = Tensor::zeros([0, 4], &device);
    let y = linear(x, random(1, [6, 4], &device), random(2, [6], &device), Activation::Relu);
    assert_eq!(y.dims(), [0, 6]);
    assert_eq!(cross_entropy(y.clone(), y, 1.0).into_scalar::<f32>(), 0.0);
}

#[test]
fn what_is_not_a_number_is_not_hidden_on_every_device() {
    for device in devices() {
        what_is_not_a_number_is_not_hidden(&device.inference());
    }
}

fn what_is_not_a_number_is_not_hidden(device: &Device) {
    for outputs in [1, 8] {
        let mut values = vec![0.5; 49];
        values[24] = f32::NAN;
        let x = Tensor::<4>::from_data(TensorData::new(values, [1, 7, 7, 1]), device);
        let (weight, bias) = (random(2, [outputs, 1, 3, 3], device), random(3, [outputs], device));
        let count = |tensor: Tensor<4>| tensor.into_data().iter::<f32>().filter(|value| value.is_nan()).count();
        let y = convolution(x.clone(), weight.clone(), bias.clone(), Activation::Relu, Method::Fastest);
        assert_eq!(count(y), 9 * outputs);
        let y = convolution_max_pool(x, weight, bias, Activation::Relu, Method::Fastest);
        assert_eq!(count(y), 4 * outputs);
    }
    let x = Tensor::<2>::from_data(TensorData::new(vec![f32::INFINITY, f32::NAN], [2, 1]), device);
    let y = linear(x, Tensor::ones([3, 1], device), Tensor::zeros([3], device), Activation::Relu);
    let values: Vec<f32> = y.into_data().try_into_vec().expect("is f32");
    assert!(values[..3].iter().all(|value| value.is_infinite()) && values[3..].iter().all(|value| value.is_nan()));
}

#[test]
fn every_instruction_set_gives_the_same_up_to_rounding() {
    use super::accumulate::Accumulate;
    use super::correlate::{Correlate, Grid, Weights};
    use crate::vector::{INSTRUCTION_SETS, run_with};
    let wave = |len: usize, step: f32| (0..len).map(|index| (index as f32 * step).sin()).collect::<Vec<_>>();
    for (inputs, channels) in [(3, 1), (7, 2), (3, 12), (8, 16), (5, 33), (2, 88)] {
        let (pixels, taps) = (17, 3 * inputs);
        let row = (pixels + 2) * inputs;
        let input = wave(5 * row, 0.7);
        let mut weights = Weights::zeros(3, taps, channels);
        weights.values.iter_mut().enumerate().for_each(|(index, value)| *value = (index as f32 * 0.3).cos());
        let grid = Grid {
            rows: 3,
            pixels,
            input: 0,
            input_row: row,
            input_pixel: inputs,
            weight_row: row,
            output: 0,
            output_row: pixels * channels,
            output_pixel: channels,
        };
        let (bias, gradient) = (wave(channels + 16, 0.2), wave(3 * pixels * channels + 16, 0.9));
        let results = INSTRUCTION_SETS.map(|set| {
            let mut output = vec![0.0; 3 * pixels * channels];
            let mut sums = Weights::zeros(3, taps, channels);
            let (input, weights, bias) = (&input, &weights, &bias);
            let mut correlate = Correlate { input, weights, bias, relu: true, grid, output: &mut output };
            let ran = run_with(set, &mut correlate)
                && run_with(set, &mut Accumulate { input, gradient: &gradient, grid, weights: &mut sums });
            ran.then(|| [output, sums.values.to_vec()].concat())
        });
        let portable = results[0].as_ref().expect("runs everywhere");
        for (set, numbers) in INSTRUCTION_SETS.iter().zip(&results) {
            for (expected, found) in portable.iter().zip(numbers.iter().flatten()) {
                assert!((expected - found).abs() < 1e-4, "{set}, {inputs} to {channels}: {expected} {found}");
            }
        }
    }
}
