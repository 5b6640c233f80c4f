//! Classification by the nearest neighbours: how well distances of features reflect the classes.
//!
//! The neighbours are exact. Of wide rows, most are ruled out by a bound of the distance that takes a fraction of the products.

use std::ops::Range;

use anyhow::Result;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::linear::{leading_directions, multiply};
use super::rows::{BLOCK, Rows, Scaling};
use crate::interrupt;
use crate::vector::{Loop, vectorise};

/// Neighbours that vote.
pub const NEIGHBOURS: usize = 5;
/// Queries that one thread handles at a time.
const QUERIES: usize = 512;
/// Groups of [`QUERIES`] whose scaled copies are in memory at once.
const PARTS: usize = 64;
/// Coordinates of a sketch.
const SKETCH: usize = 64;
/// Rows that the directions of a sketch are found from.
const SAMPLE: usize = 512;
/// More than the sums of products of f32 are rounded, relative to the lengths.
const ROUNDING: f32 = 1e-5;

/// A neighbour: half its squared distance, less a term that all neighbours of a query share, and its class.
#[derive(Clone, Copy)]
struct Neighbour {
    distance: f32,
    class: u32,
}

/// The share of `queries` whose class most of their [`NEIGHBOURS`] nearest rows have, by Euclidean distance. Of rows at the
/// same distance the first counts, of classes with as many votes the lowest. `waiting` is called after each block of rows.
///
/// # Errors
/// Interruption.
pub fn accuracy(rows: &Rows, labels: &[u32], queries: &Rows, truth: &[u32], waiting: &dyn Fn()) -> Result<f64> {
    // Centring both sides keeps distances, and small numbers lose fewer digits.
    let scaling = rows.scaling(false);
    let count = queries.count();
    let sketch = Sketch::of_wide(rows, &scaling)?;
    let scaled = |rows: &Rows, range: Range<usize>| Points::new(rows.scaled(range, &scaling), rows.width(), &sketch);
    let parts: Vec<Range<usize>> =
        (0..count).step_by(QUERIES).map(|start| start..(start + QUERIES).min(count)).collect();
    let mut nearest: Vec<Vec<Vec<Neighbour>>> = parts.iter().map(|part| vec![Vec::new(); part.len()]).collect();
    for (parts, nearest) in parts.chunks(PARTS).zip(nearest.chunks_mut(PARTS)) {
        let queries: Vec<Points> = parts.par_iter().map(|part| scaled(queries, part.clone())).collect();
        for block in rows.blocks() {
            waiting();
            let points = scaled(rows, block.clone());
            let halves: Vec<f32> = points.rows().map(|row| 0.5 * dot(row, row)).collect();
            nearest.par_iter_mut().zip(&queries).try_for_each(|(nearest, queries)| {
                interrupt::check()?;
                let products = queries.products(&points);
                let labels = &labels[block.clone()];
                vectorise(&mut Search {
                    nearest,
                    queries,
                    points: &points,
                    halves: &halves,
                    labels,
                    products: &products,
                });
                anyhow::Ok(())
            })?;
        }
    }
    let right = nearest.iter().flatten().zip(truth).filter(|(nearest, class)| vote(nearest) == Some(**class));
    Ok(right.count() as f64 / count as f64)
}

/// Fewer coordinates for wide rows, whose products are never less than those of the rows: the leading principal components of some
/// rows, and the length of what they leave. Most rows are so far from a query that this tells that they are no neighbours.
struct Sketch {
    /// `[width, components]`, orthonormal.
    directions: Mat<f32>,
}

impl Sketch {
    /// One for these rows, if it would save anything.
    fn of_wide(rows: &Rows, scaling: &Scaling) -> Result<Option<Self>> {
        let (width, count) = (rows.width(), rows.count());
        if width < 2 * SKETCH || count < 2 * BLOCK {
            return Ok(None);
        }
        let sample = (0..SAMPLE).map(|index| index * count / SAMPLE);
        let sample: Vec<f32> = sample.flat_map(|row| rows.scaled(row..row + 1, scaling)).collect();
        let directions = leading_directions(&sample, width, SKETCH - 1)?;
        // None if all rows are alike.
        Ok((directions.ncols() > 0).then_some(Self { directions }))
    }

    /// The coordinates of rows.
    fn coordinates(&self, rows: &[f32]) -> Vec<f32> {
        let (width, components) = (self.directions.nrows(), self.directions.ncols());
        let along = multiply(rows, self.directions.as_ref());
        let mut coordinates = Vec::with_capacity(rows.len() / width * (components + 1));
        for (row, along) in rows.chunks_exact(width).zip(along.chunks_exact(components)) {
            let square = dot(row, row);
            // A little longer than it is, by more than the products may be rounded down.
            let left = (square - dot(along, along)).max(0.0) + ROUNDING * square;
            coordinates.extend_from_slice(along);
            coordinates.push(left.sqrt());
        }
        coordinates
    }
}

/// Rows, and what their products are computed from.
struct Points {
    width: usize,
    values: Vec<f32>,
    /// Their coordinates in a sketch, if there is one.
    sketch: Option<Vec<f32>>,
}

impl Points {
    fn new(values: Vec<f32>, width: usize, sketch: &Option<Sketch>) -> Self {
        let sketch = sketch.as_ref().map(|sketch| sketch.coordinates(&values));
        Self { width, values, sketch }
    }

    fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// The product of each of these rows with each of others, or an upper bound of it.
    fn products(&self, others: &Self) -> Vec<f32> {
        let (left, right) = (self.matrix(), others.matrix());
        let mut products = vec![0.0; left.nrows() * right.nrows()];
        let out = MatMut::from_row_major_slice_mut(&mut products, left.nrows(), right.nrows());
        matmul(out, Accum::Replace, left, right.transpose(), 1.0, Par::Seq);
        products
    }

    fn matrix(&self) -> MatRef<'_, f32> {
        let (values, count) = (self.sketch.as_ref().unwrap_or(&self.values), self.rows().len());
        MatRef::from_row_major_slice(values, count, values.len() / count)
    }
}

/// The search for the nearest of some rows for some queries.
struct Search<'a> {
    nearest: &'a mut [Vec<Neighbour>],
    queries: &'a Points,
    points: &'a Points,
    /// Half the squared length of each row.
    halves: &'a [f32],
    labels: &'a [u32],
    /// Of each query with each row, or upper bounds.
    products: &'a [f32],
}

impl Loop for Search<'_> {
    #[inline(always)]
    fn run(&mut self) {
        let products = self.products.chunks_exact(self.labels.len());
        for ((nearest, products), query) in self.nearest.iter_mut().zip(products).zip(self.queries.rows()) {
            let mut limit = farthest(nearest);
            for (index, (product, half)) in products.iter().zip(self.halves).enumerate() {
                if half - product >= limit {
                    continue;
                }
                let product = match self.points.sketch {
                    Some(_) => dot(query, &self.points.values[index * query.len()..][..query.len()]),
                    None => *product,
                };
                insert(nearest, Neighbour { distance: half - product, class: self.labels[index] });
                limit = farthest(nearest);
            }
        }
    }
}

/// The sum of products, in an order that does not depend on the instruction set.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The distance from which on no row is among the nearest.
#[inline(always)]
fn farthest(nearest: &[Neighbour]) -> f32 {
    nearest.get(NEIGHBOURS - 1).map_or(f32::INFINITY, |last| last.distance)
}

/// Keeps a neighbour if it is among the nearest.
#[inline]
fn insert(nearest: &mut Vec<Neighbour>, new: Neighbour) {
    if farthest(nearest) <= new.distance {
        return;
    }
    nearest.truncate(NEIGHBOURS - 1);
    let place = nearest.partition_point(|known| known.distance <= new.distance);
    nearest.insert(place, new);
}

/// The class with most votes, the lowest of equals.
fn vote(nearest: &[Neighbour]) -> Option<u32> {
    let votes = |class: u32| nearest.iter().filter(|neighbour| neighbour.class == class).count();
    nearest.iter().map(|neighbour| neighbour.class).max_by_key(|&class| (votes(class), std::cmp::Reverse(class)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::quality::rows::Values;
    use crate::random::Stream;

    /// Rows of `width` numbers that vary along a few directions most, and their classes.
    fn data(name: &str, count: usize, width: usize) -> (Rows, Vec<u32>) {
        let stream = Stream::new(1, name, Split::Train);
        let mut values = vec![0.0; count * width];
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            stream.generator(row as u64, 0).fill_uniform(values);
            for index in 1..width {
                values[index] = 0.9 * values[index - 1] + 0.1 * values[index];
            }
        }
        let classes = values.chunks_exact(width).map(|row| ((row[width / 2] + row[width - 1]) * 10.0) as u32).collect();
        (Rows::new(width, Values::Floats(values)), classes)
    }

    /// The same by all distances.
    fn plainly(rows: &Rows, labels: &[u32], queries: &Rows, truth: &[u32]) -> f64 {
        let scaling = rows.scaling(false);
        let [near, queries] = [rows, queries].map(|rows| rows.scaled(0..rows.count(), &scaling));
        let right = queries.chunks_exact(rows.width()).zip(truth).filter(|(query, class)| {
            let mut nearest = Vec::new();
            for (row, &class) in near.chunks_exact(rows.width()).zip(labels) {
                let distance = row.iter().zip(*query).map(|(a, b)| (a - b) * (a - b)).sum();
                insert(&mut nearest, Neighbour { distance, class });
            }
            vote(&nearest) == Some(**class)
        });
        right.count() as f64 / truth.len() as f64
    }

    #[test]
    fn bounds_of_distances_change_no_neighbour() {
        for width in [2 * SKETCH - 1, 2 * SKETCH, 300] {
            let ((rows, labels), (queries, truth)) = (data("rows", 2 * BLOCK + 7, width), data("queries", 600, width));
            let has_sketch = Sketch::of_wide(&rows, &rows.scaling(false)).expect("converges").is_some();
            assert_eq!(has_sketch, width >= 2 * SKETCH);
            let found = accuracy(&rows, &labels, &queries, &truth, &|| {}).expect("is not interrupted");
            assert_eq!(found, plainly(&rows, &labels, &queries, &truth), "{width}");
            assert!((0.2..0.99).contains(&found), "{found}");
        }
    }

    #[test]
    fn rows_that_are_all_alike_are_neighbours() {
        let rows = Rows::new(200, Values::Bytes(vec![7; 200 * 2 * BLOCK]));
        let labels = vec![3; 2 * BLOCK];
        assert_eq!(accuracy(&rows, &labels, &rows, &labels, &|| {}).expect("is not interrupted"), 1.0);
    }

    #[test]
    fn products_of_sketches_are_never_less() {
        let width = 200;
        let (rows, _) = data("rows", 2 * BLOCK, width);
        let scaling = rows.scaling(false);
        let sketch = Sketch::of_wide(&rows, &scaling).expect("converges");
        assert!(sketch.is_some());
        let points = Points::new(rows.scaled(0..300, &scaling), width, &sketch);
        for (products, row) in points.products(&points).chunks_exact(300).zip(points.rows()) {
            for (bound, other) in products.iter().zip(points.rows()) {
                assert!(*bound >= dot(row, other));
            }
        }
    }
}
