//! Pixel-unshuffle and its inverse (Shi et al. 2016; before a denoiser: Zhang et al. 2018, FFDNet): each 2×2 pixels become one pixel
//! with four times the channels, so that the layers between the two have a quarter of the pixels and see twice as far.
//!
//! A side of odd length is continued by its last pixel.

use burn::tensor::Tensor;

use crate::image::ImageShape;

/// The shape of an image after [`unshuffle`].
pub fn unshuffled(image: ImageShape) -> ImageShape {
    let ImageShape { height, width, channels } = image;
    ImageShape { height: height.div_ceil(2), width: width.div_ceil(2), channels: 4 * channels }
}

/// `[n, h, w, c]` to `[n, ceil(h / 2), ceil(w / 2), 4 c]`, row by row of each 2×2 pixels.
pub fn unshuffle(x: Tensor<4>) -> Tensor<4> {
    let x = even(even(x, 1), 2);
    let [n, height, width, channels] = x.dims();
    let [high, wide] = [height / 2, width / 2];
    let x = x.reshape([n * high, 2, wide, 2 * channels]).swap_dims(1, 2);
    x.reshape([n, high, wide, 4 * channels])
}

/// The inverse, to an image of this shape.
pub fn shuffle(x: Tensor<4>, image: ImageShape) -> Tensor<4> {
    let [n, high, wide, _] = x.dims();
    let ImageShape { height, width, channels } = image;
    let x = x.reshape([n * high, wide, 2, 2 * channels]).swap_dims(1, 2);
    x.reshape([n, 2 * high, 2 * wide, channels]).slice([0..n, 0..height, 0..width])
}

/// Repeats the last row or column if their number is odd.
fn even(x: Tensor<4>, dimension: usize) -> Tensor<4> {
    let length = x.dims()[dimension];
    if length.is_multiple_of(2) {
        return x;
    }
    let last = x.clone().narrow(dimension, length - 1, 1);
    Tensor::cat(vec![x, last], dimension)
}
