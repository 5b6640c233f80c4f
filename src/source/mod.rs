//! Sources: where images come from.
//!
//! An opened source knows the shape and the counts of its images. It returns row groups as closures, which worker threads call
//! to make the record batches. To add a kind of source: a file here that implements [`Choice`](crate::setting::Choice) and
//! [`SourceKind`] for its settings and [`Source`] for what they open, and a line in the list below; its defaults, with their
//! explanation, in `config/default.toml`.

mod animated;
mod arrays;
mod asker;
mod batches;
mod columns;
mod documents;
mod draw;
mod folder;
mod generated;
mod gzip;
mod held;
mod idx;
mod label_text;
mod learned;
pub mod level_table;
mod listed;
mod look;
mod mnist;
mod numpy;
mod opened;
mod outside;
mod pairs;
mod picture;
mod rejected;
mod rows;
mod scenes;
pub mod settings;
mod sizes;
mod split_name;
pub mod strokes;
mod tables;
mod tar;
mod texture;
mod vectors;
mod version;
mod walk;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, FieldRef, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zip::result::ZipError;

pub use animated::Animated;
pub use asker::Asker;
pub use batches::{ImageBytes, batch, bytes_of, row_group_of};
pub use columns::ColumnsSettings;
pub use draw::left_none;
pub use folder::{Folder, FolderLabels, FolderSettings, names_picture};
pub use gzip::unpacked_start;
pub use idx::{Header as IdxHeader, Idx, IdxSettings, ImageReader};
pub use learned::Learned;
use learned::Learning;
pub use listed::FILES;
pub use look::{Look, explained, format, look, look_at_folder};
pub use numpy::{
    Held as HeldArray, NpySettings, NpzSettings, Numpy, count_arrays, describe_npy, floats as floats_of, names_in_npz,
};
pub use opened::OpenedSource;
pub use outside::Outside;
pub use picture::pages::{count_pages, pages};
pub use picture::{
    Picture, decode, decode_whole, depth_of, frames, guess_format, is_picture, picture_format, read as read_picture,
    reason,
};
pub use rejected::{Looked, REJECTED, Reject, Rejections, summary as summary_of_rejected};
pub use split_name::{Role, role_of, roles};
pub use strokes::StrokesSettings;
pub use tables::{ParquetSettings, Tables};
pub use tar::TarSettings;
pub use vectors::{Missing, Scale, Vectors, VectorsSettings, read_scaler, table_source};
pub use version::{RowGroups, Version};

use crate::error;
use crate::image::{Class, Classes, ImageShape, Levels, Split};
use crate::progress::Progress;
use crate::setting::choices;
use crate::table::{Content, RowGroup};

/// Images in two splits or, with one for validation, three.
pub trait Source: Sync {
    /// The sizes and the type of the pixels of its images.
    fn content(&self) -> Content;

    /// Number of images of a split, at least 1 unless it is optional; reading may find some that cannot be decoded.
    fn count(&self, split: Split) -> u64;

    /// Two images that differ in their size, for a message, if there are any.
    fn differing(&self) -> Option<String> {
        None
    }

    /// A grey and an RGB picture among the images, for a message, if there are both: such images cannot be read as they are.
    fn grey_and_colour(&self) -> Option<String> {
        None
    }

    /// The image with the shortest side and its shape, among images of different sizes.
    fn narrowest(&self) -> Option<(String, ImageShape)> {
        None
    }

    /// The images of a split, in row groups of `rows` images; of images of different sizes as many as their sizes say.
    ///
    /// # Errors
    /// Opening fails; each row group can fail too.
    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>>;

    /// The number of these row groups: fewer are given if pictures cannot be read; of images of different sizes, about so many.
    fn row_group_count(&self, split: Split, rows: usize) -> u64 {
        self.count(split).div_ceil(rows.max(1) as u64)
    }

    /// Some of these row groups.
    ///
    /// # Errors
    /// As [`Self::row_groups`].
    fn row_groups_in(
        &self,
        split: Split,
        rows: usize,
        some: &RowGroups,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        Ok(Box::new(self.row_groups(split, rows)?.skip(some.groups.start).take(some.groups.len())))
    }

    /// What opening it has found out, as plain data, if each of its row groups can be made by itself from that.
    fn opened(&self) -> Option<Version> {
        None
    }

    /// Whether the images are in the order of their ids.
    fn is_sorted(&self) -> bool {
        true
    }

    /// The names of the labels, if the source has them.
    fn classes(&self) -> Classes {
        None
    }

    /// The field of the lists of labels that its batches have as their last column, if they have any.
    fn label_lists(&self) -> Option<FieldRef> {
        None
    }

    /// Tables about the images, by file name, such as those that were skipped; complete once all images were read.
    ///
    /// # Errors
    /// Images that could not be decoded and may not be skipped.
    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        Ok(Vec::new())
    }

    /// What is learned from its pictures while they are read, if it has pictures.
    fn learning(&self) -> Option<&Learning> {
        None
    }

    /// What was learned from the images that were read.
    fn learned(&self) -> Learned {
        self.learning().map_or_else(Learned::default, Learning::learned)
    }

    /// Takes over what others have learned from images that they have read.
    ///
    /// # Errors
    /// More bad pictures than may be left out.
    fn learn(&self, learned: Learned) -> Result<()> {
        self.learning().map_or(Ok(()), |learning| learning.learn(learned))
    }

    /// Checks the images that were read.
    ///
    /// # Errors
    /// Some could not be decoded, and may not be skipped.
    fn check(&self) -> Result<()> {
        self.learning().map_or(Ok(()), |learning| learning.rejections.check())
    }

    /// A line about what was passed over while all images were read, if anything was.
    fn passed_over(&self) -> Option<String> {
        self.learning()?.animated.line()
    }

    /// What the image with this id is called in messages.
    fn name(&self, split: Split, id: u64) -> String {
        format!("image {id} of the split {}", split.name())
    }

    /// The noisy versions of the images, if the source has pairs: as many in each split, with the same ids, labels and sizes, in
    /// the same order. They have no noisy versions of their own.
    fn noisy(&self) -> Option<&dyn Source> {
        None
    }
}

/// The settings of one kind of source.
pub trait SourceKind {
    /// The settings that decide the images, by their keys in a pipeline file, for the fingerprint of ingest. Implementations
    /// destructure all fields, so that a new one cannot be forgotten. Paths are left out, since the files are digested.
    fn decisive(&self, seed: u64) -> Value;

    /// The numbers that stand for black and white, if the settings give them.
    fn levels(&self) -> Option<Levels> {
        None
    }

    /// The same with other levels, and pictures of their own size if `own_size`; none if numbers have no levels.
    fn with_levels(&self, _levels: Levels, _own_size: bool) -> Option<Box<dyn SourceKind>> {
        None
    }

    /// The size of the images, if it is known without opening a file.
    fn known_shape(&self) -> Option<ImageShape> {
        None
    }

    /// Whether its row groups can be made by themselves, [`Source::opened`], unless opening it shows that they cannot.
    fn has_shards(&self) -> bool {
        false
    }

    /// The files and folders that must be there, by setting; patterns are none.
    fn places(&self) -> Vec<(&'static str, &Path)> {
        Vec::new()
    }

    /// Whether the source has a noisy version of each image, [`Source::noisy`].
    fn is_paired(&self) -> bool {
        false
    }

    /// Whether its images are rows of numbers, whose columns are scaled as a table beside them says ([`read_scaler`]).
    fn has_vectors(&self) -> bool {
        false
    }

    /// The files whose content decides the images, by setting; none for a source whose images are always the same.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        Ok(Vec::new())
    }

    /// The folder of the source around `place`, if files there would be read as images or labels. `place` need not exist.
    fn folder_around(&self, _place: &Path) -> Option<&Path> {
        None
    }

    /// Opens the source; what it downloads is kept in `data`.
    ///
    /// # Errors
    /// Missing, damaged or inconsistent files; no network.
    fn open(&self, seed: u64, data: &Path, progress: &Progress) -> Result<Box<dyn Source>>;
}

choices! {
    /// Where the images come from.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub enum SourceSettings, kind: dyn SourceKind;

    /// Where the images come from.
    pub struct RawSource, optional: false, {
        /// Classes, by label or name, whose images the training split leaves out, so that evaluate can tell whether their error betrays them.
        pub hold_out: Option<Vec<Class>>,
    }

    /// The MNIST handwritten digits.
    "mnist" mnist => Mnist(mnist::MnistSettings),
    /// Any IDX image files.
    "idx" idx => Idx(IdxSettings),
    /// Image files in a folder.
    "folder" folder => Folder(FolderSettings),
    /// A column of images in Parquet files.
    "parquet" parquet => Parquet(ParquetSettings),
    /// Arrays in a NumPy archive.
    "npz" npz => Npz(NpzSettings),
    /// NumPy's files of one array.
    "npy" npy => Npy(NpySettings),
    /// Tables with a column for each pixel.
    "columns" columns => Columns(ColumnsSettings),
    /// Tables whose rows are the numbers of some columns.
    "vectors" vectors => Vectors(VectorsSettings),
    /// Pictures in tar archives.
    "tar" tar => Tar(TarSettings),
    /// Digits that limpid draws itself.
    "strokes" strokes => Strokes(StrokesSettings),
    /// Pictures of textured shapes that limpid draws itself.
    "scenes" scenes => Scenes(scenes::ScenesSettings),
    /// Pages of text that limpid draws itself, stained and clean.
    "documents" documents => Documents(documents::DocumentsSettings),
}

impl SourceSettings {
    /// [`SourceKind::decisive`] of the chosen kind, under its key.
    pub fn decisive(&self, seed: u64) -> Value {
        Value::Object([(self.key().to_owned(), self.kind().decisive(seed))].into_iter().collect())
    }
}

/// Images with more channels than this, and at most as many rows as this, are taken to have their channels first.
const MOST_CHANNELS: usize = 4;

/// Refuses images whose sizes suggest that their channels come first, as in PyTorch.
///
/// # Errors
/// The message, to be appended to the name of the array.
fn check_channels(shape: ImageShape) -> Result<(), String> {
    if shape.height > MOST_CHANNELS || shape.width <= MOST_CHANNELS || shape.channels <= MOST_CHANNELS {
        return Ok(());
    }
    Err(format!("has images of {shape}, which look like channels, rows and columns; their channels must come last"))
}

/// Refuses images of so many channels that they may be volumes; `advice` says what has that many channels taken for what they are.
///
/// # Errors
/// The message, to be appended to the name of the array.
fn check_volume(shape: ImageShape, advice: impl Fn(usize) -> String) -> Result<(), String> {
    if shape.channels <= MOST_CHANNELS {
        return Ok(());
    }
    Err(format!("has images of {shape}, which may be volumes; {}", advice(shape.channels)))
}

/// The error of opening or reading an archive: an I/O error if the system reported one, and otherwise bad data, described by
/// `is`.
fn archive_failure(path: &Path, is: &str, cause: ZipError) -> anyhow::Error {
    match cause {
        ZipError::Io(cause) if cause.raw_os_error().is_some() => {
            anyhow::Error::new(cause).context(format!("cannot read {}", path.display()))
        }
        cause => error::data(format!("{} {is}: {cause}", path.display())),
    }
}

/// Most names of classes; every table stores all of them in its metadata.
const MOST_CLASSES: usize = 1 << 16;

/// Refuses labels with too many different texts to be names of classes.
///
/// # Errors
/// The message, to be appended to the name of what has the labels.
fn check_classes(count: usize) -> Result<(), String> {
    if count <= MOST_CLASSES {
        return Ok(());
    }
    Err(format!("has more than {MOST_CLASSES} different texts, which are no names of classes"))
}

/// A table about images: `id`, `split` and more columns.
fn listing_table(
    images: impl Iterator<Item = (Split, u64)> + Clone,
    columns: Vec<(&'static str, ArrayRef)>,
) -> Result<RecordBatch> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(images.clone().map(|(_, id)| id as i64)));
    let leading = [("id", ids), ("split", string_column(images.map(|(split, _)| split.name())))];
    let columns: Vec<_> = leading.into_iter().chain(columns).collect();
    let fields: Vec<_> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect())
        .map_err(|cause| error::bug(format!("a source made a malformed table: {cause}")))
}

fn string_column<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// The names of the classes of digits, 0 to 9.
fn digits() -> Classes {
    Some((0..10).map(|digit| digit.to_string()).collect::<Vec<_>>().into())
}
