//! Adam (Kingma & Ba 2015) with epsilon 1e-8, as in the textbook chapter, and its state as named tensors for a checkpoint.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::device::computes_where_called;
use crate::kernel::{self, AdamFactors};
use crate::model::{Autoencoder, NamedTensor};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Adam over the parameters of one model.
#[derive(Default)]
pub struct Optimizer {
    /// Steps taken.
    steps: u64,
    /// The first and the second moment of each parameter, in the order of the model's layers; empty before the first step.
    moments: Vec<[Tensor<1>; 2]>,
}

impl Optimizer {
    /// Updates every parameter with the sum of its gradients, which are added in their order; on flex parameters are updated in
    /// parallel.
    pub fn step(&mut self, model: &mut Autoencoder, gradients: Vec<GradientsParams>, learning_rate: f64) {
        self.steps += 1;
        let factors = self.factors(learning_rate);
        let moments = std::mem::take(&mut self.moments).into_iter();
        let mut collector = Collector { gradients, moments, parts: Vec::new() };
        model.visit(&mut collector);
        let moved = |Part { parameter, gradients, moments }| kernel::adam(parameter, gradients, moments, factors);
        let parts = collector.parts;
        let on_threads = parts.first().is_some_and(|part| computes_where_called(&part.parameter.device()));
        let (parameters, moments): (Vec<Tensor<1>>, _) = if on_threads {
            parts.into_par_iter().with_max_len(1).map(moved).unzip()
        } else {
            parts.into_iter().map(moved).unzip()
        };
        self.moments = moments;
        *model = model.clone().map(&mut Replacer(parameters.into_iter()));
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The factors of the current step.
    fn factors(&self, learning_rate: f64) -> AdamFactors {
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let second = correction(BETA_2).sqrt();
        AdamFactors {
            beta_1: BETA_1 as f32,
            beta_2: BETA_2 as f32,
            rate: (learning_rate * second / correction(BETA_1)) as f32,
            epsilon: (EPSILON * second) as f32,
        }
    }

    /// Steps taken, and the two moments of every parameter.
    pub fn state(&self) -> (u64, Vec<NamedTensor>) {
        let tensor = |name: String, tensor: &Tensor<1>| {
            let values: Vec<f32> = tensor.to_data().try_into_vec().expect("moments are f32");
            NamedTensor { name, shape: vec![values.len()], values }
        };
        let moments = self.moments.iter().enumerate().flat_map(|(index, [first, second])| {
            [tensor(format!("moment-1.{index}"), first), tensor(format!("moment-2.{index}"), second)]
        });
        (self.steps, moments.collect())
    }

    /// Restores the result of [`Self::state`] for parameters of these sizes; false if `tensor` lacks a moment of the right size.
    pub fn restore<'a>(
        &mut self,
        steps: u64,
        sizes: &[usize],
        device: &Device,
        tensor: impl Fn(&str) -> Option<&'a NamedTensor>,
    ) -> bool {
        if steps == 0 {
            return true;
        }
        let moment = |name: String, size: usize| {
            let values = tensor(&name).map(|moment| &moment.values).filter(|values| values.len() == size)?;
            Some(Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device))
        };
        let moments = sizes.iter().enumerate().map(|(index, &size)| {
            Some([moment(format!("moment-1.{index}"), size)?, moment(format!("moment-2.{index}"), size)?])
        });
        match moments.collect() {
            Some(moments) => (self.steps, self.moments) = (steps, moments),
            None => return false,
        }
        true
    }
}

/// Collects each parameter with its gradients and moments.
struct Collector {
    gradients: Vec<GradientsParams>,
    moments: std::vec::IntoIter<[Tensor<1>; 2]>,
    parts: Vec<Part>,
}

/// One parameter with its gradients and moments.
struct Part {
    parameter: Tensor<1>,
    gradients: Vec<Tensor<1>>,
    moments: [Tensor<1>; 2],
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts = self.gradients.iter_mut().filter_map(|gradients| gradients.remove::<D>(param.id));
        let gradients: Vec<Tensor<1>> = parts.map(|gradient| gradient.flatten(0, D - 1)).collect();
        let parameter: Tensor<1> = param.val().inner().flatten(0, D - 1);
        let zeros = || Tensor::zeros(parameter.shape(), &parameter.device());
        let moments = self.moments.next().unwrap_or_else(|| [zeros(), zeros()]);
        self.parts.push(Part { parameter, gradients, moments });
    }
}

/// Puts updated values into the parameters, in the order of [`Collector`].
struct Replacer(std::vec::IntoIter<Tensor<1>>);

impl ModuleMapper for Replacer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let moved = self.0.next().expect("every parameter was collected");
        param.map(|tensor| Tensor::from_inner(moved.reshape(tensor.shape())).require_grad())
    }
}
