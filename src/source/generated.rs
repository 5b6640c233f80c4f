//! Row groups of images that are generated one by one, on the thread that writes the row group.

use std::sync::Arc;

use anyhow::Result;

use super::{batch, bytes_of};
use crate::image::{ImageShape, Shapes, Split};
use crate::table::{RowGroup, batch_rows};

/// The row groups, `rows` to each, of a split of `count` images; `image` appends the bytes of the image with an id, and returns its
/// label. Its errors are those of the row group.
pub fn row_groups<'a>(
    split: Split,
    shape: ImageShape,
    count: u64,
    rows: usize,
    image: impl Fn(u64, &mut Vec<u8>) -> Result<Option<i64>> + Send + Sync + 'a,
) -> Box<dyn Iterator<Item = Result<RowGroup<'a>>> + Send + 'a> {
    let (step, image) = (batch_rows(bytes_of(shape)), Arc::new(image));
    Box::new((0..count).step_by(rows).map(move |start| {
        let (end, image) = (count.min(start + rows as u64), Arc::clone(&image));
        let group: RowGroup<'a> = Box::new(move |emit| {
            for first in (start..end).step_by(step) {
                let ids = first..end.min(first + step as u64);
                let mut bytes = Vec::with_capacity((ids.end - ids.start) as usize * shape.len());
                let labels = ids.map(|id| image(id, &mut bytes)).collect::<Result<Vec<_>>>()?;
                let shapes = Shapes::Equal(shape, labels.len());
                emit(batch(split, &shapes, first.., labels, bytes)?)?;
            }
            Ok(())
        });
        Ok(group)
    }))
}
