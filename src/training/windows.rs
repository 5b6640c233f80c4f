//! An epoch as a sequence of windows, each a shuffled set of images in memory.
//!
//! If the split fits the memory limit, it is the only window. Otherwise a window is a few row groups, in shuffled order: every epoch
//! still sees every image once, mixed as far as memory allows. Both orders depend on (seed, epoch) alone.
//!
//! With patches, the pictures and the patches of one window take at most half of the limit each. If all pictures fit, the patches of
//! an epoch are shuffled together, and a window is as many of them as fit. Otherwise some row groups are read at a time, in shuffled
//! order, and the same is done with the patches of these.

use std::sync::Arc;

use anyhow::Result;

use super::image_table::ImageTable;
use super::patches::{Counted, Cut, Cutter, Place};
use super::pictures::Pictures;
use super::stored::number_bytes;
use crate::error;
use crate::image::Split;
use crate::random::{Generator, Stream};

/// Some images and the order in which they are used.
#[derive(Clone)]
pub struct Window {
    /// The number that stands for each image where random numbers are drawn. Shared, like the bytes, by the windows of all epochs
    /// when they are held.
    pub ids: Arc<Vec<u64>>,
    /// The images as they are stored, one after the other.
    pub bytes: Arc<Vec<u8>>,
    /// Places of images, each once.
    pub order: Vec<u32>,
}

/// The row groups of a table in the order in which an epoch reads them, all at once if they are held, else so many at a time.
fn groups_of_epoch(table: &ImageTable, held: bool, at_once: usize, random: &mut Generator) -> Vec<Vec<usize>> {
    let mut groups: Vec<usize> = (0..table.row_groups()).collect();
    if !held {
        shuffle(&mut groups, random);
    }
    let size = if held { groups.len() } else { at_once };
    groups.chunks(size.max(1)).map(<[usize]>::to_vec).collect()
}

/// Row groups of images that fit a limit, at least one.
fn groups_at_once(table: &ImageTable, limit: u64) -> usize {
    // The largest group: with classes held out of training, other groups may have few rows left.
    let largest = (0..table.row_groups()).map(|group| bytes_of(table, [group])).max();
    ((limit / largest.unwrap_or(0).max(1)) as usize).max(1)
}

/// Bytes of the images of some row groups.
fn bytes_of(table: &ImageTable, groups: impl IntoIterator<Item = usize>) -> u64 {
    let numbers = groups.into_iter().map(|group| table.row_group_numbers(group)).fold(0, u64::saturating_add);
    numbers.saturating_mul(number_bytes(table.content()) as u64)
}

/// Whole images as they are stored.
pub struct WholeWindows {
    table: ImageTable,
    /// Bytes of an image.
    bytes: usize,
    seed: u64,
    /// All images, if they fit the limit.
    held: Option<Window>,
    /// Row groups of one window otherwise.
    groups_per_window: usize,
}

impl WholeWindows {
    /// Opens the images of a table and holds them if they take at most `limit` bytes.
    ///
    /// # Errors
    /// Unreadable tables, and images that are neither bytes nor floats.
    pub fn open(table: ImageTable, seed: u64, limit: u64) -> Result<Self> {
        let bytes = table.image_shape()?.len() * number_bytes(table.content());
        let mut windows = Self { table, bytes, seed, held: None, groups_per_window: 1 };
        if windows.table.rows().saturating_mul(bytes as u64) <= limit {
            windows.held = Some(windows.load(&(0..windows.table.row_groups()).collect::<Vec<_>>())?);
        } else {
            windows.groups_per_window = groups_at_once(&windows.table, limit);
        }
        Ok(windows)
    }

    /// Images of an epoch.
    pub fn count(&self) -> u64 {
        self.table.rows()
    }

    /// The windows of an epoch.
    pub fn of_epoch(&self, epoch: u32) -> impl Iterator<Item = Result<Window>> {
        let mut random = Stream::new(self.seed, "shuffle", Split::Train).generator(0, epoch);
        let groups = groups_of_epoch(&self.table, self.held.is_some(), self.groups_per_window, &mut random);
        groups.into_iter().map(move |groups| {
            let mut window = match &self.held {
                Some(held) => held.clone(),
                None => self.load(&groups)?,
            };
            shuffle(&mut window.order, &mut random);
            Ok(window)
        })
    }

    fn load(&self, groups: &[usize]) -> Result<Window> {
        let rows = groups.iter().map(|&group| self.table.row_group_rows(group) as usize).sum();
        // With the exact capacity: a vector that grows takes up to twice that.
        let (mut ids, mut pixels) = (Vec::with_capacity(rows), Vec::with_capacity(rows * self.bytes));
        for &group in groups {
            for batch in self.table.row_group(group)? {
                let batch = batch?;
                pixels.extend_from_slice(batch.bytes()?);
                ids.extend(batch.ids()?);
                crate::interrupt::check()?;
            }
        }
        let order = (0..ids.len() as u32).collect();
        Ok(Window { ids: Arc::new(ids), bytes: Arc::new(pixels), order })
    }
}

/// Fisher and Yates' shuffle (Durstenfeld 1964).
fn shuffle<T>(items: &mut [T], random: &mut Generator) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u32 + 1) as usize);
    }
}

/// The patches of a table of pictures.
pub struct PatchWindows {
    table: ImageTable,
    cutter: Cutter,
    seed: u64,
    /// Patches of an epoch.
    count: u64,
    /// Numbers of a patch.
    pixels: usize,
    /// Bytes of a number.
    number_bytes: usize,
    /// All pictures, if they fit.
    held: Option<Arc<Pictures>>,
    /// Row groups that are read at a time otherwise.
    groups: usize,
    /// Most patches of a window.
    most: usize,
}

impl PatchWindows {
    /// Opens the pictures of a table, to hold at most `limit` bytes of them and their patches in memory.
    ///
    /// # Errors
    /// Unreadable tables, pictures that are too small.
    pub fn open(table: ImageTable, cutter: Cutter, seed: u64, limit: u64) -> Result<Self> {
        let (Counted { patches: count, pixels }, number_bytes) =
            (cutter.counted(&table)?, number_bytes(table.content()));
        let (half, groups) = (limit / 2, table.row_groups());
        // Devices count them in 32 bits.
        let most = ((half / (pixels * number_bytes) as u64) as usize).clamp(1, i32::MAX as usize);
        let mut windows = Self { table, cutter, seed, count, pixels, number_bytes, held: None, groups, most };
        if bytes_of(&windows.table, 0..groups) <= half {
            windows.held = Some(Arc::new(windows.load(&(0..groups).collect::<Vec<_>>())?));
        } else {
            windows.groups = groups_at_once(&windows.table, half);
        }
        if windows.count() > u64::from(u32::MAX) {
            return Err(error::settings(
                "an epoch has more than 2^32 - 1 patches; use fewer training.patches-per-image",
            ));
        }
        Ok(windows)
    }

    /// Patches of an epoch.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The windows of an epoch, with the patches of epoch `drawn`.
    pub fn of_epoch(&self, epoch: u32, drawn: u32) -> impl Iterator<Item = Result<Window>> {
        let mut random = Stream::new(self.seed, "shuffle", Split::Train).generator(0, epoch);
        let groups = groups_of_epoch(&self.table, self.held.is_some(), self.groups, &mut random);
        groups.into_iter().flat_map(move |groups| {
            let pictures = match &self.held {
                Some(held) => Ok(Arc::clone(held)),
                None => self.load(&groups).map(Arc::new),
            };
            let (pictures, failure) = match pictures {
                Ok(pictures) => (Some(pictures), None),
                Err(cause) => (None, Some(Err(cause))),
            };
            let windows = pictures.map(|pictures| {
                let mut places = self.cutter.places(&pictures);
                shuffle(&mut places, &mut random);
                self.cut(pictures, places, drawn)
            });
            failure.into_iter().chain(windows.into_iter().flatten())
        })
    }

    /// Windows of these patches, in their order.
    fn cut(
        &self,
        pictures: Arc<Pictures>,
        places: Vec<Place>,
        drawn: u32,
    ) -> impl Iterator<Item = Result<Window>> + use<'_> {
        (0..places.len()).step_by(self.most).map(move |start| {
            let places = &places[start..places.len().min(start + self.most)];
            let Cut { keys, bytes } = self.cutter.cut(&pictures, places, drawn, self.pixels * self.number_bytes);
            let order = (0..places.len() as u32).collect();
            crate::interrupt::check()?;
            Ok(Window { ids: Arc::new(keys), bytes: Arc::new(bytes), order })
        })
    }

    fn load(&self, groups: &[usize]) -> Result<Pictures> {
        let rows = groups.iter().map(|&group| self.table.row_group_rows(group) as usize).sum();
        let bytes = bytes_of(&self.table, groups.iter().copied()) as usize;
        let mut pictures = Pictures::with_capacity(rows, bytes);
        for &group in groups {
            for batch in self.table.row_group(group)? {
                pictures.add_batch(&batch?)?;
                crate::interrupt::check()?;
            }
        }
        Ok(pictures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_that_depends_on_its_generator() {
        let shuffled = |epoch| {
            let mut items: Vec<u32> = (0..1000).collect();
            shuffle(&mut items, &mut Stream::new(1, "shuffle", Split::Train).generator(0, epoch));
            items
        };
        let (first, second) = (shuffled(1), shuffled(2));
        assert_ne!(first, second);
        assert_eq!(first, shuffled(1));
        let fixed = first.iter().enumerate().filter(|(index, item)| *index as u32 == **item).count();
        assert!(fixed < 10, "{fixed} items stayed where they were");
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
    }
}
