//! The mean of what a model makes of the eight orientations of an image, each turned back (geometric self-ensemble: Lim et al. 2017).
//!
//! The errors of a model are not the same in all orientations, and partly cancel in the mean. An image whose sides are no multiples of
//! the model's (`Reach::multiple`) is continued to them by its mirror image, so that poolings begin at its sides in every orientation:
//! a tile of a picture then becomes what it becomes in the whole.

use anyhow::Result;

use crate::error;
use crate::image::ImageShape;
use crate::model::Architecture;

/// Orientations of an image: rows reversed or not, columns reversed or not, rows and columns exchanged or not.
const ORIENTATIONS: usize = 8;

/// Checks that a model for images of this shape can be applied to all orientations of one.
///
/// # Errors
/// A model that is for images of one size, which are not square.
pub fn check(architecture: &Architecture, image: ImageShape) -> Result<()> {
    if (image.height == image.width && !image.is_vector()) || architecture.family().reach().is_some() {
        return Ok(());
    }
    let reason = format!("a dense layer binds the model to images of {image}, which cannot be turned");
    let advice = "leave the ensemble out, or train a unet, or a conv without a code";
    Err(error::settings(format!("there is no mean over eight orientations: {reason}; {advice}")))
}

/// The pixel that is at `index` of a side of so many pixels that is continued by its mirror image.
pub fn mirrored(index: usize, length: usize) -> usize {
    if index < length {
        return index;
    }
    let period = 2 * (length - 1);
    let index = index.checked_rem(period).unwrap_or(0);
    if index < length { index } else { period - index }
}

/// The mean over the orientations of what `apply` makes of `pixels`, an image of this shape; it gets images whose sides are multiples of
/// `multiple`.
///
/// # Errors
/// Those of `apply`.
pub fn mean(
    pixels: &[f32],
    image: ImageShape,
    multiple: usize,
    apply: impl Fn(Vec<f32>, ImageShape) -> Result<Vec<f32>>,
) -> Result<Vec<f32>> {
    let ImageShape { height, width, channels } = image;
    let whole =
        ImageShape { height: height.next_multiple_of(multiple), width: width.next_multiple_of(multiple), channels };
    let mut sums = vec![0.0; pixels.len()];
    for orientation in 0..ORIENTATIONS {
        let turned = turned_shape(orientation, whole);
        let mut input = vec![0.0; whole.len()];
        for row in 0..whole.height {
            for column in 0..whole.width {
                let from = (mirrored(row, height) * width + mirrored(column, width)) * channels;
                let to = place(orientation, whole, row, column) * channels;
                input[to..to + channels].copy_from_slice(&pixels[from..from + channels]);
            }
        }
        let made = apply(input, turned)?;
        for (index, sums) in sums.chunks_exact_mut(channels).enumerate() {
            let from = place(orientation, whole, index / width, index % width) * channels;
            for (sum, made) in sums.iter_mut().zip(&made[from..from + channels]) {
                *sum += made;
            }
        }
    }
    for sum in &mut sums {
        *sum /= ORIENTATIONS as f32;
    }
    Ok(sums)
}

fn turned_shape(orientation: usize, image: ImageShape) -> ImageShape {
    let ImageShape { height, width, channels } = image;
    if orientation & 4 == 0 { image } else { ImageShape { height: width, width: height, channels } }
}

/// The index that a pixel has in an orientation of its image.
fn place(orientation: usize, image: ImageShape, row: usize, column: usize) -> usize {
    let row = if orientation & 1 == 0 { row } else { image.height - 1 - row };
    let column = if orientation & 2 == 0 { column } else { image.width - 1 - column };
    if orientation & 4 == 0 { row * image.width + column } else { column * image.height + row }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Every orientation of 2×3 pixels, written out.
    const TURNED: [(usize, [f32; 6]); 8] = [
        (2, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        (2, [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]),
        (2, [3.0, 2.0, 1.0, 6.0, 5.0, 4.0]),
        (2, [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]),
        (3, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]),
        (3, [4.0, 1.0, 5.0, 2.0, 6.0, 3.0]),
        (3, [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]),
        (3, [6.0, 3.0, 5.0, 2.0, 4.0, 1.0]),
    ];

    #[test]
    fn a_model_sees_the_eight_orientations_and_what_it_makes_is_turned_back() {
        let image = ImageShape { height: 2, width: 3, channels: 1 };
        let pixels = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let seen = RefCell::new(Vec::new());
        // What is added at the first pixel of each orientation lands at the four corners, twice at each.
        let apply = |mut pixels: Vec<f32>, shape: ImageShape| {
            seen.borrow_mut().push((shape.height, pixels.clone()));
            pixels[0] += 4.0;
            Ok(pixels)
        };
        let made = mean(&pixels, image, 1, apply).expect("works");
        assert_eq!(made, [2.0, 2.0, 4.0, 5.0, 5.0, 7.0]);
        assert_eq!(seen.into_inner(), TURNED.map(|(height, pixels)| (height, pixels.to_vec())));
    }

    #[test]
    fn an_image_is_continued_to_the_multiple_of_the_model() {
        let image = ImageShape { height: 2, width: 3, channels: 2 };
        let pixels: Vec<f32> = (0..12).map(|index| index as f32).collect();
        let apply = |pixels: Vec<f32>, shape: ImageShape| {
            assert_eq!((shape.height, shape.width, shape.channels), (4, 4, 2));
            Ok(pixels)
        };
        assert_eq!(mean(&pixels, image, 4, apply).expect("works"), pixels);
        let first = RefCell::new(None);
        let apply = |pixels: Vec<f32>, _: ImageShape| {
            first.borrow_mut().get_or_insert(pixels.clone());
            Ok(pixels)
        };
        mean(&pixels[..6], ImageShape { channels: 1, ..image }, 4, apply).expect("works");
        let expected = [0.0, 1.0, 2.0, 1.0, 3.0, 4.0, 5.0, 4.0, 0.0, 1.0, 2.0, 1.0, 3.0, 4.0, 5.0, 4.0];
        assert_eq!(first.into_inner(), Some(expected.to_vec()));
    }

    #[test]
    fn a_mirror_image_goes_to_and_fro() {
        let of = |length| (0..9).map(|index| mirrored(index, length)).collect::<Vec<_>>();
        assert_eq!(of(1), [0; 9]);
        assert_eq!(of(2), [0, 1, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(of(4), [0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(of(9), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
