//! Pairs of images: a clean and a noisy version of each.

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::FieldRef;

use super::learned::Learning;
use super::{Source, Version};
use crate::error;
use crate::image::{Classes, Split};
use crate::table::{Content, RowGroup};

/// A source of clean images, and one of a noisy version of each: as many, of the same ids and sizes, in the same order.
pub struct Pairs {
    clean: Box<dyn Source>,
    noisy: Box<dyn Source>,
}

impl Pairs {
    /// Pairs the images of two sources in their order.
    ///
    /// # Errors
    /// Different numbers of images.
    pub fn new(clean: Box<dyn Source>, noisy: Box<dyn Source>) -> Result<Self> {
        for split in Split::ALL {
            let [clean, noisy] = [&clean, &noisy].map(|source| source.count(split));
            if clean != noisy {
                let name = split.name();
                let found = format!("the split {name} has {noisy} noisy images, but {clean} clean ones");
                return Err(error::data(format!("{found}; each noisy image needs the clean one at its position")));
            }
        }
        Ok(Self { clean, noisy })
    }
}

impl Source for Pairs {
    fn content(&self) -> Content {
        self.clean.content()
    }

    fn differing(&self) -> Option<String> {
        self.clean.differing()
    }

    fn count(&self, split: Split) -> u64 {
        self.clean.count(split)
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        self.clean.row_groups(split, rows)
    }

    fn row_group_count(&self, split: Split, rows: usize) -> u64 {
        self.clean.row_group_count(split, rows)
    }

    fn is_sorted(&self) -> bool {
        self.clean.is_sorted()
    }

    fn classes(&self) -> Classes {
        self.clean.classes()
    }

    fn label_lists(&self) -> Option<FieldRef> {
        self.clean.label_lists()
    }

    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        self.clean.tables()
    }

    fn learning(&self) -> Option<&Learning> {
        self.clean.learning()
    }

    fn opened(&self) -> Option<Version> {
        self.clean.opened()
    }

    fn name(&self, split: Split, id: u64) -> String {
        format!("its clean version, {},", self.clean.name(split, id))
    }

    fn noisy(&self) -> Option<&dyn Source> {
        Some(&*self.noisy)
    }
}
