//! The operations on Burn's own GPU backends, `cuda` and `wgpu`: kernels of CubeCL where compositions of Burn's operations are
//! slow there, and a backward pass for them.
//!
//! Without trying out which kernel is the fastest, which would take minutes in every process, Burn leaves the gradient of a
//! convolution's weights to one unit for each weight, and that of a bias to one for each output.

mod convolution;
mod loss;
mod random;
mod sum;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::cubecl::dtype_to_storage_type as element;
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::ir::AddressType;
use burn_cubecl::tensor::CubeTensor;

use super::Activation;
use super::convolution::Resize;
use super::extension::ElementwiseLoss;
use super::plain;
use super::random::Distribution;

/// Units of a cube, on every device, but where columns are added up.
const UNITS: u32 = 256;

/// Layers, with gradients.
#[backend_extension(Autodiff, Cube, Fusion)]
pub trait CubeLayers: Backend {
    /// A 3×3 convolution with what comes before or after it, as [`convolution`] and its like.
    #[fusion(dtype = x, shape = convolved(x, weight, *resize))]
    fn cube_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        resize: Resize,
    ) -> FloatTensor<Self>;

    /// x `[n, outputs]` and a bias `[outputs]` added to each row.
    #[fusion(dtype = x, shape = x)]
    fn cube_add_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// A loss, summed and scaled: `[1]`.
    #[fusion(dtype = logits, shape = Shape::new([1]))]
    fn cube_loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> FloatTensor<Self>;
}

/// What layers and their gradients are made of: the functions of `convolution.rs` and `sum.rs`.
#[backend_extension(Cube, Fusion)]
pub trait CubePasses: Backend {
    /// See [`convolution::convolve`].
    #[fusion(dtype = x, shape = convolved(x, weight, *resize))]
    fn cube_convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        resize: Resize,
    ) -> FloatTensor<Self>;

    /// See [`convolution::convolve_pool`].
    #[fusion(meta = pooled)]
    fn cube_convolve_pool(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> (FloatTensor<Self>, IntTensor<Self>);

    /// See [`convolution::unpool`].
    #[fusion(dtype = gradient, shape = unpooled(gradient, *size))]
    fn cube_unpool(
        gradient: FloatTensor<Self>,
        output: FloatTensor<Self>,
        origin: IntTensor<Self>,
        size: [usize; 2],
        relu: bool,
    ) -> FloatTensor<Self>;

    /// See [`convolution::input_gradient`].
    #[fusion(dtype = gradient, shape = input_of(gradient, weight, *upsampled))]
    fn cube_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upsampled: bool,
    ) -> FloatTensor<Self>;

    /// See [`convolution::weight_gradients`].
    #[fusion(meta = weights_of)]
    fn cube_weight_gradients(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        upsampled: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`loss::loss_and_gradient`].
    #[fusion(meta = |logits, _targets, _loss, _scale| (TensorSpec::new(Shape::new([1]), logits.dtype), logits.clone()))]
    fn cube_loss_and_gradient(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`sum::sum_rows`].
    #[fusion(dtype = x, shape = { let [_, columns] = x.dims(); Shape::new([columns]) })]
    fn cube_sum_rows(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`random::random_numbers`].
    #[fusion(dtype = DType::F32, shape = { let [count, _] = ids.dims(); Shape::new([count, *pixels]) })]
    fn cube_random_numbers(
        ids: IntTensor<Self>,
        pixels: usize,
        key: [u32; 2],
        epoch: u32,
        distribution: Distribution,
    ) -> FloatTensor<Self>;
}

fn half([height, width]: [usize; 2]) -> [usize; 2] {
    [height.div_ceil(2), width.div_ceil(2)]
}

fn convolved(x: &Shape, weight: &Shape, resize: Resize) -> Shape {
    let ([count, height, width, _], [outputs, ..]) = (x.dims(), weight.dims::<4>());
    let [height, width] = match resize {
        Resize::None => [height, width],
        Resize::Upsample(size) => size,
        Resize::MaxPool => half([height, width]),
    };
    Shape::new([count, height, width, outputs])
}

fn pooled(x: &TensorSpec, weight: &TensorSpec, _bias: &TensorSpec, _relu: &bool) -> (TensorSpec, TensorSpec) {
    let shape = convolved(&x.shape, &weight.shape, Resize::MaxPool);
    (TensorSpec::new(shape.clone(), x.dtype), TensorSpec::new(shape, DType::I32))
}

fn unpooled(gradient: &Shape, [height, width]: [usize; 2]) -> Shape {
    let [count, _, _, channels] = gradient.dims();
    Shape::new([count, height, width, channels])
}

fn input_of(gradient: &Shape, weight: &Shape, upsampled: bool) -> Shape {
    let ([count, height, width, _], [_, inputs, ..]) = (gradient.dims(), weight.dims::<4>());
    let [height, width] = if upsampled { half([height, width]) } else { [height, width] };
    Shape::new([count, height, width, inputs])
}

fn weights_of(x: &TensorSpec, gradient: &TensorSpec, _upsampled: &bool) -> (TensorSpec, TensorSpec) {
    let ([.., inputs], [.., outputs]) = (x.shape.dims::<4>(), gradient.shape.dims::<4>());
    let spec = |shape| TensorSpec::new(shape, x.dtype);
    (spec(Shape::new([outputs, inputs, 3, 3])), spec(Shape::new([outputs])))
}

impl CubeLayers for CubeBackend {
    fn cube_convolution(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool, resize: Resize) -> CubeTensor {
        match resize {
            Resize::MaxPool => convolution::convolve_pool(x, weight, bias, relu).0,
            Resize::None | Resize::Upsample(_) => convolution::convolve(x, weight, bias, relu, resize),
        }
    }

    fn cube_add_bias(x: CubeTensor, bias: CubeTensor) -> CubeTensor {
        add_bias::<Self>(x, bias)
    }

    fn cube_loss(logits: CubeTensor, targets: CubeTensor, loss: ElementwiseLoss, scale: f32) -> CubeTensor {
        loss::loss_and_gradient(logits, targets, loss, scale).0
    }
}

impl CubePasses for CubeBackend {
    fn cube_convolve(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool, resize: Resize) -> CubeTensor {
        convolution::convolve(x, weight, bias, relu, resize)
    }

    fn cube_convolve_pool(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, relu: bool) -> (CubeTensor, CubeTensor) {
        convolution::convolve_pool(x, weight, bias, relu)
    }

    fn cube_unpool(
        gradient: CubeTensor,
        output: CubeTensor,
        origin: CubeTensor,
        size: [usize; 2],
        relu: bool,
    ) -> CubeTensor {
        convolution::unpool(gradient, output, origin, size, relu)
    }

    fn cube_input_gradient(gradient: CubeTensor, weight: CubeTensor, upsampled: bool) -> CubeTensor {
        convolution::input_gradient(gradient, weight, upsampled)
    }

    fn cube_weight_gradients(x: CubeTensor, gradient: CubeTensor, upsampled: bool) -> (CubeTensor, CubeTensor) {
        convolution::weight_gradients(x, gradient, upsampled)
    }

    fn cube_loss_and_gradient(
        logits: CubeTensor,
        targets: CubeTensor,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> (CubeTensor, CubeTensor) {
        loss::loss_and_gradient(logits, targets, loss, scale)
    }

    fn cube_sum_rows(x: CubeTensor) -> CubeTensor {
        sum::sum_rows(x)
    }

    fn cube_random_numbers(
        ids: CubeTensor,
        pixels: usize,
        key: [u32; 2],
        epoch: u32,
        distribution: Distribution,
    ) -> CubeTensor {
        random::random_numbers(ids, pixels, key, epoch, distribution)
    }
}

fn add_bias<B: Backend>(x: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    let [outputs] = bias.shape().dims();
    B::float_add(x, B::float_reshape(bias, Shape::new([1, outputs])))
}

/// What the backward pass of a convolution needs.
#[derive(Debug, Clone)]
struct ConvolutionState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    /// What it gave, if it ended in a ReLU or a pooling.
    output: Option<FloatTensor<B>>,
    /// Which pixel each maximum was, if it ended in a pooling.
    origin: Option<IntTensor<B>>,
    relu: bool,
    resize: Resize,
}

#[derive(Debug)]
struct ConvolutionBackward;

impl<B: CubePasses> Backward<B, 3> for ConvolutionBackward {
    type State = ConvolutionState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let ConvolutionState { x, weight, output, origin, relu, resize } = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let [_, height, width, _] = x.shape().dims();
        // Of what the convolution computed.
        let gradient = match (output, origin) {
            (Some(output), Some(origin)) => B::cube_unpool(gradient, output, origin, [height, width], relu),
            (Some(output), None) => B::relu_backward(output, gradient),
            (None, _) => gradient,
        };
        let upsampled = matches!(resize, Resize::Upsample(_));
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::cube_input_gradient(gradient.clone(), weight, upsampled));
        }
        if weight_node.is_some() || bias_node.is_some() {
            let (weight, bias) = B::cube_weight_gradients(x, gradient, upsampled);
            if let Some(node) = weight_node {
                grads.register::<B>(node.id, weight);
            }
            if let Some(node) = bias_node {
                grads.register::<B>(node.id, bias);
            }
        }
    }
}

#[derive(Debug)]
struct BiasBackward;

impl<B: CubePasses> Backward<B, 2> for BiasBackward {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [x_node, bias_node] = ops.parents;
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::cube_sum_rows(gradient.clone()));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, gradient);
        }
    }
}

#[derive(Debug)]
struct LossBackward;

impl<B: CubePasses> Backward<B, 1> for LossBackward {
    /// The gradient, made together with the value.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let factor = B::float_reshape(grads.consume::<B>(&ops.node), Shape::new([1, 1]));
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::float_mul(ops.state, factor));
        }
    }
}

impl<B: CubeLayers + CubePasses, C: CheckpointStrategy> CubeLayers for Autodiff<B, C> {
    fn cube_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        resize: Resize,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
        match ConvolutionBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (output, origin) = match resize {
                    Resize::MaxPool => {
                        let (output, origin) = B::cube_convolve_pool(x.clone(), weight.clone(), bias, relu);
                        (output, Some(origin))
                    }
                    Resize::None | Resize::Upsample(_) => {
                        (B::cube_convolve(x.clone(), weight.clone(), bias, relu, resize), None)
                    }
                };
                let kept = (relu || origin.is_some()).then(|| output.clone());
                prep.finish(ConvolutionState { x, weight, output: kept, origin, relu, resize }, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cube_convolution(x, weight, bias, relu, resize)),
        }
    }

    fn cube_add_bias(x: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node(), bias.node()];
        let [x, bias] = [x, bias].map(|tensor| tensor.into_primitive());
        let output = add_bias::<B>(x, bias);
        match BiasBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn cube_loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> FloatTensor<Self> {
        let node = logits.node();
        let [logits, targets] = [logits, targets].map(|tensor| tensor.into_primitive());
        match LossBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (loss, gradient) = B::cube_loss_and_gradient(logits, targets, loss, scale);
                prep.finish(gradient, loss)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::cube_loss(logits, targets, loss, scale)),
        }
    }
}

/// See [`super::linear`].
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>, activation: Activation) -> Tensor<2> {
    let product = x.matmul(weight.transpose()).into_dispatch();
    plain::activate(Tensor::from_dispatch(Dispatch::cube_add_bias(product, bias.into_dispatch())), activation)
}

/// See [`super::convolution`].
pub fn convolution(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    resized_convolution(x, weight, bias, activation, Resize::None)
}

/// See [`super::convolution_max_pool`].
pub fn convolution_max_pool(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, activation: Activation) -> Tensor<4> {
    resized_convolution(x, weight, bias, activation, Resize::MaxPool)
}

/// See [`super::upsample_convolution`].
pub fn upsample_convolution(
    x: Tensor<4>,
    size: [usize; 2],
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
) -> Tensor<4> {
    resized_convolution(x, weight, bias, activation, Resize::Upsample(size))
}

fn resized_convolution(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    activation: Activation,
    resize: Resize,
) -> Tensor<4> {
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(Dispatch::cube_convolution(x, weight, bias, activation == Activation::Relu, resize))
}

/// See [`super::cross_entropy`].
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    let loss = ElementwiseLoss::CrossEntropy;
    Tensor::from_dispatch(Dispatch::cube_loss(logits.into_dispatch(), targets.into_dispatch(), loss, scale))
}

/// See [`super::squared_error`].
pub fn squared_error(logits: Tensor<2>, targets: Tensor<2>, scale: f32) -> Tensor<1> {
    let loss = ElementwiseLoss::SquaredError;
    Tensor::from_dispatch(Dispatch::cube_loss(logits.into_dispatch(), targets.into_dispatch(), loss, scale))
}

/// See [`super::random_numbers`].
pub fn random_numbers(
    ids: Tensor<2, Int>,
    pixels: usize,
    key: [u32; 2],
    epoch: u32,
    distribution: Distribution,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::cube_random_numbers(ids.into_dispatch(), pixels, key, epoch, distribution))
}

/// Numbers that are read and written at once, where there are so many channels.
fn vector_size(channels: usize) -> usize {
    [4, 2].into_iter().find(|size| channels.is_multiple_of(*size)).unwrap_or(1)
}

/// How wide the places in the largest of these are.
fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}
