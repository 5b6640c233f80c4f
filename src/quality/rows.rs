//! Features of many images in memory, read by classifiers in blocks that are centred and scaled when they are read.

use std::ops::Range;

use rayon::prelude::*;

use crate::image::{to_unit, unit};
use crate::vector::{Loop, vectorise};

/// Rows of a block. Sums over rows are sums of the blocks' sums, in their order.
pub const BLOCK: usize = 1024;

/// Features, one row after the other.
pub struct Rows {
    width: usize,
    values: Values,
}

/// The numbers, as they are stored.
pub enum Values {
    /// Pixels as bytes, which stand for numbers in [0, 1].
    Bytes(Vec<u8>),
    /// Any numbers.
    Floats(Vec<f32>),
}

/// The mean that is subtracted from each column of features, and the factor that follows.
pub struct Scaling {
    mean: Vec<f32>,
    factor: Vec<f32>,
}

/// Scales rows, whose numbers are stored as `T`.
struct Scale<'a, T, N> {
    rows: &'a [T],
    number: N,
    scaling: &'a Scaling,
    out: &'a mut [f32],
}

impl<T: Copy, N: Fn(T) -> f32> Loop for Scale<'_, T, N> {
    #[inline(always)]
    fn run(&mut self) {
        let Scaling { mean, factor } = self.scaling;
        for (out, row) in self.out.chunks_exact_mut(mean.len()).zip(self.rows.chunks_exact(mean.len())) {
            for (((out, &value), mean), factor) in out.iter_mut().zip(row).zip(mean).zip(factor) {
                *out = ((self.number)(value) - mean) * factor;
            }
        }
    }
}

impl Rows {
    /// Rows of `width` numbers each.
    pub fn new(width: usize, values: Values) -> Self {
        Self { width, values }
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        let len = match &self.values {
            Values::Bytes(values) => values.len(),
            Values::Floats(values) => values.len(),
        };
        len / self.width
    }

    /// Size of a row in bytes, as it is stored.
    pub fn bytes_per_row(&self) -> usize {
        match &self.values {
            Values::Bytes(_) => self.width,
            Values::Floats(_) => self.width * size_of::<f32>(),
        }
    }

    /// The ranges of rows of the blocks.
    pub fn blocks(&self) -> Vec<Range<usize>> {
        let count = self.count();
        (0..count).step_by(BLOCK).map(|start| start..(start + BLOCK).min(count)).collect()
    }

    /// Some rows, scaled.
    pub fn scaled(&self, rows: Range<usize>, scaling: &Scaling) -> Vec<f32> {
        let mut values = Vec::new();
        self.scale(rows, scaling, &mut values);
        values
    }

    /// Makes `out` some rows, scaled.
    pub fn scale(&self, rows: Range<usize>, scaling: &Scaling, out: &mut Vec<f32>) {
        let range = rows.start * self.width..rows.end * self.width;
        out.resize(range.len(), 0.0);
        match &self.values {
            Values::Bytes(values) => vectorise(&mut Scale { rows: &values[range], number: unit, scaling, out }),
            Values::Floats(values) => {
                vectorise(&mut Scale { rows: &values[range], number: |value| value, scaling, out })
            }
        }
    }

    fn values(&self, rows: Range<usize>) -> Vec<f32> {
        let range = rows.start * self.width..rows.end * self.width;
        match &self.values {
            Values::Bytes(values) => {
                let mut out = vec![0.0; range.len()];
                to_unit(&values[range], &mut out);
                out
            }
            Values::Floats(values) => values[range].to_vec(),
        }
    }

    /// The scaling of each column to mean 0 and, if `unit`, to variance 1; constant columns are only centred.
    pub fn scaling(&self, unit: bool) -> Scaling {
        let count = self.count() as f64;
        let mean: Vec<f64> = self.sums(|value, _| value).into_iter().map(|sum| sum / count).collect();
        let variance = self.sums(|value, column| (value - mean[column]).powi(2));
        let factor = |sum: &f64| match sum / count {
            variance if unit && variance > 1e-12 => (1.0 / variance.sqrt()) as f32,
            _ => 1.0,
        };
        let factor = variance.iter().map(factor).collect();
        Scaling { mean: mean.into_iter().map(|mean| mean as f32).collect(), factor }
    }

    fn sums(&self, term: impl Fn(f64, usize) -> f64 + Sync) -> Vec<f64> {
        let partial: Vec<Vec<f64>> = self
            .blocks()
            .into_par_iter()
            .map(|rows| {
                let mut sums = vec![0.0; self.width];
                for row in self.values(rows).chunks_exact(self.width) {
                    for (column, (sum, &value)) in sums.iter_mut().zip(row).enumerate() {
                        *sum += term(f64::from(value), column);
                    }
                }
                sums
            })
            .collect();
        partial.into_iter().fold(vec![0.0; self.width], |mut total, sums| {
            total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            total
        })
    }
}
