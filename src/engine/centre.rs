//! Gives a pixel of a denoised image what the pixel itself tells, if the model learnt from noisy images alone.
//!
//! Such a model predicts a pixel from its neighbours, with an error that does not depend on the pixel's own noise (Krull et al. 2019).
//! The prediction and the noisy pixel are therefore two independent measurements of the same brightness, and the best of their
//! weighted means has the weights of the inverses of their variances. That of the noise is known; around a pixel, the squared
//! differences of noisy pixels and predictions have as their mean the sum of both variances, which tells the other: this is the local
//! Wiener filter (Lee 1980). Where neighbours predict well, as in smooth areas, the prediction stays; in textures the pixel counts.

use crate::image::ImageShape;

/// Pixels of the window on each side of its middle.
pub const RADIUS: usize = 8;

/// Combines predictions of an image with the noisy image of the same shape, of which the noise has the standard deviation `level`.
/// The result at a pixel depends on nothing further away than [`RADIUS`], and is clipped to [0, 1].
pub fn combine(made: &mut [f32], noisy: &[f32], image: ImageShape, level: f32) {
    let ImageShape { height, width, channels } = image;
    let squares: Vec<f32> = made.iter().zip(noisy).map(|(made, noisy)| (noisy - made) * (noisy - made)).collect();
    // The sums over the rows of windows, then over their columns, each in the order of the pixels: a part of an image has the same.
    let window = |at: usize, side: usize| at.saturating_sub(RADIUS)..side.min(at + RADIUS + 1);
    let mut sums = vec![0.0; squares.len()];
    for (squares, sums) in squares.chunks_exact(width * channels).zip(sums.chunks_exact_mut(width * channels)) {
        for (column, sums) in sums.chunks_exact_mut(channels).enumerate() {
            let columns = window(column, width);
            for pixel in squares[columns.start * channels..columns.end * channels].chunks_exact(channels) {
                sums.iter_mut().zip(pixel).for_each(|(sum, square)| *sum += square);
            }
        }
    }
    let mut total = vec![0.0; width * channels];
    for row in 0..height {
        let rows = window(row, height);
        total.fill(0.0);
        for sums in sums[rows.start * width * channels..rows.end * width * channels].chunks_exact(width * channels) {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
        }
        let place = row * width * channels;
        for (at, total) in total.iter().enumerate() {
            let pixels = (rows.len() * window(at / channels, width).len()) as f32;
            let share = if *total > 0.0 { (1.0 - level * level * pixels / total).max(0.0) } else { 0.0 };
            let made = &mut made[place + at];
            *made = (*made + share * (noisy[place + at] - *made)).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn normal(len: usize, id: u64, std: f32) -> Vec<f32> {
        let mut numbers = vec![0.0; len];
        Stream::new(1, "noise", Split::Test).generator(id, 0).fill_normal(&mut numbers);
        numbers.iter().map(|number| std * number).collect()
    }

    fn mse(left: &[f32], right: &[f32]) -> f64 {
        left.iter().zip(right).map(|(left, right)| f64::from(left - right).powi(2)).sum::<f64>() / left.len() as f64
    }

    #[test]
    fn the_error_is_that_of_the_best_weighted_mean() {
        let image = ImageShape { height: 120, width: 90, channels: 3 };
        let clean = vec![0.5; image.len()];
        // A good prediction, one as bad as the noise, and a bad one.
        for error in [0.01, 0.05, 0.15] {
            let made: Vec<f32> = normal(image.len(), 1, error).iter().map(|error| 0.5 + error).collect();
            let noisy: Vec<f32> = normal(image.len(), 2, 0.05).iter().map(|noise| 0.5 + noise).collect();
            let mut combined = made.clone();
            combine(&mut combined, &noisy, image, 0.05);
            let (prediction, noise) = (f64::from(error).powi(2), 0.05_f64.powi(2));
            let best = prediction * noise / (prediction + noise);
            let found = mse(&combined, &clean);
            // The weights are estimated from 289 pixels: the sum of the variances has a relative variance of 2 / 289.
            let most = best + 2.0 / 289.0 * (prediction + noise);
            assert!((0.97 * best..most).contains(&found), "{error}: {found} and not {best}");
        }
    }

    #[test]
    fn a_part_of_an_image_becomes_what_it_becomes_in_the_whole() {
        let image = ImageShape { height: 60, width: 70, channels: 2 };
        let (made, noisy) = (normal(image.len(), 1, 0.3), normal(image.len(), 2, 0.3));
        let mut whole = made.clone();
        combine(&mut whole, &noisy, image, 0.25);
        assert!(whole.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        // Rows 20 to 50 and columns 30 to 70, of which the last are those of the image.
        let part = ImageShape { height: 30, width: 40, channels: 2 };
        let cut = |pixels: &[f32]| -> Vec<f32> {
            (20..50).flat_map(|row| pixels[(row * 70 + 30) * 2..(row * 70 + 70) * 2].to_vec()).collect()
        };
        let mut found = cut(&made);
        combine(&mut found, &cut(&noisy), part, 0.25);
        let expected = cut(&whole);
        for row in RADIUS..30 - RADIUS {
            let columns = (row * 40 + RADIUS) * 2..(row + 1) * 40 * 2;
            assert_eq!(found[columns.clone()], expected[columns], "row {row}");
        }
    }
}
