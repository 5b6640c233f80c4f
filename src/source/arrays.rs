//! Images and labels in arrays: one of each for either split, or one for both, which are drawn from it.

use anyhow::Result;

use super::draw::{Draw, Members};
use crate::error;
use crate::image::ImageShape;
use crate::source::settings::Arrays;

/// The images of a split, of an array that is at an `A`, with labels of type `L`.
#[derive(Clone)]
pub struct Part<A, L> {
    /// Where they are.
    pub images: A,
    /// Size of each.
    pub shape: ImageShape,
    /// How many the array holds.
    pub held: u64,
    /// A label for each that it holds.
    pub labels: Option<Vec<L>>,
    /// Which of them are of the split.
    pub members: Members,
}

impl<A, L> Part<A, L> {
    /// How many images there are.
    pub fn count(&self) -> u64 {
        self.members.count(self.held)
    }
}

/// The parts of both splits; the test images are drawn if they have no array. `open` opens an array of images with that of
/// their labels, all of them members, and `name` tells where an array is.
///
/// # Errors
/// What `open` fails with, splits of different sizes or without any image, interruption.
pub fn splits<A: Clone, L: Clone>(
    arrays: &Arrays<A>,
    seed: u64,
    name: impl Fn(&A) -> String,
    open: impl Fn(&A, Option<&A>) -> Result<Part<A, L>>,
) -> Result<[Part<A, L>; 2]> {
    let train = open(&arrays.train, arrays.train_labels.as_ref())?;
    let Some(test) = &arrays.test else {
        let draw = Draw::new(seed, arrays.test_fraction.unwrap_or_default());
        return Ok(Members::drawn(draw, train.held)?.map(|members| Part { members, ..train.clone() }));
    };
    let test = open(test, arrays.test_labels.as_ref())?;
    if train.shape == test.shape {
        return Ok([train, test]);
    }
    let [(first, expected), (second, found)] = [&train, &test].map(|part| (name(&part.images), part.shape));
    Err(error::data(format!("{second} has images of {found}, but {first} has {expected}")))
}
