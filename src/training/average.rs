//! Averages of the weights over the steps of a training, which are scored and published in place of the weights.
//!
//! An exponential moving average (Polyak & Juditsky 1992; Tarvainen & Valpola 2017, Mean Teacher) smooths what single steps do to the
//! weights. Over the first steps it decays faster, as (1 + n) / (10 + n) after step n, so that the initial weights are forgotten.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::model::Autoencoder;

/// The average after a step, the `steps`th, whose result is `model`; only the latter is under automatic differentiation.
pub fn updated(average: Autoencoder, model: &Autoencoder, decay: f64, steps: u64) -> Autoencoder {
    let steps = steps as f64;
    let share = 1.0 - decay.min((1.0 + steps) / (10.0 + steps));
    let mut collector = Collector(Vec::new());
    model.visit(&mut collector);
    average.map(&mut Mixer { weights: collector.0.into_iter(), share: share as f32 })
}

/// Collects the weights in the order of the model's layers.
struct Collector(Vec<Tensor<1>>);

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().inner().flatten(0, D - 1));
    }
}

/// Moves every average by a share of its distance from the weight.
struct Mixer {
    weights: std::vec::IntoIter<Tensor<1>>,
    share: f32,
}

impl ModuleMapper for Mixer {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weights = self.weights.next().expect("both have the same layers");
        param.map(|average| {
            let weights = weights.reshape(average.shape());
            average.clone() + (weights - average) * self.share
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::image::ImageShape;
    use crate::model::predict::Predict;
    use crate::model::{Architecture, Unet, named_tensors};

    #[test]
    fn averages_approach_the_weights_fast_at_first_and_then_by_the_decay() {
        let image = ImageShape::new(8, 8, 1).expect("is a shape");
        let unet = Architecture::Unet(Unet { channels: vec![3, 4], residual_blocks: 1, unshuffle: false });
        let model = |seed, device: &Device| unet.init(image, Predict::Image, seed, device).expect("fits");
        let (model, average) = (model(1, &Device::flex().autodiff()), model(2, &Device::flex()));
        let numbers = |model: &Autoencoder| -> Vec<f32> {
            named_tensors(model).into_iter().flat_map(|tensor| tensor.values).collect()
        };
        for (steps, share) in [(1, 9.0 / 11.0), (1_000_000, 0.01)] {
            let found = numbers(&updated(average.clone(), &model, 0.99, steps));
            for ((found, weight), average) in found.into_iter().zip(numbers(&model)).zip(numbers(&average)) {
                assert!((found - (average + share * (weight - average))).abs() < 1e-6);
            }
        }
    }
}
