//! The form of an exported table: how pixels, lists and names are stored.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::{
    Array, ArrayRef, BinaryArray, Float32Array, ListArray, RecordBatch, StringArray, StructArray, UInt8Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::basic::Compression;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error;
use crate::image::{Classes, ImageShape, Pixels, to_bytes};
use crate::table::{Content, Images, Table, classes_of, lists, pixels};

/// The kind of reader that exported tables are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Profile {
    /// limpid's own form.
    Default,
    /// Hugging Face `datasets`: pictures as PNG, labels with names.
    Hf,
    /// Spark and readers like it: plain lists, plain text, snappy.
    Spark,
}

/// How exported images are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum StoredPixels {
    /// Lists of bytes, 0 to 255.
    U8,
    /// Lists of 32-bit floats, 0 to 1.
    F32,
    /// PNG files.
    Png,
}

/// How deep exported pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum PictureDepth {
    /// 8 bits.
    U8,
    /// 16 bits.
    U16,
}

impl PictureDepth {
    /// Checks that images of so many channels can be pictures.
    ///
    /// # Errors
    /// PNG has no such pixels.
    pub fn check(self, channels: usize) -> Result<()> {
        Layout::new(Profile::Default, Some(StoredPixels::Png), None, None, None).check(channels)
    }
}

/// How exported lists are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Lists {
    /// Of a size that readers which know Arrow restore.
    Fixed,
    /// Of any size.
    Variable,
}

/// Bytes of a row without image or code: `id`, `split`, `label` and `error`.
const LEADING_BYTES: u64 = 24;

/// How an exported table is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Layout {
    /// The kind of reader that it is for.
    pub profile: Profile,
    /// How images are stored; bytes only if they were bytes, unless `rounds`.
    pub pixels: StoredPixels,
    /// Whether floats are rounded to bytes, because these were asked for.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub rounds: bool,
    /// How lists are stored.
    pub lists: Lists,
    /// Most rows of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_rows: Option<u64>,
    /// Most uncompressed bytes of a file, in MiB. A split is one file if neither limit is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_mib: Option<u64>,
}

impl Layout {
    /// The layout of a profile, with the settings that are given in place of the profile's.
    pub fn new(
        profile: Profile,
        pixels: Option<StoredPixels>,
        lists: Option<Lists>,
        part_rows: Option<u64>,
        part_mib: Option<u64>,
    ) -> Self {
        let (usual_pixels, usual_lists) = match profile {
            Profile::Default => (StoredPixels::U8, Lists::Fixed),
            Profile::Hf => (StoredPixels::Png, Lists::Fixed),
            Profile::Spark => (StoredPixels::U8, Lists::Variable),
        };
        let rounds = pixels == Some(StoredPixels::U8);
        let (pixels, lists) = (pixels.unwrap_or(usual_pixels), lists.unwrap_or(usual_lists));
        Self { profile, pixels, rounds, lists, part_rows, part_mib }
    }

    /// How images are stored that are floats, or bytes.
    fn pixels_of(&self, are_floats: bool) -> StoredPixels {
        if self.pixels == StoredPixels::U8 && are_floats && !self.rounds { StoredPixels::F32 } else { self.pixels }
    }

    /// Checks that images of so many channels can be stored in this layout.
    ///
    /// # Errors
    /// PNG has no such pixels.
    pub fn check(&self, channels: usize) -> Result<()> {
        match (self.pixels, channels) {
            (StoredPixels::Png, 0 | 5..) => {
                Err(error::data(format!("images of {channels} channels cannot be exported as PNG, which has 1 to 4")))
            }
            _ => Ok(()),
        }
    }

    /// Most rows of a file of a table of so many rows, at least 1; all if there is no limit. `table` is asked for only if the size of
    /// files is limited: images of different sizes count as much as their mean.
    ///
    /// # Errors
    /// Those of `table`.
    pub fn rows_of_part(&self, rows: u64, table: impl FnOnce() -> Result<Table>) -> Result<u64> {
        let by_size = self.part_mib.map(|mib| Ok::<_, anyhow::Error>((mib << 20) / self.row_bytes(&table()?)));
        let limits = [self.part_rows, by_size.transpose()?];
        Ok(limits.into_iter().flatten().fold(rows, u64::min).max(1))
    }

    /// The mean size of a row in bytes.
    fn row_bytes(&self, table: &Table) -> u64 {
        let numbers = (0..table.row_groups()).map(|group| table.row_group_numbers(group)).fold(0, u64::saturating_add);
        let width = numbers.div_ceil(table.rows().max(1));
        let bytes = match (table.content(), self.pixels_of(table.content().pixels() != Pixels::U8)) {
            (Content::Features(_) | Content::PatchFeatures(_), _) | (_, StoredPixels::F32) => {
                width.saturating_mul(size_of::<f32>() as u64)
            }
            // A PNG counts as its unpacked pixels.
            (_, StoredPixels::U8 | StoredPixels::Png) => width,
        };
        LEADING_BYTES.saturating_add(bytes)
    }

    /// The compression that every reader of the profile supports; none for limpid's default.
    pub fn compression(&self) -> Option<Compression> {
        match self.profile {
            Profile::Default | Profile::Hf => None,
            Profile::Spark => Some(Compression::SNAPPY),
        }
    }

    /// The converter of a table's batches to this layout.
    ///
    /// # Errors
    /// Images that cannot be PNG.
    pub fn converter(&self, table: &Table) -> Result<Converter> {
        let content = table.content();
        content.extent().map_or(Ok(()), |extent| self.check(extent.channels()))?;
        let schema = self.schema(&table.schema(), &table.classes());
        Ok(Converter { content, schema })
    }

    /// The schema of a table of this layout.
    fn schema(&self, own: &Schema, classes: &Classes) -> SchemaRef {
        let nullable = self.profile == Profile::Hf;
        let fields = own.fields().iter().map(|field| {
            let kind = match (field.name().as_str(), field.data_type()) {
                ("split", _) if self.profile != Profile::Default => DataType::Utf8,
                ("image", list) => {
                    let (item, size) = match list {
                        DataType::FixedSizeList(item, size) => (Some(item), Some(*size)),
                        DataType::List(item) => (Some(item), None),
                        _ => (None, None),
                    };
                    match self.pixels_of(item.is_some_and(|item| item.data_type().is_floating())) {
                        StoredPixels::Png => DataType::Struct(png_fields().into()),
                        StoredPixels::U8 => self.list(DataType::UInt8, size),
                        StoredPixels::F32 => self.list(DataType::Float32, size),
                    }
                }
                ("code", DataType::FixedSizeList(_, size)) => self.list(DataType::Float32, Some(*size)),
                (_, other) => other.clone(),
            };
            Field::new(field.name(), kind, nullable || field.is_nullable()).with_metadata(field.metadata().clone())
        });
        let fields: Vec<_> = fields.collect();
        let mut metadata: HashMap<String, String> = own.metadata().clone();
        if self.profile == Profile::Hf {
            metadata.insert("huggingface".to_owned(), features(&fields, classes).to_string());
        }
        if self.profile != Profile::Default || self.pixels == StoredPixels::Png || self.lists == Lists::Variable {
            // Other layouts are no limpid tables.
            metadata.remove("limpid.table");
        }
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// Lists of this size, or of any if it is none.
    fn list(&self, item: DataType, size: Option<i32>) -> DataType {
        let nullable = self.profile == Profile::Hf;
        let item = Arc::new(Field::new("element", item, nullable));
        match (self.lists, size) {
            (Lists::Fixed, Some(size)) => DataType::FixedSizeList(item, size),
            (Lists::Fixed, None) | (Lists::Variable, _) => DataType::List(item),
        }
    }
}

/// The fields of an image in Hugging Face's format.
fn png_fields() -> Vec<Field> {
    vec![Field::new("bytes", DataType::Binary, true), Field::new("path", DataType::Utf8, true)]
}

/// The features of the columns in the footer, for Hugging Face's `datasets`.
fn features(fields: &[Field], classes: &Classes) -> Value {
    let value = |kind: &str| json!({ "dtype": kind, "_type": "Value" });
    let number = |kind: &DataType| match kind {
        DataType::UInt8 => value("uint8"),
        _ => value("float32"),
    };
    let label = |classes: &Classes| match classes {
        Some(names) => json!({ "names": &names[..], "_type": "ClassLabel" }),
        None => value("int64"),
    };
    let feature = |field: &Field| match (field.name().as_str(), field.data_type()) {
        ("label", _) => label(classes),
        ("labels", _) => json!({ "feature": label(&classes_of(field)), "_type": "Sequence" }),
        (_, DataType::Struct(_)) => json!({ "_type": "Image" }),
        (_, DataType::FixedSizeList(item, size)) => {
            json!({ "feature": number(item.data_type()), "length": size, "_type": "Sequence" })
        }
        (_, DataType::List(item)) => json!({ "feature": number(item.data_type()), "_type": "Sequence" }),
        (_, DataType::Utf8) => value("string"),
        (_, DataType::Int32) => value("int32"),
        (_, DataType::Int64) => value("int64"),
        _ => value("float32"),
    };
    let features: serde_json::Map<String, Value> =
        fields.iter().map(|field| (field.name().clone(), feature(field))).collect();
    json!({ "info": { "features": features } })
}

/// Converts batches to a layout.
pub struct Converter {
    content: Content,
    schema: SchemaRef,
}

impl Converter {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same rows in the layout.
    ///
    /// # Errors
    /// A batch that is not of the table, or a picture that cannot be encoded.
    pub fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| -> Result<ArrayRef> {
            let column = batch.column_by_name(field.name());
            let column = column.ok_or_else(|| error::bug(format!("no column {}", field.name())))?;
            Ok(match (field.name().as_str(), field.data_type()) {
                ("split", DataType::Utf8) => plain(column)?,
                ("image", DataType::Struct(_)) => pictures(&self.images(batch)?)?,
                ("image", DataType::FixedSizeList(item, _) | DataType::List(item)) => {
                    let images = self.images(batch)?;
                    let lengths: Vec<_> = images.shapes().iter().map(ImageShape::len).collect();
                    make_lists(images.stored(), &lengths, field.data_type(), item)?
                }
                ("code", DataType::FixedSizeList(item, _) | DataType::List(item)) => {
                    let codes = lists(batch, "code")?;
                    let (rows, len) = (codes.len(), codes.value_length() as usize);
                    let values = codes.values().slice(codes.value_offset(0) as usize, rows * len);
                    make_lists(&values, &vec![len; rows], field.data_type(), item)?
                }
                _ => column.clone(),
            })
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_>>()?)
            .map_err(|cause| error::bug(format!("cannot make a batch to export: {cause}")))
    }

    fn images(&self, batch: &RecordBatch) -> Result<Images> {
        Images::of(batch, self.content.extent().ok_or_else(|| error::bug("features have no images"))?)
    }
}

/// A column of lists of these lengths, of the type `kind`, whose items become those of `item`.
fn make_lists(stored: &ArrayRef, lengths: &[usize], kind: &DataType, item: &Arc<Field>) -> Result<ArrayRef> {
    let values: ArrayRef = if stored.data_type() == item.data_type() {
        stored.clone()
    } else if *item.data_type() == DataType::UInt8 {
        Arc::new(UInt8Array::from(to_bytes(&pixels::numbers(stored))))
    } else {
        Arc::new(Float32Array::from(pixels::numbers(stored)))
    };
    let failed = |cause| error::bug(format!("cannot make lists: {cause}"));
    Ok(match kind {
        DataType::FixedSizeList(_, size) => {
            Arc::new(arrow_array::FixedSizeListArray::try_new(item.clone(), *size, values, None).map_err(failed)?)
        }
        _ => {
            let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
            Arc::new(ListArray::try_new(item.clone(), offsets, values, None).map_err(failed)?)
        }
    })
}

/// Text without a dictionary.
fn plain(column: &ArrayRef) -> Result<ArrayRef> {
    let dictionary = column.as_any_dictionary_opt().ok_or_else(|| error::bug("`split` is no dictionary"))?;
    let (keys, names) = (dictionary.normalized_keys(), dictionary.values().as_string::<i32>());
    Ok(Arc::new(StringArray::from_iter_values(keys.into_iter().map(|key| names.value(key)))))
}

/// Images as PNG.
fn pictures(images: &Images) -> Result<ArrayRef> {
    let bytes = to_bytes(&images.numbers());
    let files = images.shapes().split(&bytes).map(|(shape, image)| png(image, shape)).collect::<Result<Vec<_>>>()?;
    let paths: ArrayRef = Arc::new(StringArray::new_null(files.len()));
    let files: ArrayRef = Arc::new(BinaryArray::from_iter_values(files));
    Ok(Arc::new(StructArray::new(png_fields().into(), vec![files, paths], None)))
}

/// An image as the bytes of a PNG file.
///
/// # Errors
/// The encoder fails, which no image of 1 to 4 channels causes.
pub fn png(image: &[u8], shape: ImageShape) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, shape.width as u32, shape.height as u32);
    encoder.set_color(match shape.channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(image));
    written.context("cannot encode a picture")?;
    Ok(bytes)
}
