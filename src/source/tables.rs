//! The source `parquet`: files of other programs, with a column of encoded pictures, as Hugging Face has them, or of lists.
//!
//! The files of a split are read one after the other, sorted by path, and rows are decoded as they are read, so that only the
//! fitted image of a large picture stays in memory. An image's id is its row, counted over all files of its split, or over all
//! files if the splits are drawn.

mod choice;
mod column;
mod files;
mod kept;
mod kind;
mod kinds;
mod labelling;
mod lists;
mod measure;
pub mod opened;
mod opening;
mod part;
mod partition;
mod settings;

use std::collections::VecDeque;
use std::path::PathBuf;

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_schema::FieldRef;
use rayon::prelude::*;

pub use files::{disjoint, folder_around, matching, outside, tell_links};
pub use settings::ParquetSettings;

use super::draw::{Draw, Members};
use super::learned::Learning;
use super::picture::Picture;
use super::rejected::Rejections;
use super::version::{RowGroups, Version};
use super::{Asker, Source, batch};
use crate::image::{Classes, Extent, ImageShape, PerSplit, Samples, Split};
use crate::progress::Progress;
use crate::source::settings::Fit;
use crate::table::{Content, RowGroup, add_label_lists, batches_of, mean_row_groups, row_groups_of};
use crate::{error, interrupt};
use choice::{Columns, Wanted, columns};
use column::Images;
use kinds::Labels;
use labelling::{Labelling, labelling};
use lists::{LabelLists, full};
use measure::{Measured, Read, first_sizes, measured};
use part::{Origin, Part, Rows, reject, row_name};

/// The images of Parquet files.
pub struct Tables {
    fit: Fit,
    measured: Measured,
    images: Images,
    labels: Labels,
    lists: Option<LabelLists>,
    /// The columns of the first file; all have the same.
    columns: Columns,
    /// The files of each split; of those that are drawn, in the first.
    splits: PerSplit<Vec<Part>>,
    /// The rows that belong to each split.
    members: PerSplit<Members>,
    learning: Learning,
}

/// Bytes of the images that are decoded at a time.
const MADE_BYTES: usize = 16 << 20;

/// A decoded image.
struct Image {
    id: u64,
    split: Split,
    label: Option<i64>,
    /// The labels in its list.
    list: Vec<i64>,
    picture: Picture,
}

/// Most rows of a split, as IDX files can have images.
const MOST_ROWS: u64 = u32::MAX as u64;

impl Tables {
    /// Opens the files and decodes pictures until one gives the shape.
    ///
    /// # Errors
    /// Files that cannot be read or are not Parquet, columns that are missing or of another type.
    pub fn open(settings: &ParquetSettings, seed: u64, progress: &Progress) -> Result<Self> {
        let rejections = Rejections::new(settings.faults, "source.parquet");
        let ParquetSettings { image, noisy, label, shape, fit, .. } = settings.clone();
        let wanted = Wanted { image, noisy, label, shape, usual: None, asker: rejections.asker() };
        let splits = files::splits(settings)?;
        files::tell_passed_over(settings, &splits, progress)?;
        let validation = if splits[Split::Validation as usize].is_empty() { settings.validation_fraction } else { 0.0 };
        let draw = Draw::new(seed, settings.test_fraction.unwrap_or_default(), validation);
        Self::of(Self::opened(splits)?, draw, &wanted, fit, rejections, &|note| progress.note(note))
    }

    fn of(
        from: PerSplit<Vec<(PathBuf, Origin)>>,
        draw: Draw,
        wanted: &Wanted,
        fit: Fit,
        rejections: Rejections,
        note: &dyn Fn(&str),
    ) -> Result<Self> {
        let mut names = None;
        let mut splits = PerSplit::<Vec<Part>>::default();
        for (parts, from) in splits.iter_mut().zip(from) {
            let part = |(path, origin): (PathBuf, Origin)| {
                let columns = columns(wanted, origin.schema(), &path, &mut names)?;
                Ok(Part { path, origin, columns, label: None })
            };
            *parts = from.into_iter().map(part).collect::<Result<_>>()?;
        }
        let counts = splits.each_ref().map(|parts| parts.iter().map(Part::rows).fold(0, u64::saturating_add));
        let all = || splits.iter().flatten();
        let Some(first) = all().next() else { return Err(error::bug("a Parquet source without files")) };
        if let Some(count) = counts.into_iter().find(|count| *count > MOST_ROWS) {
            return Err(error::data(format!("the files hold {count} rows; at most {MOST_ROWS} work")));
        }
        let is_empty = |split: &Split| counts[*split as usize] == 0 && !splits[*split as usize].is_empty();
        if let Some(empty) = Split::ALL.into_iter().find(is_empty) {
            return Err(error::data(match wanted.asker {
                Asker::Section(_) if draw.takes(Split::Test) => "the files hold no rows".to_owned(),
                Asker::Section(_) => format!("the files of the split {} hold no rows", empty.name()),
                Asker::Command | Asker::Call => format!("{} holds no rows", first.path.display()),
            }));
        }
        let members = Members::drawn(draw, counts[0])?.map(|members| members.unwrap_or(Members::All));
        let schema = first.schema();
        let first_row = first.read(&first.columns.pictures(), 1)?.next().and_then(Result::ok);
        let first_row = first_row.filter(|row| row.num_rows() > 0);
        let images = Images::of(schema, first.columns, wanted, first_row.as_ref())
            .map_err(|cause| error::data(format!("{}: {cause}", first.path.display())))?;
        for part in all() {
            let (found, expected) = (part.types(), first.types());
            if found != expected {
                let (path, first) = (part.path.display(), first.path.display());
                return Err(error::data(format!("{path} has columns of {found}, but {first} has {expected}")));
            }
        }
        let Labelling { labels, lists } = labelling(&mut splits, wanted, note)?;
        splits.iter_mut().flatten().try_for_each(|part| kept::check(part, note))?;
        let columns = splits.iter().flatten().next().map(|part| part.columns);
        let columns = columns.ok_or_else(|| error::bug("a Parquet source without files"))?;
        let read = Read { fit: &fit, images, splits: &splits };
        let measured = measured(&read, first_sizes(&read, &rejections)?)?;
        let learning = Learning::new(rejections);
        Ok(Self { fit, measured, images, labels, lists, columns, splits, members, learning })
    }

    /// The files that contain a split.
    fn parts(&self, split: Split) -> &[Part] {
        match self.members[split as usize] {
            Members::All => &self.splits[split as usize],
            Members::Drawn(..) => &self.splits[0],
        }
    }

    /// The images of rows that belong to a split, decoded on all threads.
    fn decoded(&self, split: Split, rows: &Rows) -> Result<Vec<Image>> {
        let Rows { path, before, first, label: label_of_all, batch } = rows;
        let Learning { rejections, animated } = &self.learning;
        let members = self.members[split as usize];
        let one = |index: usize| -> Result<Option<Image>> {
            let position = first + index as u64;
            if !members.has(before + position) {
                return Ok(None);
            }
            let name = || row_name(path, position);
            match self.images.image(batch.columns(), index, &self.fit, rejections.asker()) {
                Ok(picture) => {
                    animated.saw(picture.frames, name);
                    self.measured.sizes.check(rejections.asker(), &name(), picture.shape)?;
                    let position_of = |column: usize| self.columns.all().iter().position(|read| *read == column);
                    let column_of = |column: Option<usize>| column.and_then(position_of).map(|at| batch.column(at));
                    let label = self.labels.label(column_of(self.columns.label), index);
                    let label = label.map_err(|cause| error::data(format!("{}: {cause}", name())))?.or(*label_of_all);
                    let lists = self.lists.as_ref().zip(column_of(self.columns.lists));
                    let list = lists.map(|(lists, column)| lists.labels(column, index));
                    let list = list.transpose().map_err(|cause| error::data(format!("{}: {cause}", name())))?;
                    let changed = |what: &str, cause: String| error::data(format!("{}: its {what} {cause}", name()));
                    let id = column_of(self.columns.id).map(|ids| kinds::integer(ids, index)).transpose();
                    let id = id.map_err(|cause| changed("id", cause))?.map_or(before + position, |id| id as u64);
                    let named = column_of(self.columns.split).map(|names| kept::split(&names.slice(index, 1), 0));
                    let split = named.transpose().map_err(|cause| changed("split", cause))?.unwrap_or(split);
                    Ok(Some(Image { id, split, label, list: list.unwrap_or_default(), picture }))
                }
                Err(reason) => rejections.add(reject(split, *before, path, position, reason)).map(|()| None),
            }
        };
        let images: Vec<_> = (0..batch.num_rows()).into_par_iter().map(one).collect();
        rejections.looked_at(images.len())?;
        let images = images.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
        // A run that has to end writes no more images.
        Ok(if rejections.ends_the_run() { Vec::new() } else { images })
    }

    /// The row group of some images.
    fn row_group(&self, split: Split, images: Vec<Image>) -> RowGroup<'_> {
        Box::new(move |emit| {
            let widths: Vec<_> = images.iter().map(|image| image.picture.samples.len()).collect();
            for rows in batches_of(&widths) {
                let images = &images[rows];
                let (ids, labels) = (images.iter().map(|image| image.id), images.iter().map(|image| image.label));
                let mut samples = Samples::none(self.measured.sizes.pixels);
                images.iter().for_each(|image| samples.append(&image.picture.samples));
                let shapes = self.measured.sizes.shapes(images.iter().map(|image| image.picture.shape).collect());
                let mut batch = batch(split, &shapes, ids, labels.collect(), samples)?;
                if self.columns.split.is_some() {
                    batch = kept::with_splits(&batch, images.iter().map(|image| image.split))?;
                }
                emit(match &self.lists {
                    Some(lists) => {
                        let lists_of: Vec<_> = images.iter().map(|image| image.list.as_slice()).collect();
                        add_label_lists(&batch, &lists.field(), &lists_of)?
                    }
                    None => batch,
                })?;
            }
            Ok(())
        })
    }
}

impl Source for Tables {
    fn content(&self) -> Content {
        self.measured.sizes.content()
    }

    fn differing(&self) -> Option<String> {
        self.measured.sizes.differing()
    }

    fn grey_and_colour(&self) -> Option<String> {
        self.measured.sizes.grey_and_colour()
    }

    fn narrowest(&self) -> Option<(String, ImageShape)> {
        self.measured.sizes.narrowest()
    }

    fn count(&self, split: Split) -> u64 {
        self.members[split as usize].count(self.parts(split).iter().map(Part::rows).fold(0, u64::saturating_add))
    }

    fn row_groups(
        &self,
        split: Split,
        rows: usize,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        self.row_groups_in(split, rows, &RowGroups { groups: 0..usize::MAX, images: 0..usize::MAX })
    }

    fn row_groups_in(
        &self,
        split: Split,
        rows: usize,
        some: &RowGroups,
    ) -> Result<Box<dyn Iterator<Item = Result<RowGroup<'_>>> + Send + '_>> {
        let most = MADE_BYTES.div_ceil(self.measured.largest).min(1024);
        let (images, mut before) = (some.images.start as u64..some.images.end as u64, 0);
        let mut files = self.parts(split).iter().flat_map(move |part| {
            let end = before + part.rows();
            let inside = [images.start, images.end].map(|at| at.clamp(before, end) - before);
            let pieces = (inside[0] < inside[1]).then(|| part.pieces(before, most, inside[0]..inside[1]));
            before = end;
            pieces.into_iter().flatten()
        });
        let mut waiting: VecDeque<Image> = VecDeque::new();
        let content = self.content();
        // The rows that make a group: so many, or as many as fit, which is certain once one more does not.
        let group = move |waiting: &VecDeque<Image>| {
            let widths = || waiting.iter().map(|image| image.picture.samples.len()).collect::<Vec<_>>();
            let by_images = match content.width() {
                Some(_) => (waiting.len() >= rows).then_some(rows),
                None => row_groups_of(&widths()).get(..2).map(|groups| groups[0].end),
            };
            by_images.into_iter().chain(full(waiting.iter().map(|image| image.list.len()))).min()
        };
        Ok(Box::new(std::iter::from_fn(move || {
            while group(&waiting).is_none() {
                let Some(piece) = files.next() else { break };
                let images = piece.and_then(|piece| {
                    interrupt::check()?;
                    self.decoded(split, &piece)
                });
                match images {
                    Ok(images) => waiting.extend(images),
                    Err(cause) => return Some(Err(cause)),
                }
            }
            let count = group(&waiting).unwrap_or(waiting.len());
            let group: Vec<_> = waiting.drain(..count).collect();
            (!group.is_empty()).then(|| Ok(self.row_group(split, group)))
        })))
    }

    fn row_group_count(&self, split: Split, rows: usize) -> u64 {
        match self.measured.sizes.extent {
            Extent::Mixed { .. } => mean_row_groups(self.measured.numbers[split as usize]),
            Extent::Fixed(_) => self.count(split).div_ceil(rows as u64),
        }
    }

    fn is_sorted(&self) -> bool {
        self.columns.id.is_none()
    }

    fn classes(&self) -> Classes {
        self.labels.classes()
    }

    fn label_lists(&self) -> Option<FieldRef> {
        self.lists.as_ref().map(LabelLists::field)
    }

    fn learning(&self) -> Option<&Learning> {
        Some(&self.learning)
    }

    fn opened(&self) -> Option<Version> {
        self.as_opened().map(Version::Parquet)
    }

    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        self.learning.rejections.table()
    }
}
