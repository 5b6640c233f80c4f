//! Linear baselines: principal components, and the linear denoiser that is best on the training images.
//!
//! Both are closed forms of covariances. A model has to beat them to be worth its training.

use anyhow::Result;
use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{SelfAdjointEigen, Solve};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::moments::{Moments, doubles};
use crate::{error, interrupt};

/// The penalty of the ridge regression, added to the variance of each pixel.
pub const RIDGE_PENALTY: f64 = 1e-4;

/// Rows that one thread multiplies at a time.
const ROWS: usize = 128;

/// Principal components: the directions in which rows vary most.
#[derive(Clone)]
pub struct Pca {
    /// The mean that is subtracted from a row before it is projected.
    from: Vec<f32>,
    mean: Vec<f32>,
    /// One component after the other.
    components: Vec<f32>,
}

impl Pca {
    /// The `count` leading components of the rows that went into `moments`, of rows with themselves; fewer if the centred rows do
    /// not span so many directions. `waiting` is called several times a second.
    ///
    /// # Errors
    /// The decomposition does not converge; interruption.
    pub fn fit(moments: &Moments, count: usize, waiting: &dyn Fn()) -> Result<Self> {
        let covariance = moments.covariance();
        let width = covariance.nrows();
        let eigen = eigen(covariance, waiting)?;
        let vectors = eigen.U();
        let count = count.min((moments.rows() as usize).saturating_sub(1)).max(1);
        // Eigenvalues ascend.
        let order = (0..width).rev().take(count);
        let components = order.flat_map(|column| (0..width).map(move |row| vectors[(row, column)] as f32));
        let mean = singles(&moments.left_means());
        Ok(Self { from: mean.clone(), mean, components: components.collect() })
    }

    /// The same components for rows with another mean, such as noisy ones; reconstructions keep the first mean.
    pub fn with_input_mean(self, mean: &[f64]) -> Self {
        Self { from: singles(mean), ..self }
    }

    /// Number of components.
    pub fn size(&self) -> usize {
        self.components.len() / self.mean.len()
    }

    /// Coordinates of rows along the components.
    pub fn project(&self, rows: &[f32]) -> Vec<f32> {
        let width = self.mean.len();
        let components = MatRef::from_row_major_slice(&self.components, self.size(), width).transpose();
        multiply(&shifted(rows, &self.from, -1.0), components)
    }

    /// Rows that have these coordinates.
    pub fn reconstruct(&self, coordinates: &[f32]) -> Vec<f32> {
        let components = MatRef::from_row_major_slice(&self.components, self.size(), self.mean.len());
        shifted(&multiply(coordinates, components), &self.mean, 1.0)
    }
}

/// Orthonormal directions along which a few rows of `width` numbers are longest, at most `count`: `[width, directions]`.
///
/// # Errors
/// The decomposition does not converge.
pub fn leading_directions(rows: &[f32], width: usize, count: usize) -> Result<Mat<f32>> {
    let rows = doubles(rows);
    let rows = MatRef::from_row_major_slice(&rows, rows.len() / width, width);
    let mut products = Mat::zeros(rows.nrows(), rows.nrows());
    matmul(products.as_mut(), Accum::Replace, rows, rows.transpose(), 1.0, Par::Seq);
    let eigen = eigen(products, &|| {})?;
    let (squares, vectors) = (eigen.S().column_vector(), eigen.U());
    let last = squares.nrows() - 1;
    // Rows along a direction that hardly any has would be divided by rounding errors.
    let lengths = (0..=last).rev().map(|column| (column, squares[column])).take(count);
    let lengths: Vec<_> = lengths.filter(|(_, square)| *square > 1e-9 * squares[last]).collect();
    let scaled = Mat::from_fn(last + 1, lengths.len(), |row, index| {
        let (column, square) = lengths[index];
        vectors[(row, column)] / square.sqrt()
    });
    let mut directions = Mat::<f64>::zeros(width, lengths.len());
    matmul(directions.as_mut(), Accum::Replace, rows.transpose(), scaled.as_ref(), 1.0, Par::Seq);
    Ok(Mat::from_fn(width, lengths.len(), |row, column| directions[(row, column)] as f32))
}

/// The eigenvalues, which ascend, and eigenvectors of a symmetric matrix. `waiting` is called several times a second.
///
/// # Errors
/// The decomposition does not converge; interruption.
pub(super) fn eigen(matrix: Mat<f64>, waiting: &dyn Fn()) -> Result<SelfAdjointEigen<f64>> {
    let eigen = interrupt::abandoning(waiting, move || matrix.self_adjoint_eigen(Side::Lower))?;
    eigen.map_err(|cause| error::bug(format!("no principal components: {cause:?}")))
}

/// The linear map with the least squared error from one set of rows to another, plus a penalty on its size.
pub struct Ridge {
    means: [Vec<f32>; 2],
    /// From the left side to the right.
    weights: Mat<f32>,
}

impl Ridge {
    /// The map from the left side of `cross` to its right side; `left` are the moments of the left side with itself. `waiting` is called
    /// several times a second.
    ///
    /// # Errors
    /// The system has no solution, which finite images do not cause; interruption.
    pub fn fit(left: &Moments, cross: &Moments, waiting: &dyn Fn()) -> Result<Self> {
        let mut covariance = left.covariance();
        for index in 0..covariance.nrows() {
            covariance[(index, index)] += RIDGE_PENALTY;
        }
        let crossed = cross.covariance();
        let solved = move || covariance.llt(Side::Lower).map(|factors| factors.solve(crossed));
        let weights = interrupt::abandoning(waiting, solved)?;
        let weights = weights.map_err(|cause| error::bug(format!("no linear denoiser: {cause:?}")))?;
        let weights = Mat::from_fn(weights.nrows(), weights.ncols(), |i, j| weights[(i, j)] as f32);
        Ok(Self { means: [cross.left_means(), cross.right_means()].map(|means| singles(&means)), weights })
    }

    /// Applies the map to rows.
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let [from, to] = &self.means;
        shifted(&multiply(&shifted(rows, from, -1.0), self.weights.as_ref()), to, 1.0)
    }
}

/// Rows, one after the other, times a matrix.
pub fn multiply(rows: &[f32], matrix: MatRef<'_, f32>) -> Vec<f32> {
    let (inner, outer) = (matrix.nrows(), matrix.ncols());
    let mut product = vec![0.0; rows.len() / inner * outer];
    product.par_chunks_mut(ROWS * outer).zip(rows.par_chunks(ROWS * inner)).for_each(|(product, rows)| {
        let count = rows.len() / inner;
        let rows = MatRef::from_row_major_slice(rows, count, inner);
        let product = MatMut::from_row_major_slice_mut(product, count, outer);
        matmul(product, Accum::Replace, rows, matrix, 1.0, Par::Seq);
    });
    product
}

pub(super) fn shifted(rows: &[f32], mean: &[f32], sign: f32) -> Vec<f32> {
    rows.chunks_exact(mean.len())
        .flat_map(|row| row.iter().zip(mean).map(|(value, mean)| value + sign * mean))
        .collect()
}

pub(super) fn singles(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
