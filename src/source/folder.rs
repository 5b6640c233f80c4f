//! The source `folder`: image files. Labels come from sub-folders or a table, splits from sub-folders or a keyed draw.
//!
//! The folder is listed once, sorted bytewise by relative path; an image's id is its position in its split. Ids therefore
//! depend on the names alone, not on the order in which a disk lists them, nor on which files are damaged.

mod applied;
mod arranged;
mod file_table;
mod item;
mod kind;
mod labels;
mod layout;
mod listing;
pub mod opened;
mod pair_table;
mod pairs;
mod settings;

use std::collections::HashSet;
use std::io::{BufReader, Cursor, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{Int64Array, RecordBatch};
use rayon::prelude::*;

use labels::Labelled;
use listing::{list, list_in};
use opened::{Entry, Opened, parts};
pub use settings::{FolderLabels, FolderSettings};

use super::animated::Animated;
use super::learned::Learned;
use super::picture::{self, Picture, PictureFile, pages};
use super::rejected::{Looked, Reject, Rejections};
use super::version::Version;
use super::{Source, batch, bytes_of, string_column};
use crate::image::{Classes, Extent, ImageShape, PerSplit, Pixels, Samples, Shapes, Split};
use crate::progress::Progress;
use crate::source::settings::{Fit, Pages, Size};
use crate::table::{Content, Emit, RowGroup, batch_rows, batches_of};
use crate::{error, interrupt, store};

/// The name of the table with the path of each image.
pub const FILES: &str = "files.parquet";

/// The images of a folder.
pub struct Folder {
    opened: Arc<Opened>,
    rejections: Rejections,
    animated: Animated,
}

/// Undecodable pictures after which the search for a first good one ends, unless such pictures may be left out.
const MOST_TRIED: usize = 1000;

/// Files that a store reads ahead.
const AHEAD: usize = 32;

impl Folder {
    /// Lists a folder and decodes pictures until one gives the shape.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no images of a split, labels that do not fit, no image that can be used,
    /// interruption.
    pub fn open(settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<Self> {
        Self::labelled(&settings.path, settings, labels::labelled(settings, seed, progress)?)
    }

    /// The images of an opened folder, after others of it were looked at.
    pub fn again(opened: Arc<Opened>, looked: Looked) -> Self {
        let rejections = Rejections::new(opened.faults, "source.folder").after(looked);
        Self::from_opened(opened, rejections)
    }

    fn from_opened(opened: Arc<Opened>, rejections: Rejections) -> Self {
        Self { opened, rejections, animated: Animated::default() }
    }

    fn labelled(root: &Path, settings: &FolderSettings, files: Labelled) -> Result<Self> {
        let Labelled { splits, classes } = files;
        Self::of(root, settings.fit, Rejections::new(settings.faults, "source.folder"), splits, classes)
    }

    /// The source of these files; decodes pictures until one gives the shape.
    fn of(
        root: &Path,
        fit: Fit,
        rejections: Rejections,
        splits: PerSplit<Vec<Entry>>,
        classes: Classes,
    ) -> Result<Self> {
        let splits = if fit.pages == Pages::All { splits.map(|entries| paged(root, entries)) } else { splits };
        let mut folder = Self::from_opened(
            Arc::new(Opened {
                root: root.to_owned(),
                fit,
                faults: rejections.faults(),
                extent: Extent::Mixed { channels: 1 },
                pixels: Pixels::U8,
                first: (String::new(), ImageShape { height: 1, width: 1, channels: 1 }),
                differing: None,
                narrowest: None,
                widths: PerSplit::default(),
                splits,
                classes: classes.map(|names| names.to_vec()),
            }),
            rejections,
        );
        let (first, pixels) = folder.first()?;
        folder.measure(first, pixels)?;
        Ok(folder)
    }

    /// The first file that can be used, its shape, and how its pixels are stored.
    fn first(&self) -> Result<((String, ImageShape), Pixels)> {
        // Bad pictures before the first good one are reported when all pictures are read.
        let (mut bad, mut least) = (Vec::new(), "");
        for (split, entries) in Split::ALL.iter().zip(&self.opened.splits) {
            for (id, entry) in (0..).zip(entries) {
                interrupt::check()?;
                match self.read(entry)? {
                    Ok(picture) => return Ok(((entry.path.clone(), picture.shape), picture.samples.pixels())),
                    // Further bad pictures would only lengthen the message.
                    Err(_) if bad.len() == MOST_TRIED => {
                        least = "at least ";
                        if !self.rejections.skips() {
                            break;
                        }
                    }
                    Err(reason) => bad.push(self.reject(*split, id, entry, reason)),
                }
            }
        }
        if bad.is_empty() {
            return Err(error::data(format!("{} holds no images", self.opened.root.display())));
        }
        Err(self.rejections.failure(&bad, least))
    }

    /// Decides by their headers whether the pictures have one size, unless they are made to have one, and whether some are deep.
    /// `first` is the first that can be used, and `pixels` how its pixels are stored.
    fn measure(&mut self, (name, first): (String, ImageShape), pixels: Pixels) -> Result<()> {
        let channels = first.channels;
        let measured = |entries: &Vec<Entry>| -> Result<Vec<Option<(ImageShape, Pixels)>>> {
            let shape = |(index, entry): (usize, &Entry)| {
                interrupt::check()?;
                self.expect(&entries[index..]);
                if entry.page > 0 {
                    let page = self.bytes(entry)?.ok();
                    return Ok(page.and_then(|page| picture::shape_of(Cursor::new(&page.bytes), &self.opened.fit)));
                }
                Ok(picture::shape_of_file(&self.path(entry), &self.opened.fit))
            };
            entries.par_iter().enumerate().map(shape).collect()
        };
        let mut found = PerSplit::<Vec<Option<(ImageShape, Pixels)>>>::default();
        for (found, entries) in found.iter_mut().zip(&self.opened.splits) {
            *found = measured(entries)?;
        }
        // Nobody shares it yet.
        let opened = Arc::make_mut(&mut self.opened);
        (opened.first, opened.extent, opened.pixels) = ((name, first), Extent::Fixed(first), pixels);
        if found.iter().flatten().flatten().any(|(_, pixels)| *pixels != Pixels::U8) {
            opened.pixels = Pixels::F32;
        }
        if opened.fit.size != Size::Same {
            return Ok(());
        }
        let shapes =
            found.map(|found| found.into_iter().map(|found| found.map(|(shape, _)| shape)).collect::<Vec<_>>());
        let all = opened.splits.iter().flatten().zip(shapes.iter().flatten());
        let mut others = all.filter_map(|(entry, shape)| Some((entry, (*shape)?)));
        let narrowest = others.clone().min_by_key(|(_, shape)| shape.height.min(shape.width));
        let narrowest = narrowest.map(|(entry, shape)| (entry.path.clone(), shape));
        // Pictures of other channels are refused when they are read.
        let sides = |shape: ImageShape| (shape.height, shape.width);
        opened.differing =
            others.find(|(_, shape)| sides(*shape) != sides(first)).map(|(entry, shape)| (entry.path.clone(), shape));
        if opened.differing.is_some() || first.len() > ImageShape::MAX_LEN {
            opened.extent = Extent::Mixed { channels };
            opened.narrowest = narrowest;
            opened.widths = shapes.map(|shapes| shapes.iter().map(|shape| shape.map_or(1, ImageShape::len)).collect());
        }
        Ok(())
    }

    fn reject(&self, split: Split, id: u64, entry: &Entry, reason: String) -> Reject {
        let page = if entry.page > 0 { format!("#{}", entry.page) } else { String::new() };
        let [path, name] = [Path::new(&entry.path), &self.path(entry)].map(|path| format!("{}{page}", path.display()));
        Reject { split, id, path, name, reason }
    }

    /// The image files below a folder; `progress` is told what is passed over.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn files(path: &Path, progress: Option<&Progress>) -> Result<Vec<PathBuf>> {
        let listing = list(path)?;
        progress.iter().for_each(|progress| listing.tell(progress));
        Ok(listing.images.iter().map(|image| path.join(image)).collect())
    }

    /// Has the store begin to read the first files of these entries, which are read next.
    fn expect(&self, entries: &[Entry]) {
        store::of(&self.opened.root).expect(&mut entries.iter().take(AHEAD).map(|entry| self.path(entry)));
    }

    /// A picture, or why it cannot be decoded.
    fn read(&self, entry: &Entry) -> Result<Result<Picture, String>> {
        Ok(self.bytes(entry)?.and_then(|file| picture::decode(&file.bytes, &self.opened.fit)))
    }

    /// A picture file whose first page is that of the entry, or why it cannot be read.
    fn bytes(&self, entry: &Entry) -> Result<Result<PictureFile, String>> {
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
        if let Err(reason) = pages::check(pages.len(), self.opened.fit.pages, self.rejections.asker()) {
            return Ok(Err(reason));
        }
        if let Some(page) = pages.get(entry.page) {
            pages::put_first(&mut file.bytes, *page);
        }
        Ok(Ok(file))
    }

    /// Emits the images of a row group.
    fn load(&self, split: Split, group: Range<usize>, emit: Emit<'_>) -> Result<()> {
        let batches = match self.opened.extent {
            Extent::Mixed { .. } => batches_of(&self.opened.widths[split as usize][group.clone()]),
            Extent::Fixed(shape) => parts(group.len(), batch_rows(bytes_of(shape))).collect(),
        };
        for rows in batches {
            let rows = group.start + rows.start..group.start + rows.end;
            let mut samples = Samples::none(self.opened.pixels);
            let (mut ids, mut labels, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
            for (id, entry) in (rows.start as u64..).zip(&self.opened.splits[split as usize][rows.clone()]) {
                interrupt::check()?;
                self.expect(&self.opened.splits[split as usize][id as usize..group.end]);
                match self.read(entry)? {
                    Ok(picture) => {
                        self.check(entry, picture.shape)?;
                        self.animated.saw(picture.frames, || self.path(entry).display().to_string());
                        samples.append(&picture.samples);
                        ids.push(id);
                        labels.push(entry.label);
                        shapes.push(picture.shape);
                    }
                    Err(reason) => self.rejections.add(self.reject(split, id, entry, reason))?,
                }
            }
            self.rejections.looked_at(rows.len())?;
            if !self.rejections.ends_the_run() && !shapes.is_empty() {
                let shapes = match self.opened.extent {
                    Extent::Fixed(shape) => Shapes::Equal(shape, shapes.len()),
                    Extent::Mixed { .. } => Shapes::Each(shapes),
                };
                emit(batch(split, &shapes, ids.into_iter(), labels, samples)?)?;
            }
        }
        Ok(())
    }

    /// Checks that a picture fits beside the first one.
    fn check(&self, entry: &Entry, found: ImageShape) -> Result<()> {
        let (first, shape) = &self.opened.first;
        let expected = match self.opened.extent {
            Extent::Fixed(shape) => shape,
            Extent::Mixed { channels } => ImageShape { channels, ..found },
        };
        debug_assert_eq!(expected.channels, shape.channels);
        super::check_fit(self.rejections.asker(), &self.path(entry), found, first, expected)
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.opened.path(entry)
    }
}

impl Source for Folder {
    fn content(&self) -> Content {
        Content::Images(self.opened.extent, self.opened.pixels)
    }

    fn differing(&self) -> Option<String> {
        let ((first, shape), (other, found)) = (&self.opened.first, self.opened.differing.as_ref()?);
        let path = |path: &str| self.opened.root.join(path).display().to_string();
        let (rows, columns) = (found.height, found.width);
        Some(format!("{} is {rows}×{columns}, but {} is {}×{}", path(other), path(first), shape.height, shape.width))
    }

    fn narrowest(&self) -> Option<(String, ImageShape)> {
        let (path, shape) = self.opened.narrowest.as_ref()?;
        Some((self.opened.root.join(path).display().to_string(), *shape))
    }

    fn count(&self, split: Split) -> u64 {
        self.opened.splits[split as usize].len() as u64
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        Ok(Box::new(
            self.opened
                .row_groups(split, rows)
                .into_iter()
                .map(move |group| -> Result<RowGroup<'_>> { Ok(Box::new(move |emit| self.load(split, group, emit))) }),
        ))
    }

    fn row_group_count(&self, split: Split, rows: usize) -> u64 {
        self.opened.row_groups(split, rows).len() as u64
    }

    fn name(&self, split: Split, id: u64) -> String {
        let entry = self.opened.splits[split as usize].get(id as usize);
        entry.map_or(String::new(), |entry| self.path(entry).display().to_string())
    }

    fn classes(&self) -> Classes {
        self.opened.classes.clone().map(Into::into)
    }

    /// The path of each image.
    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let rejected: HashSet<_> = self.rejections.listed().iter().map(|reject| (reject.split, reject.id)).collect();
        let kept = |split: Split| {
            let entries = self.opened.splits[split as usize].iter().zip(0_u64..);
            let kept = entries.filter(|(_, id)| !rejected.contains(&(split, *id)));
            kept.map(|(entry, id)| (split, id, entry)).collect::<Vec<_>>()
        };
        let rows: Vec<_> = Split::ALL.into_iter().flat_map(kept).collect();
        let mut columns = vec![("path", string_column(rows.iter().map(|(_, _, entry)| entry.path.as_str())))];
        if self.opened.fit.pages == Pages::All {
            let pages = rows.iter().map(|(_, _, entry)| entry.page as i64);
            columns.push(("page", Arc::new(Int64Array::from_iter_values(pages))));
        }
        let files = super::listing_table(rows.iter().map(|(split, id, _)| (*split, *id)), columns)?;
        Ok([vec![(FILES, files)], self.rejections.table()?].concat())
    }

    fn passed_over(&self) -> Option<String> {
        self.animated.line()
    }

    fn learned(&self) -> Learned {
        Learned { looked: self.rejections.looked(), animated: self.animated.learned(), ..Learned::default() }
    }

    fn learn(&self, learned: Learned) -> Result<()> {
        self.animated.learn(learned.animated);
        self.rejections.learn(learned.looked)
    }

    fn check(&self) -> Result<()> {
        self.rejections.check()
    }

    fn opened(&self) -> Option<Version> {
        Some(Version::Folder(Arc::clone(&self.opened)))
    }
}

/// An entry for each page of the files.
fn paged(root: &Path, entries: Vec<Entry>) -> Vec<Entry> {
    let pages = |entry: &Entry| {
        let count = store::reader(&root.join(&entry.path)).map(|file| pages::pages(&mut BufReader::new(file)).len());
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
