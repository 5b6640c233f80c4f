//! Statistics of codes: dead units, zeros, and the effective rank.

use anyhow::Result;
use faer::Side;
use serde::{Deserialize, Serialize};

use super::moments::Moments;
use crate::{error, interrupt};

/// Statistics of the codes of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CodeHealth {
    /// Numbers of a code.
    pub size: usize,
    /// Units that are the same for every image.
    pub dead_units: usize,
    /// Mean over units and images.
    pub mean_activation: f64,
    /// Share of exact zeros.
    pub zeros: f64,
    /// Effective rank, from 1 to the size; none for codes too large to compute it, and where all units are dead.
    pub effective_rank: Option<f64>,
}

/// Accumulates the statistics of codes that are streamed.
pub struct CodeScan {
    least: Vec<f32>,
    most: Vec<f32>,
    rows: u64,
    sum: f64,
    zeros: u64,
    moments: Option<Moments>,
}

impl CodeScan {
    /// No codes of `size` yet; the effective rank is computed only if `rank`.
    pub fn new(size: usize, rank: bool) -> Self {
        Self {
            least: vec![f32::INFINITY; size],
            most: vec![f32::NEG_INFINITY; size],
            rows: 0,
            sum: 0.0,
            zeros: 0,
            moments: rank.then(|| Moments::of(size)),
        }
    }

    /// Adds codes, one after the other.
    pub fn add(&mut self, codes: &[f32]) {
        for code in codes.chunks_exact(self.least.len()) {
            self.rows += 1;
            for ((least, most), &value) in self.least.iter_mut().zip(&mut self.most).zip(code) {
                (*least, *most) = (least.min(value), most.max(value));
                self.sum += f64::from(value);
                self.zeros += u64::from(value == 0.0);
            }
        }
        if let Some(moments) = &mut self.moments {
            moments.add(codes);
        }
    }

    /// The statistics of all codes added. `waiting` is called several times a second.
    ///
    /// # Errors
    /// The decomposition does not converge; interruption.
    pub fn health(&self, waiting: &dyn Fn()) -> Result<CodeHealth> {
        let size = self.least.len();
        let values = self.rows as f64 * size as f64;
        let dead_units = self.least.iter().zip(&self.most).filter(|(least, most)| least == most).count();
        let rank = |moments| effective_rank(moments, waiting);
        let rank = if dead_units < size { self.moments.as_ref().map(rank).transpose()? } else { None };
        Ok(CodeHealth {
            size,
            dead_units,
            mean_activation: self.sum / values,
            zeros: self.zeros as f64 / values,
            effective_rank: rank,
        })
    }
}

/// The exponential of the entropy of the singular values of the centred codes, as shares of their sum (Roy & Vetterli, The
/// effective rank, EUSIPCO 2007): from 1, if all codes lie on a line, to the size of the code.
fn effective_rank(moments: &Moments, waiting: &dyn Fn()) -> Result<f64> {
    let covariance = moments.covariance();
    let eigenvalues = interrupt::abandoning(waiting, move || covariance.self_adjoint_eigenvalues(Side::Lower))?;
    let eigenvalues = eigenvalues.map_err(|cause| error::bug(format!("no rank of the code: {cause:?}")))?;
    let greatest = eigenvalues.iter().copied().fold(0.0, f64::max);
    // Eigenvalues that are zero up to rounding do not count.
    let values: Vec<f64> = eigenvalues.into_iter().filter(|&value| value > greatest * 1e-12).map(f64::sqrt).collect();
    let sum: f64 = values.iter().sum();
    Ok(values.iter().map(|value| value / sum).map(|share| -share * share.ln()).sum::<f64>().exp())
}
