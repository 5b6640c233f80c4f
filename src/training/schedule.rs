//! The learning rate schedule.

use std::f64::consts::PI;

use crate::training::settings::{Schedule, Training};

impl Training {
    /// The learning rate after so many epochs, fractions included: it grows linearly over the warm-up, and is then constant, or
    /// falls to 0 at the end of the last epoch along half a period of the cosine (Loshchilov & Hutter 2017, without restarts).
    pub fn learning_rate_at(&self, epochs: f64) -> f64 {
        if epochs < self.warm_up_epochs {
            return self.learning_rate * epochs / self.warm_up_epochs;
        }
        match self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine => {
                let done = (epochs - self.warm_up_epochs) / (self.epochs as f64 - self.warm_up_epochs);
                self.learning_rate * 0.5 * (1.0 + (PI * done.min(1.0)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::device::Precision;
    use crate::training::patches::Patches;
    use crate::training::settings::{InputImages, Noise, Schedule, TargetImages, Training, Weights};

    #[test]
    fn the_step_size_warms_up_and_falls_to_nothing() {
        let mut training = Training {
            input: InputImages::Clean,
            target: TargetImages::Clean,
            blind_spot: None,
            noise: Noise::Fresh,
            patches: Patches::default(),
            epochs: 12,
            batch_size: 1,
            learning_rate: 0.5,
            schedule: Schedule::Constant,
            warm_up_epochs: 0.0,
            precision: Precision::F32,
            average: None,
            weights: Weights::Last,
            patience: None,
            memory_mib: 1,
            cache_mib: None,
            checkpoint_seconds: 1,
        };
        assert_eq!([0.0, 3.3, 12.0].map(|epochs| training.learning_rate_at(epochs)), [0.5; 3]);
        (training.schedule, training.warm_up_epochs) = (Schedule::Cosine, 2.0);
        let rates = [0.0, 1.0, 2.0, 7.0, 12.0].map(|epochs| training.learning_rate_at(epochs));
        assert!(rates.iter().zip([0.0, 0.25, 0.5, 0.25, 0.0]).all(|(rate, expected)| (rate - expected).abs() < 1e-12));
    }
}
