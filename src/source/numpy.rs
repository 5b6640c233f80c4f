//! NumPy arrays: files with one (`.npy`), or an archive of several (`.npz`) such as Keras' `mnist.npz`.
//!
//! Arrays are streamed: a member of an archive is decompressed as it is read, and its checksum is verified at the end.

mod array;
mod element;
mod fortran;
mod location;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::arrays::{self, Part, Parts};
use super::draw::{Members, pick};
use super::{Source, batch, bytes_of};
use crate::error;
use crate::image::{Levels, Pixels, Samples, Shapes, Split};
use crate::source::settings::Arrays;
use crate::table::{Content, RowGroup, batch_rows};
use crate::text;
use array::Array;
use element::Element;
pub use location::Held;
use location::Location;
pub use settings::{NpySettings, NpzSettings};

/// The arrays of the splits.
pub struct Numpy {
    splits: Parts<Location, i64>,
    levels: Option<Levels>,
    /// How the numbers of all splits are stored.
    pixels: Pixels,
}

impl Numpy {
    /// Opens the arrays of an archive. Unless the settings name labels, the arrays `y_train` and `y_test` are used if they exist and
    /// can be labels. `note` is told what is passed over.
    ///
    /// # Errors
    /// A file that cannot be read or is no archive, arrays that are missing or do not fit.
    pub fn open_archive(path: &Path, arrays: &Arrays<String>, seed: u64, note: &dyn Fn(&str)) -> Result<Self> {
        let members = array::members(path)?;
        let member = |name: &String| Location::Member(path.to_owned(), name.clone());
        let usual = |usual: &str| members.iter().any(|member| member == usual).then(|| usual.to_owned());
        let named = arrays.train_labels.is_some() || arrays.test_labels.is_some();
        let arrays = Arrays {
            train_labels: arrays.train_labels.clone().or(usual("y_train")),
            // Those of test images that are drawn come from the training labels.
            test_labels: arrays.test_labels.clone().or(usual("y_test")).filter(|_| arrays.test.is_some()),
            ..arrays.clone()
        };
        let locations = arrays.located(|name| Ok(member(name)))?;
        let numpy = Self::open(&locations, "source.npz", seed, if named { None } else { Some(note) })?;
        let read: Vec<_> = locations.all().flatten().collect();
        numpy.tell_others(path, members.into_iter().filter(|name| !read.contains(&&member(name))).collect(), note);
        Ok(numpy)
    }

    /// Says which arrays of an archive are passed over, and what would read them.
    fn tell_others(&self, path: &Path, others: Vec<String>, note: &dyn Fn(&str)) {
        let Some(first) = others.first() else { return };
        let train = self.splits.of(Split::Train);
        let (held, is_labelled) = train.map_or((0, true), |train| (train.held, train.labels.is_some()));
        let is_label = |name: &&String| {
            let array = Array::open(&Location::Member(path.to_owned(), (*name).clone()));
            array.is_ok_and(|array| matches!(array.sizes[..], [count] | [count, 1] if count == held))
        };
        let labels = if is_labelled { None } else { others.iter().find(is_label) };
        let advice = match labels {
            Some(labels) => format!("no labels are read, source.npz.train-labels = {labels:?} would take some"),
            None => format!(
                "source.npz.train, as in train = {first:?}, and .test, .train-labels and .test-labels say which are read"
            ),
        };
        note(&format!("passed over: {} arrays of {}, {}; {advice}", others.len(), path.display(), text::few(&others)));
    }

    /// Opens files of one array each, which may be archives of one.
    ///
    /// # Errors
    /// As [`Self::open_archive`].
    pub fn open_files(arrays: &Arrays<PathBuf>, seed: u64) -> Result<Self> {
        Self::open(&arrays.located(|path| array::only(path))?, "source.npy", seed, None)
    }

    /// Labels that cannot be used are left out with a `note`, if there is one, and are an error otherwise.
    fn open(arrays: &Arrays<Location>, section: &str, seed: u64, note: Option<&dyn Fn(&str)>) -> Result<Self> {
        let part = |images: &Location, labels: Option<&Location>| match (part(images, labels), note) {
            (Err(cause), Some(note)) if labels.is_some() => {
                let unlabelled = part(images, None)?;
                note(&format!("no labels: {cause:#}"));
                Ok(unlabelled)
            }
            (part, _) => part,
        };
        Self::of(arrays::splits(arrays, section, seed, Location::to_string, part)?, arrays.levels)
    }

    /// The images of a file of one array, without labels, in any split. `levels` are the numbers of black and white.
    ///
    /// # Errors
    /// A file that cannot be read or holds no images.
    pub fn unlabelled(path: &Path, levels: Option<Levels>) -> Result<Self> {
        let part = part(&array::only(path)?, None)?;
        Self::of(Parts::in_all(&part), levels)
    }

    /// The images of an array in memory, which may be none, in any split. `levels` are the numbers of black and white.
    ///
    /// # Errors
    /// It holds no images.
    pub fn held(array: Held, levels: Option<Levels>) -> Result<Self> {
        Self::of(Parts::in_all(&part(&Location::Held(Arc::new(array)), None)?), levels)
    }

    fn of(splits: Parts<Location, i64>, levels: Option<Levels>) -> Result<Self> {
        let deep = |part: &Part<Location, i64>| -> Result<bool> {
            Ok(levels.is_some() || matches!(Array::open(&part.images)?.element, Element::Float(_)))
        };
        let mut pixels = Pixels::U8;
        for part in splits.iter() {
            if deep(part)? {
                pixels = Pixels::F32;
            }
        }
        Ok(Self { splits, levels, pixels })
    }
}

/// The images of an array, with their labels.
fn part(images: &Location, labels: Option<&Location>) -> Result<Part<Location, i64>> {
    let (shape, held) = Array::open(images)?.images()?;
    let labels = labels.map(|labels| read_labels(labels, images, held)).transpose()?;
    Ok(Part { images: images.clone(), shape, transpose: false, held, labels, members: Members::All })
}

fn read_labels(labels: &Location, images: &Location, count: u64) -> Result<Vec<i64>> {
    let array = Array::open(labels)?;
    match array.sizes[..] {
        [found] | [found, 1] if found == count => array.integers(count),
        [found] | [found, 1] => {
            Err(error::data(format!("{labels} has {found} labels, but {images} has {count} images")))
        }
        _ => {
            let dimensions = array.sizes.len();
            Err(error::data(format!("{labels} has {dimensions} dimensions; labels have 1")))
        }
    }
}

impl Source for Numpy {
    fn content(&self) -> Content {
        Content::Images(self.splits.shape.into(), self.pixels)
    }

    fn count(&self, split: Split) -> u64 {
        self.splits.count(split)
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let Some(part) = self.splits.of(split) else { return Ok(Box::new(std::iter::empty())) };
        let Part { images, shape, held, labels, members, .. } = part;
        let shape = *shape;
        let array = Array::open(images)?;
        let element = array.element;
        let size = element.size() * shape.len();
        let groups = pick(chunks(array, *held, shape.len(), rows), size, rows, *members);
        Ok(Box::new(groups.map(move |picked| -> Result<RowGroup<'_>> {
            let (ids, numbers) = picked?;
            Ok(Box::new(move |emit| {
                let step = batch_rows(bytes_of(shape));
                for (ids, chunk) in ids.chunks(step).zip(numbers.chunks(step * size)) {
                    let found = element.pixels(chunk, self.levels).map_err(|(at, cause)| {
                        let cause = cause.strip_prefix("it ").unwrap_or(&cause);
                        error::data(format!("{images}: image {} {cause}", ids[at / shape.len()]))
                    })?;
                    // The numbers of another split may be floats.
                    let mut samples = Samples::none(self.pixels);
                    samples.append(&part.turned(found));
                    let label = |id: &u64| labels.as_ref().map(|labels| labels[*id as usize]);
                    let labels = ids.iter().map(label).collect();
                    let shapes = Shapes::Equal(shape, ids.len());
                    emit(batch(split, &shapes, ids.iter().copied(), labels, samples)?)?;
                }
                Ok(())
            }))
        })))
    }
}

/// The numbers of an array of `count` images of `len` numbers, `rows` images at a time; the last chunk checks that nothing
/// follows.
fn chunks(mut array: Array, count: u64, len: usize, rows: usize) -> impl Iterator<Item = Result<Vec<u8>>> + Send {
    let (mut start, mut failed) = (0, false);
    std::iter::from_fn(move || {
        if failed || start == count {
            return None;
        }
        let first = start;
        start = count.min(first + rows as u64);
        let numbers = array
            .read((start - first) as usize * len)
            .and_then(|numbers| if start == count { array.end().map(|()| numbers) } else { Ok(numbers) });
        failed = numbers.is_err();
        Some(numbers)
    })
}

/// The numbers of an array in memory as floats.
///
/// # Errors
/// They have a type that limpid does not read.
pub fn floats(array: &Held) -> Result<Vec<f64>> {
    let mut opened = Array::open(&Location::Held(Arc::new(array.clone())))?;
    let bytes = opened.read(array.sizes.iter().product::<u64>() as usize)?;
    Ok(bytes.chunks_exact(opened.element.size()).map(|number| opened.element.number(number)).collect())
}

/// The number of arrays in a file: of an archive, or 1.
///
/// # Errors
/// It cannot be read.
pub fn count_arrays(path: &Path) -> Result<usize> {
    if array::is_archive(path)? { Ok(array::members(path)?.len()) } else { Ok(1) }
}

/// Describes a file of one array, after reading all of it.
///
/// # Errors
/// It cannot be read, is damaged, or has bytes after its numbers.
pub fn describe_npy(path: &Path) -> Result<String> {
    let mut array = Array::open(&Location::File(path.to_owned()))?;
    let too_many = || error::data("its header announces more numbers than there can be");
    let count = array.sizes.iter().try_fold(1_u64, |count, size| count.checked_mul(*size)).ok_or_else(too_many)?;
    let mut left = count;
    while left > 0 {
        let numbers = left.min(1 << 18);
        array.read(numbers as usize)?;
        left -= numbers;
    }
    array.end()?;
    let sizes: Vec<_> = array.sizes.iter().map(u64::to_string).collect();
    Ok(format!("a NumPy array of {} numbers of {}", sizes.join("×"), array.element))
}

/// The names of the arrays in an archive.
///
/// # Errors
/// It cannot be read or is no archive.
pub fn names_in_npz(path: &Path) -> Result<Vec<String>> {
    array::members(path)
}
