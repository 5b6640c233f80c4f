//! Chooses the columns of a file to read.

use std::path::Path;

use anyhow::Result;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use serde::{Deserialize, Serialize};

use super::kinds::{Labels, is_text};
use super::lists::LabelLists;
use crate::error;
use crate::image::ImageShape;
use crate::source::Asker;
use crate::text;

/// Usual names of the column of images.
const IMAGE_COLUMNS: [&str; 5] = ["image", "img", "images", "pixels", "picture"];
/// Usual names of the column of labels.
pub const LABEL_COLUMNS: [&str; 2] = ["label", "labels"];
/// Usual names of columns that say the splits, which are not read.
const SPLIT_COLUMNS: [&str; 4] = ["split", "usage", "subset", "set"];
/// Columns of a table above which it is likely to have one for each pixel.
const MOST_COLUMNS: usize = 60;
/// The setting for images without labels, unless a column is called so.
pub const NONE: &str = "none";

/// The settings that choose columns and their shape.
pub struct Wanted {
    /// The column of images; if none, the usual names are tried.
    pub image: Option<String>,
    /// The column of labels; likewise, but it may be missing.
    pub label: Option<String>,
    /// The shape of images that are lists of numbers; overrides the file's metadata.
    pub shape: Option<Vec<usize>>,
    /// The shape of lists without metadata.
    pub usual: Option<ImageShape>,
    /// The column of noisy versions, which is read beside that of the images, or as the column of images.
    pub noisy: Option<String>,
    /// Who chose: a section of the pipeline, or a command.
    pub asker: Asker,
}

/// The positions of the columns of a file that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The images.
    pub image: usize,
    /// The rows and the columns of each image, of lists of any length.
    pub sides: Option<[usize; 2]>,
    /// Their labels.
    pub label: Option<usize>,
    /// Their lists of labels.
    pub lists: Option<usize>,
    /// Their ids.
    pub id: Option<usize>,
    /// The names of their splits.
    pub split: Option<usize>,
}

impl Columns {
    /// All positions, in the order in which they are read.
    pub fn all(self) -> Vec<usize> {
        let others = [self.label, self.lists, self.id, self.split];
        self.pictures().into_iter().chain(others.into_iter().flatten()).collect()
    }

    /// Those that make the images, which are the first of all.
    pub fn pictures(self) -> Vec<usize> {
        [self.image].into_iter().chain(self.sides.into_iter().flatten()).collect()
    }

    /// Says which columns of a file are not read at all.
    pub fn tell_others(self, wanted: &Wanted, schema: &Schema, path: &Path, note: &dyn Fn(&str)) {
        let fields = || schema.fields().iter().enumerate();
        let is_noisy = |name: &str| wanted.noisy.as_deref() == Some(name);
        // Of pairs, the clean images tell it.
        if fields().any(|(at, field)| at == self.image && is_noisy(field.name())) {
            return;
        }
        let read = self.all();
        let others = fields().filter(|(at, field)| !read.contains(at) && !is_noisy(field.name()));
        let others: Vec<_> = others.map(|(_, field)| field.name().as_str()).collect();
        if others.is_empty() {
            return;
        }
        let (count, path) = (others.len(), path.display());
        let advice = match others.iter().find(|name| SPLIT_COLUMNS.iter().any(|split| name.eq_ignore_ascii_case(split)))
        {
            Some(split) => format!(
                "; if {split} says the splits, write a file for each and name them with source.parquet.train and .test"
            ),
            None => String::new(),
        };
        note(&format!("passed over: {count} columns of {path}, {}{advice}", text::few(&others)));
    }

    /// Says which other columns could be labels, where none is.
    pub fn tell_other_labels(self, schema: &Schema, note: &dyn Fn(&str)) {
        let fields = schema.fields().iter().enumerate();
        let is_label = |field: &Field| Labels::can_be(field.data_type()) || LabelLists::can_be(field.data_type());
        let others = fields.filter(|(at, field)| !self.pictures().contains(at) && is_label(field));
        let others: Vec<_> = others.map(|(_, field)| field.name().as_str()).collect();
        if let [first, ..] = others[..] {
            let others = text::few(&others);
            note(&format!(
                "no labels: no column is called label or labels; of {others}, source.parquet.label = {first:?} would take one, and \
                 \"none\" none"
            ));
        }
    }
}

/// The positions of the columns of images and labels. Where the settings name none, the first file decides the names for all.
///
/// # Errors
/// A named column that does not exist.
pub fn columns(
    wanted: &Wanted,
    schema: &Schema,
    path: &Path,
    names: &mut Option<(String, Option<String>)>,
) -> Result<Columns> {
    let usual = |names: &[&str]| names.iter().find(|name| schema.index_of(name).is_ok()).map(|name| (*name).to_owned());
    let (image, label) = names.get_or_insert_with(|| {
        let image = wanted.image.clone().or(usual(&IMAGE_COLUMNS)).unwrap_or(IMAGE_COLUMNS[0].to_owned());
        (image, wanted.label.clone().or(usual(&LABEL_COLUMNS)))
    });
    let find = |name: &String, key: &str| {
        schema.index_of(name).map_err(|_| {
            let found: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let (path, listed, setting) = (path.display(), text::few(&found), wanted.asker.setting(key));
            let advice = if found.len() > MOST_COLUMNS {
                "; where each pixel has a column, source.columns = { train = \"…\", test-fraction = 0.1 } reads it"
            } else {
                ""
            };
            error::data(format!("{path} has no column `{name}`; name it with {setting}; its columns: {listed}{advice}"))
        })
    };
    let image = find(image, "image")?;
    let sides = sides(wanted, schema, image);
    // A label that no column has may be in the names of folders, or unwanted.
    let is_folder = |label: &str| {
        path.iter()
            .any(|part| part.to_str().is_some_and(|part| part.split_once('=').is_some_and(|(key, _)| key == label)))
    };
    let is_none = |label: &str| schema.index_of(label).is_err() && (label == NONE || is_folder(label));
    let label = label.as_ref().filter(|label| !is_none(label)).map(|label| find(label, "label")).transpose()?;
    // Lists of labels stand in the column of labels, or beside it.
    let is_list = |at: &usize| *at != image && LabelLists::can_be(schema.field(*at).data_type());
    let beside = || LABEL_COLUMNS.iter().find_map(|name| schema.index_of(name).ok().filter(is_list));
    let lists = match &wanted.label {
        Some(_) => label.filter(is_list),
        None => beside(),
    };
    let label = label.filter(|label| Some(*label) != lists);
    // With a command, labels are optional: unusable columns are left out.
    let usable = |label: &usize| wanted.asker.is_section() || Labels::can_be(schema.field(*label).data_type());
    // Only commands keep ids and splits; a pipeline numbers and divides the images itself.
    let kept = |is_kept: &dyn Fn(&FieldRef) -> bool| {
        let found = schema.fields().iter().position(is_kept);
        found.filter(|at| !wanted.asker.is_section() && ![Some(image), label, lists].contains(&Some(*at)))
    };
    // Of any kind, so that one that cannot be kept is told.
    let is_value = |kind: &DataType| kind.is_numeric() || is_text(kind) || matches!(kind, DataType::Dictionary(..));
    let id = kept(&|field| field.name() == "id" && is_value(field.data_type()));
    let split = kept(&|field| field.name() == "split" && is_text(field.data_type()));
    Ok(Columns { image, sides, label: label.filter(usable), lists, id, split })
}

/// The columns with the sides of each image of flat lists, where nothing else says their shape. In a table that does not say by its
/// metadata that they are, a command takes them for something else.
fn sides(wanted: &Wanted, schema: &Schema, image: usize) -> Option<[usize; 2]> {
    let field = schema.field(image);
    let says = |key: &str| field.metadata().contains_key(key) || schema.metadata().contains_key(key);
    let (DataType::List(element) | DataType::LargeList(element)) = field.data_type() else { return None };
    let is_said = wanted.shape.is_some() || says("limpid.height") || says("ARROW:extension:metadata");
    let is_flat = element.data_type().is_numeric();
    if is_said || !is_flat || (wanted.usual.is_some() && !says("limpid.channels")) {
        return None;
    }
    let side = |name: &str| schema.index_of(name).ok().filter(|at| schema.field(*at).data_type().is_integer());
    Some([side("height")?, side("width")?])
}
