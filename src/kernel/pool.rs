//! The 2×2 maximum of channels-last images, and where it came from.

/// Maxima `[n, ceil(h / 2), ceil(w / 2), c]` of `[n, h, w, c]` and, for each, which of its up to four pixels it was. NaN
/// counts as greater than everything; of equals the first is taken.
pub fn forward(x: &[f32], [count, height, width, channels]: [usize; 4]) -> (Vec<f32>, Vec<u8>) {
    assert_eq!(x.len(), count * height * width * channels, "the input does not have its size");
    let (high, wide) = (height.div_ceil(2), width.div_ceil(2));
    let mut output = vec![0.0; count * high * wide * channels];
    let mut origin = vec![0; output.len()];
    let pixels = output.chunks_exact_mut(channels.max(1)).zip(origin.chunks_exact_mut(channels.max(1)));
    for (index, (output, origin)) in pixels.enumerate() {
        let (image, row, column) = (index / (high * wide), index / wide % high, index % wide);
        let first = ((image * height + 2 * row) * width + 2 * column) * channels;
        output.copy_from_slice(&x[first..][..channels]);
        for which in 1..4 {
            let (down, right) = (which / 2, which % 2);
            if 2 * row + down >= height || 2 * column + right >= width {
                continue;
            }
            let other = &x[first + (down * width + right) * channels..][..channels];
            for ((best, origin), &value) in output.iter_mut().zip(origin.iter_mut()).zip(other) {
                let greater = value > *best || (value.is_nan() && !best.is_nan());
                *best = if greater { value } else { *best };
                *origin = if greater { which as u8 } else { *origin };
            }
        }
    }
    (output, origin)
}

/// The gradient of the input, given that of the output and where the maxima came from.
pub fn backward(gradient: &[f32], origin: &[u8], [count, height, width, channels]: [usize; 4]) -> Vec<f32> {
    let (high, wide) = (height.div_ceil(2), width.div_ceil(2));
    assert_eq!(gradient.len(), count * high * wide * channels, "the gradient does not have the size of the output");
    assert_eq!(origin.len(), gradient.len(), "every maximum has an origin");
    let mut input = vec![0.0; count * height * width * channels];
    let pixels = gradient.chunks_exact(channels.max(1)).zip(origin.chunks_exact(channels.max(1)));
    for (index, (gradient, origin)) in pixels.enumerate() {
        let (image, row, column) = (index / (high * wide), index / wide % high, index % wide);
        let first = ((image * height + 2 * row) * width + 2 * column) * channels;
        for which in 0..4 {
            let (down, right) = (which / 2, which % 2);
            if 2 * row + down >= height || 2 * column + right >= width {
                continue;
            }
            let to = &mut input[first + (down * width + right) * channels..][..channels];
            for ((to, &gradient), &origin) in to.iter_mut().zip(gradient).zip(origin) {
                *to = if usize::from(origin) == which { gradient } else { 0.0 };
            }
        }
    }
    input
}
