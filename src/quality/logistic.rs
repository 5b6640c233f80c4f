//! Multinomial logistic regression: how well features tell classes apart with a plane between each two.
//!
//! The objective is scikit-learn's with its default `C = 1`: the mean cross-entropy of the softmax plus half the squared
//! weights over the number of rows, intercepts free, on standardised features. It is convex, and minimised by L-BFGS
//! (Nocedal & Wright, Numerical Optimization, algorithm 7.4). Products are f32, sums over blocks of rows f64 and in order.

use std::collections::VecDeque;
use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::rows::{Rows, Scaling};
use crate::interrupt;

/// The greatest component of the gradient that counts as none, as in scikit-learn.
const TOLERANCE: f64 = 1e-4;
/// Steps after which the fit is good enough, converged or not.
pub const MOST_STEPS: usize = 200;
/// Pairs of steps and changes of the gradient that L-BFGS remembers.
const MEMORY: usize = 10;
/// Blocks whose gradients are in memory at once.
const BLOCKS: usize = 16;

/// A fitted regression.
pub struct Logistic {
    scaling: Scaling,
    /// For each class its intercept, then its weights.
    weights: Vec<f64>,
    classes: usize,
    /// Whether the gradient has vanished.
    pub converged: bool,
    /// What was minimised, in nats.
    pub objective: f64,
}

impl Logistic {
    /// Fits it to rows and their classes, each below `classes`.
    ///
    /// # Errors
    /// Interruption.
    pub fn fit(rows: &Rows, labels: &[u32], classes: usize) -> anyhow::Result<Self> {
        let problem = Problem { rows, labels, classes, scaling: rows.scaling(true) };
        let mut weights = vec![0.0; classes * (rows.width() + 1)];
        let (mut value, mut gradient) = problem.evaluate(&weights);
        let mut memory = VecDeque::new();
        let mut converged = false;
        for _ in 0..MOST_STEPS {
            interrupt::check()?;
            converged = gradient.iter().all(|slope| slope.abs() <= TOLERANCE);
            if converged {
                break;
            }
            let direction = direction(&memory, &gradient);
            let slope = dot(&direction, &gradient);
            // Without a memory there is no scale: a step of length 1.
            let mut length = if memory.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
            let (next, next_value, next_gradient) = loop {
                let next: Vec<f64> = weights.iter().zip(&direction).map(|(w, d)| w + length * d).collect();
                let (next_value, next_gradient) = problem.evaluate(&next);
                // Past this, rounding is all that is left.
                if next_value <= value + 1e-4 * length * slope || length < 1e-10 {
                    break (next, next_value, next_gradient);
                }
                length *= 0.5;
            };
            let step: Vec<f64> = next.iter().zip(&weights).map(|(next, last)| next - last).collect();
            let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, last)| next - last).collect();
            if dot(&step, &change) > 1e-12 * dot(&change, &change) {
                memory.truncate(MEMORY - 1);
                memory.push_front((step, change));
            }
            (weights, value, gradient) = (next, next_value, next_gradient);
        }
        Ok(Self { scaling: problem.scaling, weights, classes, converged, objective: value })
    }

    /// The share of rows whose class it finds.
    pub fn accuracy(&self, rows: &Rows, labels: &[u32]) -> f64 {
        let found = |block: Range<usize>| {
            let logits = logits(&rows.scaled(block.clone(), &self.scaling), &self.weights, self.classes);
            let right = logits.chunks_exact(self.classes).zip(&labels[block]).filter(|(logits, label)| {
                // The first of equals.
                let best = logits.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
                best.is_some_and(|(class, _)| class == **label as usize)
            });
            right.count()
        };
        let found: usize = rows.blocks().into_par_iter().map(found).sum();
        found as f64 / labels.len() as f64
    }
}

struct Problem<'a> {
    rows: &'a Rows,
    labels: &'a [u32],
    classes: usize,
    scaling: Scaling,
}

impl Problem<'_> {
    /// The objective and its gradient.
    fn evaluate(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let count = self.rows.count() as f64;
        let (mut value, mut gradient) = (0.0, vec![0.0; weights.len()]);
        for blocks in self.rows.blocks().chunks(BLOCKS) {
            let parts: Vec<_> = blocks.par_iter().map(|block| self.block(block.clone(), weights)).collect();
            for (loss, slope) in parts {
                value += loss;
                gradient.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += f64::from(slope));
            }
        }
        value /= count;
        for (class, slopes) in gradient.chunks_exact_mut(self.rows.width() + 1).enumerate() {
            let weights = &weights[class * slopes.len()..][..slopes.len()];
            slopes.iter_mut().for_each(|slope| *slope /= count);
            for (slope, weight) in slopes.iter_mut().zip(weights).skip(1) {
                *slope += weight / count;
                value += 0.5 * weight * weight / count;
            }
        }
        (value, gradient)
    }

    /// The loss of a block, and its gradient, summed over rows.
    fn block(&self, block: Range<usize>, weights: &[f64]) -> (f64, Vec<f32>) {
        let (classes, width, count) = (self.classes, self.rows.width(), block.len());
        let rows = self.rows.scaled(block.clone(), &self.scaling);
        let mut logits = logits(&rows, weights, classes);
        let mut loss = 0.0;
        // From logits to what the gradient is made of: probabilities, less 1 for the right class.
        for (logits, &label) in logits.chunks_exact_mut(classes).zip(&self.labels[block]) {
            let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let right = logits[label as usize] - greatest;
            logits.iter_mut().for_each(|logit| *logit = (*logit - greatest).exp());
            let sum: f32 = logits.iter().sum();
            loss += f64::from(sum).ln() - f64::from(right);
            logits.iter_mut().for_each(|logit| *logit /= sum);
            logits[label as usize] -= 1.0;
        }
        let mut slopes = vec![0.0; classes * width];
        let errors = MatRef::from_row_major_slice(&logits, count, classes);
        let slope = MatMut::from_row_major_slice_mut(&mut slopes, classes, width);
        matmul(
            slope,
            Accum::Replace,
            errors.transpose(),
            MatRef::from_row_major_slice(&rows, count, width),
            1.0,
            Par::Seq,
        );
        let intercepts = (0..classes).map(|class| logits.iter().skip(class).step_by(classes).sum::<f32>());
        let gradient = intercepts
            .zip(slopes.chunks_exact(width))
            .flat_map(|(intercept, slopes)| std::iter::once(intercept).chain(slopes.iter().copied()));
        (loss, gradient.collect())
    }
}

/// For each row the logit of each class.
fn logits(rows: &[f32], weights: &[f64], classes: usize) -> Vec<f32> {
    let weights: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
    let width = weights.len() / classes - 1;
    let count = rows.len() / width;
    let intercepts = weights.iter().step_by(width + 1).copied();
    let mut logits: Vec<f32> = intercepts.cycle().take(count * classes).collect();
    let weights = MatRef::from_row_major_slice(&weights, classes, width + 1).subcols(1, width);
    let out = MatMut::from_row_major_slice_mut(&mut logits, count, classes);
    let rows = MatRef::from_row_major_slice(rows, count, width);
    matmul(out, Accum::Add, rows, weights.transpose(), 1.0, Par::Seq);
    logits
}

/// The direction in which L-BFGS steps, from the last steps and changes of the gradient, the newest first.
fn direction(memory: &VecDeque<(Vec<f64>, Vec<f64>)>, gradient: &[f64]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (step, change) in memory {
        let share = dot(step, &direction) / dot(step, change);
        direction.iter_mut().zip(change).for_each(|(d, change)| *d -= share * change);
        shares.push(share);
    }
    if let Some((step, change)) = memory.front() {
        let scale = dot(step, change) / dot(change, change);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((step, change), share) in memory.iter().zip(shares).rev() {
        let correction = share - dot(change, &direction) / dot(step, change);
        direction.iter_mut().zip(step).for_each(|(d, step)| *d += correction * step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
