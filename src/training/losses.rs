//! Losses of steps that are still on a device.
//!
//! Reading a number from a device waits until it has done everything that was enqueued before. Losses of steps are therefore
//! left there for a while and fetched many at a time; they are added one by one in the order of the steps, so that the time of
//! fetching changes no bit of their sum.

use anyhow::Result;
use burn::tensor::Tensor;

use crate::device::numbers;

/// Most losses that are left on a device.
const MOST_WAITING: usize = 32;

/// The loss of a batch, summed over its pixels.
pub enum BatchLoss {
    /// Its value.
    Known(f64),
    /// On a device: the sums of the parts of the batch, each `[1]`, times the scale of the loss.
    OnDevice(Vec<Tensor<1>>, f32),
}

/// Losses of steps, in their order.
#[derive(Default)]
pub struct Losses {
    /// Each with the number of its step.
    waiting: Vec<(u64, BatchLoss)>,
    /// Whether any were fetched.
    settled: bool,
}

impl Losses {
    /// Takes in the loss of a step; true if it is time to [settle](Self::settle).
    pub fn add(&mut self, step: u64, loss: BatchLoss) -> bool {
        let known = matches!(loss, BatchLoss::Known(_));
        self.waiting.push((step, loss));
        // The first is fetched at once, so that a device that cannot compute fails at once.
        known || !self.settled || self.waiting.len() >= MOST_WAITING
    }

    /// Adds all losses that were taken in to `sum`, up to the first that is not finite, of which it returns the step.
    ///
    /// # Errors
    /// The device has failed.
    pub fn settle(&mut self, sum: &mut f64) -> Result<Option<u64>> {
        let waiting = std::mem::take(&mut self.waiting);
        self.settled = true;
        let on_device = waiting.iter().filter_map(|(_, loss)| match loss {
            BatchLoss::Known(_) => None,
            BatchLoss::OnDevice(parts, _) => Some(parts.clone()),
        });
        let on_device: Vec<Tensor<1>> = on_device.flatten().collect();
        let fetched = if on_device.is_empty() { Vec::new() } else { numbers(Tensor::cat(on_device, 0))? };
        let mut fetched = fetched.into_iter();
        for (step, loss) in waiting {
            let loss = match loss {
                BatchLoss::Known(loss) => loss,
                BatchLoss::OnDevice(parts, scale) => {
                    fetched.by_ref().take(parts.len()).map(f64::from).sum::<f64>() / f64::from(scale)
                }
            };
            if !loss.is_finite() {
                return Ok(Some(step));
            }
            *sum += loss;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::tests::devices;

    #[test]
    fn when_losses_are_fetched_changes_no_bit_of_their_sum() {
        for device in devices() {
            let loss = |step: u64| {
                let part = |value: f32| Tensor::<1>::from_floats([value], &device.inference());
                BatchLoss::OnDevice(vec![part(step as f32 / 3.0), part(1e-4 / (step + 1) as f32)], 0.3)
            };
            let (mut often, mut rarely) = (0.0, 0.0);
            let mut losses = Losses::default();
            for step in 0..40 {
                losses.add(step, loss(step));
                assert_eq!(losses.settle(&mut often).expect("computes"), None);
            }
            let (mut losses, mut times) = (Losses::default(), 0);
            for step in 0..40 {
                if losses.add(step, loss(step)) {
                    assert_eq!(losses.settle(&mut rarely).expect("computes"), None);
                    times += 1;
                }
            }
            losses.settle(&mut rarely).expect("computes");
            // After the first, and after 32 more.
            assert_eq!((often.to_bits(), times), (rarely.to_bits(), 2));
            losses.add(7, loss(1));
            losses.add(8, BatchLoss::OnDevice(vec![Tensor::from_floats([f32::NAN], &device.inference())], 1.0));
            assert_eq!(losses.settle(&mut rarely).expect("computes"), Some(8));
        }
    }
}
