//! Linear maps of images that act on the columns and then on the rows, each value being a weighted sum of a stretch of others.

use burn::tensor::{Tensor, TensorData};

use super::on_device::integers;
use crate::image::ImageShape;

/// What is made of the values along an axis: for each place the first place that is summed, and the weights from there on.
pub struct AxisMap(pub Vec<(usize, Vec<f32>)>);

/// Applies the map of each axis, down and across, to an image.
pub fn apply(pixels: &[f32], image: ImageShape, [down, across]: &[AxisMap; 2], out: &mut [f32]) {
    let ImageShape { width, channels, .. } = image;
    let row = width * channels;
    let mut mapped = vec![0.0; pixels.len()];
    for (out, (first, weights)) in mapped.chunks_exact_mut(row).zip(&down.0) {
        for (weight, row) in weights.iter().zip(pixels[first * row..].chunks_exact(row)) {
            out.iter_mut().zip(row).for_each(|(out, pixel)| *out += weight * pixel);
        }
    }
    for (out, row) in out.chunks_exact_mut(row).zip(mapped.chunks_exact(row)) {
        for (out, (first, weights)) in out.chunks_exact_mut(channels).zip(&across.0) {
            out.fill(0.0);
            for (weight, pixel) in weights.iter().zip(row[first * channels..].chunks_exact(channels)) {
                out.iter_mut().zip(pixel).for_each(|(out, pixel)| *out += weight * pixel);
            }
        }
    }
}

/// The same for images on a device, `[n, pixels]`. Sums of shifted images rather than products of matrices, which grow with the
/// square of a side, and which some devices round to 11 bits.
pub fn apply_on_device(images: Tensor<2>, image: ImageShape, [down, across]: &[AxisMap; 2]) -> Tensor<2> {
    let [count, len] = images.dims();
    let images = images.reshape([count, image.height, image.width, image.channels]);
    let images = along(images, 1, down);
    along(images, 2, across).reshape([count, len])
}

fn along(images: Tensor<4>, axis: usize, AxisMap(rows): &AxisMap) -> Tensor<4> {
    let (device, side) = (images.device(), rows.len());
    let widest = rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
    let mut shape = [1; 4];
    shape[axis] = side;
    let mut sum = images.zeros_like();
    for step in 0..widest {
        // What is past the end of a stretch has the weight 0.
        let weights = rows.iter().map(|(_, weights)| weights.get(step).copied().unwrap_or(0.0)).collect();
        let places = rows.iter().map(|(first, _)| (first + step).min(side - 1) as i32).collect();
        let weights = Tensor::<4>::from_data(TensorData::new(weights, shape), &device);
        sum = sum + images.clone().select(axis, integers(places, [side], &device)) * weights;
    }
    sum
}
