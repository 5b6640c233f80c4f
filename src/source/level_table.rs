//! Levels by percentiles of the training images' numbers: measured before ingest, which writes them to a table for the model.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};

use super::SourceKind;
use crate::image::{Levels, Split};
use crate::ordered::in_order;
use crate::progress::Progress;
use crate::table::{Images, row_group_rows};
use crate::{error, table};

/// The table, of one row: black and white.
pub const LEVELS: &str = "levels.parquet";
/// Bytes and rows that are read at a time.
const READ: (u64, usize) = (4 << 20, 16);
/// Bits of a float's order by which numbers are counted: integers up to 8,192 one by one, others to one part in 8,192.
const BITS: u32 = 22;

/// Levels that clip, at the percentiles that the settings of a source ask for; none if they ask for none. All training images are
/// read once, at their own size.
///
/// # Errors
/// Images that cannot be read or used, and percentiles that are the same number.
pub fn measured(kind: &dyn SourceKind, seed: u64, data: &Path, threads: usize) -> Result<Option<Levels>> {
    let Some(wanted) = kind.levels().filter(|levels| levels.percentile().is_some()) else { return Ok(None) };
    let raw = kind.with_levels(wanted, true).ok_or_else(|| error::bug("a source has levels, and takes none"))?;
    let source = raw.open(seed, data, &Progress::silent())?;
    let (content, counts) = (source.content(), Counts::default());
    let extent = content.extent().ok_or_else(|| error::bug("a source gives images"))?;
    let groups = source.row_groups(Split::Train, row_group_rows(content, source.count(Split::Train)))?;
    let count = |group: table::RowGroup<'_>| {
        group(&mut |batch| {
            counts.add(&Images::of(&batch, extent)?.numbers());
            crate::interrupt::check()
        })
    };
    in_order(threads, groups, count, |()| Ok(()))?;
    source.check()?;
    let [low, high] = wanted.percentile().unwrap_or_default();
    let [black, white] = [low, high].map(|share| counts.percentile(share));
    // Neither, if there are no numbers.
    if black.partial_cmp(&white) != Some(std::cmp::Ordering::Less) {
        let message =
            format!("the percentiles {low} and {high} of the training images' numbers are {black} and {white}");
        return Err(error::data(format!("{message}, between which there is nothing: choose other `levels`")));
    }
    Ok(Some(Levels::Clip { clip: [black, white] }))
}

/// How many numbers there are of each size.
struct Counts(Vec<AtomicU64>);

impl Default for Counts {
    fn default() -> Self {
        Self((0..1 << BITS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Counts {
    fn add(&self, numbers: &[f32]) {
        for number in numbers {
            let bits = number.to_bits();
            // In the order of the numbers.
            let key = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
            self.0[(key >> (32 - BITS)) as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The least number that this share of the numbers, in percent, does not exceed (the nearest rank); one of those that are counted
    /// together with it.
    fn percentile(&self, share: f64) -> f64 {
        let counts = || self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let rank = (share * counts().sum::<u64>() as f64 / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let key = counts().position(|count| {
            seen += count;
            seen >= rank
        });
        // The roundest of them, with zeros in its last bits.
        let (key, last) = ((key.unwrap_or_default() as u32) << (32 - BITS), (1 << (32 - BITS)) - 1);
        f64::from(f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !(key | last) }))
    }
}

/// Measured levels as a table.
///
/// # Errors
/// Arrow's, which no content causes.
pub fn table_of([black, white]: [f64; 2]) -> Result<RecordBatch> {
    let fields = ["black", "white"].map(|name| Field::new(name, DataType::Float64, false));
    let columns = [black, white].map(|level| -> ArrayRef { Arc::new(Float64Array::from(vec![level])) });
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.to_vec())
        .map_err(|cause| error::bug(format!("cannot make a table of levels: {cause}")))
}

/// The levels of the images that ingest has written to `folder`: those of the settings, unless they were measured.
///
/// # Errors
/// A table that cannot be read, or that ingest has not written.
pub fn of_ingest(kind: &dyn SourceKind, folder: &Path) -> Result<Option<Levels>> {
    if kind.levels().is_none_or(|levels| levels.percentile().is_none()) {
        return Ok(kind.levels());
    }
    let path = folder.join(LEVELS);
    let bad = || error::reading(format!("{} is not what ingest wrote", path.display()));
    let footer = table::footer(&path)?;
    let mut batches = table::columns(&path, &footer, &[0, 1], READ.0, READ.1)?;
    let batch = batches.next().ok_or_else(bad)?.map_err(|_| bad())?;
    let level = |name: &str| {
        let column = batch.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
        column.values().first().copied()
    };
    let levels = level("black").zip(level("white")).map(|(black, white)| Levels::Clip { clip: [black, white] });
    levels.filter(|levels| levels.are_possible()).map(Some).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_numbers() {
        let counts = Counts::default();
        let numbers: Vec<f32> = (0..1000).map(|number| (number * 37 % 1000) as f32 - 500.0).collect();
        counts.add(&numbers);
        // Whole numbers of this size are counted one by one.
        for (share, expected) in
            [(0.0, -500.0), (0.1, -500.0), (10.0, -401.0), (50.0, -1.0), (99.9, 498.0), (100.0, 499.0)]
        {
            assert_eq!(counts.percentile(share), expected, "{share} %");
        }
    }
}
