//! IDX, the format of MNIST: a big-endian header of magic and sizes, then numbers. Raw or gzip.
//!
//! Files are untrusted: sizes are checked before memory is allocated, and the payload must end exactly
//! where the header says. Images stream, so that a file may be larger than memory.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arrays::{self, Part, Parts};
use super::draw::{Members, pick};
use super::{ImageBytes, Outside, Source, SourceKind, bytes_of, check_channels, explained, gzip, row_group_of};
use crate::image::{ImageShape, Split};
use crate::progress::Progress;
use crate::setting::{Choice, Section};
use crate::source::settings::{Arrays, RawArrays};
use crate::table::{Content, RowGroup};
use crate::{error, store};

/// Most labels that are accepted: 2^31, far beyond any data set of images.
const MAX_ITEMS: u64 = 1 << 31;

/// Most numbers that a label comes with.
const MOST_LABEL_NUMBERS: u64 = 64;

/// Largest expansion of a byte by gzip: 258 bytes from two bits.
const MOST_UNPACKED: u64 = 1032;

/// The images and labels of the splits, by file.
pub struct Idx {
    splits: Parts<PathBuf, u8>,
}

impl Idx {
    /// Opens image files and reads their labels; test and validation images may be drawn.
    ///
    /// # Errors
    /// Damaged or empty files, labels that do not match, and splits of different image sizes, or without any.
    pub fn open(files: &Arrays<PathBuf>, seed: u64) -> Result<Self> {
        let name = |path: &PathBuf| path.display().to_string();
        Ok(Self { splits: arrays::splits(files, "source.idx", seed, name, |images, labels| part(images, labels))? })
    }

    /// The images of one file, without labels, in any split.
    ///
    /// # Errors
    /// A file that cannot be read, or whose header is not one of images.
    pub fn unlabelled(path: &Path) -> Result<Self> {
        Ok(Self { splits: Parts::in_all(&part(path, None)?) })
    }
}

/// The images of a file, with their labels.
fn part(images: &Path, labels: Option<&PathBuf>) -> Result<Part<PathBuf, u8>> {
    let (header, _) = open(images)?;
    let (shape, held) = header.images(images)?;
    // Checked before splits are drawn from the number of images that a damaged header claims.
    let size = store::of(images).stat(images).with_context(|| format!("cannot read {}", images.display()))?.bytes;
    if held.saturating_mul(shape.len() as u64) > size.saturating_mul(MOST_UNPACKED) {
        let (path, what) = (images.display(), format!("{held} images of {shape}"));
        return Err(error::data(format!("{path} is truncated: {size} bytes cannot be the {what} of its header")));
    }
    let labels = labels.map(|labels| read_labels(labels, images, held)).transpose()?;
    Ok(Part { images: images.to_owned(), shape, transpose: false, held, labels, members: Members::All })
}

impl Source for Idx {
    fn content(&self) -> Content {
        bytes_of(self.splits.shape)
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
        let Part { images, shape, labels, members, .. } = part;
        let (shape, labels) = (*shape, labels.as_deref());
        let groups = pick(ImageReader::open(images)?.chunks(rows), shape.len(), rows, *members).map(move |picked| {
            let (ids, bytes) = picked?;
            Ok(row_group_of(ImageBytes {
                split,
                shape,
                ids,
                bytes: part.turned(bytes.into()).into_bytes().into(),
                labels,
            }))
        });
        Ok(Box::new(groups))
    }
}

/// Streams the images of one IDX file.
pub struct ImageReader {
    path: PathBuf,
    payload: Box<dyn BufRead + Send>,
    /// Size of the images.
    pub shape: ImageShape,
    /// Number of images.
    pub count: u64,
}

impl ImageReader {
    /// Opens an IDX image file.
    ///
    /// # Errors
    /// A file that cannot be read, or whose header is not one of images.
    pub fn open(path: &Path) -> Result<Self> {
        let (header, payload) = open(path)?;
        let (shape, count) = header.images(path)?;
        Ok(Self { path: path.to_owned(), payload, shape, count })
    }

    /// The pixels in chunks of `rows` images; the last chunk checks that nothing follows.
    pub fn chunks(mut self, rows: usize) -> impl Iterator<Item = Result<Vec<u8>>> + Send {
        let mut done = 0;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || done == self.count {
                return None;
            }
            let take = (rows as u64).min(self.count - done);
            let what = format!("{} images of {}", self.count, self.shape);
            let mut chunk = vec![0; take as usize * self.shape.len()];
            let read = read_payload(&mut self.payload, &mut chunk, &self.path, &what, done * self.shape.len() as u64)
                .and_then(|()| {
                    done += take;
                    if done == self.count { expect_end(&mut self.payload, &self.path, &what) } else { Ok(()) }
                });
            failed = read.is_err();
            Some(read.map(|()| chunk))
        })
    }
}

/// The header of an IDX file.
pub struct Header {
    /// Type of its numbers, named as in Rust.
    pub element: &'static str,
    /// Its sizes, the number of items first.
    pub sizes: Vec<u64>,
}

impl Header {
    /// Reads the header of any IDX file.
    ///
    /// # Errors
    /// A file that cannot be read or is not IDX.
    pub fn read(path: &Path) -> Result<Self> {
        open_any(path).map(|(header, _)| header)
    }

    /// Shape and count of a file of images: count, rows, columns and, for colour, channels.
    fn images(&self, path: &Path) -> Result<(ImageShape, u64)> {
        let side = |index: usize| self.sizes.get(index).map_or(1, |&size| size as usize);
        if !matches!(self.sizes.len(), 3 | 4) {
            let message = match self.sizes.len() {
                1 => "has one dimension: it holds labels, not images".to_owned(),
                found => format!("has {found} dimensions; images have 3 (count, rows, columns) or 4 (and channels)"),
            };
            return Err(error::data(format!("{} {message}", path.display())));
        }
        let shape = ImageShape::new(side(1), side(2), side(3)).ok_or_else(|| {
            let sizes = self.sizes[1..].iter().map(u64::to_string).collect::<Vec<_>>().join("×");
            let most = ImageShape::MAX_LEN;
            error::data(format!("{} has images of {sizes}; 1 to {most} numbers each work", path.display()))
        })?;
        check_channels(shape).map_err(|cause| error::data(format!("{} {cause}", path.display())))?;
        if self.sizes[0] == 0 {
            return Err(error::data(format!("{} holds no images", path.display())));
        }
        Ok((shape, self.sizes[0]))
    }
}

/// The content of an IDX file after its header.
type Payload = Box<dyn BufRead + Send>;

/// Opens a file of bytes and reads its header.
fn open(path: &Path) -> Result<(Header, Payload)> {
    let (header, payload) = open_any(path)?;
    if header.element != "u8" {
        let (name, element) = (path.display(), header.element);
        return Err(error::data(format!("{name} has elements of type {element}; limpid reads u8")));
    }
    Ok((header, payload))
}

/// Opens a file of any type of numbers, raw or gzip, and reads its header.
fn open_any(path: &Path) -> Result<(Header, Payload)> {
    let file = store::reader(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot open {}", path.display())),
    })?;
    let mut payload = gzip::payload(file).with_context(|| format!("cannot read {}", path.display()))?;
    let mut magic = [0; 4];
    read_payload(&mut payload, &mut magic, path, "an IDX header", 0)?;
    let [zero, zero_too, element, dimensions] = magic;
    if (zero, zero_too) != (0, 0) {
        let found = magic.map(|byte| format!("{byte:02x}")).join(" ");
        let expected = "00 00 08 03 for images, 00 00 08 01 for labels";
        let cause = error::data(format!("{} is not IDX: it starts with {found}, expected {expected}", path.display()));
        return Err(explained(path, "IDX", cause));
    }
    let element = match element {
        0x08 => "u8",
        0x09 => "i8",
        0x0b => "i16",
        0x0c => "i32",
        0x0d => "f32",
        0x0e => "f64",
        unknown => {
            let name = path.display();
            let cause = error::data(format!("{name} is not IDX: it has elements of the unknown type 0x{unknown:02x}"));
            return Err(explained(path, "IDX", cause));
        }
    };
    let mut sizes = vec![0; usize::from(dimensions) * 4];
    read_payload(&mut payload, &mut sizes, path, "an IDX header", 4)?;
    let size = |bytes: &[u8]| u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let header = Header { element, sizes: sizes.chunks_exact(4).map(size).collect() };
    Ok((header, payload))
}

/// The labels of a file, which must match the `count` images of another: a number for each or, as in QMNIST, several, of which the
/// first is the label.
fn read_labels(path: &Path, images: &Path, count: u64) -> Result<Vec<u8>> {
    let (header, mut payload) = open_any(path)?;
    let bad = |what: String| error::data(format!("{} {what}", path.display()));
    let (found, numbers) = match header.sizes[..] {
        [found] => (found, 1),
        [found, numbers @ 1..=MOST_LABEL_NUMBERS] => (found, numbers as usize),
        _ => {
            return Err(bad(format!(
                "has {} dimensions; labels have 1, or 2 with the label first",
                header.sizes.len()
            )));
        }
    };
    let size = match header.element {
        "u8" | "i8" => 1,
        "i16" => 2,
        "i32" => 4,
        other => return Err(bad(format!("has elements of type {other}; labels are integers"))),
    };
    if found != count {
        return Err(bad(format!("has {found} labels, but {} has {count} images", images.display())));
    }
    if found > MAX_ITEMS {
        return Err(bad(format!("announces {found} labels; at most {MAX_ITEMS} work")));
    }
    let (what, each) = (format!("{found} labels"), size * numbers);
    let mut bytes = Vec::new();
    // `take` rather than a buffer of the claimed size: a short file allocates little.
    (&mut payload).take(found * each as u64).read_to_end(&mut bytes).map_err(|cause| unreadable(path, cause, &what))?;
    if bytes.len() as u64 != found * each as u64 {
        return Err(truncated(path, &what, bytes.len() as u64));
    }
    expect_end(&mut payload, path, &what)?;
    // The sign of a byte is that of the type, and larger integers are below 256 if all but the last byte are 0.
    let label = |(at, row): (usize, &[u8])| match row[..size].split_last() {
        Some((label, rest)) if rest.iter().all(|byte| *byte == 0) && (header.element != "i8" || *label < 128) => {
            Ok(*label)
        }
        _ => Err(bad(format!("has a label {at} that is not between 0 and 255"))),
    };
    bytes.chunks_exact(each).enumerate().map(label).collect()
}

fn read_payload(payload: &mut dyn Read, out: &mut [u8], path: &Path, what: &str, before: u64) -> Result<()> {
    let mut filled = 0;
    while filled < out.len() {
        match payload.read(&mut out[filled..]) {
            Ok(0) => return Err(truncated(path, what, before + filled as u64)),
            Ok(read) => filled += read,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(unreadable(path, cause, what)),
        }
    }
    Ok(())
}

fn expect_end(payload: &mut dyn BufRead, path: &Path, what: &str) -> Result<()> {
    let rest = payload.fill_buf().map_err(|cause| unreadable(path, cause, what))?;
    if rest.is_empty() {
        return Ok(());
    }
    Err(error::data(format!("{} goes on after the {what} that its header announces", path.display())))
}

fn truncated(path: &Path, what: &str, found: u64) -> anyhow::Error {
    error::data(format!("{} is truncated: its data end after {found} bytes, expected {what}", path.display()))
}

/// Damage is an I/O error of the decompressor; other I/O errors come from the disk.
fn unreadable(path: &Path, cause: io::Error, what: &str) -> anyhow::Error {
    if gzip::is_damage(&cause) {
        return error::data(format!("{} is damaged: {cause} (while reading {what})", path.display()));
    }
    anyhow::Error::new(cause).context(format!("cannot read {}", path.display()))
}

/// IDX files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdxSettings(pub Arrays<PathBuf>);

/// Any IDX image files, raw or gzip. Relative paths start at the pipeline file's folder.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawIdx {
    /// The training images.
    train: Option<String>,
    /// The training labels.
    train_labels: Option<String>,
    /// The test images.
    test: Option<String>,
    /// The test labels.
    test_labels: Option<String>,
    /// The validation images.
    validation: Option<String>,
    /// The validation labels.
    validation_labels: Option<String>,
    /// Share of the images that are for testing, where there are no others for it.
    #[schemars(range(min = 0.000001, max = 0.999999))]
    test_fraction: Option<f64>,
    /// Share of them that are for validation; of the training images, where there are others for testing.
    #[schemars(range(min = 0.0, max = 0.999999))]
    validation_fraction: Option<f64>,
    /// Number of channels; needed where there are more than four, which may be volumes.
    #[schemars(range(min = 1, max = 65_536))]
    channels: Option<i64>,
    /// Whether rows and columns are exchanged, as in the files of EMNIST.
    transpose: Option<bool>,
}

impl Choice for IdxSettings {
    type Written = RawIdx;

    fn resolve(written: RawIdx, section: &mut Section<'_>) -> Option<Self> {
        let RawIdx { train, train_labels, test, test_labels, validation, validation_labels, .. } = written;
        let RawIdx { test_fraction, validation_fraction, channels, transpose, .. } = written;
        let files = RawArrays {
            train,
            train_labels,
            test,
            test_labels,
            validation,
            validation_labels,
            test_fraction,
            validation_fraction,
            channels,
            transpose,
            levels: None,
        };
        files.resolve(|section, file| section.file(file), section).map(Self)
    }
}

/// The settings of the files.
const SETTINGS: [&str; 6] = [
    "source.idx.train",
    "source.idx.train-labels",
    "source.idx.test",
    "source.idx.test-labels",
    "source.idx.validation",
    "source.idx.validation-labels",
];

impl SourceKind for IdxSettings {
    fn decisive(&self, seed: u64) -> Value {
        self.0.decisive(seed)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        self.0.places(SETTINGS)
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        Ok(self.0.files(SETTINGS))
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        self.0.tell_labels("source.idx", &|note| progress.note(note));
        Ok(Box::new(Idx::open(&self.0, seed)?))
    }
}

#[cfg(test)]
mod tests;
