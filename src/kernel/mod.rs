//! The operations that take most of the training time.
//!
//! Activations are channels-last, `[n, height, width, channels]`, as images are on disk; weights have PyTorch's shapes. On flex,
//! Burn's CPU backend, and on its GPU backends each is a fused operation with a backward pass of its own (`extension.rs`, with
//! `flex.rs` and `cube/`); on every other device it is a composition of Burn's operations (`plain.rs`) with the same results up
//! to rounding. The choice is hidden from the rest of the crate. Fused operations on the CPU stay on the calling thread:
//! parallelism is over micro-batches, outside. Convolutions of whole images are computed by `winograd.rs` where it is faster, and round
//! otherwise than the same convolutions of parts of an image.
#![expect(unsafe_code, reason = "vector instructions and matrix products work on pointers; bounds are checked before")]

mod accumulate;
mod adam;
mod convolution;
mod correlate;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod cube;
mod elementwise;
mod extension;
mod flex;
pub mod linear;
pub mod plain;
mod pool;
mod random;
mod taps;
mod winograd;

use burn::backend::Dispatch;
use burn::tensor::{Device, Int, Tensor};

use crate::device::{is_cube, is_flex};
use convolution::Resize;
pub use convolution::{How, Method};
pub use elementwise::exp_of_negatives;
use extension::{ElementwiseLoss, FusedOperations, FusedUpdates};
pub use random::Distribution;

/// Whether a device has the operations of the extension.
fn has_fused(device: &Device) -> bool {
    is_flex(device) || is_cube(device)
}

/// The activation applied after a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x.
    Identity,
    /// max(x, 0), NaN for NaN.
    Relu,
}

/// A fully connected layer: x `[n, inputs]`, weight `[outputs, inputs]`, bias `[outputs]` to `[n, outputs]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    if !has_fused(&x.device()) {
        return plain::linear(x, weight, bias, activation);
    }
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_linear(x, weight, bias, activation == Activation::Relu))
}

/// A 3×3 convolution with zero padding: x `[n, h, w, inputs]`, weight `[outputs, inputs, 3, 3]`, bias `[outputs]` to
/// `[n, h, w, outputs]`.
pub fn convolution(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
    how: impl Into<How>,
) -> Tensor<4> {
    if !has_fused(&x.device()) {
        return plain::convolution(x, weight, bias, activation);
    }
    fused_convolution(x, weight, bias, activation, Resize::None, how.into())
}

/// Enlarges x `[n, h, w, inputs]` to `size` (rows, columns; twice the old ones or one less) by repeating pixels, then
/// [`convolution`].
pub fn upsample_convolution(
    x: Tensor<4>,
    size: [usize; 2],
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
    how: impl Into<How>,
) -> Tensor<4> {
    if !has_fused(&x.device()) {
        return plain::upsample_convolution(x, size, weight, bias, activation);
    }
    fused_convolution(x, weight, bias, activation, Resize::Upsample(size), how.into())
}

/// [`convolution`], then 2×2 max-pooling, NaN if a window has one; odd sizes keep their last row and column:
/// `[n, ceil(h / 2), ceil(w / 2), outputs]`.
pub fn convolution_max_pool(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
    how: impl Into<How>,
) -> Tensor<4> {
    if !has_fused(&x.device()) {
        return plain::convolution_max_pool(x, weight, bias, activation);
    }
    fused_convolution(x, weight, bias, activation, Resize::MaxPool, how.into())
}

fn fused_convolution(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
    resize: Resize,
    how: How,
) -> Tensor<4> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_convolution(x, weight, bias, activation == Activation::Relu, resize, how))
}

/// `scale` times the sum over all elements of the binary cross-entropy, in nats, of sigmoid(logits) against targets in
/// [0, 1]: max(z, 0) - z·x + ln(1 + exp(-|z|)). Differentiable with respect to the logits alone.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    if !has_fused(&logits.device()) {
        return plain::cross_entropy(logits, targets, scale);
    }
    fused_loss(logits, targets, ElementwiseLoss::CrossEntropy, scale)
}

/// `scale` times the sum over all elements of (sigmoid(logits) - target)². Differentiable with respect to the logits alone.
pub fn squared_error(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    if !has_fused(&logits.device()) {
        return plain::squared_error(logits, targets, scale);
    }
    fused_loss(logits, targets, ElementwiseLoss::SquaredError, scale)
}

/// `scale` times the sum over all elements of (output - target)². Differentiable with respect to the outputs alone.
pub fn squared_difference(outputs: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    if !has_fused(&outputs.device()) {
        return plain::squared_difference(outputs, targets, scale);
    }
    fused_loss(outputs, targets, ElementwiseLoss::SquaredDifference, scale)
}

fn fused_loss(logits: Tensor<2>, targets: Tensor<2>, loss: ElementwiseLoss, scale: f32) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fused_loss(logits.into_dispatch(), targets.into_dispatch(), loss, scale))
}

/// 1 / (1 + exp(-z)) of every element.
pub fn sigmoid(logits: Tensor<2>) -> Tensor<2> {
    if !has_fused(&logits.device()) {
        return plain::sigmoid(logits);
    }
    Tensor::from_dispatch(Dispatch::fused_sigmoid(logits.into_dispatch()))
}

/// The first `pixels` numbers of the generators (`random.rs`) of this key and epoch, for images with these ids, whose lower and
/// upper 32-bit words are `[n, 2]`: `[n, pixels]`. For devices other than flex, which generates them one image at a time.
pub fn random_numbers(
    ids: Tensor<2, Int>,
    pixels: usize,
    key: [u32; 2],
    epoch: u32,
    distribution: Distribution,
) -> Tensor<2> {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    if is_cube(&ids.device()) {
        return cube::random_numbers(ids, pixels, key, epoch, distribution);
    }
    plain::random_numbers(ids, pixels, key, epoch, distribution)
}

/// Coefficients of one step of Adam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamFactors {
    /// Decay of the first moment, in [0, 1).
    pub beta_1: f32,
    /// Decay of the second moment, in [0, 1).
    pub beta_2: f32,
    /// The learning rate, with the bias corrections of both moments.
    pub rate: f32,
    /// Added to the root of the second moment, with its bias correction.
    pub epsilon: f32,
}

/// One step of Adam (Kingma & Ba 2015, the form at the end of their section 2): with g the sum of the gradients in the order
/// given, m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², p ← p - rate · m / (√v + ε). All tensors have the same length and
/// none is tracked by autodiff; there is at least one gradient.
pub fn adam(
    parameter: Tensor<1>,
    gradients: Vec<Tensor<1>>,
    [first_moment, second_moment]: [Tensor<1>; 2],
    factors: AdamFactors,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    if !is_flex(&parameter.device()) {
        return plain::adam(parameter, gradients, [first_moment, second_moment], factors);
    }
    let gradients = gradients.into_iter().map(Tensor::into_data).collect();
    let moments = (first_moment.into_dispatch(), second_moment.into_dispatch());
    let (parameter, first_moment, second_moment) =
        Dispatch::fused_adam(parameter.into_dispatch(), gradients, moments.0, moments.1, factors);
    let moments = [first_moment, second_moment].map(Tensor::from_dispatch);
    (Tensor::from_dispatch(parameter), moments)
}

#[cfg(test)]
mod place_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;
