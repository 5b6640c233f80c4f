//! The source `scenes`: generated pictures of any size with the edges, smooth areas and textures of photographs, so that
//! denoisers of photographs can be tried and tested on any machine without a network.
//!
//! Each picture is a function of (seed, split, id): any of them can be generated, in any order.

mod draw;

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Source, SourceKind, bytes_of, generated};
use crate::image::{ImageShape, Split};
use crate::interrupt;
use crate::progress::Progress;
use crate::random::Stream;
use crate::setting::{Choice, Section};
use crate::table::{Content, RowGroup};

/// Pictures that limpid draws itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ScenesSettings {
    /// Number of training pictures.
    pub train: u64,
    /// Number of test pictures.
    pub test: u64,
    /// Number of validation pictures.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation: u64,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Whether they are coloured.
    pub colour: bool,
}

/// Pictures of textured shapes that limpid draws itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawScenes {
    /// Number of training pictures.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    train: Option<i64>,
    /// Number of test pictures.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    test: Option<i64>,
    /// Number of validation pictures.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    validation: Option<i64>,
    /// Rows and columns of each picture.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    size: Option<Vec<i64>>,
    /// Whether they are coloured.
    colour: Option<bool>,
}

impl Choice for ScenesSettings {
    type Written = RawScenes;

    fn resolve(written: RawScenes, section: &mut Section<'_>) -> Option<Self> {
        let RawScenes { train, test, validation, size, colour } = written;
        let size = section.required("size", size)?;
        let (size, colour) = ([size[0] as usize, size[1] as usize], section.required("colour", colour)?);
        if ImageShape::new(size[0], size[1], if colour { 3 } else { 1 }).is_none() {
            let most = ImageShape::MAX_LEN;
            section.add("size", format!("{}×{} is too large: images have at most {most} numbers", size[0], size[1]));
        }
        Some(Self {
            train: section.required("train", train)? as u64,
            test: section.required("test", test)? as u64,
            validation: section.required("validation", validation)? as u64,
            size,
            colour,
        })
    }
}

impl ScenesSettings {
    fn shape(&self) -> ImageShape {
        ImageShape { height: self.size[0], width: self.size[1], channels: if self.colour { 3 } else { 1 } }
    }
}

impl SourceKind for ScenesSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train, test, validation, size, colour } = self;
        let mut scenes = json!({ "train": train, "test": test, "size": size, "colour": colour, "seed": seed });
        if *validation > 0 {
            scenes["validation"] = json!(validation);
        }
        scenes
    }

    fn known_shape(&self) -> Option<ImageShape> {
        Some(self.shape())
    }

    fn open(&self, seed: u64, _data: &Path, _progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Scenes { seed, settings: self.clone() }))
    }
}

/// Pictures that limpid draws.
struct Scenes {
    seed: u64,
    settings: ScenesSettings,
}

impl Source for Scenes {
    fn content(&self) -> Content {
        bytes_of(self.settings.shape())
    }

    fn count(&self, split: Split) -> u64 {
        [self.settings.train, self.settings.test, self.settings.validation][split as usize]
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let (shape, stream) = (self.settings.shape(), Stream::new(self.seed, "scenes", split));
        Ok(generated::row_groups(split, shape, self.count(split), rows, move |id, bytes| {
            interrupt::check()?;
            bytes.extend(draw::draw(shape, &mut stream.generator(id, 0)));
            Ok(None)
        }))
    }
}
