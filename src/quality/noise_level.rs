//! The standard deviation of the noise in an image, estimated from that image alone.
//!
//! Small patches of an image lie near a subspace, and white noise adds its variance in every direction: the smallest eigenvalues
//! of the covariance of the patches are that variance (Chen, Zhu & Heng 2015, "An efficient statistical method for image noise
//! level estimation", algorithm 1). Texture finer than a patch counts as noise, and noise that depends on neighbours does not.

use anyhow::Result;
use faer::{Mat, Side};
use rayon::prelude::*;

use crate::image::ImageShape;
use crate::interrupt;
use crate::table::{Images, Table};

/// Sides of the patches, each with the fewest patches that its covariance is computed from.
const SIDES: [(usize, usize); 2] = [(8, 4000), (5, 250)];
/// Most patches that are looked at: the others of a larger image add nothing.
const MOST_PATCHES: usize = 1 << 16;

/// The estimated standard deviation of white noise in an image, in the unit of its pixels; the mean over the channels. None of an
/// image that is too small, with sides below about 20 pixels.
pub fn noise_level(image: &[f32], shape: ImageShape) -> Option<f64> {
    let of_channel =
        |channel| channel_noise(|row, column| image[(row * shape.width + column) * shape.channels + channel], shape);
    let levels: Option<Vec<f64>> = (0..shape.channels).map(of_channel).collect();
    levels.map(|levels| levels.iter().sum::<f64>() / levels.len() as f64)
}

/// The median of the levels of the first images of a table, `most` at most; none if they are too small to tell.
///
/// # Errors
/// An unreadable table, interruption.
pub fn median_level(table: &Table, most: u64) -> Result<Option<f64>> {
    let extent = table.extent()?;
    let mut levels = Vec::new();
    table.first(most, |batch| {
        let images = Images::of(batch, extent)?;
        let numbers = images.numbers();
        let images: Vec<_> = images.shapes().split(&numbers).collect();
        levels.par_extend(images.par_iter().filter_map(|(shape, image)| noise_level(image, *shape)));
        interrupt::check()
    })?;
    levels.sort_by(f64::total_cmp);
    Ok(levels.get(levels.len() / 2).copied())
}

fn channel_noise(pixel: impl Fn(usize, usize) -> f32, shape: ImageShape) -> Option<f64> {
    let patches = |side: usize| {
        let [rows, columns] = [shape.height, shape.width].map(|length| (length + 1).saturating_sub(side));
        (rows, columns, rows * columns)
    };
    let (side, _) = SIDES.into_iter().find(|(side, least)| patches(*side).2 >= *least)?;
    let (rows, columns, count) = patches(side);
    let step = count.div_ceil(MOST_PATCHES);
    let size = side * side;
    let (mut sums, mut products, mut seen) = (vec![0.0; size], vec![0.0; size * size], 0.0);
    let mut patch = vec![0.0; size];
    for at in (0..rows * columns).step_by(step) {
        let (row, column) = (at / columns, at % columns);
        for (index, number) in patch.iter_mut().enumerate() {
            *number = f64::from(pixel(row + index / side, column + index % side));
        }
        for (first, &one) in patch.iter().enumerate() {
            sums[first] += one;
            // The lower triangle is enough.
            for (product, &other) in products[first * size..=first * size + first].iter_mut().zip(&patch) {
                *product += one * other;
            }
        }
        seen += 1.0;
    }
    let covariance = |row: usize, column: usize| {
        let (row, column) = (row.max(column), row.min(column));
        products[row * size + column] / seen - sums[row] / seen * (sums[column] / seen)
    };
    let mut eigenvalues = Mat::from_fn(size, size, covariance).self_adjoint_eigenvalues(Side::Lower).ok()?;
    eigenvalues.sort_by(f64::total_cmp);
    // The largest eigenvalues are those of the image. What is left once they are gone is spread evenly around its mean.
    for rest in (1..=size).rev() {
        let smallest = &eigenvalues[..rest];
        let mean = smallest.iter().sum::<f64>() / rest as f64;
        let above = smallest.iter().filter(|value| **value > mean).count();
        let below = smallest.iter().filter(|value| **value < mean).count();
        if above == below {
            return Some(mean.max(0.0).sqrt());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    /// A smooth picture with an edge as sharp as a lens makes it, and normal noise of this deviation.
    fn noisy(shape: ImageShape, std: f32) -> Vec<f32> {
        let ImageShape { height, width, channels } = shape;
        let mut noise = vec![0.0; shape.len()];
        Stream::new(1, "noise", Split::Test).generator(0, 0).fill_normal(&mut noise);
        let clean = |at: usize| {
            let (row, column) = (at / channels / width, at / channels % width);
            let (y, x) = (row as f32 / height as f32, column as f32 / width as f32);
            let inside = (0.28 - ((y - 0.5).powi(2) + (x - 0.4).powi(2)).sqrt()) * height as f32;
            let disc = (0.5 + inside / 4.0).clamp(0.0, 1.0);
            disc * (0.8 - 0.3 * y) + (1.0 - disc) * (0.2 + 0.4 * x)
        };
        noise.iter().enumerate().map(|(at, noise)| clean(at) + std * noise).collect()
    }

    #[test]
    fn the_deviation_of_noise_is_found_without_the_clean_image() {
        for (shape, tolerance) in [
            (ImageShape { height: 128, width: 160, channels: 1 }, 0.06),
            (ImageShape { height: 90, width: 70, channels: 3 }, 0.1),
            (ImageShape { height: 28, width: 28, channels: 1 }, 0.25),
        ] {
            for std in [0.02, 0.1, 0.4] {
                let found = noise_level(&noisy(shape, std), shape).expect("is large enough");
                let error = (found / f64::from(std) - 1.0).abs();
                assert!(error < tolerance, "{shape}, {std}: {found}");
            }
        }
    }

    #[test]
    fn a_clean_image_has_hardly_any_and_a_small_one_no_answer() {
        let shape = ImageShape { height: 128, width: 160, channels: 1 };
        let found = noise_level(&noisy(shape, 0.0), shape).expect("is large enough");
        assert!(found < 0.002, "{found}");
        let constant = noise_level(&vec![0.5; shape.len()], shape).expect("is large enough");
        assert!(constant < 1e-6, "{constant}");
        let small = ImageShape { height: 8, width: 8, channels: 1 };
        assert_eq!(noise_level(&noisy(small, 0.1), small), None);
    }
}
