//! Benchmarks of the kernels, fused and as plain compositions of Burn's operations, at the sizes of the shipped models:
//! `cargo bench --bench kernels [FILTER]`.
//!
//! A layer is measured on a micro-batch, as training calls it. The fused version runs on one thread; for the plain one
//! Burn decides. Backward passes start from the sum of the outputs, whose gradient is ones.

use std::fmt;

use burn::tensor::{Device, Tensor, TensorData};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use limpid::corruption::{Corruption, Gaussian};
use limpid::image::{ImageShape, Pixels, Split, to_unit};
use limpid::kernel::{self, Activation, AdamFactors, Method, plain};
use limpid::random::Stream;
use limpid::table::pixels;

/// Images of a micro-batch of the dense and the convolutional models.
const DENSE_IMAGES: usize = 100;
const CONV_IMAGES: usize = 25;
/// Pixels of an MNIST image.
const PIXELS: usize = 784;
/// About the number of parameters of the dense model.
const PARAMETERS: usize = 50_000;
/// Images of a batch of a table.
const BATCH: usize = 1024;

fn main() {
    divan::main();
}

fn stream() -> Stream {
    Stream::new(1, "bench", Split::Train)
}

/// Normal numbers, different for each `id`.
fn random<const D: usize>(id: u64, shape: [usize; D], device: &Device) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    stream().generator(id, 0).fill_normal(&mut values);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The implementation.
#[derive(Debug, Clone, Copy)]
enum Version {
    Fused,
    Plain,
}

const VERSIONS: [Version; 2] = [Version::Fused, Version::Plain];

/// A layer of a shipped model.
#[derive(Debug, Clone, Copy)]
enum Layer {
    Dense,
    /// At so many rows and columns of its input.
    Convolution(usize),
    ConvolutionMaxPool(usize),
    /// To so many rows and columns, from half as many.
    UpsampleConvolution(usize),
}

/// A measurement of a layer.
#[derive(Debug, Clone, Copy)]
struct Case {
    layer: Layer,
    inputs: usize,
    outputs: usize,
    activation: Activation,
    backward: bool,
    version: Version,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { layer, inputs, outputs, backward, version, .. } = self;
        let passes = if *backward { "forward + backward" } else { "forward" };
        write!(f, "{layer:?} {inputs} to {outputs}, {passes}: {version:?}")
    }
}

/// Every layer forward, then forward and backward, fused and plain.
fn cases() -> Vec<Case> {
    let layers = [
        (Layer::Dense, PIXELS, 32, Activation::Relu),
        (Layer::Dense, 32, PIXELS, Activation::Identity),
        (Layer::ConvolutionMaxPool(28), 1, 16, Activation::Relu),
        (Layer::ConvolutionMaxPool(14), 16, 8, Activation::Relu),
        (Layer::ConvolutionMaxPool(14), 32, 32, Activation::Relu),
        (Layer::UpsampleConvolution(28), 8, 16, Activation::Relu),
        (Layer::UpsampleConvolution(28), 32, 32, Activation::Relu),
        (Layer::Convolution(28), 32, 1, Activation::Identity),
        (Layer::Convolution(32), 48, 48, Activation::Relu),
    ];
    let mut cases = Vec::new();
    for (layer, inputs, outputs, activation) in layers {
        for backward in [false, true] {
            for version in VERSIONS {
                cases.push(Case { layer, inputs, outputs, activation, backward, version });
            }
        }
    }
    cases
}

#[divan::bench(args = cases(), max_time = 0.5)]
fn layers(bencher: Bencher<'_, '_>, case: &Case) {
    let Case { layer, inputs, outputs, activation, version, .. } = *case;
    let image = |side: usize| [CONV_IMAGES, side, side, inputs];
    let weight = [outputs, inputs, 3, 3];
    match layer {
        Layer::Dense => {
            let layer = match version {
                Version::Fused => kernel::linear,
                Version::Plain => plain::linear,
            };
            measure(bencher, case, [DENSE_IMAGES, inputs], [outputs, inputs], |x, w, b| layer(x, w, b, activation));
        }
        Layer::Convolution(side) => {
            let layer = match version {
                Version::Fused => |x, w, b, a| kernel::convolution(x, w, b, a, Method::Fastest),
                Version::Plain => plain::convolution,
            };
            measure(bencher, case, image(side), weight, |x, w, b| layer(x, w, b, activation));
        }
        Layer::ConvolutionMaxPool(side) => {
            let layer = match version {
                Version::Fused => |x, w, b, a| kernel::convolution_max_pool(x, w, b, a, Method::Fastest),
                Version::Plain => plain::convolution_max_pool,
            };
            measure(bencher, case, image(side), weight, |x, w, b| layer(x, w, b, activation));
        }
        Layer::UpsampleConvolution(side) => {
            let layer = match version {
                Version::Fused => |x, size, w, b, a| kernel::upsample_convolution(x, size, w, b, a, Method::Fastest),
                Version::Plain => plain::upsample_convolution,
            };
            let size = [side, side];
            measure(bencher, case, image(side / 2), weight, |x, w, b| layer(x, size, w, b, activation));
        }
    }
}

/// Measures a layer with these shapes of input and weight. The gradient of the input is computed too, unless that is the
/// image.
fn measure<const D: usize>(
    bencher: Bencher<'_, '_>,
    case: &Case,
    x: [usize; D],
    weight: [usize; D],
    layer: impl Fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<D>,
) {
    let device = if case.backward { Device::flex().autodiff() } else { Device::flex() };
    let images = ItemsCount::new(x[0]);
    let first = x[D - 1] == 1 || x[D - 1] == PIXELS;
    let x = random(1, x, &device);
    let bias = random(3, [weight[0]], &device);
    let weight = random(2, weight, &device) * 0.1;
    if !case.backward {
        bencher.counter(images).bench_local(|| layer(x.clone(), weight.clone(), bias.clone()));
        return;
    }
    let x = if first { x } else { x.require_grad() };
    let (weight, bias) = (weight.require_grad(), bias.require_grad());
    bencher.counter(images).bench_local(|| layer(x.clone(), weight.clone(), bias.clone()).sum().backward());
}

type Loss = fn(Tensor<2>, Tensor<2>, f32) -> Tensor<1>;

/// A loss with its gradient.
fn loss(bencher: Bencher<'_, '_>, loss: Loss) {
    let device = Device::flex().autodiff();
    let shape = [DENSE_IMAGES, PIXELS];
    let logits = random(1, shape, &device).require_grad();
    let targets = random(2, shape, &device).clamp(0.0, 1.0);
    let pixels = ItemsCount::new(DENSE_IMAGES * PIXELS);
    bencher.counter(pixels).bench_local(|| loss(logits.clone(), targets.clone(), 1.0).backward());
}

#[divan::bench(args = VERSIONS, max_time = 0.5)]
fn cross_entropy(bencher: Bencher<'_, '_>, version: Version) {
    loss(
        bencher,
        match version {
            Version::Fused => kernel::cross_entropy,
            Version::Plain => plain::cross_entropy,
        },
    );
}

#[divan::bench(args = VERSIONS, max_time = 0.5)]
fn squared_error(bencher: Bencher<'_, '_>, version: Version) {
    loss(
        bencher,
        match version {
            Version::Fused => kernel::squared_error,
            Version::Plain => plain::squared_error,
        },
    );
}

/// A step with the gradients of two micro-batches.
#[divan::bench(args = VERSIONS, max_time = 0.5)]
fn adam(bencher: Bencher<'_, '_>, version: Version) {
    let device = Device::flex();
    let factors = AdamFactors { beta_1: 0.9, beta_2: 0.999, rate: 1e-3, epsilon: 1e-8 };
    let adam = match version {
        Version::Fused => kernel::adam,
        Version::Plain => plain::adam,
    };
    bencher
        .counter(ItemsCount::new(PARAMETERS))
        // The tensors are not shared, as in training, so that they are updated in place.
        .with_inputs(|| {
            let [p, g, h, m, v] = std::array::from_fn(|id| random(id as u64, [PARAMETERS], &device));
            (p, vec![g, h], [m, v.abs()])
        })
        .bench_local_values(|(parameter, gradients, moments)| adam(parameter, gradients, moments, factors));
}

/// The noise of one image.
#[divan::bench(max_time = 0.5)]
fn normal_numbers(bencher: Bencher<'_, '_>) {
    let mut out = vec![0.0; PIXELS];
    let stream = stream();
    bencher
        .counter(ItemsCount::new(PIXELS))
        .bench_local(|| stream.generator(1, 0).fill_normal(divan::black_box(&mut out)));
}

/// A batch of a table, bytes to bytes, as the stage does it.
#[divan::bench(max_time = 0.5)]
fn corrupt(bencher: Bencher<'_, '_>) {
    let images: Vec<u8> = (0..BATCH * PIXELS).map(|index| (index * 7 % 256) as u8).collect();
    let (corruption, image) =
        (Corruption::Gaussian(Gaussian::new(0.5)), ImageShape { height: 28, width: 28, channels: 1 });
    let stream = stream();
    bencher.counter(BytesCount::new(images.len())).bench_local(|| {
        let mut clean = vec![0.0; images.len()];
        to_unit(&images, &mut clean);
        let mut noisy = vec![0.0; clean.len()];
        for (id, (clean, noisy)) in clean.chunks_exact(PIXELS).zip(noisy.chunks_exact_mut(PIXELS)).enumerate() {
            corruption.kind().apply(clean, image, &mut stream.generator(id as u64, 0), noisy);
        }
        pixels::stored(noisy, Pixels::U8)
    });
}
