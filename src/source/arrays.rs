//! Sources of arrays of images and labels: an array for each split, or one from which splits are drawn.

use anyhow::Result;

use super::draw::Members;
use crate::error;
use crate::image::{ImageShape, PerSplit, Samples, Split};
use crate::source::check_volume;
use crate::source::settings::Arrays;

/// The images of a split, in an array located by an `A`, with labels of type `L`.
#[derive(Clone)]
pub struct Part<A, L> {
    /// The location of the array.
    pub images: A,
    /// Size of each, after rows and columns were exchanged.
    pub shape: ImageShape,
    /// Whether they are exchanged.
    pub transpose: bool,
    /// Number of images in the array.
    pub held: u64,
    /// A label for each image in the array.
    pub labels: Option<Vec<L>>,
    /// The images that belong to the split.
    pub members: Members,
}

impl<A, L> Part<A, L> {
    /// Number of images of the split.
    pub fn count(&self) -> u64 {
        self.members.count(self.held)
    }

    /// Images as they are stored, with rows and columns exchanged if they are to be.
    pub fn turned(&self, images: Samples) -> Samples {
        match images {
            images if !self.transpose => images,
            Samples::Bytes(bytes) => Samples::Bytes(self.exchanged(&bytes)),
            Samples::Floats(floats) => Samples::Floats(self.exchanged(&floats)),
        }
    }

    fn exchanged<T: Copy>(&self, images: &[T]) -> Vec<T> {
        let ImageShape { height, width, channels } = self.shape;
        let mut turned = Vec::with_capacity(images.len());
        for image in images.chunks_exact(self.shape.len()) {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let at = (column * height + row) * channels;
                turned.extend_from_slice(&image[at..at + channels]);
            }
        }
        turned
    }
}

/// The images of each split that there is. All have one size.
pub struct Parts<A, L> {
    /// Size of each image.
    pub shape: ImageShape,
    splits: PerSplit<Option<Part<A, L>>>,
}

impl<A: Clone, L: Clone> Parts<A, L> {
    /// The same images in every split.
    pub fn in_all(part: &Part<A, L>) -> Self {
        Self { shape: part.shape, splits: Split::ALL.map(|_| Some(part.clone())) }
    }

    /// Those of a split, if there are any.
    pub fn of(&self, split: Split) -> Option<&Part<A, L>> {
        self.splits[split as usize].as_ref()
    }

    /// Number of images of a split.
    pub fn count(&self, split: Split) -> u64 {
        self.of(split).map_or(0, Part::count)
    }

    /// Those of all splits.
    pub fn iter(&self) -> impl Iterator<Item = &Part<A, L>> {
        self.splits.iter().flatten()
    }
}

/// The parts of the splits that there are; test and validation images may be drawn from those for training. `open` opens an array of images with its
/// labels, as a part with all images, and `name` gives the name of an array for messages, `section` that of the settings.
///
/// # Errors
/// Errors of `open`, splits of different sizes or without any image, interruption.
pub fn splits<A: Clone, L: Clone>(
    arrays: &Arrays<A>,
    section: &str,
    seed: u64,
    name: impl Fn(&A) -> String,
    open: impl Fn(&A, Option<&A>) -> Result<Part<A, L>>,
) -> Result<Parts<A, L>> {
    let open = |images: &A, labels: Option<&A>| -> Result<Part<A, L>> {
        let mut part = open(images, labels)?;
        let ImageShape { height, width, channels } = part.shape;
        let bad = |cause: String| error::data(format!("{} {cause}", name(images)));
        match arrays.channels {
            None => check_volume(part.shape, |channels| {
                format!("{section}.channels = {channels} takes them for images of {channels} channels")
            })
            .map_err(bad)?,
            Some(wanted) if wanted != channels => {
                return Err(bad(format!("has images of {channels} channels, but {section}.channels = {wanted}")));
            }
            Some(_) => {}
        }
        if arrays.transpose {
            (part.shape, part.transpose) = (ImageShape { height: width, width: height, channels }, true);
        }
        Ok(part)
    };
    let train = open(&arrays.train, arrays.train_labels.as_ref())?;
    let drawn = Members::drawn(arrays.draw(seed), train.held)?;
    let mut splits = drawn.map(|members| members.map(|members| Part { members, ..train.clone() }));
    for split in [Split::Test, Split::Validation] {
        let (Some(images), labels) = arrays.of(split) else { continue };
        let part = open(images, labels)?;
        if part.shape != train.shape {
            let [(first, expected), (second, found)] = [&train, &part].map(|part| (name(&part.images), part.shape));
            return Err(error::data(format!("{second} has images of {found}, but {first} has {expected}")));
        }
        splits[split as usize] = Some(part);
    }
    Ok(Parts { shape: train.shape, splits })
}
