//! The source `strokes`: generated digits, so that a first run and every test work on any machine without a network.
//!
//! Each image is a function of (seed, split, id): any of them can be generated, in any order.

mod colour;
mod draw;

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Source, SourceKind, bytes_of, generated};
use crate::image::{Classes, ImageShape, PerSplit, Split};
use crate::progress::Progress;
use crate::random::Stream;
use crate::setting::{Choice, Section};
use crate::table::{Content, RowGroup};

/// Size of the images, grey or in colour.
pub const fn shape(colour: bool) -> ImageShape {
    ImageShape { height: draw::SIZE, width: draw::SIZE, channels: if colour { 3 } else { 1 } }
}

/// Images of digits that limpid draws.
pub struct Strokes {
    seed: u64,
    counts: PerSplit<u64>,
    colour: bool,
}

impl Strokes {
    /// So many images of each split.
    pub fn new(seed: u64, counts: PerSplit<u64>, colour: bool) -> Self {
        Self { seed, counts, colour }
    }
}

/// The bytes of so many grey digits, one after the other.
pub fn digits(seed: u64, count: usize) -> Vec<u8> {
    let stream = Stream::new(seed, "strokes", Split::Train);
    let digit = |id| {
        let mut random = stream.generator(id, 0);
        let label = random.below(10) as u8;
        draw::draw(label, &mut || random.uniform())
    };
    (0..count as u64).flat_map(digit).collect()
}

impl Source for Strokes {
    fn content(&self) -> Content {
        bytes_of(shape(self.colour))
    }

    fn count(&self, split: Split) -> u64 {
        self.counts[split as usize]
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let stream = Stream::new(self.seed, "strokes", split);
        Ok(generated::row_groups(split, shape(self.colour), self.count(split), rows, move |id, bytes| {
            let mut random = stream.generator(id, 0);
            let label = random.below(10) as u8;
            let ink = draw::draw(label, &mut || random.uniform());
            if self.colour {
                bytes.extend(colour::paint(&ink, label, &mut || random.uniform()));
            } else {
                bytes.extend(ink);
            }
            Ok(Some(i64::from(label)))
        }))
    }

    fn classes(&self) -> Classes {
        super::digits()
    }
}

/// Digits that limpid draws itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StrokesSettings {
    /// Number of training images.
    pub train: u64,
    /// Number of test images.
    pub test: u64,
    /// Number of validation images.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation: u64,
    /// Whether they are coloured.
    pub colour: bool,
}

/// Digits that limpid draws itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawStrokes {
    /// Number of training images.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    train: Option<i64>,
    /// Number of test images.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    test: Option<i64>,
    /// Number of validation images.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    validation: Option<i64>,
    /// Whether they are coloured digits on coloured ground.
    colour: Option<bool>,
}

impl Choice for StrokesSettings {
    type Written = RawStrokes;

    fn resolve(written: RawStrokes, section: &mut Section<'_>) -> Option<Self> {
        let RawStrokes { train, test, validation, colour } = written;
        Some(Self {
            train: section.required("train", train)? as u64,
            test: section.required("test", test)? as u64,
            validation: section.required("validation", validation)? as u64,
            colour: section.required("colour", colour)?,
        })
    }
}

impl SourceKind for StrokesSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train, test, validation, colour } = self;
        let mut strokes = json!({ "train": train, "test": test, "seed": seed });
        if *validation > 0 {
            strokes["validation"] = json!(validation);
        }
        if *colour {
            strokes["colour"] = json!(true);
        }
        strokes
    }

    fn known_shape(&self) -> Option<ImageShape> {
        Some(shape(self.colour))
    }

    fn open(&self, seed: u64, _data: &Path, _progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Strokes::new(seed, [self.train, self.test, self.validation], self.colour)))
    }
}
