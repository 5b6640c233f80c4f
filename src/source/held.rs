//! A table of limpid's in memory as a source: its rows are those of every split, with their own ids, splits and labels.

use anyhow::Result;
use arrow_schema::FieldRef;

use super::Source;
use crate::image::{Classes, Split};
use crate::table::{Content, HeldTable, RowGroup};

impl Source for HeldTable {
    fn content(&self) -> Content {
        self.content()
    }

    fn count(&self, _split: Split) -> u64 {
        self.rows()
    }

    fn row_groups(
        &self,
        _split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        Ok(Box::new(self.row_groups(rows).map(Ok)))
    }

    fn is_sorted(&self) -> bool {
        false
    }

    fn classes(&self) -> Classes {
        self.classes()
    }

    fn label_lists(&self) -> Option<FieldRef> {
        self.label_lists()
    }
}
