//! The schemas of limpid's tables, and the metadata by which a file says which kind it is.
//!
//! Every table starts with `id`, `split` and `label`, so that any two can be joined. Images and codes are fixed-size
//! lists: Parquet itself stores plain lists, and readers that support Arrow restore the size. Shapes are written into the
//! metadata of the field and, for readers that see only the footer, of the file. Images of different sizes are lists of any
//! length, with `height` and `width` of each in columns before them; only their channels are in the metadata.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Result;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error;
use crate::image::{Classes, Extent, ImageShape, Pixels};

/// Version of the tables' schema: raised when a reader of the old one would misread the new one.
pub const SCHEMA_VERSION: &str = "1";

const TABLE: &str = "limpid.table";
const VERSION: &str = "limpid.schema-version";
const HEIGHT: &str = "limpid.height";
const WIDTH: &str = "limpid.width";
const CHANNELS: &str = "limpid.channels";
const CLASSES: &str = "limpid.classes";
/// Images that say so may hold any numbers; others hold numbers in [0, 1]. In the metadata of the column, so that only tables of
/// limpid's own noise are trusted to mean it, and are wherever they have been copied.
const UNCLIPPED: &str = "limpid.unclipped";

/// The schema with further metadata.
pub fn with_metadata(schema: &SchemaRef, entries: &BTreeMap<String, String>) -> SchemaRef {
    let all = schema.metadata().clone().into_iter().chain(entries.clone()).collect();
    Arc::new(schema.as_ref().clone().with_metadata(all))
}

/// The columns of a table of codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeColumns {
    /// Numbers of a code.
    pub size: usize,
    /// Whether each has the error of its reconstruction.
    pub error: bool,
}

impl CodeColumns {
    fn fields(self) -> impl Iterator<Item = Field> {
        let code = Field::new("code", list(DataType::Float32, self.size), false);
        [code].into_iter().chain(self.error.then(error_field))
    }
}

/// The kind of table, with the shape or size of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Images as they came from the source, or corrupted.
    Images(Extent, Pixels),
    /// Images that a model made, with the error of each.
    Denoised(Extent, Pixels),
    /// Codes of images.
    Features(CodeColumns),
    /// Codes of patches of images, with their places: several rows of an id.
    PatchFeatures(CodeColumns),
}

impl Content {
    /// The Arrow schema of such a table.
    pub fn schema(self) -> SchemaRef {
        let split = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let mut fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("split", split, false),
            Field::new("label", DataType::Int64, true),
        ];
        let mut metadata = HashMap::from([(VERSION.to_owned(), SCHEMA_VERSION.to_owned())]);
        let table = match self {
            Content::Images(extent, pixels) => {
                fields.extend(image_fields(extent, pixels, &mut metadata));
                "images"
            }
            Content::Denoised(extent, pixels) => {
                fields.extend(image_fields(extent, pixels, &mut metadata));
                fields.push(error_field());
                "denoised"
            }
            Content::Features(codes) => {
                fields.extend(codes.fields());
                "features"
            }
            Content::PatchFeatures(codes) => {
                let place = |name: &str| Field::new(name, DataType::Int32, false);
                fields.extend([place("top"), place("left")]);
                fields.extend(codes.fields());
                "patch-features"
            }
        };
        metadata.insert(TABLE.to_owned(), table.to_owned());
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    /// The same with the class names of the labels, as a list in JSON in the metadata of `label` and of the schema.
    pub fn named_schema(self, classes: &Classes) -> SchemaRef {
        let schema = self.schema();
        if classes.is_none() {
            return schema;
        }
        let fields = schema.fields().iter().map(|field| match field.name().as_str() {
            "label" => named(field.as_ref().clone(), classes),
            _ => field.as_ref().clone(),
        });
        let metadata = schema.metadata().clone().into_iter().chain(names(classes)).collect();
        Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata))
    }

    /// Values per row of the widest column, which decides how many rows make a row group; none if rows differ.
    pub fn width(self) -> Option<usize> {
        match self {
            Content::Images(extent, _) | Content::Denoised(extent, _) => extent.fixed().map(ImageShape::len),
            Content::Features(codes) | Content::PatchFeatures(codes) => Some(codes.size),
        }
    }

    /// Whether its rows have the error of what a model made.
    pub fn has_errors(self) -> bool {
        match self {
            Content::Images(..) => false,
            Content::Denoised(..) => true,
            Content::Features(codes) | Content::PatchFeatures(codes) => codes.error,
        }
    }

    /// How its numbers are stored: those of codes are floats.
    pub fn pixels(self) -> Pixels {
        match self {
            Content::Images(_, pixels) | Content::Denoised(_, pixels) => pixels,
            Content::Features(_) | Content::PatchFeatures(_) => Pixels::F32,
        }
    }

    /// The sizes of its images, if it has images.
    pub fn extent(self) -> Option<Extent> {
        match self {
            Content::Images(extent, _) | Content::Denoised(extent, _) => Some(extent),
            Content::Features(_) | Content::PatchFeatures(_) => None,
        }
    }

    /// Whether a schema says that it is a limpid table.
    pub fn is_of(schema: &Schema) -> bool {
        schema.metadata.contains_key(TABLE)
    }

    /// Images of this shape, if a schema has the columns for them and names no other shape.
    pub fn of_columns(schema: &Schema, shape: ImageShape) -> Option<Self> {
        let image = schema.field_with_name("image").ok()?;
        let sides = [(HEIGHT, shape.height), (WIDTH, shape.width), (CHANNELS, shape.channels)];
        let differs =
            |(key, side): (&str, usize)| image.metadata().get(key).is_some_and(|said| *said != side.to_string());
        if sides.into_iter().any(differs) || image.metadata().contains_key("ARROW:extension:metadata") {
            return None;
        }
        let content = Content::Images(shape.into(), stored_pixels(schema));
        let fits = |wanted: &Field| {
            schema.field_with_name(wanted.name()).is_ok_and(|found| can_become(found.data_type(), wanted.data_type()))
        };
        content.schema().fields().iter().all(|wanted| fits(wanted)).then_some(content)
    }

    /// The content that a schema describes.
    ///
    /// # Errors
    /// A schema that limpid did not write, or one of another version; the message starts with what was found.
    pub fn of(schema: &Schema) -> Result<Self> {
        let table = schema.metadata.get(TABLE).ok_or_else(|| {
            let columns: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            error::data(format!(
                "it is not a limpid table: its metadata lack `{TABLE}` (its columns: {})",
                columns.join(", ")
            ))
        })?;
        let version = schema.metadata.get(VERSION).map_or("none", String::as_str);
        if version != SCHEMA_VERSION {
            return Err(error::data(format!(
                "its schema version is {version}, this limpid reads {SCHEMA_VERSION}: run the stage that wrote it again"
            )));
        }
        let content = match table.as_str() {
            "images" => extent(schema).map(|extent| Content::Images(extent, stored_pixels(schema)))?,
            "denoised" => extent(schema).map(|extent| Content::Denoised(extent, stored_pixels(schema)))?,
            "features" => Content::Features(code_columns(schema)?),
            "patch-features" => Content::PatchFeatures(code_columns(schema)?),
            other => return Err(error::data(format!("it holds an unknown kind of table, {other:?}"))),
        };
        for expected in content.schema().fields() {
            let found = schema.field_with_name(expected.name());
            let found = found.map_err(|_| error::data(format!("its column `{}` is missing", expected.name())))?;
            if !can_become(found.data_type(), expected.data_type()) {
                let (name, expected) = (expected.name(), expected.data_type());
                return Err(error::data(format!("its column `{name}` is {}, expected {expected}", found.data_type())));
            }
        }
        Ok(content)
    }
}

/// Whether values of a type, as other programs may store them, can be converted to that of a column of limpid's: a list without
/// its fixed size, or of integers or floats of other widths, an integer of fewer bits, and text with or without a dictionary.
fn can_become(found: &DataType, wanted: &DataType) -> bool {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (found, wanted) {
        (found, DataType::Int64 | DataType::Int32) => found.is_integer(),
        (DataType::Dictionary(_, text), DataType::Dictionary(..)) => is_text(text),
        (found, DataType::Dictionary(..)) => is_text(found),
        (DataType::FixedSizeList(_, found), DataType::FixedSizeList(_, size)) if found != size => false,
        (
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item),
            DataType::FixedSizeList(wanted, _) | DataType::List(wanted),
        ) => {
            // Spark has no unsigned integers; whether the numbers fit shows when they are read.
            let (item, wanted) = (item.data_type(), wanted.data_type());
            item == wanted || (item.is_integer() && wanted.is_integer()) || (item.is_floating() && wanted.is_floating())
        }
        (found, wanted) => found == wanted,
    }
}

/// The class names in a schema, if any.
pub fn classes(schema: &Schema) -> Classes {
    let field = schema.field_with_name("label").ok().and_then(|field| field.metadata().get(CLASSES));
    parsed(field.or(schema.metadata().get(CLASSES)))
}

/// The class names in the metadata of a field, if any.
pub fn classes_of(field: &Field) -> Classes {
    parsed(field.metadata().get(CLASSES))
}

fn parsed(names: Option<&String>) -> Classes {
    Some(serde_json::from_str::<Vec<String>>(names?).ok()?.into())
}

/// The entry of metadata with class names: a list in JSON.
fn names(classes: &Classes) -> Option<(String, String)> {
    Some((CLASSES.to_owned(), serde_json::json!(&classes.as_ref()?[..]).to_string()))
}

/// A field with class names in its metadata, which has no other.
pub fn named(field: Field, classes: &Classes) -> Field {
    field.with_metadata(names(classes).into_iter().collect())
}

/// A list of exactly `size` values, none of them null.
pub fn list(item: DataType, size: usize) -> DataType {
    DataType::FixedSizeList(Arc::new(Field::new("element", item, false)), size as i32)
}

/// The columns of images: one, or `height`, `width` and one of lists of any length.
fn image_fields(extent: Extent, pixels: Pixels, metadata: &mut HashMap<String, String>) -> Vec<Field> {
    let item = match pixels {
        Pixels::U8 => DataType::UInt8,
        Pixels::F32 | Pixels::Unclipped => DataType::Float32,
    };
    let unclipped = (pixels == Pixels::Unclipped).then(|| (UNCLIPPED.to_owned(), "true".to_owned()));
    let mut image = |kind: DataType, sides: &[(&str, usize)]| {
        let sides: HashMap<_, _> = sides.iter().map(|(key, side)| ((*key).to_owned(), side.to_string())).collect();
        metadata.extend(sides.clone());
        Field::new("image", kind, false).with_metadata(sides.into_iter().chain(unclipped.clone()).collect())
    };
    match extent {
        Extent::Fixed(shape) => {
            let sides = [(HEIGHT, shape.height), (WIDTH, shape.width), (CHANNELS, shape.channels)];
            vec![image(list(item, shape.len()), &sides)]
        }
        Extent::Mixed { channels } => {
            let side = |name: &str| Field::new(name, DataType::Int32, false);
            let lists = DataType::List(Arc::new(Field::new("element", item, false)));
            vec![side("height"), side("width"), image(lists, &[(CHANNELS, channels)])]
        }
    }
}

/// The column of errors of what a model made.
fn error_field() -> Field {
    Field::new("error", DataType::Float32, false)
}

/// The columns of the codes of a limpid table.
fn code_columns(schema: &Schema) -> Result<CodeColumns> {
    match schema.field_with_name("code").map(Field::data_type) {
        Ok(DataType::FixedSizeList(_, size)) if *size > 0 => {
            Ok(CodeColumns { size: *size as usize, error: schema.field_with_name("error").is_ok() })
        }
        _ => Err(error::data("its `code` column is missing or not a fixed-size list")),
    }
}

/// The sizes of the images of a limpid table.
fn extent(schema: &Schema) -> Result<Extent> {
    let side = |key: &str| -> Result<usize> {
        let text = schema.metadata.get(key).map_or("", String::as_str);
        text.parse().map_err(|_| error::data(format!("its metadata say {key} = {text:?}, expected a number")))
    };
    if !schema.metadata.contains_key(HEIGHT) && schema.field_with_name("height").is_ok() {
        let channels = side(CHANNELS)?;
        return match channels {
            1..=ImageShape::MAX_PICTURE_LEN => Ok(Extent::Mixed { channels }),
            _ => Err(error::data(format!("its metadata say {channels} channels, which no image has"))),
        };
    }
    let (height, width, channels) = (side(HEIGHT)?, side(WIDTH)?, side(CHANNELS)?);
    let shape = ImageShape::new(height, width, channels)
        .ok_or_else(|| error::data(format!("its metadata say {height}×{width}×{channels}, which no image has")))?;
    Ok(shape.into())
}

/// The pixel format of the column `image`.
fn stored_pixels(schema: &Schema) -> Pixels {
    match schema.field_with_name("image").map(Field::data_type) {
        Ok(DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item))
            if item.data_type().is_floating() =>
        {
            if is_unclipped(schema) {
                Pixels::Unclipped
            } else {
                Pixels::F32
            }
        }
        _ => Pixels::U8,
    }
}

/// Whether a schema says that its images may hold any numbers.
pub fn is_unclipped(schema: &Schema) -> bool {
    schema.field_with_name("image").is_ok_and(|image| image.metadata().contains_key(UNCLIPPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: Content = Content::Features(CodeColumns { size: 2, error: true });

    #[test]
    fn a_schema_says_what_it_holds() {
        let shape = ImageShape::new(5, 4, 3).expect("is a shape");
        for content in [
            Content::Images(shape.into(), Pixels::U8),
            Content::Images(shape.into(), Pixels::Unclipped),
            Content::Images(Extent::Mixed { channels: 3 }, Pixels::U8),
            Content::Denoised(Extent::Mixed { channels: 1 }, Pixels::Unclipped),
            Content::Denoised(shape.into(), Pixels::F32),
            Content::Features(CodeColumns { size: 32, error: true }),
            Content::Features(CodeColumns { size: 32, error: false }),
            Content::PatchFeatures(CodeColumns { size: 8, error: true }),
        ] {
            assert_eq!(Content::of(&content.schema()).expect("is known"), content);
        }
    }

    #[test]
    fn names_of_labels_are_kept_beside_them() {
        let names: Classes = Some(["cat".to_owned(), "dog".to_owned()].into());
        let schema = CODES.named_schema(&names);
        assert_eq!((classes(&schema), Content::of(&schema).expect("is known")), (names, CODES));
        assert_eq!(classes(&CODES.named_schema(&None)), None);
    }

    #[test]
    fn a_foreign_schema_is_refused_with_what_was_found() {
        let message = |schema: &Schema| Content::of(schema).expect_err("is foreign").to_string();
        let foreign = Schema::new(vec![Field::new("pixels", DataType::Int64, false)]);
        assert!(message(&foreign).contains("its columns: pixels"));
        let good = CODES.schema();
        let mut other = good.metadata.clone();
        other.insert(VERSION.to_owned(), "9".to_owned());
        assert!(message(&Schema::new_with_metadata(good.fields.clone(), other)).contains("schema version is 9"));
        let lacking = Schema::new_with_metadata(good.fields[1..].to_vec(), good.metadata.clone());
        assert!(message(&lacking).contains("`id` is missing"));
    }
}
