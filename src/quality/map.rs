//! A map of rows in two dimensions, on which rows that are near each other lie near each other.
//!
//! It is the exact t-SNE (van der Maaten & Hinton 2008, Visualizing Data using t-SNE), begun at the plane of the two principal components
//! (Kobak & Berens 2019), so that nothing is drawn and the map does not depend on threads. Crates with it add numbers in the order of
//! threads.

use anyhow::Result;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use super::linear::{eigen, shifted, singles};
use super::moments::{Means, doubles};
use crate::interrupt;
use crate::random::{exp_negative, ln};

/// Rows that count as near a row.
const PERPLEXITY: f32 = 30.0;
/// Steps of the descent, and how many of them draw rows together more strongly, by which factor.
const STEPS: usize = 500;
const FIRST_STEPS: usize = 150;
const EXAGGERATION: f32 = 12.0;
/// Standard deviation of the first coordinate at the start.
const START: f64 = 1e-4;
/// Rows beside one another in the vectors of a processor.
const LANES: usize = 16;
/// Where there is no row: so far away that it has no force.
const NOWHERE: f32 = 1e18;

/// Coordinates of rows of `width` numbers on a map. Rows may be wide, but should not be many: it takes their number squared.
///
/// # Errors
/// The decomposition does not converge; interruption.
pub fn map(rows: &[f32], width: usize) -> Result<Vec<[f32; 2]>> {
    let mut means = Means::new(width);
    means.add(rows);
    let centred = doubles(&shifted(rows, &singles(&means.means()), -1.0));
    let centred = MatRef::from_row_major_slice(&centred, rows.len() / width, width);
    let mut products = Mat::zeros(centred.nrows(), centred.nrows());
    matmul(products.as_mut(), Accum::Replace, centred, centred.transpose(), 1.0, Par::Seq);
    let plane = plane(products.clone())?;
    let count = plane.len();
    let spread = (plane.iter().map(|point| point[0] * point[0]).sum::<f64>() / count.max(1) as f64).sqrt();
    // Of few rows there is no neighbourhood, and rows that are all the same have one place.
    if count as f32 <= 3.0 * PERPLEXITY || spread == 0.0 {
        return Ok(plane.into_iter().map(|point| point.map(|coordinate| coordinate as f32)).collect());
    }
    let points = plane.iter().map(|point| point.map(|coordinate| (coordinate * START / spread) as f32));
    descend(points.collect(), &affinities(&products)?)
}

/// Coordinates of rows along their two principal components, by the products of the centred rows with each other. A component's
/// coordinate of largest magnitude is positive.
fn plane(products: Mat<f64>) -> Result<Vec<[f64; 2]>> {
    let count = products.nrows();
    let eigen = eigen(products, &|| {})?;
    let axis = |from_last: usize| {
        let Some(column) = count.checked_sub(from_last + 1) else { return vec![0.0; count] };
        let length = eigen.S().column_vector()[column].max(0.0).sqrt();
        let coordinates: Vec<f64> = (0..count).map(|row| eigen.U()[(row, column)] * length).collect();
        let greatest = coordinates.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
        coordinates.into_iter().map(|value| value * greatest.signum()).collect()
    };
    Ok(axis(0).into_iter().zip(axis(1)).map(|(x, y)| [x, y]).collect())
}

/// How near each row is to each other: symmetric, and 1 in all. Rows are padded with zeros to a multiple of [`LANES`].
fn affinities(products: &Mat<f64>) -> Result<Vec<f32>> {
    let count = products.nrows();
    let stride = count.next_multiple_of(LANES);
    let length = |row: usize| products[(row, row)];
    let shares: Vec<Vec<f32>> = (0..count)
        .into_par_iter()
        .map(|row| {
            interrupt::check()?;
            let distance = |other: usize| (length(row) + length(other) - 2.0 * products[(row, other)]).max(0.0);
            Ok(neighbours(row, &(0..count).map(distance).collect::<Vec<_>>()))
        })
        .collect::<Result<_>>()?;
    let mut affinities = vec![0.0; count * stride];
    for row in 0..count {
        for other in 0..count {
            affinities[row * stride + other] = (shares[row][other] + shares[other][row]) / (2 * count) as f32;
        }
    }
    Ok(affinities)
}

/// The shares of the other rows in the neighbourhood of one, by their squared distances: those of a normal distribution whose width
/// gives them the perplexity.
fn neighbours(row: usize, distances: &[f64]) -> Vec<f32> {
    let others = distances.iter().enumerate().filter(|(other, _)| *other != row).map(|(_, distance)| *distance);
    let (nearest, farthest) = others.fold((f64::INFINITY, 0.0_f64), |(a, b), next| (a.min(next), b.max(next)));
    // Distances beyond the nearest, since only differences count; rows that are all as far have the same share.
    let scale = if farthest > nearest { farthest - nearest } else { 1.0 };
    let beyond: Vec<f32> = distances.iter().map(|distance| ((distance - nearest) / scale) as f32).collect();
    let mut shares = vec![0.0; distances.len()];
    let (mut least, mut most, mut precision) = (0.0_f32, f32::INFINITY, 1.0_f32);
    for _ in 0..50 {
        for (share, beyond) in shares.iter_mut().zip(&beyond) {
            *share = exp_negative((beyond * precision).clamp(0.0, 87.0));
        }
        shares[row] = 0.0;
        let sum: f32 = shares.iter().sum();
        let moment: f32 = shares.iter().zip(&beyond).map(|(share, beyond)| share * beyond).sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        let surplus = ln(sum) + precision * moment / sum - ln(PERPLEXITY);
        if surplus.abs() < 1e-4 {
            break;
        }
        if surplus > 0.0 {
            least = precision
        } else {
            most = precision
        }
        precision = if most.is_finite() { f32::midpoint(least, most) } else { 2.0 * precision };
    }
    shares
}

/// Moves points downhill until near rows are near each other.
fn descend(mut points: Vec<[f32; 2]>, affinities: &[f32]) -> Result<Vec<[f32; 2]>> {
    let count = points.len();
    let stride = affinities.len() / count;
    let rate = (count as f32 / EXAGGERATION).max(50.0);
    let (mut speeds, mut gains) = (vec![[0.0_f32; 2]; count], vec![[1.0_f32; 2]; count]);
    for step in 0..STEPS {
        interrupt::check()?;
        let [mut x, mut y] = [0, 1].map(|axis| points.iter().map(|point| point[axis]).collect::<Vec<_>>());
        [&mut x, &mut y].into_iter().for_each(|axis| axis.resize(stride, NOWHERE));
        let rows = affinities.par_chunks_exact(stride).zip(&points);
        let forces: Vec<Forces> = rows.map(|(affinities, point)| Forces::on(*point, affinities, &x, &y)).collect();
        // In the order of the rows, whatever thread had them.
        let all = forces.iter().map(|forces| f64::from(forces.nearness) - 1.0).sum::<f64>() as f32;
        let (exaggeration, momentum) = if step < FIRST_STEPS { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        for (row, forces) in forces.iter().enumerate() {
            for axis in 0..2 {
                let gradient = 4.0 * (exaggeration * forces.together[axis] - forces.apart[axis] / all);
                let (speed, gain) = (&mut speeds[row][axis], &mut gains[row][axis]);
                *gain = if (gradient > 0.0) == (*speed > 0.0) { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                *speed = momentum * *speed - rate * *gain * gradient;
                points[row][axis] += *speed;
            }
        }
    }
    Ok(points)
}

/// What moves a point.
#[derive(Clone, Copy)]
struct Forces {
    together: [f32; 2],
    apart: [f32; 2],
    /// The sum of the nearness to all points, itself included: 1 / (1 + squared distance).
    nearness: f32,
}

impl Forces {
    /// Those on a point of the others at `x` and `y`.
    fn on(point: [f32; 2], affinities: &[f32], x: &[f32], y: &[f32]) -> Self {
        // A sum for each lane, in an order that vectors can follow.
        let mut sums = [[0.0_f32; LANES]; 5];
        let lanes = x.chunks_exact(LANES).zip(y.chunks_exact(LANES)).zip(affinities.chunks_exact(LANES));
        for ((x, y), affinities) in lanes {
            for lane in 0..LANES {
                let (right, up) = (point[0] - x[lane], point[1] - y[lane]);
                let nearness = 1.0 / (1.0 + right * right + up * up);
                let (together, apart) = (affinities[lane] * nearness, nearness * nearness);
                sums[0][lane] += together * right;
                sums[1][lane] += together * up;
                sums[2][lane] += apart * right;
                sums[3][lane] += apart * up;
                sums[4][lane] += nearness;
            }
        }
        let [right, up, away, over, nearness] = sums.map(|lanes| lanes.iter().sum());
        Self { together: [right, up], apart: [away, over], nearness }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    /// Rows of 12 numbers in four groups that each spread along two directions of their own.
    fn groups(count: usize) -> Vec<f32> {
        let mut random = vec![0.0; 2 * count];
        Stream::new(1, "map", Split::Test).generator(0, 0).fill_normal(&mut random);
        let row = |row: usize| {
            let mut numbers = [0.0; 12];
            let group = row % 4;
            numbers[group] = 20.0;
            numbers[4 + group] = 6.0 * random[2 * row];
            numbers[8 + group] = 6.0 * random[2 * row + 1];
            numbers
        };
        (0..count).flat_map(row).collect()
    }

    fn squared_distance(one: [f32; 2], other: [f32; 2]) -> f32 {
        (one[0] - other[0]).powi(2) + (one[1] - other[1]).powi(2)
    }

    #[test]
    fn neighbours_on_the_map_are_of_one_group() {
        let points = map(&groups(400), 12).expect("converges");
        let nearest = |row: usize| {
            let others = (0..points.len()).filter(|other| *other != row);
            let distance = |other: &usize| squared_distance(points[row], points[*other]);
            others.min_by(|one, other| distance(one).total_cmp(&distance(other))).expect("has others")
        };
        let kept = (0..points.len()).filter(|row| nearest(*row) % 4 == row % 4).count();
        assert!(kept >= 398, "{kept} of 400");
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("starts");
        assert_eq!(points, one_thread.install(|| map(&groups(400), 12)).expect("converges"));
    }

    #[test]
    fn few_rows_and_equal_ones_have_a_place() {
        for rows in [Vec::new(), groups(1), groups(2), groups(50), vec![3.0; 12 * 200]] {
            let points = map(&rows, 12).expect("converges");
            assert_eq!(points.len(), rows.len() / 12);
            assert!(points.iter().flatten().all(|coordinate| coordinate.is_finite()));
        }
        // Two places, each with many rows.
        let two: Vec<f32> = (0..200).flat_map(|row| [(row % 2) as f32; 12]).collect();
        let points = map(&two, 12).expect("converges");
        assert!(points.iter().flatten().all(|coordinate| coordinate.is_finite()));
    }

    #[test]
    fn a_neighbourhood_has_the_perplexity() {
        let distances: Vec<f64> = (0..500).map(|other| f64::from(other) * f64::from(other)).collect();
        let shares = neighbours(7, &distances);
        let entropy: f64 = shares
            .iter()
            .map(|share| f64::from(*share))
            .filter(|share| *share > 0.0)
            .map(|share| -share * share.ln())
            .sum();
        assert!((entropy.exp() - f64::from(PERPLEXITY)).abs() < 0.05, "{}", entropy.exp());
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-4 && shares[7] == 0.0);
    }
}
