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

/// Sums over rows of two sets of columns, and of their products.
pub struct Moments {
    left: Means,
    right: Means,
    /// `[left, right]`, column by column.
    products: Vec<f64>,
}

impl Moments {
    /// No rows yet, of so many columns on each side.
    pub fn new(left: usize, right: usize) -> Self {
        Self { left: Means::new(left), right: Means::new(right), products: vec![0.0; left * right] }
    }

    /// Adds rows, one after the other, the same number on both sides.
    pub fn add(&mut self, left: &[f32], right: &[f32]) {
        let (width, other) = (self.left.sums.len(), self.right.sums.len());
        let rows = left.len() / width;
        self.left.add(left);
        self.right.add(right);
        let (left, right) = (doubles(left), doubles(right));
        let left = MatRef::from_row_major_slice(&left, rows, width);
        let right = MatRef::from_row_major_slice(&right, rows, other);
        self.products.par_chunks_mut(PANEL * width).enumerate().for_each(|(index, panel)| {
            let columns = panel.len() / width;
            let panel = MatMut::from_column_major_slice_mut(panel, width, columns);
            let right = right.subcols(index * PANEL, columns);
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
        self.right.means()
    }

    /// Covariance of each column of the left side with each of the right, with 1 / rows.
    pub fn covariance(&self) -> Mat<f64> {
        let (left, right, rows) = (self.left_means(), self.right_means(), self.left.rows as f64);
        let height = left.len();
        Mat::from_fn(height, right.len(), |i, j| self.products[j * height + i] / rows - left[i] * right[j])
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
        let mut moments = Moments::new(2, 1);
        moments.add(&[1.0, 0.0, 2.0, 1.0], &[1.0, 3.0]);
        moments.add(&[3.0, 5.0], &[2.0]);
        assert_eq!((moments.left_means(), moments.right_means()), (vec![2.0, 2.0], vec![2.0]));
        let covariance = moments.covariance();
        // numpy.cov([[1, 2, 3], [0, 1, 5], [1, 3, 2]], bias=True)[:2, 2]
        assert!((covariance[(0, 0)] - 1.0 / 3.0).abs() < 1e-12);
        assert!((covariance[(1, 0)] - 1.0 / 3.0).abs() < 1e-12);
    }
}
