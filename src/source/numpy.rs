//! NumPy arrays: files of one (`.npy`), or an archive of several (`.npz`) such as Keras' `mnist.npz`.
//!
//! Arrays stream: of an archive, the member that is wanted is unpacked as it is read, and its checksum is compared at the end.

mod array;

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Source, batch};
use crate::config::{Arrays, Pixels};
use crate::error;
use crate::table::{Content, ImageShape, RowGroup, Split, batch_rows};
use array::{Array, Location};

/// The arrays of both splits.
pub struct Numpy {
    shape: ImageShape,
    splits: [Part; 2],
}

struct Part {
    images: Location,
    count: u64,
    labels: Option<Vec<i64>>,
}

impl Numpy {
    /// Opens the arrays of an archive. Labels that nobody has named are those of the usual name, if there are any.
    ///
    /// # Errors
    /// A file that cannot be read or is no archive, arrays that are missing or do not fit.
    pub fn open_archive(path: &Path, arrays: &Arrays<String>) -> Result<Self> {
        let members = array::members(path)?;
        let member = |name: &String| Location::Member(path.to_owned(), name.clone());
        let labels = |named: &Option<String>, usual: &str| {
            let usual = members.iter().any(|member| member == usual).then(|| usual.to_owned());
            named.clone().or(usual).as_ref().map(member)
        };
        Self::open(Arrays {
            train: member(&arrays.train),
            train_labels: labels(&arrays.train_labels, "y_train"),
            test: member(&arrays.test),
            test_labels: labels(&arrays.test_labels, "y_test"),
        })
    }

    /// Opens files of one array each.
    ///
    /// # Errors
    /// As [`Self::open_archive`].
    pub fn open_files(arrays: &Arrays<PathBuf>) -> Result<Self> {
        let file = |path: &PathBuf| Location::File(path.clone());
        Self::open(Arrays {
            train: file(&arrays.train),
            train_labels: arrays.train_labels.as_ref().map(file),
            test: file(&arrays.test),
            test_labels: arrays.test_labels.as_ref().map(file),
        })
    }

    fn open(arrays: Arrays<Location>) -> Result<Self> {
        let part = |images: Location, labels: Option<Location>| -> Result<(ImageShape, Part)> {
            let (shape, count) = Array::open(&images)?.images()?;
            let labels = labels.map(|labels| read_labels(&labels, &images, count)).transpose()?;
            Ok((shape, Part { images, count, labels }))
        };
        let (shape, train) = part(arrays.train, arrays.train_labels)?;
        let (test_shape, test) = part(arrays.test, arrays.test_labels)?;
        if shape != test_shape {
            let (train, test) = (&train.images, &test.images);
            return Err(error::data(format!("{test} has images of {test_shape}, but {train} has {shape}")));
        }
        Ok(Self { shape, splits: [train, test] })
    }
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
    fn shape(&self) -> ImageShape {
        self.shape
    }

    fn count(&self, split: Split) -> u64 {
        self.splits[split as usize].count
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let Part { images, count, labels } = &self.splits[split as usize];
        let (shape, count) = (self.shape, *count);
        let mut array = Array::open(images)?;
        let mut failed = false;
        let mut start = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            if failed || start == count {
                return None;
            }
            let first = start;
            start = count.min(first + rows as u64);
            let len = (start - first) as usize * shape.len();
            let numbers = array
                .read(len)
                .and_then(|numbers| if start == count { array.end().map(|()| numbers) } else { Ok(numbers) });
            failed = numbers.is_err();
            let element = array.element;
            Some(numbers.map(|numbers| -> RowGroup<'_> {
                Box::new(move |emit| {
                    let size = element.size() * shape.len();
                    let step = batch_rows(Content::Images(shape, Pixels::U8));
                    for (chunk, first) in numbers.chunks(step * size).zip((first..).step_by(step)) {
                        let bytes = element.pixels(chunk).map_err(|(at, value)| {
                            let image = first + (at / shape.len()) as u64;
                            error::data(format!("{images}: image {image} holds {value}; floats must lie in [0, 1]"))
                        })?;
                        let ids = first..first + (chunk.len() / size) as u64;
                        let label = |id: u64| labels.as_ref().map(|labels| labels[id as usize]);
                        emit(batch(split, shape, ids.clone(), ids.map(label).collect(), bytes)?)?;
                    }
                    Ok(())
                })
            }))
        })))
    }
}
