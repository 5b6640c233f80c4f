//! Images in memory as row groups and record batches of limpid's tables.

use std::borrow::Cow;

use anyhow::Result;
use arrow_array::RecordBatch;

use crate::error;
use crate::image::{Extent, ImageShape, Pixels, Samples, Shapes, Split};
use crate::table::{Content, RowGroup, batch_rows, image_columns, leading_columns, pixels};

/// Consecutive images as bytes.
pub struct ImageBytes<'a> {
    /// The split they belong to.
    pub split: Split,
    /// Size of each.
    pub shape: ImageShape,
    /// Their positions among the images of their source.
    pub ids: Vec<u64>,
    /// Their pixels, one image after the other.
    pub bytes: Cow<'a, [u8]>,
    /// The labels of all images of their source, if there are any.
    pub labels: Option<&'a [u8]>,
}

/// The row group of these images.
pub fn row_group_of(images: ImageBytes<'_>) -> RowGroup<'_> {
    Box::new(move |emit| {
        let ImageBytes { split, shape, ids, bytes, labels } = images;
        let rows = batch_rows(bytes_of(shape));
        for (ids, chunk) in ids.chunks(rows).zip(bytes.chunks(rows * shape.len())) {
            let label = |id: &u64| labels.map(|labels| i64::from(labels[*id as usize]));
            let labels = ids.iter().map(label).collect();
            let shapes = Shapes::Equal(shape, ids.len());
            emit(batch(split, &shapes, ids.iter().copied(), labels, chunk.to_vec())?)?;
        }
        Ok(())
    })
}

/// The content of a table of images of this shape as bytes.
pub fn bytes_of(shape: ImageShape) -> Content {
    Content::Images(shape.into(), Pixels::U8)
}

/// A batch of images: one for each of `labels`, with the first of `ids`, and their numbers, one image after the other.
pub fn batch(
    split: Split,
    shapes: &Shapes,
    ids: impl Iterator<Item = u64>,
    labels: Vec<Option<i64>>,
    samples: impl Into<Samples>,
) -> Result<RecordBatch> {
    let ids = ids.take(labels.len());
    let mut columns = leading_columns(split, ids, labels).to_vec();
    let samples = samples.into();
    let pixels = samples.pixels();
    columns.extend(image_columns(shapes, pixels::column(samples))?);
    let extent = match shapes {
        Shapes::Equal(shape, _) => Extent::Fixed(*shape),
        Shapes::Each(shapes) => Extent::Mixed { channels: shapes.first().map_or(1, |shape| shape.channels) },
    };
    RecordBatch::try_new(Content::Images(extent, pixels).schema(), columns)
        .map_err(|cause| error::bug(format!("a source made a malformed batch: {cause}")))
}
