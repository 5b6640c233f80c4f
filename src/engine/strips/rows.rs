//! A network on a picture of which it gets a few rows at a time, from the top: each layer keeps the rows that the next ones need beside
//! theirs, and no more.
//!
//! The result is, bit for bit on flex, that of the whole maps (`model/steps.rs`). A layer is computed in blocks of rows as they lie in the
//! whole, and sees the rows before and after them.

use std::collections::VecDeque;
use std::ops::Range;

use burn::tensor::Tensor;

use crate::image::ImageShape;
use crate::kernel::{Activation, How, Method};
use crate::model::steps::{Step, shuffle, unshuffle};

/// The steps of a network, with the rows that each holds.
pub struct Rows {
    stages: Vec<Stage>,
    /// What was kept, for each pair of [`Step::Keep`] and [`Step::Add`].
    kept: Vec<Held>,
}

/// A step, with what it holds.
struct Stage {
    step: Step,
    /// Rows of the map that it gets.
    rows: usize,
    /// Rows and columns of the map that an upsampling or a shuffle makes.
    size: [usize; 2],
    /// Which of what is kept it adds to, or takes from.
    pair: usize,
    /// Rows that it has got and still needs.
    held: Held,
    /// The first row that it has not computed.
    next: usize,
}

/// Consecutive rows of a map, in parts.
#[derive(Default)]
pub struct Held {
    parts: VecDeque<Tensor<4>>,
    /// Which of the map's rows is the first.
    first: usize,
}

impl Held {
    /// The first row.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The row after the last.
    fn end(&self) -> usize {
        self.first + self.parts.iter().map(count).sum::<usize>()
    }

    /// Appends the next rows.
    pub fn push(&mut self, rows: Tensor<4>) {
        self.parts.push_back(rows);
    }

    /// Some of the map's rows.
    pub fn get(&self, rows: Range<usize>) -> Option<Tensor<4>> {
        let mut start = self.first;
        let wanted = self.parts.iter().filter_map(|part| {
            let here = start..start + count(part);
            start = here.end;
            let (from, to) = (rows.start.max(here.start), rows.end.min(here.end));
            (from < to).then(|| part.clone().narrow(1, from - here.start, to - from))
        });
        let wanted: Vec<_> = wanted.collect();
        (!wanted.is_empty()).then(|| Tensor::cat(wanted, 1))
    }

    /// Drops the rows before one.
    pub fn drop_before(&mut self, row: usize) {
        while let Some(part) = self.parts.front_mut() {
            let rows = count(part);
            if self.first + rows <= row {
                self.first += rows;
                self.parts.pop_front();
                continue;
            }
            if self.first < row {
                // A copy, since a part of a tensor keeps the whole in memory.
                let left = part.clone().narrow(1, row - self.first, self.first + rows - row);
                *part = Tensor::from_data(left.into_data(), &part.device());
                self.first = row;
            }
            break;
        }
    }
}

fn count(rows: &Tensor<4>) -> usize {
    rows.dims()[1]
}

impl Rows {
    /// The steps for a picture with so many rows and columns, of which none was given yet.
    pub fn new(steps: impl IntoIterator<Item = Step>, [rows, columns]: [usize; 2]) -> Self {
        let (mut stages, mut size) = (Vec::new(), [rows, columns]);
        // The sizes before those steps that the next ones undo, and the pairs that are open.
        let (mut sizes, mut open, mut pairs) = (Vec::new(), Vec::new(), 0);
        for step in steps {
            let rows = size[0];
            let mut pair = 0;
            match step {
                Step::MaxPool(_) | Step::Unshuffle => {
                    sizes.push(size);
                    size = size.map(|side| side.div_ceil(2));
                }
                Step::Upsample(_) | Step::Shuffle => size = sizes.pop().unwrap_or(size),
                Step::Keep => {
                    pair = pairs;
                    open.push(pair);
                    pairs += 1;
                }
                Step::Add => pair = open.pop().unwrap_or_default(),
                Step::Convolution(..) => {}
            }
            stages.push(Stage { step, rows, size, pair, held: Held::default(), next: 0 });
        }
        Self { stages, kept: (0..pairs).map(|_| Held::default()).collect() }
    }

    /// Gives the next rows `[n, rows, columns, channels]`, and gets those that are complete, if any are: of what has come before, too.
    pub fn push(&mut self, rows: Tensor<4>) -> Option<Tensor<4>> {
        let Self { stages, kept } = self;
        stages.iter_mut().try_fold(rows, |rows, stage| stage.push(rows, kept))
    }
}

impl Stage {
    fn push(&mut self, rows: Tensor<4>, kept: &mut [Held]) -> Option<Tensor<4>> {
        let [_, count, _, channels] = rows.dims();
        match &self.step {
            Step::Keep => {
                kept[self.pair].push(rows.clone());
                return Some(rows);
            }
            Step::Add => {
                let kept = &mut kept[self.pair];
                let sum = kept.get(self.next..self.next + count).map(|kept| rows + kept);
                self.next += count;
                kept.drop_before(self.next);
                return sum;
            }
            Step::Shuffle => {
                let [height, width] = self.size;
                let height = (2 * count).min(height - 2 * self.next);
                self.next += count;
                return Some(shuffle(rows, ImageShape { height, width, channels: channels / 4 }));
            }
            Step::Convolution(..) | Step::MaxPool(_) | Step::Upsample(_) | Step::Unshuffle => {}
        }
        self.held.push(rows);
        let end = self.held.end();
        let is_last = end == self.rows;
        // Rows above and below that a row is computed from, and those that are computed together.
        let (around, block) = match self.step {
            Step::Unshuffle => (0, 2),
            Step::Upsample(_) => (1, 1),
            _ => (1, Method::Fastest.block()),
        };
        let until = if is_last { end } else { end.saturating_sub(around) / block * block };
        if until <= self.next {
            return None;
        }
        let first = self.next;
        let [above, below] = [around.min(first), around.min(self.rows - until)];
        let x = self.held.get(first - above..until + below)?;
        let how = How { method: Method::Fastest, around: [above, below] };
        let made = match &self.step {
            Step::Convolution(layer, activation) => layer.with(how).forward(x, *activation),
            Step::MaxPool(layer) => layer.with(how).forward_max_pool(x, Activation::Relu),
            Step::Upsample(layer) => {
                let [height, width] = self.size;
                let rows = (2 * (until - first)).min(height - 2 * first);
                layer.with(how).forward_upsampled(x, [rows, width], Activation::Relu)
            }
            _ => unshuffle(x),
        };
        self.next = until;
        self.held.drop_before(until - around);
        Some(made)
    }
}
