//! Several corruptions, one after the other, as a picture suffers them: blurred by the lens, noisy by the sensor, and then stored.
//!
//! Each has random numbers of its own by its position, so that two of the same kind are independent.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::on_device::Numbers;
use super::{Corruption, CorruptionKind, RawCorruption};
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Corruptions in the order in which they are applied; at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Several(pub Vec<Corruption>);

/// Corruptions in the order in which they are applied, a table each.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct RawSeveral(#[schemars(length(min = 1, max = 16))] Vec<RawCorruption>);

impl Choice for Several {
    type Written = RawSeveral;

    fn resolve(RawSeveral(written): RawSeveral, section: &mut Section<'_>) -> Option<Self> {
        let members = written.into_iter().enumerate().map(|(position, written)| {
            let mut entry = section.entry(position);
            let member = written.resolve(&mut entry);
            if member.is_none() && !entry.has_problem() {
                entry.add_to_all("names no corruption: for example { gaussian = { std = 0.1 } }");
            }
            member
        });
        // All are resolved, so that the problems of all are told.
        let members: Vec<_> = members.collect();
        members.into_iter().collect::<Option<_>>().map(Self)
    }
}

/// What the random numbers of the member at this position are for.
fn part(position: usize) -> String {
    format!("member {position}")
}

impl CorruptionKind for Several {
    fn suits_vectors(&self) -> bool {
        self.members().iter().all(|member| member.kind().suits_vectors())
    }

    fn is_fixed(&self) -> bool {
        self.0.iter().all(|member| member.kind().is_fixed())
    }

    fn keeps_range(&self) -> bool {
        self.0.iter().all(|member| member.kind().keeps_range())
    }

    fn members(&self) -> &[Corruption] {
        &self.0
    }

    fn check(&self, image: ImageShape) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|member| member.kind().check(image))
    }

    fn apply(&self, pixels: &[f32], image: ImageShape, generator: &mut Generator, out: &mut [f32]) {
        let mut before = pixels.to_vec();
        for (position, member) in self.0.iter().enumerate() {
            member.kind().apply(&before, image, &mut generator.apart(&part(position)), out);
            before.copy_from_slice(out);
        }
    }

    fn apply_on_device(&self, images: Tensor<2>, image: ImageShape, numbers: &Numbers<'_>) -> Tensor<2> {
        self.0.iter().enumerate().fold(images, |images, (position, member)| {
            let stream = numbers.stream.apart(&part(position));
            member.kind().apply_on_device(images, image, &Numbers { stream: &stream, ..*numbers })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{Clip, Gaussian, Masking, Strength};
    use crate::image::Split;
    use crate::random::Stream;

    fn noisy(members: &[Corruption]) -> Vec<f32> {
        let (mut out, shape) = (vec![0.0; 20_000], ImageShape { height: 200, width: 100, channels: 1 });
        let mut generator = Stream::new(1, "noise", Split::Test).generator(4, 2);
        Several(members.to_vec()).apply(&vec![0.5; out.len()], shape, &mut generator, &mut out);
        out
    }

    #[test]
    fn members_are_independent_and_applied_in_order() {
        let gaussian = Corruption::Gaussian(Gaussian { std: Strength::Same(0.1), clip: Clip(false) });
        let masking = Corruption::Masking(Masking { fraction: 0.5 });
        let deviation = |pixels: &[f32]| {
            let sum = pixels.iter().map(|&x| f64::from(x - 0.5).powi(2)).sum::<f64>();
            (sum / pixels.len() as f64).sqrt()
        };
        // The same numbers twice would give a deviation of 0.2; independent ones give 0.1 times the root of 2.
        let twice = deviation(&noisy(&[gaussian.clone(), gaussian.clone()]));
        assert!((twice - 0.1 * 2.0_f64.sqrt()).abs() < 0.003, "{twice}");
        let half = |pixels: Vec<f32>| pixels.iter().filter(|&&x| x == 0.0).count();
        let (last, first) =
            (half(noisy(&[gaussian.clone(), masking.clone()])), half(noisy(&[masking, gaussian.clone()])));
        assert!(last.abs_diff(10_000) < 300 && first == 0, "{last} and {first}");
        // Who comes after does not change what a member draws.
        let shifted = |members: &[Corruption]| noisy(members).iter().map(|x| x - 0.5).collect::<Vec<_>>();
        let (alone, both) = (shifted(std::slice::from_ref(&gaussian)), shifted(&[gaussian.clone(), gaussian.clone()]));
        let product = alone.iter().zip(&both).map(|(a, b)| f64::from(a * (b - a))).sum::<f64>() / 20_000.0;
        assert!(product.abs() < 0.01 * 5.0 / 20_000.0_f64.sqrt(), "correlated: {product}");
    }
}
