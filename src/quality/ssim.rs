//! Structural similarity (Wang, Bovik, Sheikh & Simoncelli 2004), as scikit-image computes it with
//! `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1`.
//!
//! scikit-image crops the border that its padding touches; here only whole windows are computed, which is the same.

use std::sync::LazyLock;

use crate::image::ImageShape;

/// Side of the window: 3.5 standard deviations to each side.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
/// (K1 · data range)² and (K2 · data range)².
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

static WEIGHTS: LazyLock<[f64; WINDOW]> = LazyLock::new(|| {
    let weights: [f64; WINDOW] = std::array::from_fn(|index| {
        let distance = index as f64 - (WINDOW / 2) as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
});

/// Mean SSIM of two images with pixels in [0, 1], over all windows and channels; none if they are smaller than a window.
pub fn ssim(a: &[f32], b: &[f32], shape: ImageShape) -> Option<f64> {
    let ImageShape { height, width, channels } = shape;
    if height < WINDOW || width < WINDOW {
        return None;
    }
    let windows = ((height - WINDOW + 1) * (width - WINDOW + 1)) as f64;
    let mut sum = 0.0;
    for channel in 0..channels {
        let plane = |image: &[f32]| -> Vec<f64> {
            image.iter().skip(channel).step_by(channels).map(|&pixel| f64::from(pixel)).collect()
        };
        let (a, b) = (plane(a), plane(b));
        let product = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
        let smooth = |plane: &[f64]| smooth(plane, height, width);
        let (mean_a, mean_b) = (smooth(&a), smooth(&b));
        let (square_a, square_b, cross) =
            (smooth(&product(&a, &a)), smooth(&product(&b, &b)), smooth(&product(&a, &b)));
        for index in 0..mean_a.len() {
            let (ma, mb) = (mean_a[index], mean_b[index]);
            let (va, vb, cov) = (square_a[index] - ma * ma, square_b[index] - mb * mb, cross[index] - ma * mb);
            sum += ((2.0 * ma * mb + C1) * (2.0 * cov + C2)) / ((ma * ma + mb * mb + C1) * (va + vb + C2));
        }
    }
    Some(sum / (windows * channels as f64))
}

/// The Gaussian mean of every whole window: rows first, then columns.
fn smooth(plane: &[f64], height: usize, width: usize) -> Vec<f64> {
    let weights = &*WEIGHTS;
    let narrow = width - WINDOW + 1;
    let mut rows = vec![0.0; height * narrow];
    for row in 0..height {
        let (from, to) = (&plane[row * width..][..width], &mut rows[row * narrow..][..narrow]);
        for (offset, weight) in weights.iter().enumerate() {
            for (to, from) in to.iter_mut().zip(&from[offset..]) {
                *to += weight * from;
            }
        }
    }
    let mut out = vec![0.0; (height - WINDOW + 1) * narrow];
    for (row, to) in out.chunks_exact_mut(narrow).enumerate() {
        for (offset, weight) in weights.iter().enumerate() {
            for (to, from) in to.iter_mut().zip(&rows[(row + offset) * narrow..][..narrow]) {
                *to += weight * from;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two 13×12 images by formula; the expected value is `structural_similarity(a, b, gaussian_weights=True, sigma=1.5,
    /// use_sample_covariance=False, data_range=1)` of scikit-image 0.26.0 for
    /// `a = (i * 37 % 101) / 100`, `b = (i * 53 % 89) / 88 * 0.5 + a * 0.5` with `i = arange(156)`, in f64.
    #[test]
    fn agrees_with_scikit_image() {
        let a: Vec<f64> = (0..156).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
        let b: Vec<f64> = a.iter().enumerate().map(|(i, a)| (i * 53 % 89) as f64 / 88.0 * 0.5 + a * 0.5).collect();
        let single = |image: &[f64]| image.iter().map(|&pixel| pixel as f32).collect::<Vec<_>>();
        let shape = ImageShape { height: 13, width: 12, channels: 1 };
        let value = ssim(&single(&a), &single(&b), shape).expect("is large enough");
        assert!((value - SCIKIT_IMAGE).abs() < 1e-6, "{value}");
    }

    const SCIKIT_IMAGE: f64 = 0.626_174_206_880_587_3;

    #[test]
    fn an_image_is_like_itself_and_small_ones_have_no_window() {
        let image: Vec<f32> = (0..3 * 144).map(|index| (index % 7) as f32 / 7.0).collect();
        let shape = ImageShape { height: 12, width: 12, channels: 3 };
        assert!((ssim(&image, &image, shape).expect("is large enough") - 1.0).abs() < 1e-12);
        assert_eq!(ssim(&image[..100], &image[..100], ImageShape { height: 10, width: 10, channels: 1 }), None);
    }
}
