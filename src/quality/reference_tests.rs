//! Compares with scipy 1.17 and scikit-learn 1.9 on data that a formula gives; `scripts/check_metrics.py --fixture` prints
//! the expected numbers.

use super::code::CodeScan;
use super::linear::{Pca, Ridge};
use super::logistic::Logistic;
use super::median::median;
use super::moments::Moments;
use super::neighbours;
use super::rows::{Rows, Values};
use crate::image::ImageShape;

const WIDTH: usize = 12;
const TRAIN: usize = 200;

/// 300 rows of 12 numbers and their classes.
fn data() -> (Vec<f32>, Vec<u32>) {
    let labels: Vec<u32> = (0..300).map(|row| row % 3).collect();
    let value = |index: u64| (index * index * 7919 + index * 104_729) as f64 % 10_007.0 / 10_007.0;
    let mut rows: Vec<f32> = (0..300 * WIDTH as u64).map(|index| value(index) as f32).collect();
    for (row, &label) in rows.chunks_exact_mut(WIDTH).zip(&labels) {
        row[0] += (0.35 * f64::from(label)) as f32;
        row[1] -= if label == 2 { 0.25 } else { 0.0 };
    }
    (rows, labels)
}

fn split(values: &[f32]) -> [&[f32]; 2] {
    let (train, test) = values.split_at(TRAIN * WIDTH);
    [train, test]
}

fn mse(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
}

fn moments(left: &[f32], widths: [usize; 2], right: &[f32]) -> Moments {
    let mut moments = Moments::between(widths[0], widths[1]);
    // In uneven batches, as a reader may give them.
    for (left, right) in left.chunks(widths[0] * 70).zip(right.chunks(widths[1] * 70)) {
        moments.add_pairs(left, right);
    }
    moments
}

fn own_moments(rows: &[f32], width: usize) -> Moments {
    let mut moments = Moments::of(width);
    rows.chunks(width * 70).for_each(|rows| moments.add(rows));
    moments
}

#[test]
fn principal_components_are_those_of_scikit_learn() {
    let (rows, _) = data();
    let [train, test] = split(&rows);
    let own = own_moments(train, WIDTH);
    let pca = Pca::fit(&own, 3, &|| {}).expect("converges");
    assert_eq!((pca.size(), pca.project(test).len()), (3, 300));
    assert!((mse(&pca.reconstruct(&pca.project(test)), test) - 0.066_485_406_6).abs() < 1e-6);
    // Rows that are all lower by half a unit have the same coordinates once their mean is subtracted.
    let lower: Vec<f32> = test.iter().map(|value| value - 0.5).collect();
    let means: Vec<f64> = own.left_means().iter().map(|mean| mean - 0.5).collect();
    let pca = pca.with_input_mean(&means);
    assert!((mse(&pca.reconstruct(&pca.project(&lower)), test) - 0.066_485_406_6).abs() < 1e-6);
}

#[test]
fn the_linear_denoiser_is_scikit_learns_ridge() {
    let (rows, _) = data();
    let half = |rows: &[f32]| rows.chunks_exact(WIDTH).flat_map(|row| row[..6].to_vec()).collect::<Vec<_>>();
    let rolled = |rows: &[f32]| {
        let rows = rows.chunks_exact(WIDTH);
        rows.flat_map(|row| [&row[WIDTH - 1..], &row[..WIDTH - 1]].concat()).collect::<Vec<_>>()
    };
    let [train, test] = split(&rows);
    let (input, target) = (half(train), rolled(train));
    let cross = moments(&input, [6, WIDTH], &target);
    let ridge = Ridge::fit(&own_moments(&input, 6), &cross, &|| {}).expect("has a solution");
    assert!((mse(&ridge.apply(&half(test)), &rolled(test)) - 0.044_065_984_4).abs() < 1e-6);
}

#[test]
fn classifiers_find_as_many_as_scikit_learns() {
    let (rows, labels) = data();
    let [train, test] = split(&rows).map(|rows| Rows::new(WIDTH, Values::Floats(rows.to_vec())));
    let (known, truth) = labels.split_at(TRAIN);
    let linear = Logistic::fit(&train, known, 3, &|_| {}).expect("is not interrupted");
    assert!(linear.converged);
    assert!((linear.objective - 0.628_221_65).abs() < 1e-5, "{}", linear.objective);
    assert_eq!(linear.accuracy(&test, truth), 0.68);
    assert_eq!(neighbours::accuracy(&train, known, &test, truth, &|| {}).expect("is not interrupted"), 0.55);
}

#[test]
fn features_without_number_are_fitted_without_their_curvature() {
    let (rows, labels) = data();
    let wide = |rows: &[f32]| {
        let mut values = vec![0.0; rows.len() / WIDTH * 5000];
        values
            .chunks_exact_mut(5000)
            .zip(rows.chunks_exact(WIDTH))
            .for_each(|(wide, row)| wide[..WIDTH].copy_from_slice(row));
        Rows::new(5000, Values::Floats(values))
    };
    let [train, test] = split(&rows).map(wide);
    let (known, truth) = labels.split_at(TRAIN);
    let linear = Logistic::fit(&train, known, 3, &|_| {}).expect("is not interrupted");
    // A constant feature has no effect: the minimum is that of the others.
    assert!(linear.converged && (linear.objective - 0.628_221_65).abs() < 1e-4, "{}", linear.objective);
    assert_eq!(linear.accuracy(&test, truth), 0.68);
}

#[test]
fn bytes_are_pixels_to_a_classifier() {
    let bytes: Vec<u8> = (0..=255).collect();
    let floats = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let [bytes, floats] = [Values::Bytes(bytes), Values::Floats(floats)].map(|values| Rows::new(4, values));
    assert_eq!((bytes.bytes_per_row(), floats.bytes_per_row()), (4, 16));
    let scaling = floats.scaling(true);
    assert_eq!(bytes.scaled(3..20, &scaling), floats.scaled(3..20, &scaling));
}

#[test]
fn the_rank_of_a_code_follows_its_singular_values() {
    let (rows, _) = data();
    let [train, _] = split(&rows);
    let mut scan = CodeScan::new(WIDTH, true);
    scan.add(train);
    let health = scan.health(&|| {}).expect("converges");
    assert!((health.effective_rank.expect("is small") - 11.825_975_1).abs() < 1e-4);
    assert_eq!((health.size, health.dead_units), (WIDTH, 0));
    // Two equal units that vary, and one that is always 0.
    let mut scan = CodeScan::new(3, true);
    scan.add(&[1.0, 1.0, 0.0, 2.0, 2.0, 0.0, 4.0, 4.0, 0.0]);
    let health = scan.health(&|| {}).expect("converges");
    assert!((health.effective_rank.expect("is small") - 1.0).abs() < 1e-6);
    assert_eq!((health.dead_units, health.zeros), (1, 1.0 / 3.0));
    assert!((health.mean_activation - 14.0 / 9.0).abs() < 1e-12);
    // Equal codes span no direction.
    let mut scan = CodeScan::new(2, true);
    scan.add(&[0.0, 3.0, 0.0, 3.0, 0.0, 3.0]);
    let health = scan.health(&|| {}).expect("has one");
    assert_eq!((health.dead_units, health.effective_rank), (2, None));
}

#[test]
fn the_median_filter_is_scipys() {
    let image: Vec<f32> = (0..42).map(|index| (f64::from(index * 37 % 101) / 100.0) as f32).collect();
    let shape = ImageShape { height: 7, width: 6, channels: 1 };
    for (radius, expected) in [(1, 438.6), (2, 430.93)] {
        let filtered = median(&image, shape, radius);
        let sum: f64 = filtered.iter().enumerate().map(|(index, &value)| index as f64 * f64::from(value)).sum();
        assert!((sum - expected).abs() < 1e-4, "{sum}");
    }
}
