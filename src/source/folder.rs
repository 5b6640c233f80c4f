//! The source `folder`: image files. Labels come from sub-folders or a table, splits from sub-folders or a keyed draw.
//!
//! The folder is listed once, sorted bytewise by relative path; an image's id is its position in its split. Ids therefore
//! depend on the names alone, not on the order in which a disk lists them, nor on which files are damaged.

mod applied;
mod file_table;
mod labels;
mod listing;
mod settings;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Cursor, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{Int64Array, RecordBatch};
use serde_json::{Value, json};

use labels::{files, metadata};
use listing::{list, list_in};
pub use settings::{FolderLabels, FolderSettings};

use super::picture::{self, Picture, pages};
use super::rejected::{Reject, Rejections};
use super::{Outside, Source, SourceKind, batch, string_column};
use crate::image::{Classes, ImageShape, Pixels, Split};
use crate::progress::Progress;
use crate::source::settings::{Fit, Pages, of_pictures};
use crate::store::local::real;
use crate::table::{Content, RowGroup, batch_rows};
use crate::{error, interrupt};

/// The name of the table with the path of each image.
pub const FILES: &str = "files.parquet";

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
    /// The page that is read, from 0.
    page: usize,
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
        let splits = if fit.pages == Pages::All { splits.map(|entries| paged(root, entries)) } else { splits };
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
                match folder.read(entry)? {
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
        let page = if entry.page > 0 { format!("#{}", entry.page) } else { String::new() };
        let [path, name] = [Path::new(&entry.path), &self.path(entry)].map(|path| format!("{}{page}", path.display()));
        Reject { split, id, path, name, reason }
    }

    /// The image files below a folder.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
        Ok(list(path)?.images.iter().map(|image| path.join(image)).collect())
    }

    /// A picture, or why it cannot be decoded.
    fn read(&self, entry: &Entry) -> Result<Result<Picture, String>> {
        let path = self.path(entry);
        let mut file = match picture::read(&path) {
            // A broken link is a bad picture, whereas a failing disk is an error.
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Err("it does not exist".to_owned())),
            Err(cause) if matches!(cause.kind(), ErrorKind::FileTooLarge | ErrorKind::InvalidData) => {
                return Ok(Err(cause.to_string()));
            }
            file => file.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let pages = pages::pages(&mut Cursor::new(&file.bytes));
        if let Err(reason) = pages::check(pages.len(), self.fit.pages, self.rejections.asker()) {
            return Ok(Err(reason));
        }
        if let Some(page) = pages.get(entry.page) {
            pages::put_first(&mut file.bytes, *page);
        }
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
                match self.read(entry)? {
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
        let Self { path: _, labels, csv: _, outside: _, train, test, test_fraction, fit, faults } = self;
        let settings =
            json!({ "labels": labels, "train": train, "test": test, "test-fraction": test_fraction, "seed": seed });
        of_pictures(settings, fit, faults)
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let found = metadata(self)?;
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
        let mut columns = vec![("path", string_column(rows.iter().map(|(_, _, entry)| entry.path.as_str())))];
        if self.fit.pages == Pages::All {
            let pages = rows.iter().map(|(_, _, entry)| entry.page as i64);
            columns.push(("page", Arc::new(Int64Array::from_iter_values(pages))));
        }
        let files = super::listing_table(rows.iter().map(|(split, id, _)| (*split, *id)), columns)?;
        Ok([vec![(FILES, files)], self.rejections.table()?].concat())
    }
}

/// An entry for each page of the files.
fn paged(root: &Path, entries: Vec<Entry>) -> Vec<Entry> {
    let pages = |entry: &Entry| {
        let count = File::open(root.join(&entry.path)).map(|file| pages::pages(&mut BufReader::new(file)).len());
        // What cannot be read is reported when it is decoded.
        count.unwrap_or(1).max(1)
    };
    entries.into_iter().flat_map(|entry| (0..pages(&entry)).map(move |page| Entry { page, ..entry.clone() })).collect()
}

/// A file inside the folder, by its relative path with `/`.
fn relative(path: &Path, root: &Path) -> Result<String> {
    let inside = path.strip_prefix(root).unwrap_or(path);
    let text =
        inside.to_str().ok_or_else(|| error::data(format!("{} has a name that is not UTF-8", path.display())))?;
    Ok(if std::path::MAIN_SEPARATOR == '/' { text.to_owned() } else { text.replace(std::path::MAIN_SEPARATOR, "/") })
}
