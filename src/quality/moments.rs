//! Streaming means and covariances of rows: all that PCA, the linear denoiser and the rank of a code need of a data set.
//!
//! Products are added in f64, batch after batch, and each panel of columns is summed by one thread from the first batch to
//! the last: the result does not depend on the threads or their number.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use rayon::prelude::*;

/// Columns that one thread works on at a time.
const PANEL: usize = 64;

/// Sums over rows, column by column.
pub struct Means {
    rows: u64,
    sums: Vec<f64>,
}

impl Means {
    /// No rows yet, of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { rows: 0, sums: vec![0.0; columns] }
    }

    /// Adds rows, one after the other.
    pub fn add(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.sums.len()) {
            self.rows += 1;
            self.sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Mean of each column.
    pub fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.rows as f64).collect()
    }
}

/// Sums over rows of the products of columns: of one set with itself, or of two sets.
pub struct Moments {
    left: Means,
    /// None if it is the left side.
    right: Option<Means>,
    /// `[left, right]`, column by column; of one set, the panels from the diagonal on.
    products: Vec<f64>,
}

impl Moments {
    /// No rows yet, of so many columns, which are multiplied with each other.
    pub fn of(columns: usize) -> Self {
        Self { left: Means::new(columns), right: None, products: vec![0.0; columns * columns] }
    }

    /// No rows yet, of so many columns on each side.
    pub fn between(left: usize, right: usize) -> Self {
        Self { left: Means::new(left), right: Some(Means::new(right)), products: vec![0.0; left * right] }
    }

    /// Adds rows of one set, one after the other.
    pub fn add(&mut self, rows: &[f32]) {
        debug_assert!(self.right.is_none(), "the moments are those of two sets");
        self.left.add(rows);
        let width = self.left.sums.len();
        let rows = doubles(rows);
        let rows = MatRef::from_row_major_slice(&rows, rows.len() / width, width);
        self.add_products(rows, rows);
    }

    /// Adds rows of two sets, one after the other, the same number on both sides.
    pub fn add_pairs(&mut self, left: &[f32], right: &[f32]) {
        let Some(means) = &mut self.right else {
            debug_assert!(false, "the moments are those of one set");
            return;
        };
        self.left.add(left);
        means.add(right);
        let (width, other) = (self.left.sums.len(), means.sums.len());
        let rows = left.len() / width;
        let (left, right) = (doubles(left), doubles(right));
        let left = MatRef::from_row_major_slice(&left, rows, width);
        self.add_products(left, MatRef::from_row_major_slice(&right, rows, other));
    }

    fn add_products(&mut self, left: MatRef<'_, f64>, right: MatRef<'_, f64>) {
        let (width, is_symmetric) = (self.left.sums.len(), self.right.is_none());
        self.products.par_chunks_mut(PANEL * width).enumerate().for_each(|(index, panel)| {
            let (columns, start) = (panel.len() / width, index * PANEL);
            // What is above the diagonal is also below it.
            let top = if is_symmetric { start } else { 0 };
            let panel = MatMut::from_column_major_slice_mut(panel, width, columns).subrows_mut(top, width - top);
            let (left, right) = (left.subcols(top, width - top), right.subcols(start, columns));
            matmul(panel, Accum::Add, left.transpose(), right, 1.0, Par::Seq);
        });
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.left.rows()
    }

    /// Mean of each column of the left side.
    pub fn left_means(&self) -> Vec<f64> {
        self.left.means()
    }

    /// Mean of each column of the right side.
    pub fn right_means(&self) -> Vec<f64> {
        self.right.as_ref().unwrap_or(&self.left).means()
    }

    /// Covariance of each column of the left side with each of the right, with 1 / rows.
    pub fn covariance(&self) -> Mat<f64> {
        let (left, right, rows) = (self.left_means(), self.right_means(), self.left.rows as f64);
        let height = left.len();
        let product = |i: usize, j: usize| {
            let (i, j) = if self.right.is_none() && i < j { (j, i) } else { (i, j) };
            self.products[j * height + i]
        };
        Mat::from_fn(height, right.len(), |i, j| product(i, j) / rows - left[i] * right[j])
    }
}

/// The same numbers in f64.
pub fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covariances_are_those_of_all_rows_together() {
        let mut moments = Moments::between(2, 1);
        moments.add_pairs(&[1.0, 0.0, 2.0, 1.0], &[1.0, 3.0]);
        moments.add_pairs(&[3.0, 5.0], &[2.0]);
        assert_eq!((moments.left_means(), moments.right_means()), (vec![2.0, 2.0], vec![2.0]));
        let covariance = moments.covariance();
        // numpy.cov([[1, 2, 3], [0, 1, 5], [1, 3, 2]], bias=True)[:2, 2]
        assert!((covariance[(0, 0)] - 1.0 / 3.0).abs() < 1e-12);
        assert!((covariance[(1, 0)] - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn covariances_of_a_set_with_itself_are_those_of_two_equal_sets() {
        // Several panels, the last of which is not whole.
        let width = 2 * PANEL + 7;
        let rows: Vec<f32> = (0..5 * width).map(|index| (index * 37 % 101) as f32 / 101.0).collect();
        let (mut own, mut pairs) = (Moments::of(width), Moments::between(width, width));
        for rows in rows.chunks(2 * width) {
            own.add(rows);
            pairs.add_pairs(rows, rows);
        }
        assert_eq!(own.right_means(), pairs.right_means());
        let (own, pairs) = (own.covariance(), pairs.covariance());
        for (i, j) in (0..width).flat_map(|i| (0..width).map(move |j| (i, j))) {
            assert!((own[(i, j)] - pairs[(i, j)]).abs() < 1e-12, "{i} {j}");
        }
    }
}
