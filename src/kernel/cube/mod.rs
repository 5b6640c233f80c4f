//! The fused operations on Burn's own GPU backends, `cuda` and `wgpu`: CubeCL kernels where compositions of Burn's operations
//! are slow there, and backward passes under autodiff.
//!
//! Without autotuning, which would take minutes in every process, Burn computes each weight's gradient of a convolution, and
//! each output's gradient of a bias, in one unit.

mod convolution;
mod input_gradient;
mod loss;
mod random;
mod sum;
mod tile;
mod weight_gradients;

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
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::ir::AddressType;
use burn_cubecl::cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};
use burn_cubecl::tensor::CubeTensor;

use super::convolution::{How, Method, Resize};
use super::extension::{ElementwiseLoss, FusedOperations, convolution_sizes, output_shape};
use super::random::Distribution;

/// Units of a cube on every device, except in sums of columns.
const UNITS: u32 = 256;

/// The kernels of this folder as backend operations, which layers and their gradients are composed of.
#[backend_extension(Cube, Fusion)]
pub trait CubePasses: Backend {
    /// See [`convolution::convolve`].
    #[fusion(dtype = x, shape = output_shape(&convolution_sizes(x, weight, bias, *resize, Method::Direct.into())))]
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

    /// See [`input_gradient::unpool`].
    #[fusion(dtype = gradient, shape = unpooled(gradient, *size))]
    fn cube_unpool(
        gradient: FloatTensor<Self>,
        output: FloatTensor<Self>,
        origin: IntTensor<Self>,
        size: [usize; 2],
        relu: bool,
    ) -> FloatTensor<Self>;

    /// See [`input_gradient::input_gradient`].
    #[fusion(dtype = gradient, shape = input_of(gradient, weight, *upsampled))]
    fn cube_input_gradient(
        gradient: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        upsampled: bool,
    ) -> FloatTensor<Self>;

    /// See [`weight_gradients::weight_gradients`].
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

fn pooled(x: &TensorSpec, weight: &TensorSpec, bias: &TensorSpec, _relu: &bool) -> (TensorSpec, TensorSpec) {
    let shape =
        output_shape(&convolution_sizes(&x.shape, &weight.shape, &bias.shape, Resize::MaxPool, Method::Direct.into()));
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

impl FusedOperations for CubeBackend {
    fn fused_convolution(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        relu: bool,
        resize: Resize,
        how: How,
    ) -> CubeTensor {
        assert_eq!(how.around, [0, 0], "parts of an image are convolved on the CPU alone");
        match resize {
            Resize::MaxPool => convolution::convolve_pool(x, weight, bias, relu).0,
            Resize::None | Resize::Upsample(_) => convolution::convolve(x, weight, bias, relu, resize),
        }
    }

    fn fused_loss(logits: CubeTensor, targets: CubeTensor, loss: ElementwiseLoss, scale: f32) -> CubeTensor {
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
        input_gradient::unpool(gradient, output, origin, size, relu)
    }

    fn cube_input_gradient(gradient: CubeTensor, weight: CubeTensor, upsampled: bool) -> CubeTensor {
        input_gradient::input_gradient(gradient, weight, upsampled)
    }

    fn cube_weight_gradients(x: CubeTensor, gradient: CubeTensor, upsampled: bool) -> (CubeTensor, CubeTensor) {
        weight_gradients::weight_gradients(x, gradient, upsampled)
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

/// The tensors that the backward pass of a fully connected layer needs.
#[derive(Debug, Clone)]
struct LinearState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    /// The layer's output, if it ended in a ReLU.
    output: Option<FloatTensor<B>>,
}

#[derive(Debug)]
struct LinearBackward;

impl<B: CubePasses> Backward<B, 3> for LinearBackward {
    type State = LinearState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let LinearState { x, weight, output } = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let gradient = match output {
            Some(output) => B::relu_backward(output, gradient),
            None => gradient,
        };
        if let Some(node) = bias_node {
            grads.register::<B>(node.id, B::cube_sum_rows(gradient.clone()));
        }
        if let Some(node) = weight_node {
            grads.register::<B>(node.id, B::float_matmul(B::float_transpose(gradient.clone()), x));
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::float_matmul(gradient, weight));
        }
    }
}

/// The tensors that the backward pass of a convolution needs.
#[derive(Debug, Clone)]
struct ConvolutionState<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    /// The layer's output, if it ended in a ReLU or a pooling.
    output: Option<FloatTensor<B>>,
    /// The pixel that each maximum came from, if it ended in a pooling.
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
        // The gradient of the convolution's own result, before pooling and ReLU.
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
struct LossBackward;

impl<B: CubePasses> Backward<B, 1> for LossBackward {
    /// The gradient, computed together with the value.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let factor = B::float_reshape(grads.consume::<B>(&ops.node), Shape::new([1, 1]));
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::float_mul(ops.state, factor));
        }
    }
}

impl<B: FusedOperations + CubePasses, C: CheckpointStrategy> FusedOperations for Autodiff<B, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
        let output = B::fused_linear(x.clone(), weight.clone(), bias, relu);
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let kept = relu.then(|| output.clone());
                prep.finish(LinearState { x, weight, output: kept }, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn fused_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        resize: Resize,
        how: How,
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
            OpsKind::UnTracked(prep) => prep.finish(B::fused_convolution(x, weight, bias, relu, resize, how)),
        }
    }

    fn fused_loss(
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
            OpsKind::UnTracked(prep) => prep.finish(B::fused_loss(logits, targets, loss, scale)),
        }
    }
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

/// The widest vector, in numbers, that divides this number of channels.
fn vector_size(channels: usize) -> usize {
    [4, 2].into_iter().find(|size| channels.is_multiple_of(*size)).unwrap_or(1)
}

/// The type of indices into the largest of these tensors.
fn address_type(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|tensor| tensor.required_address_type()).max().unwrap_or_default()
}

/// The number of cubes of [`UNITS`] for at least so many units, and the size of a cube: for units that do not cooperate.
fn unit_cubes(client: &Client, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (calculate_cube_count_elemwise(client, units, dim), dim)
}
