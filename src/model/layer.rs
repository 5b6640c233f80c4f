//! Layers with weights, named and shaped as in PyTorch.
//!
//! Initial weights are Glorot-uniform (Glorot & Bengio 2010), U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), drawn from
//! limpid's keyed generator; biases are zero.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::image::Split;
use crate::kernel::{self, Activation, How, Method};
use crate::model::predict::Predict;
use crate::random::Stream;

/// Draws the initial weights of one model, layer after layer.
pub struct Initializer {
    stream: Stream,
    layer: u64,
    predict: Predict,
    device: Device,
}

impl Initializer {
    /// Initial weights of a model with this prediction, drawn with `seed`, on `device`.
    pub fn new(seed: u64, predict: Predict, device: &Device) -> Self {
        Self { stream: Stream::new(seed, "weights", Split::Train), layer: 0, predict, device: device.clone() }
    }

    fn glorot<const D: usize>(&mut self, shape: [usize; D], fan_in: usize, fan_out: usize) -> Param<Tensor<D>> {
        let limit = (6.0 / (fan_in + fan_out) as f32).sqrt();
        let mut values = vec![0.0; shape.iter().product()];
        self.stream.generator(self.layer, 0).fill_uniform(&mut values);
        self.layer += 1;
        for value in &mut values {
            *value = limit * (2.0 * *value - 1.0);
        }
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    fn zeros<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::zeros(shape, &self.device))
    }
}

/// The weight and bias of a layer, in the type of its input.
fn weights<const D: usize>(weight: &Param<Tensor<D>>, bias: &Param<Tensor<1>>, of: DType) -> (Tensor<D>, Tensor<1>) {
    let (weight, bias) = (weight.val(), bias.val());
    if weight.dtype() == of { (weight, bias) } else { (weight.cast(of), bias.cast(of)) }
}

/// A fully connected layer.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`
    weight: Param<Tensor<2>>,
    /// `[outputs]`
    bias: Param<Tensor<1>>,
}

impl Linear {
    /// Initial weights.
    pub fn new(inputs: usize, outputs: usize, initializer: &mut Initializer) -> Self {
        let weight = initializer.glorot([outputs, inputs], inputs, outputs);
        Self { weight, bias: initializer.zeros([outputs]) }
    }

    /// `[n, inputs]` to `[n, outputs]`
    pub fn forward(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        let (weight, bias) = weights(&self.weight, &self.bias, x.dtype());
        kernel::linear(x, weight, bias, activation)
    }
}

/// A 3×3 convolution with zero padding that keeps the size.
#[derive(Module, Debug)]
pub struct Convolution {
    /// `[outputs, inputs, 3, 3]`
    weight: Param<Tensor<4>>,
    /// `[outputs]`
    bias: Param<Tensor<1>>,
    #[module(skip)]
    how: How,
}

impl Convolution {
    fn of(weight: Param<Tensor<4>>, bias: Param<Tensor<1>>) -> Self {
        Self { weight, bias, how: Method::Fastest.into() }
    }

    /// Initial weights.
    pub fn new(inputs: usize, outputs: usize, initializer: &mut Initializer) -> Self {
        let weight = initializer.glorot([outputs, inputs, 3, 3], 9 * inputs, 9 * outputs);
        Self::of(weight, initializer.zeros([outputs]))
    }

    /// Initial weights of the layer that gives the model's output: zeros if that is noise.
    pub fn last(inputs: usize, outputs: usize, initializer: &mut Initializer) -> Self {
        match initializer.predict {
            Predict::Image => Self::new(inputs, outputs, initializer),
            Predict::Noise => Self::of(initializer.zeros([outputs, inputs, 3, 3]), initializer.zeros([outputs])),
        }
    }

    /// The same weights, applied so.
    pub fn with(&self, how: How) -> Self {
        Self { how, ..self.clone() }
    }

    /// `[n, height, width, inputs]` to `[n, height, width, outputs]`
    pub fn forward(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let (weight, bias) = weights(&self.weight, &self.bias, x.dtype());
        kernel::convolution(x, weight, bias, activation, self.how)
    }

    /// Convolution and 2×2 max-pooling; an odd last row or column is pooled alone.
    pub fn forward_max_pool(&self, x: Tensor<4>, activation: Activation) -> Tensor<4> {
        let (weight, bias) = weights(&self.weight, &self.bias, x.dtype());
        kernel::convolution_max_pool(x, weight, bias, activation, self.how)
    }

    /// Nearest upsampling to `size` (rows, columns) and convolution.
    pub fn forward_upsampled(&self, x: Tensor<4>, size: [usize; 2], activation: Activation) -> Tensor<4> {
        let (weight, bias) = weights(&self.weight, &self.bias, x.dtype());
        kernel::upsample_convolution(x, size, weight, bias, activation, self.how)
    }
}

/// x + convolution(ReLU(convolution(x))), which keeps the size and the channels (He et al. 2016; without a ReLU after the sum,
/// as in Lim et al. 2017). The second convolution starts as zeros, so that every block starts as the identity (Zhang et al.
/// 2019, Fixup) and needs no normalisation.
#[derive(Module, Debug)]
pub struct Residual {
    first: Convolution,
    second: Convolution,
}

impl Residual {
    /// Creates `count` blocks of `channels` channels, with initial weights.
    pub fn blocks(channels: usize, count: usize, initializer: &mut Initializer) -> Vec<Self> {
        let block = |_| {
            let first = Convolution::new(channels, channels, initializer);
            let weight = initializer.zeros([channels, channels, 3, 3]);
            Self { first, second: Convolution::of(weight, initializer.zeros([channels])) }
        };
        (0..count).map(block).collect()
    }

    /// The two convolutions.
    pub fn layers(&self) -> [Convolution; 2] {
        [self.first.clone(), self.second.clone()]
    }
}
