//! Adam (Kingma & Ba 2015) with epsilon 1e-8, as the chapter has it, and its state in a form that a checkpoint can keep.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use crate::kernel::{self, AdamFactors};
use crate::model::{Autoencoder, NamedTensor};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Adam over the parameters of one model.
pub struct Optimizer {
    learning_rate: f64,
    /// Steps taken.
    steps: u64,
    /// Of each parameter in the order of the model's layers, the first and the second moment; empty before the first step.
    moments: Vec<[Tensor<1>; 2]>,
}

impl Optimizer {
    /// Fresh state.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, steps: 0, moments: Vec::new() }
    }

    /// Moves every parameter against the sum of its gradients, which are added in their order.
    pub fn step(&mut self, model: Autoencoder, gradients: Vec<GradientsParams>) -> Autoencoder {
        struct Mapper {
            gradients: Vec<GradientsParams>,
            factors: AdamFactors,
            old: std::vec::IntoIter<[Tensor<1>; 2]>,
            new: Vec<[Tensor<1>; 2]>,
        }
        impl ModuleMapper for Mapper {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let id = param.id;
                let parts = self.gradients.iter_mut().filter_map(|gradients| gradients.remove::<D>(id));
                let gradients: Vec<Tensor<1>> = parts.map(|gradient| gradient.flatten(0, D - 1)).collect();
                if gradients.is_empty() {
                    return param;
                }
                param.map(|tensor| {
                    let shape = tensor.shape();
                    let flat: Tensor<1> = tensor.inner().flatten(0, D - 1);
                    let zeros = || Tensor::zeros(flat.shape(), &flat.device());
                    let moments = self.old.next().unwrap_or_else(|| [zeros(), zeros()]);
                    let (flat, moments) = kernel::adam(flat, gradients, moments, self.factors);
                    self.new.push(moments);
                    Tensor::from_inner(flat.reshape(shape)).require_grad()
                })
            }
        }
        self.steps += 1;
        let old = std::mem::take(&mut self.moments).into_iter();
        let mut mapper = Mapper { gradients, factors: self.factors(), old, new: Vec::new() };
        let model = model.map(&mut mapper);
        self.moments = mapper.new;
        model
    }

    /// The factors of the step that `steps` counts last.
    fn factors(&self) -> AdamFactors {
        let correction = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let second = correction(BETA_2).sqrt();
        AdamFactors {
            beta_1: BETA_1 as f32,
            beta_2: BETA_2 as f32,
            rate: (self.learning_rate * second / correction(BETA_1)) as f32,
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

    /// Restores what [`Self::state`] gave for parameters of these sizes; false if `tensor` lacks a moment of that size.
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
