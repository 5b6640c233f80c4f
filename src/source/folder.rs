//! The source `folder`: image files. Labels come from sub-folders or a table, splits from sub-folders or a keyed draw.
//!
//! The folder is listed once, sorted bytewise by relative path; an image's id is its position in its split. Ids therefore
//! depend on the names alone, not on the order in which a disk lists them, nor on which files are damaged.

mod file_table;
mod labels;
mod layout;
mod listing;
mod settings;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use serde_json::{Value, json};

use labels::{files, metadata};
use listing::{list, list_in};
pub use settings::{FolderLabels, FolderSettings};

use super::picture::{self, Picture};
use super::rejected::{Reject, Rejections};
use super::{Outside, Source, SourceKind, batch, string_column};
use crate::image::{Classes, ImageShape, Pixels, Split};
use crate::progress::Progress;
use crate::source::settings::{Fit, of_pictures};
use crate::store::local::real;
use crate::table::{Content, RowGroup, batch_rows};
use crate::{error, interrupt};

/// The images of a folder.
pub struct Folder {
    root: PathBuf,
    fit: Fit,
    shape: ImageShape,
    /// The file that the shape was taken from.
    first: String,
    splits: [Vec<Entry>; 2],
    classes: Classes,
    rejections: Rejections,
}

/// Undecodable pictures after which the search for a first good one ends, unless such pictures may be left out.
const MOST_TRIED: usize = 1000;

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its path below the folder, with `/`.
    path: String,
    label: Option<i64>,
}

impl Folder {
    /// Lists a folder and decodes pictures until one gives the shape.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no images of a split, labels that do not fit, no image that can be used,
    /// interruption.
    pub fn open(settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<Self> {
        let labels::Labelled { splits, classes } = labels::labelled(settings, seed, progress)?;
        let rejections = Rejections::new(settings.faults, "source.folder");
        Self::of(&settings.path, settings.fit, rejections, splits, classes)
    }

    /// The source of these files; decodes pictures until one gives the shape.
    fn of(root: &Path, fit: Fit, rejections: Rejections, splits: [Vec<Entry>; 2], classes: Classes) -> Result<Self> {
        let mut folder = Self {
            root: root.to_owned(),
            fit,
            shape: ImageShape { height: 1, width: 1, channels: 1 },
            first: String::new(),
            splits,
            classes,
            rejections,
        };
        // Bad pictures before the first good one are reported when all pictures are read.
        let (mut bad, mut least) = (Vec::new(), "");
        for (split, entries) in Split::ALL.iter().zip(&folder.splits) {
            for (id, entry) in (0..).zip(entries) {
                interrupt::check()?;
                match folder.read(&entry.path)? {
                    Ok(picture) => {
                        (folder.shape, folder.first) = (picture.shape, entry.path.clone());
                        return Ok(folder);
                    }
                    // Further bad pictures would only lengthen the message.
                    Err(_) if bad.len() == MOST_TRIED => {
                        least = "at least ";
                        if !folder.rejections.skips() {
                            break;
                        }
                    }
                    Err(reason) => bad.push(folder.reject(*split, id, entry, reason)),
                }
            }
        }
        if bad.is_empty() {
            return Err(error::data(format!("{} holds no images", root.display())));
        }
        Err(folder.rejections.failure(&bad, least))
    }

    fn reject(&self, split: Split, id: u64, entry: &Entry, reason: String) -> Reject {
        Reject { split, id, path: entry.path.clone(), name: self.path(entry).display().to_string(), reason }
    }

    /// The image files below a folder, or a single image file, in the test split and without labels, resized by `fit`.
    ///
    /// # Errors
    /// No images, or a first one that cannot be used.
    pub fn unlabelled(path: &Path, fit: Fit) -> Result<Self> {
        let (root, files) = if path.is_dir() {
            (path, list(path)?.images)
        } else {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| error::settings(format!("{} has no usable file name", path.display())))?;
            (path.parent().unwrap_or(Path::new("")), vec![name.to_owned()])
        };
        let entries: Vec<_> = files.into_iter().map(|path| Entry { path, label: None }).collect();
        Self::of(root, fit, Rejections::of_command(), [Vec::new(), entries], None)
    }

    /// The image files below a folder.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
        Ok(list(path)?.images.iter().map(|image| path.join(image)).collect())
    }

    /// A picture, or why it cannot be decoded.
    fn read(&self, path: &str) -> Result<Result<Picture, String>> {
        let path = self.root.join(path);
        let file = match picture::read(&path) {
            // A broken link is a bad picture, whereas a failing disk is an error.
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Err("it does not exist".to_owned())),
            Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => {
                return Ok(Err(cause.to_string()));
            }
            file => file.with_context(|| format!("cannot read {}", path.display()))?,
        };
        Ok(picture::decode(&file.bytes, &self.fit))
    }

    /// Emits the images of some entries.
    fn load(
        &self,
        split: Split,
        first: u64,
        entries: &[Entry],
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let step = batch_rows(Content::Images(self.shape, Pixels::U8));
        for (index, chunk) in entries.chunks(step).enumerate() {
            let mut bytes = Vec::with_capacity(chunk.len() * self.shape.len());
            let (mut ids, mut labels) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
            for (id, entry) in (first + (index * step) as u64..).zip(chunk) {
                interrupt::check()?;
                match self.read(&entry.path)? {
                    Ok(picture) => {
                        super::check_fit(
                            self.rejections.asker(),
                            &self.path(entry),
                            picture.shape,
                            &self.first,
                            self.shape,
                        )?;
                        bytes.extend_from_slice(&picture.bytes);
                        ids.push(id);
                        labels.push(entry.label);
                    }
                    Err(reason) => self.rejections.add(self.reject(split, id, entry, reason))?,
                }
            }
            self.rejections.looked_at(chunk.len())?;
            if !self.rejections.ends_the_run() {
                emit(batch(split, self.shape, ids.into_iter(), labels, bytes)?)?;
            }
        }
        Ok(())
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.root.join(&entry.path)
    }
}

impl SourceKind for FolderSettings {
    fn decisive(&self, seed: u64) -> Value {
        // `outside` only decides whether a table is refused, not what the images are.
        let Self { path: _, labels, csv: _, label, outside: _, train, test, test_fraction, fit, faults } = self;
        let mut settings =
            json!({ "labels": labels, "train": train, "test": test, "test-fraction": test_fraction, "seed": seed });
        if let Some(label) = label {
            settings["label"] = json!(label);
        }
        of_pictures(settings, fit, faults)
    }

    fn places(&self) -> Vec<(&'static str, &Path)> {
        let csv = self.csv.as_deref().map(|csv| ("source.folder.csv", csv));
        // With a table of files elsewhere, there need be no folder.
        let path = (!self.outside).then_some(("source.folder.path", self.path.as_path()));
        path.into_iter().chain(csv).collect()
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let found = metadata(self)?.filter(|found| found.labelled);
        let listed = Outside::Files(self.path.clone(), files(self, found.as_ref())?);
        let csv = self.csv.clone().map(|csv| ("source.folder.csv", Outside::File(csv)));
        let found = found.map(|found| (found.name, Outside::Files(self.path.clone(), found.paths)));
        Ok([("source.folder.path", listed)].into_iter().chain(csv).chain(found).collect())
    }

    // Sub-folders of this folder would be taken for splits or labels.
    fn folder_around(&self, place: &Path) -> Option<&Path> {
        real(place).is_some_and(|place| Some(place) == real(&self.path)).then_some(&self.path)
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Folder::open(self, seed, progress)?))
    }
}

impl Source for Folder {
    fn shape(&self) -> ImageShape {
        self.shape
    }

    fn count(&self, split: Split) -> u64 {
        self.splits[split as usize].len() as u64
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let chunks = self.splits[split as usize].chunks(rows).enumerate();
        Ok(Box::new(chunks.map(move |(index, chunk)| -> Result<RowGroup<'_>> {
            Ok(Box::new(move |emit| self.load(split, (index * rows) as u64, chunk, emit)))
        })))
    }

    fn classes(&self) -> Classes {
        self.classes.clone()
    }

    /// The path of each image.
    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let rejected: HashSet<_> = self.rejections.listed().iter().map(|reject| (reject.split, reject.id)).collect();
        let kept = |split: Split| {
            let entries = self.splits[split as usize].iter().zip(0_u64..);
            let kept = entries.filter(|(_, id)| !rejected.contains(&(split, *id)));
            kept.map(|(entry, id)| (split, id, entry)).collect::<Vec<_>>()
        };
        let rows: Vec<_> = Split::ALL.into_iter().flat_map(kept).collect();
        let files = super::listing_table(
            rows.iter().map(|(split, id, _)| (*split, *id)),
            vec![("path", string_column(rows.iter().map(|(_, _, entry)| entry.path.as_str())))],
        )?;
        Ok([vec![("files.parquet", files)], self.rejections.table()?].concat())
    }
}

/// A file inside the folder, by its relative path with `/`.
fn relative(path: &Path, root: &Path) -> Result<String> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let text =
        inside.to_str().ok_or_else(|| error::data(format!("{} has a name that is not UTF-8", path.display())))?;
    Ok(if std::path::MAIN_SEPARATOR == '/' { text.to_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") })
}
