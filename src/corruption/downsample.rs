//! Loss of resolution: the averages of boxes of `factor` × `factor` pixels, interpolated bilinearly between the centres of the boxes
//! to the old size. Boxes at the lower and right border are smaller where the factor does not divide a side; outside of the
//! outermost centres the outermost averages are continued.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downsample {
    /// Sides of a box, in pixels.
    pub factor: usize,
}

/// Loss of resolution.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawDownsample {
    /// By how much rows and columns become fewer, before they are interpolated.
    #[schemars(range(min = 1, max = 256))]
    factor: Option<i64>,
}

impl Choice for Downsample {
    type Written = RawDownsample;

    fn resolve(RawDownsample { factor }: RawDownsample, section: &mut Section<'_>) -> Option<Self> {
        Some(Self { factor: section.required("factor", factor)? as usize })
    }
}

impl CorruptionKind for Downsample {
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

impl Downsample {
    fn maps(&self, image: ImageShape) -> [AxisMap; 2] {
        [image.height, image.width].map(|side| self.map(side))
    }

    /// Of an axis of so many pixels.
    fn map(&self, side: usize) -> AxisMap {
        let last = (side - 1) / self.factor;
        let pixels = |index: usize| index * self.factor..((index + 1) * self.factor).min(side);
        let centre = |index: usize| (pixels(index).start + pixels(index).end - 1) as f64 / 2.0;
        let row = |place: usize| {
            // The box whose centre is before the place, and the share of the one after it.
            let own = place / self.factor;
            let before = if (place as f64) < centre(own) { own.saturating_sub(1) } else { own };
            let after = (before + 1).min(last);
            let distance = centre(after) - centre(before);
            let share = if distance == 0.0 { 0.0 } else { ((place as f64 - centre(before)) / distance).max(0.0) };
            let mut weights: Vec<f32> = Vec::new();
            for (index, share) in [(before, 1.0 - share), (after, share)] {
                if share > 0.0 {
                    let count = pixels(index).len();
                    weights.extend(std::iter::repeat_n((share / count as f64) as f32, count));
                }
            }
            (pixels(before).start, weights)
        };
        AxisMap((0..side).map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn sampled(factor: usize, pixels: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
        let mut out = vec![f32::NAN; pixels.len()];
        let image = ImageShape { height, width, channels: 1 };
        let mut generator = Stream::new(1, "noise", Split::Test).generator(0, 0);
        Downsample { factor }.apply(pixels, image, &mut generator, &mut out);
        out
    }

    fn near(found: &[f32], expected: &[f32]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} instead of {expected:?}");
    }

    #[test]
    fn boxes_are_averaged_and_interpolated_between_their_centres() {
        // Averages 1, 5 and, of the last pixel alone, 9, at 0.5, 2.5 and 4.
        near(&sampled(2, &[0.0, 2.0, 4.0, 6.0, 9.0], [1, 5]), &[1.0, 2.0, 4.0, 5.0 + 4.0 / 3.0, 9.0]);
        // The same down the columns, and of both at once.
        near(&sampled(2, &[0.0, 2.0, 4.0, 6.0, 9.0], [5, 1]), &[1.0, 2.0, 4.0, 5.0 + 4.0 / 3.0, 9.0]);
        near(&sampled(2, &[0.0, 1.0, 2.0, 3.0], [2, 2]), &[1.5; 4]);
        near(&sampled(3, &[0.0, 3.0, 6.0, 9.0, 12.0, 15.0], [1, 6]), &[3.0, 3.0, 6.0, 9.0, 12.0, 12.0]);
        // A box that is larger than the image.
        near(&sampled(8, &[0.0, 0.3, 0.6], [1, 3]), &[0.3; 3]);
    }

    #[test]
    fn constants_stay_and_factor_one_changes_nothing() {
        for side in [1, 7, 28] {
            let pixels: Vec<f32> = (0..side * side).map(|at| (at % 13) as f32 / 13.0).collect();
            assert_eq!(sampled(1, &pixels, [side, side]), pixels);
            near(&sampled(3, &vec![0.7; side * side], [side, side]), &vec![0.7; side * side]);
        }
    }
}
