//! The source `documents`: generated pages of text, each stained and clean, so that denoisers of scans can be tried and tested on
//! any machine without a network.
//!
//! Each page is a function of (seed, split, id): any of them can be generated, in any order.

mod letters;
mod paper;

use std::path::Path;

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::pairs::Pairs;
use super::{Source, SourceKind, bytes_of, generated};
use crate::image::{ImageShape, Split, to_bytes};
use crate::interrupt;
use crate::progress::Progress;
use crate::random::Stream;
use crate::setting::{Choice, Section};
use crate::table::{Content, RowGroup};

/// Pages of text that limpid draws itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DocumentsSettings {
    /// Number of training pages.
    pub train: u64,
    /// Number of test pages.
    pub test: u64,
    /// Number of validation pages.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub validation: u64,
    /// Rows and columns.
    pub size: [usize; 2],
}

/// Pages of text that limpid draws itself, stained and clean.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawDocuments {
    /// Number of training pages.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    train: Option<i64>,
    /// Number of test pages.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    test: Option<i64>,
    /// Number of validation pages.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    validation: Option<i64>,
    /// Rows and columns of each page.
    #[schemars(length(min = 2, max = 2), inner(range(min = 1, max = 16_384)))]
    size: Option<Vec<i64>>,
}

impl Choice for DocumentsSettings {
    type Written = RawDocuments;

    fn resolve(written: RawDocuments, section: &mut Section<'_>) -> Option<Self> {
        let RawDocuments { train, test, validation, size } = written;
        let size = section.required("size", size)?;
        let size = [size[0] as usize, size[1] as usize];
        if ImageShape::new(size[0], size[1], 1).is_none() {
            let most = ImageShape::MAX_LEN;
            section.add("size", format!("{}×{} is too large: images have at most {most} numbers", size[0], size[1]));
        }
        let counts = [("train", train), ("test", test), ("validation", validation)];
        let [train, test, validation] = counts.map(|(key, count)| section.required(key, count));
        Some(Self { train: train? as u64, test: test? as u64, validation: validation? as u64, size })
    }
}

impl DocumentsSettings {
    fn shape(&self) -> ImageShape {
        ImageShape { height: self.size[0], width: self.size[1], channels: 1 }
    }
}

impl SourceKind for DocumentsSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train, test, validation, size } = self;
        let mut documents = json!({ "train": train, "test": test, "size": size, "seed": seed });
        if *validation > 0 {
            documents["validation"] = json!(validation);
        }
        documents
    }

    fn known_shape(&self) -> Option<ImageShape> {
        Some(self.shape())
    }

    fn is_paired(&self) -> bool {
        true
    }

    fn open(&self, seed: u64, _data: &Path, _progress: &Progress) -> Result<Box<dyn Source>> {
        let [clean, noisy] = [false, true].map(|stained| Pages { seed, settings: self.clone(), stained });
        Ok(Box::new(Pairs::new(Box::new(clean), Box::new(noisy))?))
    }
}

/// Pages that limpid draws, all stained or all clean.
struct Pages {
    seed: u64,
    settings: DocumentsSettings,
    stained: bool,
}

impl Source for Pages {
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
        let (shape, stream) = (self.settings.shape(), Stream::new(self.seed, "documents", split));
        Ok(generated::row_groups(split, shape, self.count(split), rows, move |id, bytes| {
            interrupt::check()?;
            let random = &mut stream.generator(id, 0);
            // Drawn before the text takes its numbers, so that stains are independent of it.
            let mut stains = random.apart("stains");
            let text = letters::draw(shape, random);
            let page = if self.stained { paper::stained(&text, shape, &mut stains) } else { text };
            bytes.extend(to_bytes(&page));
            Ok(None)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a page, clean and stained.
    fn page(height: usize, width: usize, id: u64) -> [Vec<u8>; 2] {
        let shape = ImageShape { height, width, channels: 1 };
        let mut random = Stream::new(1, "documents", Split::Train).generator(id, 0);
        let mut stains = random.apart("stains");
        let text = letters::draw(shape, &mut random);
        let stained = paper::stained(&text, shape, &mut stains);
        [to_bytes(&text), to_bytes(&stained)]
    }

    #[test]
    fn pages_have_any_size_and_are_mostly_white_with_black_text() {
        for (height, width) in [(1, 1), (1, 50), (70, 3), (100, 260)] {
            for bytes in page(height, width, 0) {
                assert_eq!(bytes.len(), height * width);
            }
        }
        let (mut white, mut black, mut count, mut squared) = (0, 0, 0, 0.0);
        for id in 0..20 {
            let [clean, stained] = page(128, 256, id);
            white += clean.iter().filter(|&&byte| byte == 255).count();
            black += clean.iter().filter(|&&byte| byte < 64).count();
            count += clean.len();
            let difference = |(clean, stained): (&u8, &u8)| (f64::from(*clean) - f64::from(*stained)).powi(2);
            squared += clean.iter().zip(&stained).map(difference).sum::<f64>();
        }
        let [white, black] = [white, black].map(|pixels| pixels as f64 / count as f64);
        assert!((0.6..0.95).contains(&white) && (0.02..0.2).contains(&black), "{white} white, {black} black");
        let error = (squared / count as f64).sqrt() / 255.0;
        assert!((0.1..0.3).contains(&error), "{error}");
    }

    #[test]
    fn a_page_is_the_same_on_every_machine() {
        let digest = |bytes: Vec<u8>| blake3::hash(&bytes).to_hex()[..16].to_owned();
        assert_eq!(page(60, 80, 3).map(digest), ["5df7a43cf040e371", "bb43c5e05fa1fc47"]);
    }
}
