//! Where batches and row groups end: a function of the table alone, so that its bytes do not depend on threads.

use std::ops::Range;

use super::schema::{CodeColumns, Content};

/// Most rows of one record batch.
const BATCH_ROWS: usize = 1024;
/// Target size of a record batch, uncompressed: 1,024 images of MNIST's size are a little less. Encoding a batch
/// takes several times this, since each value comes with its levels.
const BATCH_BYTES: usize = 4 << 20;
/// Target size of a row group, uncompressed; Parquet stores bytes as 32-bit integers. A row group is the unit of work of a
/// thread, here and in most readers: with four times as much, the threads would wait for the last of MNIST's
/// four groups.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Row groups of a shard, unless a setting says otherwise: a gigabyte of images as floats. A shard is the unit of work of a process
/// and of what is not done again after a kill: minutes of it with the largest models.
const SHARD_ROW_GROUPS: u64 = 64;
/// Most shards of a table, so that their names sort as their numbers do.
const MAX_SHARDS: u64 = 99_999;

/// Most row groups of a file, which Parquet numbers with 16 bits.
const MAX_ROW_GROUPS: u64 = i16::MAX as u64;
/// Most numbers of a row group: [`MAX_ROW_GROUPS`] of them hold eight terabytes of images.
const MAX_ROW_GROUP_NUMBERS: usize = 1 << 28;

/// Most rows of one record batch: a function of the content alone, because page boundaries follow from it. Batches of rows of
/// different widths may end before, see [`batches_of`].
pub fn batch_rows(content: Content) -> usize {
    content.width().map_or(BATCH_ROWS, |width| (BATCH_BYTES / (width * size_of::<f32>())).clamp(1, BATCH_ROWS))
}

/// Most rows of each row group but the last, in a table of `rows` rows. Row groups of rows of different widths may end before, see
/// [`row_groups_of`].
pub fn row_group_rows(content: Content, rows: u64) -> usize {
    let step = batch_rows(content);
    let width = content.width().unwrap_or(1);
    let batches = ROW_GROUP_BYTES / (step * width * size_of::<f32>());
    let least = rows.div_ceil(MAX_ROW_GROUPS).div_ceil(step as u64) as usize;
    // Bounded, since a header may claim any number of rows and readers allocate memory for a row group.
    let most = MAX_ROW_GROUP_NUMBERS / (step * width);
    batches.max(least.min(most)).max(1) * step
}

/// As [`row_group_rows`], of a table in shards of at most so many rows, if that is given.
pub fn shard_row_group_rows(content: Content, shard_rows: Option<u64>) -> usize {
    let rows = row_group_rows(content, 0);
    shard_rows.and_then(|shard| usize::try_from(shard).ok()).map_or(rows, |shard| rows.min(shard.max(1)))
}

/// About as many row groups as images of different sizes, with so many numbers together, take.
pub fn mean_row_groups(numbers: u64) -> u64 {
    numbers.div_ceil((ROW_GROUP_BYTES / size_of::<f32>()) as u64)
}

/// How many files hold a table: a function of its rows and of a setting alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards {
    /// The files, at least 1.
    pub count: usize,
    /// Row groups of each but the last.
    pub row_groups: usize,
}

impl Shards {
    /// The shards of a table of so many rows in so many row groups; each has at most `shard_rows` rows, or one row group. Row groups
    /// of images of different sizes count as much as their mean.
    pub fn new(rows: u64, row_groups: u64, shard_rows: Option<u64>) -> Self {
        let by_rows = |shard: u64| (u128::from(shard) * u128::from(row_groups) / u128::from(rows.max(1))) as u64;
        let of_shard = shard_rows.map_or(SHARD_ROW_GROUPS, by_rows).max(row_groups.div_ceil(MAX_SHARDS)).max(1);
        let count = row_groups.div_ceil(of_shard).max(1);
        Self { count: count as usize, row_groups: of_shard as usize }
    }
}

/// The row groups of rows of different widths: a function of these alone.
pub fn row_groups_of(widths: &[usize]) -> Vec<Range<usize>> {
    let all = widths.iter().fold(0_u64, |all, &width| all.saturating_add(width as u64));
    // A group but the last is more than half full together with the next.
    let least = 2 * all.div_ceil(MAX_ROW_GROUPS) as usize;
    cut(
        widths,
        (ROW_GROUP_BYTES / size_of::<f32>()).max(least),
        row_group_rows(Content::Features(CodeColumns { size: 1, error: false }), widths.len() as u64),
    )
}

/// The batches of a row group of rows of different widths: a function of these alone.
pub fn batches_of(widths: &[usize]) -> Vec<Range<usize>> {
    cut(widths, BATCH_BYTES / size_of::<f32>(), BATCH_ROWS)
}

/// Rows of a batch of a row group of so many rows and numbers, if they are as wide as their mean.
pub fn mean_batch_rows(rows: u64, numbers: u64) -> usize {
    let width = numbers.div_ceil(rows.max(1)).max(1) as usize;
    (BATCH_BYTES / size_of::<f32>() / width).clamp(1, BATCH_ROWS)
}

/// Cuts rows into parts of at most so many numbers, or one row, and at most so many rows.
fn cut(widths: &[usize], numbers: usize, rows: usize) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut sum) = (Vec::new(), 0, 0_usize);
    for (row, &width) in widths.iter().enumerate() {
        if row > start && (sum.saturating_add(width) > numbers || row - start == rows) {
            parts.push(start..row);
            (start, sum) = (row, 0);
        }
        sum = sum.saturating_add(width);
    }
    parts.extend((start < widths.len()).then_some(start..widths.len()));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageShape, Pixels};

    #[test]
    fn rows_of_different_widths_are_cut_where_a_part_is_full() {
        assert_eq!(cut(&[3, 3, 3, 9, 1, 1], 6, 10), [0..2, 2..3, 3..4, 4..6]);
        assert_eq!(cut(&[0, 1, 1, 0, 5], 6, 2), [0..2, 2..4, 4..5]);
        assert!(cut(&[], 6, 2).is_empty());
        // No file has more row groups than Parquet can number.
        for widths in [vec![(ROW_GROUP_BYTES / 4) / 2 + 1; 100_000], vec![1 << 26; 40_000], vec![1; 100_000]] {
            let groups = row_groups_of(&widths);
            assert!(groups.len() as u64 <= MAX_ROW_GROUPS, "{} groups", groups.len());
            assert!(groups.iter().map(|group| group.len()).sum::<usize>() == widths.len());
        }
    }

    #[test]
    fn shards_have_whole_row_groups_and_no_more_rows_than_asked_for() {
        let shards = |rows, groups, most| {
            let Shards { count, row_groups } = Shards::new(rows, groups, most);
            (count, row_groups)
        };
        assert_eq!(shards(60_000, 12, None), (1, 64));
        assert_eq!(shards(10_000_000, 1954, None), (31, 64));
        assert_eq!(shards(60_000, 12, Some(10_000)), (6, 2));
        assert_eq!(shards(60_000, 60, Some(1000)), (60, 1));
        assert_eq!(shards(0, 0, Some(1)), (1, 1));
        assert_eq!(shards(10, 10, Some(u64::MAX)).0, 1);
        assert!(shards(u64::MAX, u64::MAX, Some(1)).0 as u64 <= MAX_SHARDS);
        let images = Content::Images(ImageShape::new(28, 28, 1).expect("is a shape").into(), Pixels::U8);
        assert_eq!([None, Some(1000), Some(6000)].map(|rows| shard_row_group_rows(images, rows)), [5120, 1000, 5120]);
    }

    #[test]
    fn batches_and_row_groups_are_of_a_size_whatever_the_images() {
        let images = |side| Content::Images(ImageShape::new(side, side, 1).expect("is a shape").into(), Pixels::U8);
        assert_eq!((batch_rows(images(28)), row_group_rows(images(28), 70_000)), (1024, 5 * 1024));
        assert_eq!(batch_rows(Content::Features(CodeColumns { size: 32, error: true })), 1024);
        for side in [28, 64, 160, 512, 1024] {
            let bytes = side * side * size_of::<f32>();
            assert!(batch_rows(images(side)) * bytes <= BATCH_BYTES, "{side}");
            let group = row_group_rows(images(side), 1000) * bytes;
            assert!((ROW_GROUP_BYTES * 3 / 4..=ROW_GROUP_BYTES).contains(&group), "{side}: {group}");
            assert_eq!(row_group_rows(images(side), 1000) % batch_rows(images(side)), 0, "{side}");
            assert!(row_group_rows(images(side), u64::MAX) * side * side <= MAX_ROW_GROUP_NUMBERS, "{side}");
            // Large tables do not exceed the number of groups that a file may have.
            for count in [131_072, 1_281_167, 8_000_000] {
                let rows = row_group_rows(images(side), count);
                assert!(
                    count.div_ceil(rows as u64) <= MAX_ROW_GROUPS && rows.is_multiple_of(batch_rows(images(side))),
                    "{side} {count}"
                );
            }
        }
    }
}
