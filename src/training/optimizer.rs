//! Adam (Kingma & Ba 2015) with epsilon 1e-8, as the chapter has it, and its state in a form that a checkpoint can keep.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, GradientsParams, Optimizer as _};
use burn::tensor::{Device, Tensor, TensorData};

use crate::model::{Autoencoder, NamedTensor};

/// Adam over the parameters of one model.
pub struct Optimizer {
    adam: Adam,
    learning_rate: f64,
    /// One for each parameter in the order of the model's layers; empty before the first step.
    states: Vec<AdamState<1>>,
}

impl Optimizer {
    /// Fresh state.
    pub fn new(learning_rate: f64) -> Self {
        Self { adam: AdamConfig::new().with_epsilon(1e-8).build(), learning_rate, states: Vec::new() }
    }

    /// Moves every parameter against its gradient.
    pub fn step(&mut self, model: Autoencoder, gradients: GradientsParams) -> Autoencoder {
        struct Mapper<'a> {
            optimizer: &'a Optimizer,
            gradients: GradientsParams,
            old: std::vec::IntoIter<AdamState<1>>,
            new: Vec<AdamState<1>>,
        }
        impl ModuleMapper for Mapper<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let Some(gradient) = self.gradients.remove::<D>(param.id) else { return param };
                let Optimizer { adam, learning_rate, .. } = self.optimizer;
                let old = self.old.next();
                param.map(|tensor| {
                    let shape = tensor.shape();
                    let (flat, gradient) = (tensor.inner().flatten(0, D - 1), gradient.flatten(0, D - 1));
                    let (flat, state) = adam.step(*learning_rate, flat, gradient, old);
                    self.new.extend(state);
                    Tensor::from_inner(flat.reshape(shape)).require_grad()
                })
            }
        }
        let old = std::mem::take(&mut self.states).into_iter();
        let mut mapper = Mapper { optimizer: self, gradients, old, new: Vec::new() };
        let model = model.map(&mut mapper);
        self.states = mapper.new;
        model
    }

    /// Steps taken, and the two moments of every parameter.
    pub fn state(&self) -> (usize, Vec<NamedTensor>) {
        let steps = self.states.first().map_or(0, |state| state.momentum.time);
        let tensor = |name: String, tensor: &Tensor<1>| {
            let values: Vec<f32> = tensor.to_data().try_into_vec().expect("moments are f32");
            NamedTensor { name, shape: vec![values.len()], values }
        };
        let moments = self.states.iter().enumerate().flat_map(|(index, state)| {
            [
                tensor(format!("moment-1.{index}"), &state.momentum.moment_1),
                tensor(format!("moment-2.{index}"), &state.momentum.moment_2),
            ]
        });
        (steps, moments.collect())
    }

    /// Restores what [`Self::state`] gave; false if `tensor` lacks a moment.
    pub fn restore<'a>(
        &mut self,
        steps: usize,
        parameters: usize,
        device: &Device,
        tensor: impl Fn(&str) -> Option<&'a NamedTensor>,
    ) -> bool {
        let moment = |name: String| {
            let values = &tensor(&name)?.values;
            Some(Tensor::from_data(TensorData::new(values.clone(), [values.len()]), device))
        };
        let states = (0..parameters).map(|index| {
            let (first, second) = (moment(format!("moment-1.{index}"))?, moment(format!("moment-2.{index}"))?);
            Some(AdamState::new(AdaptiveMomentumState::new(steps, first, second)))
        });
        if steps == 0 {
            return true;
        }
        match states.collect() {
            Some(states) => self.states = states,
            None => return false,
        }
        true
    }
}
