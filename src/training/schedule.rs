//! How Adam's step size changes over a training.

use std::f64::consts::PI;

use crate::config::{Schedule, Training};

impl Training {
    /// The step size after so many epochs, of which fractions count: it grows in proportion over the warm-up, and then stays, or
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
    use crate::config::{Schedule, parse};

    #[test]
    fn the_step_size_warms_up_and_falls_to_nothing() {
        let text = "[source]\nstrokes = {}\n[model]\ndense = {}\n[training]\nepochs = 12\nlearning-rate = 0.5\n";
        let folder = std::path::Path::new("");
        let mut training = parse("test", text, &[], "test", folder).expect("is a pipeline").training;
        assert_eq!([0.0, 3.3, 12.0].map(|epochs| training.learning_rate_at(epochs)), [0.5; 3]);
        (training.schedule, training.warm_up_epochs) = (Schedule::Cosine, 2.0);
        let rates = [0.0, 1.0, 2.0, 7.0, 12.0].map(|epochs| training.learning_rate_at(epochs));
        assert!(rates.iter().zip([0.0, 0.25, 0.5, 0.25, 0.0]).all(|(rate, expected)| (rate - expected).abs() < 1e-12));
    }
}
