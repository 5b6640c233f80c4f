//! The fused operations on flex, Burn's CPU backend, and their backward passes under autodiff.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};

use super::convolution::{self, How, Resize};
use super::extension::{ElementwiseLoss, FusedOperations, FusedUpdates, convolution_sizes, linear_sizes, output_shape};
use super::{AdamFactors, adam, elementwise, linear};

type Primitive = FloatTensor<Flex>;

fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Primitive {
    Primitive::from_data(TensorData::new(values, shape.into()))
}

/// The numbers of a contiguous tensor.
fn slice(tensor: &Primitive) -> &[f32] {
    tensor.as_slice().expect("made contiguous before")
}

fn loss_and_gradient(
    logits: &Primitive,
    targets: &Primitive,
    loss: ElementwiseLoss,
    scale: f32,
) -> elementwise::LossAndGradient {
    match loss {
        ElementwiseLoss::CrossEntropy => elementwise::cross_entropy(slice(logits), slice(targets), scale),
        ElementwiseLoss::SquaredError => elementwise::squared_error(slice(logits), slice(targets), scale),
        ElementwiseLoss::SquaredDifference => elementwise::squared_difference(slice(logits), slice(targets), scale),
    }
}

impl FusedOperations for Flex {
    fn fused_linear(x: Primitive, weight: Primitive, bias: Primitive, relu: bool) -> Primitive {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let sizes = linear_sizes(&x.shape(), &weight.shape(), &bias.shape());
        let output = linear::forward(slice(&x), slice(&weight), slice(&bias), relu, sizes);
        tensor(output, [sizes.count, sizes.outputs])
    }

    fn fused_convolution(
        x: Primitive,
        weight: Primitive,
        bias: Primitive,
        relu: bool,
        resize: Resize,
        how: How,
    ) -> Primitive {
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.to_contiguous());
        let sizes = convolution_sizes(&x.shape(), &weight.shape(), &bias.shape(), resize, how);
        convolved(&x, &weight, &bias, relu, &sizes).0
    }

    fn fused_loss(logits: Primitive, targets: Primitive, loss: ElementwiseLoss, scale: f32) -> Primitive {
        let [logits, targets] = [logits, targets].map(|tensor| tensor.to_contiguous());
        tensor(vec![loss_and_gradient(&logits, &targets, loss, scale).loss], [1])
    }

    fn fused_sigmoid(logits: Primitive) -> Primitive {
        let logits = logits.to_contiguous();
        tensor(elementwise::sigmoid(slice(&logits)), logits.shape())
    }
}

impl FusedUpdates for Flex {
    fn fused_adam(
        parameter: Primitive,
        gradients: Vec<TensorData>,
        first_moment: Primitive,
        second_moment: Primitive,
        factors: AdamFactors,
    ) -> (Primitive, Primitive, Primitive) {
        let gradients = gradients.iter().map(|gradient| gradient.as_slice().expect("gradients are f32"));
        let gradients: Vec<&[f32]> = gradients.collect();
        let [mut parameter, mut first, mut second] =
            [parameter, first_moment, second_moment].map(|tensor| tensor.to_contiguous());
        // Copies storage that is still shared, such as that of the parameter in the model.
        let values = (parameter.storage_mut(), first.storage_mut(), second.storage_mut());
        adam::step(values.0, &gradients, values.1, values.2, factors);
        (parameter, first, second)
    }
}

/// The output of a convolution of contiguous tensors and, with a pooling, the pixel that each maximum came from.
fn convolved(
    x: &Primitive,
    weight: &Primitive,
    bias: &Primitive,
    relu: bool,
    sizes: &convolution::Sizes,
) -> (Primitive, Option<Vec<u8>>) {
    let output = convolution::forward(slice(x), slice(weight), slice(bias), relu, sizes);
    (tensor(output.values, output_shape(sizes)), output.origin)
}

/// The tensors that the backward pass of a layer with weights needs.
#[derive(Debug, Clone)]
struct LayerState<S> {
    x: Primitive,
    weight: Primitive,
    /// The layer's output, if it ended in a ReLU.
    output: Option<Primitive>,
    /// The pixel that each maximum came from, if the layer ended in a pooling.
    origin: Option<Vec<u8>>,
    sizes: S,
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 3> for LinearBackward {
    type State = LayerState<linear::Sizes>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let LayerState { x, weight, output, sizes, .. } = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let output = output.as_ref().map(slice);
        let linear::Gradients { input, weight: to_weight, bias } =
            linear::backward(slice(&x), slice(&weight), output, slice(&gradient), x_node.is_some(), sizes);
        if let (Some(node), Some(input)) = (x_node, input) {
            grads.register::<Flex>(node.id, tensor(input, x.shape()));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(to_weight, weight.shape()));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(bias, [sizes.outputs]));
        }
    }
}

#[derive(Debug)]
struct ConvolutionBackward;

impl Backward<Flex, 3> for ConvolutionBackward {
    type State = LayerState<convolution::Sizes>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let LayerState { x, weight, output, origin, sizes } = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        let convolution::Gradients { input, weight: to_weight, bias } = convolution::backward(
            slice(&x),
            slice(&weight),
            output.as_ref().map(slice),
            origin.as_deref(),
            slice(&gradient),
            x_node.is_some(),
            &sizes,
        );
        if let (Some(node), Some(input)) = (x_node, input) {
            grads.register::<Flex>(node.id, tensor(input, x.shape()));
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(to_weight, weight.shape()));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(bias, [sizes.outputs]));
        }
    }
}

#[derive(Debug)]
struct LossBackward;

impl Backward<Flex, 1> for LossBackward {
    /// The gradient, computed together with the value.
    type State = Primitive;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let factor = slice(&grads.consume::<Flex>(&ops.node).to_contiguous())[0];
        let mut gradient = ops.state;
        if factor != 1.0 {
            for value in gradient.storage_mut::<f32>() {
                *value *= factor;
            }
        }
        if let [Some(node)] = ops.parents {
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> FusedOperations for Autodiff<Flex, C> {
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive().to_contiguous());
        let sizes = linear_sizes(&x.shape(), &weight.shape(), &bias.shape());
        let output = Flex::fused_linear(x.clone(), weight.clone(), bias, relu);
        match LinearBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let kept = relu.then(|| output.clone());
                prep.finish(LayerState { x, weight, output: kept, origin: None, sizes }, output)
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
        let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive().to_contiguous());
        let sizes = convolution_sizes(&x.shape(), &weight.shape(), &bias.shape(), resize, how);
        let (output, origin) = convolved(&x, &weight, &bias, relu, &sizes);
        match ConvolutionBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let kept = relu.then(|| output.clone());
                prep.finish(LayerState { x, weight, output: kept, origin, sizes }, output)
            }
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }

    fn fused_loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> FloatTensor<Self> {
        let node = logits.node();
        let [logits, targets] = [logits, targets].map(|tensor| tensor.into_primitive().to_contiguous());
        let elementwise::LossAndGradient { loss, gradient } = loss_and_gradient(&logits, &targets, loss, scale);
        let output = tensor(vec![loss], [1]);
        match LossBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(tensor(gradient, logits.shape()), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        }
    }
}
