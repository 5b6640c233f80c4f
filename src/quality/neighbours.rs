//! Classification by the nearest neighbours: how well distances of features reflect the classes.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::rows::Rows;
use crate::interrupt;

/// Neighbours that vote.
pub const NEIGHBOURS: usize = 5;
/// Queries that one thread handles at a time.
const QUERIES: usize = 512;
/// Groups of [`QUERIES`] whose scaled copies are in memory at once.
const PARTS: usize = 64;

/// A neighbour: half its squared distance, less a term that all neighbours of a query share, and its class.
#[derive(Clone, Copy)]
struct Neighbour {
    distance: f32,
    class: u32,
}

/// The share of `queries` whose class most of their [`NEIGHBOURS`] nearest rows have, by Euclidean distance. Of rows at the
/// same distance the first counts, of classes with as many votes the lowest.
///
/// # Errors
/// Interruption.
pub fn accuracy(rows: &Rows, labels: &[u32], queries: &Rows, truth: &[u32]) -> anyhow::Result<f64> {
    // Centring both sides keeps distances, and small numbers lose fewer digits.
    let scaling = rows.scaling(false);
    let width = rows.width();
    let count = queries.count();
    let parts: Vec<Range<usize>> =
        (0..count).step_by(QUERIES).map(|start| start..(start + QUERIES).min(count)).collect();
    let mut nearest: Vec<Vec<Vec<Neighbour>>> = parts.iter().map(|part| vec![Vec::new(); part.len()]).collect();
    for (parts, nearest) in parts.chunks(PARTS).zip(nearest.chunks_mut(PARTS)) {
        let queries: Vec<Vec<f32>> = parts.par_iter().map(|part| queries.scaled(part.clone(), &scaling)).collect();
        for block in rows.blocks() {
            interrupt::check()?;
            let near = rows.scaled(block.clone(), &scaling);
            let halves: Vec<f32> =
                near.chunks_exact(width).map(|row| 0.5 * row.iter().map(|value| value * value).sum::<f32>()).collect();
            let near = MatRef::from_row_major_slice(&near, block.len(), width).transpose();
            let labels = &labels[block.clone()];
            nearest.par_iter_mut().zip(&queries).for_each(|(nearest, queries)| {
                let mut products = vec![0.0; nearest.len() * labels.len()];
                let out = MatMut::from_row_major_slice_mut(&mut products, nearest.len(), labels.len());
                let queries = MatRef::from_row_major_slice(queries, nearest.len(), width);
                matmul(out, Accum::Replace, queries, near, 1.0, Par::Seq);
                for (nearest, products) in nearest.iter_mut().zip(products.chunks_exact(labels.len())) {
                    for ((product, half), &class) in products.iter().zip(&halves).zip(labels) {
                        insert(nearest, Neighbour { distance: half - product, class });
                    }
                }
            });
        }
    }
    let right = nearest.iter().flatten().zip(truth).filter(|(nearest, class)| vote(nearest) == Some(**class));
    Ok(right.count() as f64 / count as f64)
}

/// Keeps a neighbour if it is among the nearest.
#[inline]
fn insert(nearest: &mut Vec<Neighbour>, new: Neighbour) {
    if nearest.len() == NEIGHBOURS && nearest[NEIGHBOURS - 1].distance <= new.distance {
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
