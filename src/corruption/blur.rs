//! Blur by a Gaussian, as of a lens out of focus: separable, cut at four standard deviations, borders continued by reflection
//! (… b a | a b c …), as scipy's `gaussian_filter` does it.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::CorruptionKind;
use super::on_device::Numbers;
use super::separable::{self, AxisMap};
use crate::image::ImageShape;
use crate::random::Generator;
use crate::setting::{Choice, Section};

/// Its settings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Blur {
    /// Standard deviation of the Gaussian, in pixels.
    pub std: f64,
}

/// Blur by a Gaussian.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawBlur {
    /// Standard deviation of the Gaussian, in pixels.
    #[schemars(range(min = 0, max = 100))]
    std: Option<f64>,
}

impl Choice for Blur {
    type Written = RawBlur;

    fn resolve(RawBlur { std }: RawBlur, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { std: section.required("std", std)? })
    }
}

impl CorruptionKind for Blur {
    fn is_fixed(&self) -> bool {
        true
    }

    fn apply(&self, pixels: &[f32], image: ImageShape, _generator: &mut Generator, out: &mut [f32]) {
        separable::apply(pixels, image, &self.maps(image), out);
    }

    fn apply_on_device(&self, images: Tensor<2>, image: ImageShape, _numbers: &Numbers<'_>) -> Tensor<2> {
        separable::apply_on_device(images, image, &self.maps(image))
    }
}

impl Blur {
    fn maps(&self, image: ImageShape) -> [AxisMap; 2] {
        [image.height, image.width].map(|side| self.map(side))
    }

    /// Of an axis of so many pixels.
    fn map(&self, side: usize) -> AxisMap {
        let radius = (4.0 * self.std + 0.5) as usize;
        let weight = |distance: usize| match distance {
            0 => 1.0,
            distance => (-0.5 * (distance as f64 / self.std).powi(2)).exp(),
        };
        let kernel: Vec<f64> = (0..=2 * radius).map(|at| weight(at.abs_diff(radius))).collect();
        let sum: f64 = kernel.iter().sum();
        let row = |place: usize| {
            // Reflection leads back into the stretch.
            let (first, last) = (place.saturating_sub(radius), (place + radius).min(side - 1));
            let mut weights = vec![0.0; last - first + 1];
            for (at, weight) in kernel.iter().enumerate() {
                weights[reflected((place + at) as isize - radius as isize, side) - first] += weight / sum;
            }
            (first, weights.into_iter().map(|weight| weight as f32).collect())
        };
        AxisMap((0..side).map(row).collect())
    }
}

/// The place that stands for one outside.
fn reflected(place: isize, side: usize) -> usize {
    let place = place.rem_euclid(2 * side as isize) as usize;
    if place < side { place } else { 2 * side - 1 - place }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn blurred(std: f64, pixels: &[f32], image: ImageShape) -> Vec<f32> {
        let mut out = vec![f32::NAN; pixels.len()];
        let mut generator = Stream::new(1, "noise", Split::Test).generator(0, 0);
        Blur { std }.apply(pixels, image, &mut generator, &mut out);
        out
    }

    #[test]
    fn a_point_becomes_a_gaussian_of_this_variance() {
        let image = ImageShape { height: 21, width: 25, channels: 1 };
        let mut point = vec![0.0; image.len()];
        point[10 * 25 + 12] = 1.0;
        let out = blurred(1.5, &point, image);
        let moment = |power: [i32; 2]| {
            let terms = out.iter().enumerate().map(|(at, &value)| {
                let (down, across) = ((at / 25) as f64 - 10.0, (at % 25) as f64 - 12.0);
                f64::from(value) * down.powi(power[0]) * across.powi(power[1])
            });
            terms.sum::<f64>()
        };
        assert!((moment([0, 0]) - 1.0).abs() < 1e-5 && moment([1, 0]).abs() < 1e-5 && moment([1, 1]).abs() < 1e-5);
        // Cut at four deviations, the variance of 2.25 loses 0.1 %.
        assert!((moment([2, 0]) - 2.25).abs() < 0.01 && (moment([0, 2]) - 2.25).abs() < 0.01);
    }

    #[test]
    fn borders_are_reflected_even_if_the_gaussian_is_wider_than_the_image() {
        for (side, std) in [(7, 1.0), (3, 2.0), (1, 1.5), (2, 5.0)] {
            let image = ImageShape { height: 1, width: side, channels: 3 };
            let pixels: Vec<f32> = (0..image.len()).map(|at| (at * at % 11) as f32 / 10.0).collect();
            let out = blurred(std, &pixels, image);
            let radius = (4.0 * std + 0.5) as isize;
            let weight = |distance: isize| (-0.5 * (distance as f64 / std).powi(2)).exp();
            let total: f64 = (-radius..=radius).map(weight).sum();
            for (at, found) in out.iter().enumerate() {
                let (place, channel) = ((at / 3) as isize, at % 3);
                // Unrolled: the image and its mirror image in turn.
                let value = |place: isize| {
                    let (mut place, side) = (place, side as isize);
                    while !(0..side).contains(&place) {
                        place = if place < 0 { -1 - place } else { 2 * side - 1 - place };
                    }
                    f64::from(pixels[place as usize * 3 + channel])
                };
                let sum: f64 = (-radius..=radius).map(|distance| weight(distance) * value(place + distance)).sum();
                assert!((f64::from(*found) - sum / total).abs() < 1e-5, "{side} pixels, {std}: {found}");
            }
        }
    }
}
