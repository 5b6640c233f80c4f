//! A table of limpid's in memory, as another program hands it over: with its columns in any order, and of related types.

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, SchemaRef};

use super::convert::conformed;
use super::label_lists::{label_lists_of, with_label_lists};
use super::schema::{Content, classes};
use super::{Images, RowGroup};
use crate::error;
use crate::image::{Classes, Extent, ImageShape};

/// A table in memory, each of its batches with exactly the columns of its content.
pub struct HeldTable {
    content: Content,
    classes: Classes,
    label_lists: Option<FieldRef>,
    batches: Vec<RecordBatch>,
}

impl HeldTable {
    /// A table of images that limpid wrote, or one with the same columns whose lists are as long as images of the shape `usual`; none
    /// if it is any other table. `name` names it in messages.
    ///
    /// # Errors
    /// A table that says that limpid wrote it, and is not as it would be.
    pub fn of(name: &str, schema: &SchemaRef, batches: &[RecordBatch], usual: ImageShape) -> Result<Option<Self>> {
        let own = Content::is_of(schema);
        let bad = |cause: &dyn std::fmt::Display| error::data(format!("cannot use {name}: {cause}"));
        let content = if own {
            Content::of(schema).map(Some).map_err(|cause| bad(&cause))?
        } else {
            Content::of_columns(schema, usual)
        };
        let Some(content) = content else { return Ok(None) };
        let label_lists = label_lists_of(schema);
        let wanted = with_label_lists(content.schema(), label_lists.as_ref());
        let conform = |batch: &RecordBatch| -> Result<RecordBatch, String> {
            let columns = wanted.fields().iter().map(|field| conformed(batch, field)).collect::<Result<_, _>>()?;
            let batch = RecordBatch::try_new(wanted.clone(), columns).map_err(|cause| cause.to_string())?;
            if let Some(extent @ Extent::Mixed { .. }) = content.extent() {
                Images::of(&batch, extent).map_err(|cause| cause.to_string())?;
            }
            Ok(batch)
        };
        match batches.iter().map(conform).collect::<Result<Vec<_>, _>>() {
            Ok(batches) => Ok(Some(Self { content, classes: classes(schema), label_lists, batches })),
            Err(cause) if own => Err(bad(&cause)),
            // The types alone do not show whether lists and other columns fit.
            Err(_) => Ok(None),
        }
    }

    /// The kind of table.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The names of its labels.
    pub fn classes(&self) -> Classes {
        self.classes.clone()
    }

    /// The field of its lists of labels, if it has any.
    pub fn label_lists(&self) -> Option<FieldRef> {
        self.label_lists.clone()
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Its rows, at most so many in each group.
    pub fn row_groups(&self, rows: usize) -> impl Iterator<Item = RowGroup<'_>> + Send {
        self.batches.iter().flat_map(move |batch| {
            (0..batch.num_rows()).step_by(rows.max(1)).map(move |start| -> RowGroup<'_> {
                let part = batch.slice(start, rows.max(1).min(batch.num_rows() - start));
                Box::new(move |emit| emit(part))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int32Array, StringArray, UInt8Array};
    use arrow_schema::Schema;

    use super::*;
    use crate::table::{ids, pixels};

    #[test]
    fn columns_come_in_order_and_of_their_types() {
        let shape = ImageShape { height: 1, width: 2, channels: 1 };
        let images = pixels::fixed_size_list(Arc::new(UInt8Array::from(vec![1, 2, 3, 4])), 2);
        let columns: [(&str, ArrayRef); 4] = [
            ("image", images),
            ("label", Arc::new(Int32Array::from(vec![None, Some(1)]))),
            ("split", Arc::new(StringArray::from(vec!["train", "test"]))),
            ("id", Arc::new(Int32Array::from(vec![7, 8]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("fits");
        let of = |schema: Schema, batch: &RecordBatch| {
            HeldTable::of("x", &Arc::new(schema), std::slice::from_ref(batch), shape)
        };
        let table = of(batch.schema().as_ref().clone(), &batch).expect("is read").expect("is as limpid's");
        assert_eq!(
            (table.rows(), table.batches[0].schema()),
            (2, Content::Images(shape.into(), crate::image::Pixels::U8).schema())
        );
        let mut seen = Vec::new();
        for group in table.row_groups(1) {
            group(&mut |batch| {
                seen.extend_from_slice(ids(&batch)?.values());
                Ok(())
            })
            .expect("is read");
        }
        assert_eq!(seen, [7, 8]);
        // Without the labels it is a table of another program; but not if it says that it is limpid's.
        let other = batch.project(&[0, 2, 3]).expect("are there");
        assert!(of(other.schema().as_ref().clone(), &other).expect("is no error").is_none());
        let own = Content::Images(shape.into(), crate::image::Pixels::U8).schema();
        let claims = other.schema().as_ref().clone().with_metadata(own.metadata().clone());
        let cause = of(claims, &other).err().expect("is refused").to_string();
        assert_eq!(cause, "cannot use x: its column `label` is missing");
    }
}
