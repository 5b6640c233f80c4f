//! The median filter, a baseline against noise.

use crate::image::ImageShape;

/// Each pixel replaced by the median of the square of `2 radius + 1` pixels around it, channel by channel; past an edge, the
/// edge is repeated. `scipy.ndimage.median_filter(…, mode="nearest")` computes the same.
pub fn median(image: &[f32], shape: ImageShape, radius: usize) -> Vec<f32> {
    let ImageShape { height, width, channels } = shape;
    let side = 2 * radius + 1;
    let mut window = vec![0.0; side * side];
    let near = |center: usize, offset: usize, end: usize| (center + offset).saturating_sub(radius).min(end - 1);
    let mut out = Vec::with_capacity(image.len());
    for row in 0..height {
        for column in 0..width {
            for channel in 0..channels {
                for (index, value) in window.iter_mut().enumerate() {
                    let (row, column) = (near(row, index / side, height), near(column, index % side, width));
                    *value = image[(row * width + column) * channels + channel];
                }
                let middle = window.len() / 2;
                out.push(*window.select_nth_unstable_by(middle, f32::total_cmp).1);
            }
        }
    }
    out
}
