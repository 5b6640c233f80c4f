//! Pictures that are listed before they are read, as files of a folder or of archives.
//!
//! A picture's id is its position in its split, so that ids do not depend on which pictures are damaged. The headers of all are read
//! when the list is opened, pictures of the row groups under way only then.

pub mod opened;

use std::collections::HashSet;
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::{Int64Array, RecordBatch};
use rayon::prelude::*;

use super::learned::Learning;
use super::picture::{self, Picture, PictureFile, pages};
use super::rejected::{Looked, Reject, Rejections};
use super::settings::{Fit, Pages};
use super::sizes::Sizes;
use super::version::Version;
use super::{Source, batch, listing_table, string_column};
use crate::image::{Classes, Extent, ImageShape, PerSplit, Pixels, Samples, Split};
use crate::table::{Content, Emit, RowGroup, batch_rows, batches_of};
use crate::{error, interrupt};
use opened::{List, Opened, parts};

/// The name of the table with the path of each image.
pub const FILES: &str = "files.parquet";

/// Undecodable pictures after which the search for a first good one ends, unless such pictures may be left out.
const MOST_TRIED: usize = 1000;

/// The pictures of a list.
pub struct Listed<L: List> {
    opened: Arc<Opened<L>>,
    learning: Learning,
}

impl<L: List> Listed<L> {
    /// The pictures of the splits of a list: decodes pictures until one can be used, and reads the headers of all.
    ///
    /// # Errors
    /// No picture that can be used, the store, interruption.
    pub fn open(
        list: L,
        fit: Fit,
        rejections: Rejections,
        splits: PerSplit<Vec<L::Entry>>,
        classes: Classes,
    ) -> Result<Self> {
        let reader = Reader { list: &list, fit: &fit, rejections: &rejections };
        let mut sizes = reader.first(&splits)?;
        let mut widths = PerSplit::<Vec<usize>>::default();
        for (widths, entries) in widths.iter_mut().zip(&splits) {
            let headers = reader.headers(entries)?;
            let width = |(entry, header): (&L::Entry, Option<(ImageShape, Pixels)>)| {
                header.map_or(1, |header| sizes.see(header, &fit, || list.name(entry)))
            };
            *widths = entries.iter().zip(headers).map(width).collect();
        }
        if sizes.extent.fixed().is_some() {
            widths = PerSplit::default();
        }
        let (faults, classes) = (rejections.faults(), classes.map(|names| names.to_vec()));
        let opened = Arc::new(Opened { list, fit, faults, sizes, widths, splits, classes });
        Ok(Self { opened, learning: Learning::new(rejections) })
    }

    /// The pictures of an opened list, after others of it were looked at.
    pub fn again(opened: Arc<Opened<L>>, looked: Looked) -> Self {
        let rejections = Rejections::new(opened.faults, L::SECTION).after(looked);
        Self { opened, learning: Learning::new(rejections) }
    }

    fn reader(&self) -> Reader<'_, L> {
        Reader { list: &self.opened.list, fit: &self.opened.fit, rejections: &self.learning.rejections }
    }

    /// The pictures of a split.
    pub fn entries(&self, split: Split) -> &[L::Entry] {
        &self.opened.splits[split as usize]
    }

    /// Emits the images of a row group.
    fn load(&self, split: Split, group: Range<usize>, emit: Emit<'_>) -> Result<()> {
        let (Opened { list, sizes, .. }, Learning { rejections, animated }) = (&*self.opened, &self.learning);
        let batches = match sizes.extent {
            Extent::Mixed { .. } => batches_of(&self.opened.widths[split as usize][group.clone()]),
            Extent::Fixed(_) => parts(group.len(), batch_rows(sizes.content())).collect(),
        };
        let (mut held, mut until) = (L::Held::default(), group.start);
        for rows in batches {
            let rows = group.start + rows.start..group.start + rows.end;
            let mut samples = Samples::none(sizes.pixels);
            let (mut ids, mut labels, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
            for (id, entry) in (rows.start as u64..).zip(&self.entries(split)[rows.clone()]) {
                interrupt::check()?;
                let next = &self.entries(split)[id as usize..group.end];
                list.expect(next);
                if until == id as usize {
                    let (more, count) = list.hold(next)?;
                    (held, until) = (more, until + count);
                }
                match self.reader().picture(&held, entry)? {
                    Ok(picture) => {
                        sizes.check(rejections.asker(), &list.name(entry), picture.shape)?;
                        animated.saw(picture.frames, || list.name(entry));
                        samples.append(&picture.samples);
                        ids.push(id);
                        labels.push(L::label(entry));
                        shapes.push(picture.shape);
                    }
                    Err(reason) => rejections.add(self.reader().reject(split, id, entry, reason))?,
                }
            }
            rejections.looked_at(rows.len())?;
            if !rejections.ends_the_run() && !shapes.is_empty() {
                emit(batch(split, &sizes.shapes(shapes), ids.into_iter(), labels, samples)?)?;
            }
        }
        Ok(())
    }
}

/// Reads pictures of a list.
struct Reader<'a, L: List> {
    list: &'a L,
    fit: &'a Fit,
    rejections: &'a Rejections,
}

impl<L: List> Reader<'_, L> {
    /// The sizes of pictures as the first that can be used tells them.
    fn first(&self, splits: &PerSplit<Vec<L::Entry>>) -> Result<Sizes> {
        // Bad pictures before the first good one are reported when all pictures are read.
        let (mut bad, mut least) = (Vec::new(), "");
        for (split, entries) in Split::ALL.iter().zip(splits) {
            for (id, entry) in (0..).zip(entries) {
                interrupt::check()?;
                match self.picture(&L::Held::default(), entry)? {
                    Ok(picture) => return Ok(Sizes::of(self.list.name(entry), &picture)),
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
        Err(if bad.is_empty() { error::data("there are no images") } else { self.rejections.failure(&bad, least) })
    }

    /// What the headers of pictures tell, for those that tell anything.
    fn headers(&self, entries: &[L::Entry]) -> Result<Vec<Option<(ImageShape, Pixels)>>> {
        let header = |(index, entry): (usize, &L::Entry)| {
            interrupt::check()?;
            self.list.expect(&entries[index..]);
            if L::page(entry) == 0 {
                return Ok(self.list.header(entry, self.fit));
            }
            let page = self.file(&L::Held::default(), entry)?.ok();
            Ok(page.and_then(|page| picture::shape_of(Cursor::new(&page.bytes), self.fit)))
        };
        entries.par_iter().enumerate().map(header).collect()
    }

    /// A picture, or why it cannot be decoded.
    fn picture(&self, held: &L::Held, entry: &L::Entry) -> Result<Result<Picture, String>> {
        Ok(self.file(held, entry)?.and_then(|file| picture::decode(&file.bytes, self.fit)))
    }

    /// A picture file whose first page is that of the entry, or why it cannot be used.
    fn file(&self, held: &L::Held, entry: &L::Entry) -> Result<Result<PictureFile, String>> {
        let mut file = match self.list.read(held, entry)? {
            Ok(file) => file,
            Err(reason) => return Ok(Err(reason)),
        };
        let pages = pages::pages(&mut Cursor::new(&file.bytes));
        if let Err(reason) = pages::check(pages.len(), self.fit.pages, self.rejections.asker()) {
            return Ok(Err(reason));
        }
        if let Some(page) = pages.get(L::page(entry)) {
            pages::put_first(&mut file.bytes, *page);
        }
        Ok(Ok(file))
    }

    fn reject(&self, split: Split, id: u64, entry: &L::Entry, reason: String) -> Reject {
        let page = if L::page(entry) > 0 { format!("#{}", L::page(entry)) } else { String::new() };
        let [path, name] = [self.list.path(entry), self.list.name(entry)].map(|path| format!("{path}{page}"));
        Reject { split, id, path, name, reason }
    }
}

impl<L: List> Source for Listed<L> {
    fn content(&self) -> Content {
        self.opened.sizes.content()
    }

    fn differing(&self) -> Option<String> {
        self.opened.sizes.differing()
    }

    fn grey_and_colour(&self) -> Option<String> {
        self.opened.sizes.grey_and_colour()
    }

    fn narrowest(&self) -> Option<(String, ImageShape)> {
        self.opened.sizes.narrowest()
    }

    fn count(&self, split: Split) -> u64 {
        self.entries(split).len() as u64
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
        self.entries(split).get(id as usize).map_or(String::new(), |entry| self.opened.list.name(entry))
    }

    fn classes(&self) -> Classes {
        self.opened.classes.clone().map(Into::into)
    }

    /// The path of each image.
    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let rejections = &self.learning.rejections;
        let rejected: HashSet<_> = rejections.listed().iter().map(|reject| (reject.split, reject.id)).collect();
        let kept = |split: Split| {
            let entries = self.entries(split).iter().zip(0_u64..);
            let kept = entries.filter(|(_, id)| !rejected.contains(&(split, *id)));
            kept.map(|(entry, id)| (split, id, entry)).collect::<Vec<_>>()
        };
        let rows: Vec<_> = Split::ALL.into_iter().flat_map(kept).collect();
        let paths: Vec<_> = rows.iter().map(|(_, _, entry)| self.opened.list.path(entry)).collect();
        let mut columns = vec![("path", string_column(paths.iter().map(String::as_str)))];
        if self.opened.fit.pages == Pages::All {
            let pages = rows.iter().map(|(_, _, entry)| L::page(entry) as i64);
            columns.push(("page", Arc::new(Int64Array::from_iter_values(pages))));
        }
        let files = listing_table(rows.iter().map(|(split, id, _)| (*split, *id)), columns)?;
        Ok([vec![(FILES, files)], rejections.table()?].concat())
    }

    fn learning(&self) -> Option<&Learning> {
        Some(&self.learning)
    }

    fn opened(&self) -> Option<Version> {
        Some(L::version(Arc::clone(&self.opened)))
    }
}
