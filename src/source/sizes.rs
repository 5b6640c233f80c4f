//! Whether the pictures of a source have one size, and how deep they are, by their headers.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Asker;
use super::asker::check_fit;
use super::picture::Picture;
use super::settings::{Fit, Size};
use crate::image::{Extent, ImageShape, Pixels, Shapes};
use crate::table::Content;

/// The sizes and the depth of the pictures of a source; of those that differ, the names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sizes {
    /// Whether they have one size.
    pub extent: Extent,
    /// How the pixels of all are stored.
    pub pixels: Pixels,
    /// The first picture that can be used.
    first: (String, ImageShape),
    /// A picture of another size.
    differing: Option<(String, ImageShape)>,
    /// The one with the shortest side.
    narrowest: Option<(String, ImageShape)>,
    /// One that is grey where the first is RGB, or the other way round.
    recoloured: Option<(String, ImageShape)>,
}

impl Sizes {
    /// Of pictures of which the first that can be used is known, with its name.
    pub fn of(name: String, first: &Picture) -> Self {
        let shape = first.shape;
        let is_small = shape.len() <= ImageShape::MAX_LEN;
        let extent = if is_small { shape.into() } else { Extent::Mixed { channels: shape.channels } };
        let pixels = first.samples.pixels();
        Self { extent, pixels, first: (name, shape), differing: None, narrowest: None, recoloured: None }
    }

    /// Takes account of the header of a picture. Returns how many numbers the picture will have.
    pub fn see(&mut self, (shape, pixels): (ImageShape, Pixels), fit: &Fit, name: impl Fn() -> String) -> usize {
        let first = self.first.1;
        self.pixels = self.pixels.as_deep_as(pixels);
        // Pictures of other channels are refused when they are decoded.
        if self.recoloured.is_none() && shape.channels != first.channels {
            self.recoloured = Some((name(), shape));
        }
        if fit.size != Size::Same {
            return first.len();
        }
        let side = |shape: ImageShape| shape.height.min(shape.width);
        if self.narrowest.as_ref().is_none_or(|(_, least)| side(shape) < side(*least)) {
            self.narrowest = Some((name(), shape));
        }
        if self.differing.is_none() && (shape.height, shape.width) != (first.height, first.width) {
            self.differing = Some((name(), shape));
            self.extent = Extent::Mixed { channels: first.channels };
        }
        shape.len()
    }

    /// The content of a table of them.
    pub fn content(&self) -> Content {
        Content::Images(self.extent, self.pixels)
    }

    /// Two pictures that differ in their size, for a message, if there are any.
    pub fn differing(&self) -> Option<String> {
        let ((first, shape), (other, found)) = (&self.first, self.differing.as_ref()?);
        Some(format!("{other} is {}×{}, but {first} is {}×{}", found.height, found.width, shape.height, shape.width))
    }

    /// A grey and an RGB picture, for a message, if there are both.
    pub fn grey_and_colour(&self) -> Option<String> {
        let ((first, shape), (other, _)) = (&self.first, self.recoloured.as_ref()?);
        let (grey, colour) = if shape.channels == 1 { (first, other) } else { (other, first) };
        Some(format!("{grey} is grey and {colour} RGB"))
    }

    /// The picture with the shortest side, among pictures of different sizes.
    pub fn narrowest(&self) -> Option<(String, ImageShape)> {
        self.narrowest.clone().filter(|_| self.extent.fixed().is_none())
    }

    /// The most numbers of a picture, if all have the size of the first.
    pub fn first_len(&self) -> usize {
        self.first.1.len()
    }

    /// Checks that a decoded picture fits beside the first one.
    ///
    /// # Errors
    /// A picture of another size, if all have one, or of other channels, with advice.
    pub fn check(&self, asker: Asker, name: &str, found: ImageShape) -> Result<()> {
        let expected = match self.extent {
            Extent::Fixed(shape) => shape,
            Extent::Mixed { channels } => ImageShape { channels, ..found },
        };
        check_fit(asker, name, found, &self.first.0, expected)
    }

    /// The shapes of some of the pictures, which were [checked](Self::check), as their batch has them.
    pub fn shapes(&self, shapes: Vec<ImageShape>) -> Shapes {
        match self.extent {
            Extent::Fixed(shape) => Shapes::Equal(shape, shapes.len()),
            Extent::Mixed { .. } => Shapes::Each(shapes),
        }
    }
}
