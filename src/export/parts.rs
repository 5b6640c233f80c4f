//! The files that a table is exported to, which are called parts: where each begins follows from the rows of the table alone.

use std::ops::Range;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::image::Split;
use crate::table::Table;
use crate::table::layout::Layout;

/// How the rows of a table are divided among files, of equally many rows but for the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileParts {
    /// The rows of the table.
    rows: u64,
    /// The rows of a file, at least 1.
    of_each: u64,
}

impl FileParts {
    /// The files of a table of so many rows; `table` is asked for only if the layout limits their size.
    ///
    /// # Errors
    /// Those of `table`.
    pub fn new(layout: &Layout, rows: u64, table: impl FnOnce() -> Result<Table>) -> Result<Self> {
        Ok(Self { rows, of_each: layout.rows_of_part(rows, table)? })
    }

    /// Number of files, at least 1.
    pub fn count(self) -> u64 {
        self.rows.div_ceil(self.of_each).max(1)
    }

    /// Number of files that begin before this row; all, if it is the end of the table.
    pub fn before(self, row: u64) -> u64 {
        if row < self.rows { row.div_ceil(self.of_each) } else { self.count() }
    }

    /// The rows of a file.
    pub fn range(self, part: u64) -> Range<u64> {
        let start = part.saturating_mul(self.of_each).min(self.rows);
        start..start.saturating_add(self.of_each).min(self.rows)
    }

    /// The name of a file.
    pub fn name(self, split: Split, part: u64) -> String {
        split.shard_name(part as usize, self.count() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_begins_in_one_of_the_files_of_the_table() {
        for (rows, of_each) in [(0, 1), (1, 1), (10, 3), (10, 10), (10, 99), (12, 3), (7, 2)] {
            let parts = FileParts { rows, of_each };
            for file in 1..12 {
                let mut begun = 0;
                for end in (file..rows).step_by(file as usize).chain([rows]) {
                    let before = parts.before(end);
                    assert!((begun..before).all(|part| parts.range(part).start < end.max(1)), "{parts:?} {file} {end}");
                    begun = before;
                }
                assert_eq!(begun, parts.count(), "{parts:?} {file}");
            }
            let ranges: Vec<_> = (0..parts.count()).map(|part| parts.range(part)).collect();
            assert!(
                ranges.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].end - pair[0].start == of_each)
            );
            assert_eq!(ranges.last().map(|range| range.end), Some(rows));
        }
        assert_eq!(FileParts { rows: 10, of_each: 3 }.name(Split::Test, 3), "test-00003-of-00004.parquet");
    }
}
