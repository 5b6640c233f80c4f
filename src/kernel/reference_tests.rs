//! Compares fused and plain operations with PyTorch: values and all gradients, from tests/fixtures/kernel_reference.safetensors.
//!
//! That file, its format and its cases come from scripts/kernel_reference.py, which computes them in double precision. It
//! names each case by operation and sizes, so that a new case is added there alone; inputs follow from [`number`].

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;

use super::{Activation, AdamFactors, Method, plain};

/// Tolerance of rounding to single precision, as a share of the largest magnitude in a result; for a projection, times the root
/// of the number of its summands.
const TOLERANCE: f64 = 2e-5;
/// Numbers of a result that are stored, after its projection.
const SAMPLES: usize = 200;
/// Adam's settings in the script.
const ADAM_STEPS: i32 = 5;
const ADAM_PARTS: u32 = 3;
const ADAM_RATE: f64 = 1e-2;

/// A number in [-1, 1) with 24 bits, from a hash of (stream, index).
fn number(stream: u32, index: u32) -> f32 {
    let mut x = index.wrapping_add(stream.wrapping_mul(1_000_003)).wrapping_mul(0x9E37_79B1);
    x = (x ^ (x >> 15)).wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
    x ^= x >> 16;
    (x >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn tensor<const D: usize>(stream: u32, shape: [usize; D], device: &Device) -> Tensor<D> {
    let count = shape.iter().product::<usize>() as u32;
    let values: Vec<f32> = (0..count).map(|index| number(stream, index)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("kernels compute in f32")
}

type Moments = [Tensor<1>; 2];
type Adam = fn(Tensor<1>, Vec<Tensor<1>>, Moments, AdamFactors) -> (Tensor<1>, Moments);

/// One implementation of every operation.
struct Version {
    name: &'static str,
    linear: fn(Tensor<2>, Tensor<2>, Tensor<1>, Activation) -> Tensor<2>,
    convolution: fn(Tensor<4>, Tensor<4>, Tensor<1>, Activation) -> Tensor<4>,
    convolution_max_pool: fn(Tensor<4>, Tensor<4>, Tensor<1>, Activation) -> Tensor<4>,
    upsample_convolution: fn(Tensor<4>, [usize; 2], Tensor<4>, Tensor<1>, Activation) -> Tensor<4>,
    cross_entropy: fn(Tensor<2>, Tensor<2>, f32) -> Tensor<1>,
    squared_error: fn(Tensor<2>, Tensor<2>, f32) -> Tensor<1>,
    adam: Adam,
}

macro_rules! version {
    ($name:literal, $($path:ident)::* $(, $method:expr)?) => {
        Version {
            name: $name,
            linear: $($path)::*::linear,
            convolution: |x, w, b, a| $($path)::*::convolution(x, w, b, a $(, $method)?),
            convolution_max_pool: |x, w, b, a| $($path)::*::convolution_max_pool(x, w, b, a $(, $method)?),
            upsample_convolution: |x, size, w, b, a| $($path)::*::upsample_convolution(x, size, w, b, a $(, $method)?),
            cross_entropy: $($path)::*::cross_entropy,
            squared_error: $($path)::*::squared_error,
            adam: $($path)::*::adam,
        }
    };
}

/// The results of a case, by name.
type Results = Vec<(&'static str, Vec<f32>)>;

impl Version {
    fn run(&self, case: &str) -> Results {
        let words: Vec<&str> = case.split(' ').collect();
        let sizes: Vec<usize> = words[1..].iter().filter_map(|word| word.parse().ok()).collect();
        let activation = if words.last() == Some(&"relu") { Activation::Relu } else { Activation::Identity };
        match (words[0], sizes.as_slice()) {
            ("linear", &[n, i, o]) => layer([n, i], [o, i], |x, w, b| (self.linear)(x, w, b, activation)),
            ("convolution", &[n, h, w, i, o]) => {
                layer([n, h, w, i], [o, i, 3, 3], |x, w, b| (self.convolution)(x, w, b, activation))
            }
            ("convolution-max-pool", &[n, h, w, i, o]) => {
                layer([n, h, w, i], [o, i, 3, 3], |x, w, b| (self.convolution_max_pool)(x, w, b, activation))
            }
            ("upsample-convolution", &[n, h, w, i, o, high, wide]) => layer([n, h, w, i], [o, i, 3, 3], |x, w, b| {
                (self.upsample_convolution)(x, [high, wide], w, b, activation)
            }),
            ("cross-entropy", &[n, pixels]) => loss([n, pixels], self.cross_entropy),
            ("squared-error", &[n, pixels]) => loss([n, pixels], self.squared_error),
            ("adam", &[count]) => self.run_adam(count),
            _ => panic!("{case:?} is not a case"),
        }
    }

    fn run_adam(&self, count: usize) -> Results {
        let device = Device::flex();
        let mut parameter = tensor(1, [count], &device);
        let mut moments = [Tensor::zeros([count], &device), Tensor::zeros([count], &device)];
        for step in 0..ADAM_STEPS {
            let stream = |part| 10 + ADAM_PARTS * step as u32 + part;
            let gradients = (0..ADAM_PARTS).map(|part| tensor(stream(part), [count], &device)).collect();
            let [first, second] = [0.9_f64, 0.999].map(|beta| 1.0 - beta.powi(step + 1));
            let rate = (ADAM_RATE * second.sqrt() / first) as f32;
            let epsilon = (1e-8 * second.sqrt()) as f32;
            let factors = AdamFactors { beta_1: 0.9, beta_2: 0.999, rate, epsilon };
            (parameter, moments) = (self.adam)(parameter, gradients, moments, factors);
        }
        let [first, second] = moments;
        vec![("value", numbers(parameter)), ("first", numbers(first)), ("second", numbers(second))]
    }
}

/// Value and gradients of a layer, for a loss that is a weighted sum of its outputs.
fn layer<const D: usize>(
    x: [usize; D],
    weight: [usize; D],
    layer: impl Fn(Tensor<D>, Tensor<D>, Tensor<1>) -> Tensor<D>,
) -> Results {
    let device = Device::flex().autodiff();
    let bias = tensor(3, [weight[0]], &device).require_grad();
    let [x, weight] = [tensor(1, x, &device), tensor(2, weight, &device)].map(Tensor::require_grad);
    let y = layer(x.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * tensor(4, y.dims(), &device)).sum().backward();
    let gradient = |tensor: &Tensor<D>| numbers(tensor.grad(&gradients).expect("has a gradient"));
    vec![
        ("value", numbers(y.inner())),
        ("input", gradient(&x)),
        ("weight", gradient(&weight)),
        ("bias", numbers(bias.grad(&gradients).expect("has a gradient"))),
    ]
}

fn loss(shape: [usize; 2], loss: fn(Tensor<2>, Tensor<2>, f32) -> Tensor<1>) -> Results {
    let device = Device::flex().autodiff();
    let logits = (tensor(1, shape, &device) * 8.0).require_grad();
    let targets = (tensor(2, shape, &device) + 0.5).clamp(0.0, 1.0);
    let value = loss(logits.clone(), targets, 1.0);
    let gradients = value.backward();
    vec![("value", numbers(value.inner())), ("input", numbers(logits.grad(&gradients).expect("has a gradient")))]
}

/// Compares a result with its projection and samples.
fn compare(found: &[f32], stored: &[f32], what: &str) {
    let step = found.len().div_ceil(SAMPLES);
    let samples: Vec<f32> = found.iter().step_by(step).copied().collect();
    let (&projection, expected) = stored.split_first().expect("a result has a projection");
    assert_eq!(samples.len(), expected.len(), "{what} does not have its size");
    let largest = found.iter().fold(0.0, |most, value| value.abs().max(most));
    let tolerance = TOLERANCE * f64::from(largest);
    for (index, (found, expected)) in samples.iter().zip(expected).enumerate() {
        let error = f64::from(found - expected).abs();
        assert!(error <= tolerance, "{what}, at {}: {found}, not {expected}", index * step);
    }
    let projected: f64 =
        found.iter().enumerate().map(|(index, &value)| f64::from(value) * f64::from(number(9, index as u32))).sum();
    let error = (projected - f64::from(projection)).abs();
    assert!(error <= tolerance * (found.len() as f64).sqrt(), "{what}, projected: {projected}, not {projection}");
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kernel_reference.safetensors");
    let bytes = std::fs::read(path).expect("the fixture is in the repository");
    let file = SafeTensors::deserialize(&bytes).expect("the fixture is whole");
    let stored: BTreeMap<String, Vec<f32>> = file
        .iter()
        .map(|(name, view)| {
            let numbers = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
            (name.to_owned(), numbers.collect())
        })
        .collect();
    let cases: BTreeSet<&str> = stored.keys().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
    let operations: BTreeSet<&str> = cases.iter().filter_map(|case| case.split(' ').next()).collect();
    assert_eq!(operations.len(), 7, "{operations:?}");
    for version in
        [version!("fused", super, Method::Fastest), version!("direct", super, Method::Direct), version!("plain", plain)]
    {
        let mut compared = 0;
        for &case in &cases {
            for (part, found) in version.run(case) {
                let what = format!("{case}/{part}");
                compare(&found, &stored[&what], &format!("{}: {what}", version.name));
                compared += 1;
            }
        }
        assert_eq!(compared, stored.len(), "every number is compared");
    }
}
