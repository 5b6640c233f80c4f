//! Types of an image: shape, split, class names, pixel format; and the scaling between bytes and [0, 1].
//!
//! A byte b stands for b / 255; a number is stored as the nearest such value, rounded half away from zero. All scaling is done
//! here, except of images in the memory of a device (`training::placed`, `corruption::on_device`).

mod class;
mod levels;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::vector::{Loop, vectorise};
pub use class::Class;
pub use levels::{Levels, RawLevels};

/// Class names of the labels 0, 1, 2, …, if the source has any.
pub type Classes = Option<Arc<[String]>>;

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Images that models are fitted on.
    Train,
    /// Images that scores are computed on.
    Test,
    /// Images that weights and the end of a training are chosen by, so that the test images stay unseen; few data sets have them.
    Validation,
}

/// Something for each split, in the order of [`Split::ALL`], so that `split as usize` is its position.
pub type PerSplit<T> = [T; Split::ALL.len()];

impl Split {
    /// All, in the order in which they are written.
    pub const ALL: [Split; 3] = [Split::Train, Split::Test, Split::Validation];

    /// Whether a data set may do without it.
    pub fn is_optional(self) -> bool {
        self == Split::Validation
    }

    /// `train`, `test` or `validation`: the value of the `split` column and the start of file names.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
            Split::Validation => "validation",
        }
    }

    /// The name of one of the `of` files that hold the rows of this split, as Hugging Face `datasets` wants it.
    pub fn shard_name(self, index: usize, of: usize) -> String {
        format!("{}-{index:05}-of-{of:05}.parquet", self.name())
    }
}

/// Size of an image: rows, columns and numbers per pixel, stored in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageShape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Numbers per pixel: 1 for grey, 3 for RGB.
    pub channels: usize,
}

impl ImageShape {
    /// Most numbers of one image where all have one size. An image of this size fills a record batch.
    pub const MAX_LEN: usize = 1 << 20;
    /// Most numbers of a picture among pictures of different sizes: 22 megapixels in colour.
    pub const MAX_PICTURE_LEN: usize = 1 << 26;

    /// A shape whose sides are at least 1 and whose product is at most [`Self::MAX_LEN`].
    pub fn new(height: usize, width: usize, channels: usize) -> Option<Self> {
        Self::picture(height, width, channels).filter(|shape| shape.len() <= Self::MAX_LEN)
    }

    /// The same for a picture, whose product is at most [`Self::MAX_PICTURE_LEN`].
    pub fn picture(height: usize, width: usize, channels: usize) -> Option<Self> {
        let len = height.checked_mul(width)?.checked_mul(channels)?;
        (len > 0 && len <= Self::MAX_PICTURE_LEN).then_some(Self { height, width, channels })
    }

    /// Whether it is a row of numbers and no picture: of one pixel, with a number for each column.
    pub fn is_vector(self) -> bool {
        (self.height, self.width) == (1, 1)
    }

    /// Numbers of one image.
    #[expect(clippy::len_without_is_empty, reason = "a shape is never empty")]
    pub fn len(self) -> usize {
        self.height * self.width * self.channels
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channels {
            1 => write!(f, "{}×{}", self.height, self.width),
            channels => write!(f, "{}×{}×{channels}", self.height, self.width),
        }
    }
}

/// The sizes of images: one for all, or one for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// All have this shape.
    Fixed(ImageShape),
    /// Each has rows and columns of its own, and all have the same channels.
    Mixed {
        /// Numbers per pixel.
        channels: usize,
    },
}

impl Extent {
    /// The shape of all images, if they have one.
    pub fn fixed(self) -> Option<ImageShape> {
        match self {
            Extent::Fixed(shape) => Some(shape),
            Extent::Mixed { .. } => None,
        }
    }

    /// Numbers per pixel.
    pub fn channels(self) -> usize {
        match self {
            Extent::Fixed(shape) => shape.channels,
            Extent::Mixed { channels } => channels,
        }
    }
}

impl From<ImageShape> for Extent {
    fn from(shape: ImageShape) -> Self {
        Extent::Fixed(shape)
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Fixed(shape) => shape.fmt(f),
            Extent::Mixed { channels: 1 } => f.write_str("different sizes"),
            Extent::Mixed { channels } => write!(f, "different sizes × {channels}"),
        }
    }
}

/// The shapes of consecutive images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shapes {
    /// So many of one shape.
    Equal(ImageShape, usize),
    /// Each its own.
    Each(Vec<ImageShape>),
}

impl Shapes {
    /// Number of images.
    pub fn count(&self) -> usize {
        match self {
            Shapes::Equal(_, count) => *count,
            Shapes::Each(shapes) => shapes.len(),
        }
    }

    /// The shape of each image.
    pub fn iter(&self) -> impl Iterator<Item = ImageShape> + '_ {
        (0..self.count()).map(|index| match self {
            Shapes::Equal(shape, _) => *shape,
            Shapes::Each(shapes) => shapes[index],
        })
    }

    /// The numbers of each image, with its shape. `numbers` are those of all, one image after the other.
    pub fn split<'a, T>(&'a self, numbers: &'a [T]) -> impl Iterator<Item = (ImageShape, &'a [T])> + 'a {
        let mut rest = numbers;
        self.iter().map(move |shape| {
            let (image, after) = rest.split_at(shape.len());
            rest = after;
            (shape, image)
        })
    }

    /// As [`Self::split`], to be written to.
    pub fn split_mut<'a, T>(&'a self, numbers: &'a mut [T]) -> impl Iterator<Item = (ImageShape, &'a mut [T])> + 'a {
        let mut rest = numbers;
        self.iter().map(move |shape| {
            let (image, after) = std::mem::take(&mut rest).split_at_mut(shape.len());
            rest = after;
            (shape, image)
        })
    }
}

/// How the stages store pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pixels {
    /// One byte, 0 to 255.
    U8,
    /// A 32-bit float, 0 to 1.
    F32,
    /// A 32-bit float of any value: noise that is not clipped.
    Unclipped,
}

impl Pixels {
    /// This format, or floats if images are made of floats: what is not rounded stays so.
    pub fn as_deep_as(self, other: Pixels) -> Pixels {
        if (self, other) == (Pixels::U8, Pixels::F32) { Pixels::F32 } else { self }
    }
}

/// The numbers of images, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Bytes, 0 to 255.
    Bytes(Vec<u8>),
    /// Floats in [0, 1], which hold 16 bits exactly.
    Floats(Vec<f32>),
}

impl Samples {
    /// None, of this format.
    pub fn none(pixels: Pixels) -> Self {
        match pixels {
            Pixels::U8 => Samples::Bytes(Vec::new()),
            Pixels::F32 | Pixels::Unclipped => Samples::Floats(Vec::new()),
        }
    }

    /// How they are stored.
    pub fn pixels(&self) -> Pixels {
        match self {
            Samples::Bytes(_) => Pixels::U8,
            Samples::Floats(_) => Pixels::F32,
        }
    }

    /// Number of numbers.
    #[expect(clippy::len_without_is_empty, reason = "images are never empty")]
    pub fn len(&self) -> usize {
        match self {
            Samples::Bytes(bytes) => bytes.len(),
            Samples::Floats(floats) => floats.len(),
        }
    }

    /// Appends the numbers of further images; all become floats if some are.
    pub fn append(&mut self, others: &Samples) {
        match (&mut *self, others) {
            (Samples::Bytes(bytes), Samples::Bytes(others)) => bytes.extend_from_slice(others),
            (Samples::Floats(floats), Samples::Floats(others)) => floats.extend_from_slice(others),
            (Samples::Floats(floats), Samples::Bytes(others)) => {
                let start = floats.len();
                floats.resize(start + others.len(), 0.0);
                to_unit(others, &mut floats[start..]);
            }
            (Samples::Bytes(_), Samples::Floats(_)) => {
                let mut floats = Samples::Floats(Vec::new());
                floats.append(self);
                floats.append(others);
                *self = floats;
            }
        }
    }

    /// The bytes that stand for them.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Samples::Bytes(bytes) => bytes,
            Samples::Floats(floats) => to_bytes(&floats),
        }
    }
}

impl From<Vec<u8>> for Samples {
    fn from(bytes: Vec<u8>) -> Self {
        Samples::Bytes(bytes)
    }
}

impl From<Vec<f32>> for Samples {
    fn from(floats: Vec<f32>) -> Self {
        Samples::Floats(floats)
    }
}

/// The number in [0, 1] that a byte stands for.
#[inline(always)]
pub fn unit(byte: u8) -> f32 {
    // b / 255, correctly rounded for every byte, without a division: 1 / 255 in two parts, of which the product with the first is
    // exact.
    let byte = f32::from(byte);
    byte * (257.0 / 65536.0) + byte * 5.983_839e-8
}

/// Writes the [0, 1] values of `bytes` to `out`, of the same length.
pub fn to_unit(bytes: &[u8], out: &mut [f32]) {
    struct Scale<'a>(&'a [u8], &'a mut [f32]);
    impl Loop for Scale<'_> {
        #[inline(always)]
        fn run(&mut self) {
            for (out, &byte) in self.1.iter_mut().zip(self.0) {
                *out = unit(byte);
            }
        }
    }
    vectorise(&mut Scale(bytes, out));
}

/// The byte that stands for `pixel`; values outside [0, 1] are clipped, NaN becomes 0.
#[inline(always)]
pub fn to_byte(pixel: f32) -> u8 {
    // A positive number plus a half, truncated, is rounded half away from zero; the cast makes 0 of NaN.
    (pixel * 255.0 + 0.5).clamp(0.0, 255.0) as i32 as u8
}

/// The bytes that stand for `pixels`.
pub fn to_bytes(pixels: &[f32]) -> Vec<u8> {
    struct Store<'a>(&'a [f32], &'a mut [u8]);
    impl Loop for Store<'_> {
        #[inline(always)]
        fn run(&mut self) {
            for (out, &pixel) in self.1.iter_mut().zip(self.0) {
                *out = to_byte(pixel);
            }
        }
    }
    let mut bytes = vec![0; pixels.len()];
    vectorise(&mut Store(pixels, &mut bytes));
    bytes
}

/// The pixels after a round trip through bytes.
pub fn rounded(pixels: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; pixels.len()];
    to_unit(&to_bytes(pixels), &mut out);
    out
}

/// Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601-7, 2.5.1).
pub const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

/// The brightness of a pixel by [`LUMA`], rounded.
pub fn luma([red, green, blue]: [u8; 3]) -> u8 {
    // `LUMA` in thousandths: exact, as Pillow and OpenCV compute it.
    let [red, green, blue] = [red, green, blue].map(u32::from);
    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_to_memory_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut unit = vec![0.0; 256];
        to_unit(&bytes, &mut unit);
        assert!(bytes.iter().zip(&unit).all(|(&byte, &unit)| unit == f32::from(byte) / 255.0));
        assert_eq!(unit.iter().map(|&pixel| to_byte(pixel)).collect::<Vec<_>>(), bytes);
    }

    #[test]
    fn rounding_is_half_away_from_zero_and_clips() {
        assert_eq!([0.5 / 255.0, 0.49 / 255.0, -3.0, 7.0, f32::NAN].map(to_byte), [1, 0, 0, 255, 0]);
    }
}
