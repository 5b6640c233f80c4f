//! The fused operations as a Burn backend extension: for flex (`flex.rs`) and Burn's GPU backends (`cube/`), with backward
//! passes under autodiff.
//!
//! A call on a device that the extension does not list panics; `kernel/mod.rs` checks the device first.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::{Shape, TensorData};

use super::convolution::{self, How, Resize};
use super::{AdamFactors, linear};

/// A loss of a model's outputs against targets.
#[derive(Debug, Clone, Copy)]
pub enum ElementwiseLoss {
    /// Binary cross-entropy.
    CrossEntropy,
    /// Squared error of the sigmoid.
    SquaredError,
    /// Squared error of the outputs themselves.
    SquaredDifference,
}

/// The fused operations. Shapes are those of the functions in `kernel/mod.rs`.
#[backend_extension(
    Autodiff,
    Flex,
    Cube: cfg(any(feature = "cuda", feature = "wgpu")),
    Fusion: cfg(any(feature = "cuda", feature = "wgpu"))
)]
pub trait FusedOperations: Backend {
    /// A fully connected layer.
    #[fusion(default)]
    fn fused_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
    ) -> FloatTensor<Self> {
        let linear::Sizes { outputs, .. } = linear_sizes(&x.shape(), &weight.shape(), &bias.shape());
        let products = Self::float_matmul(x, Self::float_transpose(weight));
        let sums = Self::float_add(products, Self::float_reshape(bias, Shape::new([1, outputs])));
        if relu { Self::relu(sums) } else { sums }
    }

    /// A 3×3 convolution, perhaps with upsampling before or pooling after it.
    #[fusion(dtype = x, shape = output_shape(&convolution_sizes(x, weight, bias, *resize, *how)))]
    fn fused_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        relu: bool,
        resize: Resize,
        how: How,
    ) -> FloatTensor<Self>;

    /// A loss, summed and scaled: `[1]`.
    #[fusion(dtype = logits, shape = Shape::new([1]))]
    fn fused_loss(
        logits: FloatTensor<Self>,
        targets: FloatTensor<Self>,
        loss: ElementwiseLoss,
        scale: f32,
    ) -> FloatTensor<Self>;

    /// The sigmoid. Under autodiff it is Burn's own, since training has the sigmoid inside the loss.
    #[fusion(default)]
    fn fused_sigmoid(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::sigmoid(logits)
    }
}

/// Fused operations outside automatic differentiation.
#[backend_extension(Flex)]
pub trait FusedUpdates: Backend {
    /// A step of Adam: the parameter and its two moments. Gradients are data, since an extension cannot take lists of tensors.
    fn fused_adam(
        parameter: FloatTensor<Self>,
        gradients: Vec<TensorData>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        factors: AdamFactors,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The sizes of a fully connected layer; panics if the shapes do not match.
pub fn linear_sizes(x: &Shape, weight: &Shape, bias: &Shape) -> linear::Sizes {
    let ([count, inputs], [outputs, columns]) = (x.dims(), weight.dims());
    assert_eq!(inputs, columns, "a linear layer of {columns} inputs got {inputs}");
    assert_eq!(bias.dims(), [outputs], "every output has a bias");
    linear::Sizes { count, inputs, outputs }
}

/// The sizes of a convolution; panics if the shapes do not match.
pub fn convolution_sizes(x: &Shape, weight: &Shape, bias: &Shape, resize: Resize, how: How) -> convolution::Sizes {
    let ([count, rows, width, inputs], [outputs, channels, 3, 3]) = (x.dims(), weight.dims()) else {
        panic!("the kernel of a convolution is 3×3");
    };
    let height = rows - how.around.iter().sum::<usize>();
    assert_eq!(inputs, channels, "a convolution of {channels} channels got {inputs}");
    assert_eq!(bias.dims(), [outputs], "every output has a bias");
    if let Resize::Upsample(size) = resize {
        let [high, wide] = size;
        assert_eq!(
            size.map(|side| side.div_ceil(2)),
            [height, width],
            "{height}×{width} is not upsampled to {high}×{wide}"
        );
    }
    convolution::Sizes { count, height, width, inputs, outputs, resize, how }
}

/// The shape of a convolution's output.
pub fn output_shape(sizes: &convolution::Sizes) -> Shape {
    let [height, width] = sizes.output();
    Shape::new([sizes.count, height, width, sizes.outputs])
}
