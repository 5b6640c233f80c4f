//! One step of Adam in one pass over the numbers: sum of gradients, both moments and the parameter.

use super::AdamFactors;
use crate::vector::{self, Loop};

/// Numbers of each gradient that are summed before the next block, so that they stay in the L1 cache.
const BLOCK: usize = 256;

/// See [`super::adam`]; all slices have the same length, and `gradients` is not empty.
pub fn step(
    parameter: &mut [f32],
    gradients: &[&[f32]],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
    factors: AdamFactors,
) {
    let len = parameter.len();
    assert!(gradients.iter().all(|gradient| gradient.len() == len), "gradients have the size of the parameter");
    assert!(first_moment.len() == len && second_moment.len() == len, "moments have the size of the parameter");
    vector::vectorise(&mut Step { parameter, gradients, first_moment, second_moment, factors });
}

struct Step<'a> {
    parameter: &'a mut [f32],
    gradients: &'a [&'a [f32]],
    first_moment: &'a mut [f32],
    second_moment: &'a mut [f32],
    factors: AdamFactors,
}

impl Loop for Step<'_> {
    #[inline(always)]
    fn run(&mut self) {
        let AdamFactors { beta_1, beta_2, rate, epsilon } = self.factors;
        for start in (0..self.parameter.len()).step_by(BLOCK) {
            let end = self.parameter.len().min(start + BLOCK);
            let len = end - start;
            let mut sums = [0.0_f32; BLOCK];
            for gradient in self.gradients {
                for (sum, value) in sums[..len].iter_mut().zip(&gradient[start..end]) {
                    *sum += value;
                }
            }
            let parameter = &mut self.parameter[start..end];
            let first = &mut self.first_moment[start..end];
            let second = &mut self.second_moment[start..end];
            for index in 0..len {
                let gradient = sums[index];
                first[index] = beta_1 * first[index] + (1.0 - beta_1) * gradient;
                second[index] = beta_2 * second[index] + (1.0 - beta_2) * (gradient * gradient);
                parameter[index] -= rate * first[index] / (second[index].sqrt() + epsilon);
            }
        }
    }
}
