//! What a model makes of images from anywhere: for the commands, which write it to tables, and for programs that this library is a part
//! of, which keep it in memory.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, SchemaRef};

use super::codes::{Coding, encoding};
use super::inference::Inference;
use super::mapping::Mapping;
use super::operation::denoising;
use super::restored;
use crate::image::{Classes, Pixels};
use crate::table::{Content, carry_label_lists, with_label_lists};

/// The output of a model that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The code.
    Encode(Coding),
    /// The image, with pixels of this type, or floats if those of the input are.
    Denoise(Pixels),
}

impl Direction {
    /// What is done to the images.
    pub fn verb(self) -> &'static str {
        match self {
            Direction::Encode(_) => "encode",
            Direction::Denoise(_) => "denoise",
        }
    }

    /// What becomes of images of this content; `from` names them in messages.
    ///
    /// # Errors
    /// Images that the model does not take.
    pub fn mapping<'a>(self, model: &'a Inference, images: Content, from: &Path) -> Result<Mapping<'a>> {
        match self {
            Direction::Encode(coding) => encoding(model, images, coding, from),
            Direction::Denoise(pixels) => denoising(model, images, pixels, from),
        }
    }
}

/// Maps a batch of images to one of results.
pub type RowsFunction<'a> = Box<dyn Fn(&RecordBatch) -> Result<RecordBatch> + Sync + 'a>;

/// What becomes of the batches of a source.
pub struct Making<'a> {
    /// The schema of the results.
    pub schema: SchemaRef,
    /// The function applied to each batch.
    pub map: RowsFunction<'a>,
}

impl<'a> Making<'a> {
    /// What the model makes of batches of this content, with these names and lists of labels; `from` names them in messages. What it
    /// makes of rows of numbers is in the units of their columns.
    ///
    /// # Errors
    /// Images that the model does not take.
    pub fn new(
        model: &'a Inference,
        images: Content,
        (classes, label_lists): (&Classes, Option<&FieldRef>),
        direction: Direction,
        from: &Path,
    ) -> Result<Self> {
        let Mapping { content, map } = direction.mapping(model, images, from)?;
        if let (Some(columns), Direction::Denoise(_)) = (model.columns(), direction) {
            let schema = restored::schema(columns, classes);
            let made = schema.clone();
            let map = move |batch: &RecordBatch| restored::restored(columns, &map(batch, None)?, &made);
            return Ok(Self { schema, map: Box::new(map) });
        }
        let schema = with_label_lists(content.named_schema(classes), label_lists);
        Ok(Self { schema, map: Box::new(move |batch| carry_label_lists(batch, map(batch, None)?)) })
    }
}
