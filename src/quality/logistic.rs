//! Multinomial logistic regression: how well features separate classes linearly.
//!
//! The objective is scikit-learn's with its default `C = 1`: the mean cross-entropy of the softmax plus half the squared
//! weights over the number of rows, intercepts unpenalised, on standardised features. It is convex, and minimised by L-BFGS
//! (Nocedal & Wright, Numerical Optimization, algorithm 7.4), preconditioned with a bound of the curvature that holds the
//! correlations of features: those of neighbouring pixels are so high that it takes hundreds of steps without it. For more
//! than 4,096 features the bound would fill the memory, and they are fitted without. The logits are a fully connected layer, and
//! computed as one, in f32; sums over blocks of rows are f64 and in order.

use std::collections::VecDeque;
use std::ops::Range;

use anyhow::Result;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Mat, Side};
use rayon::prelude::*;

use super::moments::Moments;
use super::rows::{Rows, Scaling};
use crate::kernel::{exp_of_negatives, linear};
use crate::{error, interrupt};

/// Convergence: no component of the gradient exceeds this, as in scikit-learn.
const TOLERANCE: f64 = 1e-4;
/// The same relative to the objective, which is smaller where few images are easily separated: with the absolute tolerance alone,
/// the accuracy on the pixels of a few thousand images was up to 2.6 points below that of the minimum.
const RELATIVE_TOLERANCE: f64 = 4e-4;
/// The rounding error of a component of the gradient, which is a mean of f32 products.
const LEAST_TOLERANCE: f64 = 1e-5;
/// Most features for which the bound of the curvature is computed: it takes a few matrices of their number squared.
const MOST_BOUNDED: usize = 4096;
/// Steps after which the fit ends, converged or not.
pub const MOST_STEPS: usize = 1000;
/// Pairs of steps and changes of the gradient that L-BFGS remembers.
const MEMORY: usize = 10;
/// Blocks whose gradients are in memory at once.
const BLOCKS: usize = 16;
/// Rows of a block that are in the processor's cache at once.
const PIECE: usize = 128;

/// A fitted regression.
pub struct Logistic {
    scaling: Scaling,
    /// For each class its intercept, then its weights.
    weights: Vec<f64>,
    classes: usize,
    /// Whether the gradient fell below the tolerance.
    pub converged: bool,
    /// The minimum of the objective, in nats.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests compare it with scikit-learn's"))]
    pub objective: f64,
}

impl Logistic {
    /// Fits it to rows and their classes, each below `classes`. `steps` is called with the number of steps taken since its last call.
    ///
    /// # Errors
    /// Interruption, features that are not finite.
    pub fn fit(rows: &Rows, labels: &[u32], classes: usize, steps: &dyn Fn(u64)) -> Result<Self> {
        let problem = Problem { rows, labels, classes, scaling: rows.scaling(true) };
        let curvature = Curvature::bound(&problem, &|| steps(0))?;
        let mut weights = vec![0.0; classes * (rows.width() + 1)];
        let (mut value, mut gradient) = problem.evaluate(&weights)?;
        if !value.is_finite() {
            return Err(error::data("no classifier can be fitted: the features are not finite"));
        }
        let mut memory = VecDeque::new();
        let mut converged = false;
        for _ in 0..MOST_STEPS {
            interrupt::check()?;
            let tolerance = (RELATIVE_TOLERANCE * value).clamp(LEAST_TOLERANCE, TOLERANCE);
            converged = gradient.iter().all(|slope| slope.abs() <= tolerance);
            if converged {
                break;
            }
            let direction = direction(&memory, &gradient, &curvature);
            let slope = dot(&direction, &gradient);
            let mut length = 1.0;
            let (next, next_value, next_gradient) = loop {
                let next: Vec<f64> = weights.iter().zip(&direction).map(|(w, d)| w + length * d).collect();
                let (next_value, next_gradient) = problem.evaluate(&next)?;
                // Shorter steps change the objective by rounding errors only.
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
            steps(1);
        }
        Ok(Self { scaling: problem.scaling, weights, classes, converged, objective: value })
    }

    /// The share of rows that are classified correctly.
    pub fn accuracy(&self, rows: &Rows, labels: &[u32]) -> f64 {
        let layer = Layer::new(&self.weights, self.classes);
        let found = |block: Range<usize>| {
            let logits = layer.logits(&rows.scaled(block.clone(), &self.scaling));
            let right = logits.chunks_exact(self.classes).zip(&labels[block]).filter(|(logits, label)| {
                // Of equal logits the first class wins.
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
    fn evaluate(&self, weights: &[f64]) -> Result<(f64, Vec<f64>)> {
        let count = self.rows.count() as f64;
        let layer = Layer::new(weights, self.classes);
        let (mut value, mut gradient) = (0.0, vec![0.0; weights.len()]);
        for blocks in self.rows.blocks().chunks(BLOCKS) {
            interrupt::check()?;
            let parts: Vec<_> = blocks.par_iter().map(|block| self.block(block.clone(), &layer)).collect();
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
        Ok((value, gradient))
    }

    /// The loss of a block, and its gradient, summed over rows.
    fn block(&self, block: Range<usize>, layer: &Layer) -> (f64, Vec<f32>) {
        let (classes, width) = (self.classes, self.rows.width());
        let (mut loss, mut intercepts, mut slopes) = (0.0, vec![0.0; classes], vec![0.0; classes * width]);
        let mut rows = Vec::new();
        for start in block.clone().step_by(PIECE) {
            let piece = start..(start + PIECE).min(block.end);
            self.rows.scale(piece.clone(), &self.scaling, &mut rows);
            let mut logits = layer.logits(&rows);
            let labels = &self.labels[piece.clone()];
            for (logits, &label) in logits.chunks_exact_mut(classes).zip(labels) {
                let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                loss += f64::from(greatest - logits[label as usize]);
                logits.iter_mut().for_each(|logit| *logit = greatest - *logit);
            }
            exp_of_negatives(&mut logits);
            // The derivative of the loss by the logits: probabilities, less 1 for the right class.
            for (logits, &label) in logits.chunks_exact_mut(classes).zip(labels) {
                let sum: f32 = logits.iter().sum();
                loss += f64::from(sum).ln();
                let inverse = 1.0 / sum;
                logits.iter_mut().for_each(|logit| *logit *= inverse);
                logits[label as usize] -= 1.0;
            }
            let linear::Gradients { weight, bias, .. } = layer.gradients(&rows, &logits);
            slopes.iter_mut().zip(weight).for_each(|(sum, slope)| *sum += slope);
            intercepts.iter_mut().zip(bias).for_each(|(sum, slope)| *sum += slope);
        }
        let gradient = intercepts
            .into_iter()
            .zip(slopes.chunks_exact(width))
            .flat_map(|(intercept, slopes)| std::iter::once(intercept).chain(slopes.iter().copied()));
        (loss, gradient.collect())
    }
}

/// An upper bound of the Hessian of the objective, whatever the weights: for each class half the covariance of the features,
/// plus the penalty (Böhning 1992, Multinomial logistic regression algorithm, theorem 1).
struct Curvature {
    /// Cholesky factors for the weights of a class; none for too many features.
    factors: Option<Llt<f64>>,
    classes: usize,
}

impl Curvature {
    fn bound(problem: &Problem, waiting: &dyn Fn()) -> Result<Self> {
        let width = problem.rows.width();
        if width > MOST_BOUNDED {
            return Ok(Self { factors: None, classes: problem.classes });
        }
        let mut moments = Moments::of(width);
        // Of all rows: the bound of an eighth of them takes twenty times as many steps, because of pixels that are rarely bright.
        for block in problem.rows.blocks() {
            interrupt::check()?;
            let rows = problem.rows.scaled(block, &problem.scaling);
            moments.add(&rows);
            waiting();
        }
        let (covariance, penalty) = (moments.covariance(), 1.0 / problem.rows.count() as f64);
        let curvature =
            Mat::from_fn(width, width, |i, j| 0.5 * covariance[(i, j)] + if i == j { penalty } else { 0.0 });
        let factors = interrupt::abandoning(waiting, move || curvature.llt(Side::Lower))?;
        let factors = factors.map_err(|cause| error::data(format!("no classifier can be fitted: {cause:?}")))?;
        Ok(Self { factors: Some(factors), classes: problem.classes })
    }

    /// The bound's inverse times a gradient.
    fn step(&self, gradient: &[f64]) -> Vec<f64> {
        let Some(factors) = &self.factors else { return gradient.to_vec() };
        let width = gradient.len() / self.classes - 1;
        let slopes = Mat::from_fn(width, self.classes, |row, class| gradient[class * (width + 1) + 1 + row]);
        let step = factors.solve(slopes);
        let mut out = Vec::with_capacity(gradient.len());
        for (class, slopes) in gradient.chunks_exact(width + 1).enumerate() {
            // Features have mean 0, so that the curvature of an intercept is 1/2 and independent of the weights.
            out.push(2.0 * slopes[0]);
            out.extend((0..width).map(|row| step[(row, class)]));
        }
        out
    }
}

/// The weights as those of a fully connected layer.
struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn new(weights: &[f64], classes: usize) -> Self {
        let (mut weight, mut bias) = (Vec::with_capacity(weights.len()), Vec::with_capacity(classes));
        for weights in weights.chunks_exact(weights.len() / classes) {
            bias.push(weights[0] as f32);
            weight.extend(weights[1..].iter().map(|&weight| weight as f32));
        }
        Self { weight, bias }
    }

    fn sizes(&self, rows: &[f32]) -> linear::Sizes {
        let inputs = self.weight.len() / self.bias.len();
        linear::Sizes { count: rows.len() / inputs, inputs, outputs: self.bias.len() }
    }

    /// For each row the logit of each class.
    fn logits(&self, rows: &[f32]) -> Vec<f32> {
        linear::forward(rows, &self.weight, &self.bias, false, self.sizes(rows))
    }

    /// The gradients of the weights, given those of the logits.
    fn gradients(&self, rows: &[f32], logits: &[f32]) -> linear::Gradients {
        linear::backward(rows, &self.weight, None, logits, false, self.sizes(rows))
    }
}

/// The search direction of L-BFGS, from the last steps and changes of the gradient, the newest first.
fn direction(memory: &VecDeque<(Vec<f64>, Vec<f64>)>, gradient: &[f64], curvature: &Curvature) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for (step, change) in memory {
        let share = dot(step, &direction) / dot(step, change);
        direction.iter_mut().zip(change).for_each(|(d, change)| *d -= share * change);
        shares.push(share);
    }
    direction = curvature.step(&direction);
    if let Some((step, change)) = memory.front() {
        // The ratio of the bound to the curvature along the last step.
        let scale = dot(step, change) / dot(change, &curvature.step(change));
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
