//! Every operation as a composition of Burn's own: runs on any device, and is the reference that the fused versions are tested
//! and measured against. Models call the functions of [`super`], which choose.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
pub use burn::tensor::activation::sigmoid;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

pub use super::random::random_numbers;
use super::{Activation, AdamFactors};

/// Applies the activation of a layer.
fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Identity => x,
        Activation::Relu => relu(x),
    }
}

/// A fully connected layer: x `[n, inputs]`, weight `[outputs, inputs]`, bias `[outputs]` to `[n, outputs]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    activate(x.matmul(weight.transpose()) + bias.unsqueeze(), activation)
}

/// A 3×3 convolution with zero padding: x `[n, h, w, inputs]`, weight `[outputs, inputs, 3, 3]` to `[n, h, w, outputs]`.
pub fn convolution(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let y = conv2d(x.permute([0, 3, 1, 2]), weight, Some(bias), options);
    activate(y.permute([0, 2, 3, 1]), activation)
}

/// [`convolution`], then 2×2 max-pooling; odd sizes keep their last row and column.
pub fn convolution_max_pool(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    let options = MaxPoolOptions::new([2, 2]).with_ceil_mode(true);
    let y = convolution(x, weight, bias, activation);
    max_pool2d(y.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

/// Enlarges to `size` (rows, columns; twice the old ones or one less) by repeating pixels, then [`convolution`].
pub fn upsample_convolution(
    x: Tensor<4>,
    size: [usize; 2],
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    let [count, height, width, channels] = x.dims();
    let pixels = x.reshape([count, height, 1, width, 1, channels]);
    let doubled = pixels.expand([count, height, 2, width, 2, channels]);
    let doubled = doubled.reshape([count, 2 * height, 2 * width, channels]);
    let large = doubled.slice([0..count, 0..size[0], 0..size[1], 0..channels]);
    convolution(large, weight, bias, activation)
}

/// `scale` times the sum over all elements of the binary cross-entropy, in nats, of sigmoid(logits) against targets in
/// [0, 1]: max(z, 0) - z·x + ln(1 + exp(-|z|)).
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    let magnitude = logits.clone().abs();
    // max(z, 0) without relu, whose slope at 0 is not sigmoid(0) = 1/2.
    let positive = (logits.clone() + magnitude.clone()) * 0.5;
    (positive - logits * targets + magnitude.neg().exp().log1p()).sum() * scale
}

/// `scale` times the sum over all elements of (sigmoid(logits) - target)².
pub fn squared_error(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    let difference = sigmoid(logits) - targets;
    (difference.clone() * difference).sum() * scale
}

/// `scale` times the sum over all elements of (output - target)².
pub fn squared_difference(outputs: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    let difference = outputs - targets;
    (difference.clone() * difference).sum() * scale
}

/// See [`super::adam`].
pub fn adam(
    parameter: Tensor<1>,
    gradients: Vec<Tensor<1>>,
    [first, second]: [Tensor<1>; 2],
    AdamFactors { beta_1, beta_2, rate, epsilon }: AdamFactors,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let gradient = gradients.into_iter().reduce(|sum, gradient| sum + gradient).expect("there is a gradient");
    let first = first * beta_1 + gradient.clone() * (1.0 - beta_1);
    let second = second * beta_2 + gradient.square() * (1.0 - beta_2);
    let step = first.clone() * rate / (second.clone().sqrt() + epsilon);
    (parameter - step, [first, second])
}
