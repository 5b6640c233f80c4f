//! The source `tar`: pictures in tar archives, as WebDataset has them.
//!
//! Files of an archive whose names are the same up to the first dot are one sample: a picture and, beside it, a file with its label. The
//! headers are read once, for the place and the size of each picture; pictures are then read at their places, by all threads, so that
//! only those of the row groups under way are in memory. Compressed archives have no such places and are refused.

mod braces;
mod scan;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow_array::RecordBatch;
use serde_json::{Value, json};

use super::asker::check_fit;
use super::draw::{Draw, key};
use super::label_text::{self, Texts};
use super::learned::Learning;
use super::picture::{self, Picture, pages};
use super::rejected::{Reject, Rejections};
use super::settings::{Fit, drawn, of_pictures};
use super::tables::{matching, outside};
use super::{Outside, Source, SourceKind, batch, bytes_of, check_classes, listing_table, string_column};
use crate::image::{Classes, ImageShape, PerSplit, Shapes, Split};
use crate::progress::Progress;
use crate::store::url::is_url;
use crate::table::{Content, RowGroup, batch_rows};
use crate::{error, interrupt, store, text};
use scan::Found;
pub use settings::TarSettings;

/// Undecodable pictures after which the search for a first good one ends.
const MOST_TRIED: usize = 1000;
/// Largest file of a picture.
const MOST_BYTES: u64 = 256 << 20;

/// The pictures of tar archives.
struct Tar {
    archives: Vec<PathBuf>,
    fit: Fit,
    shape: ImageShape,
    /// The picture that the shape was taken from.
    first: String,
    splits: PerSplit<Vec<Sample>>,
    classes: Classes,
    learning: Learning,
}

/// A picture in an archive.
struct Sample {
    /// Position among the archives.
    archive: u32,
    /// Place of its first byte.
    at: u64,
    /// Number of its bytes.
    len: u64,
    /// Its name in the archive.
    name: String,
    label: Option<i64>,
}

impl Tar {
    fn open(settings: &TarSettings, seed: u64, progress: &Progress) -> Result<Self> {
        let (mut archives, mut owners): (Vec<PathBuf>, Vec<Split>) = Default::default();
        for (split, _, pattern) in settings.patterns() {
            let files = matching_archives(pattern)?;
            if let Some(shared) = files.iter().find(|path| archives.contains(path)) {
                let message = format!("{} would be in both splits", shared.display());
                return Err(error::data(format!("{message}; change source.tar.train, .test or .validation")));
            }
            owners.extend(files.iter().map(|_| split));
            archives.extend(files);
        }
        let mut found = Vec::new();
        for (number, path) in archives.iter().enumerate() {
            found.push(scan::scan(path, number as u32, settings.label.as_deref())?);
        }
        tell(&found, settings, progress);
        if settings.test.is_none() {
            refuse_splits(&found, &archives)?;
        }
        let names: BTreeSet<&str> =
            found.iter().flat_map(|found| &found.pictures).filter_map(|(_, label)| label.as_deref()).collect();
        check_classes(names.len()).map_err(|cause| error::data(format!("what source.tar has for labels {cause}")))?;
        let texts = Texts::of(&names);
        let classes: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let number = |label: &str| match texts {
            Texts::Integers => label_text::integer(label),
            Texts::Names => classes.binary_search_by(|name| name.as_str().cmp(label)).ok().map(|at| at as i64),
        };
        let draw = Draw::new(seed, settings.test_fraction.unwrap_or_default(), settings.validation_fraction);
        let mut splits = PerSplit::<Vec<Sample>>::default();
        for (owner, found) in owners.into_iter().zip(found) {
            for (mut sample, label) in found.pictures {
                sample.label = label.as_deref().and_then(number);
                let split = if owner == Split::Train { draw.split(key(&sample.name)) } else { owner };
                splits[split as usize].push(sample);
            }
        }
        let wanted = |split: &Split| match split {
            Split::Validation => settings.validation.is_some() || draw.takes(*split),
            Split::Train | Split::Test => true,
        };
        if let Some(split) = Split::ALL.into_iter().find(|split| wanted(split) && splits[*split as usize].is_empty()) {
            let drawn = Split::ALL.into_iter().filter(|split| draw.takes(*split));
            let count = drawn.map(|split| splits[split as usize].len() as u64).sum();
            return Err(match draw.takes_any() && draw.takes(split) && count > 0 {
                true => draw.empty(count, split),
                false => error::data(format!("the archives hold no pictures for the split {}", split.name())),
            });
        }
        let mut tar = Self {
            archives,
            fit: settings.fit,
            shape: ImageShape { height: 1, width: 1, channels: 1 },
            first: String::new(),
            splits,
            classes: (texts == Texts::Names && !classes.is_empty()).then(|| classes.into()),
            learning: Learning::new(Rejections::new(settings.faults, "source.tar")),
        };
        (tar.shape, tar.first) = tar.first_shape()?;
        Ok(tar)
    }

    /// The shape of the first picture that can be decoded, and its name.
    fn first_shape(&self) -> Result<(ImageShape, String)> {
        let mut bad = Vec::new();
        for (split, samples) in Split::ALL.into_iter().zip(&self.splits) {
            for (id, sample) in (0..).zip(samples) {
                interrupt::check()?;
                match self.read(sample)? {
                    Ok(picture) => return Ok((picture.shape, self.name(sample))),
                    Err(reason) => bad.push(self.reject(split, id, sample, reason)),
                }
                if bad.len() > MOST_TRIED {
                    return Err(self.learning.rejections.failure(&bad, "at least "));
                }
            }
        }
        Err(self.learning.rejections.failure(&bad, ""))
    }

    /// A picture, or why it cannot be decoded.
    fn read(&self, sample: &Sample) -> Result<Result<Picture, String>> {
        if sample.len > MOST_BYTES {
            return Ok(Err(format!("it has {} bytes; at most {MOST_BYTES} work", sample.len)));
        }
        let path = &self.archives[sample.archive as usize];
        let unreadable = || format!("cannot read {}", path.display());
        let mut file = store::reader(path).with_context(unreadable)?;
        file.seek(SeekFrom::Start(sample.at)).with_context(unreadable)?;
        let mut bytes = Vec::new();
        file.take(sample.len).read_to_end(&mut bytes).with_context(unreadable)?;
        if bytes.len() as u64 != sample.len {
            return Ok(Err("its archive breaks off in it".to_owned()));
        }
        let count = pages::pages(&mut Cursor::new(&bytes)).len();
        let checked = pages::check(count, self.fit.pages, self.learning.rejections.asker());
        Ok(checked.and_then(|()| picture::decode(&bytes, &self.fit)))
    }

    /// Emits some pictures, of which the first has the id `first`.
    fn load(
        &self,
        split: Split,
        first: u64,
        samples: &[Sample],
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let step = batch_rows(bytes_of(self.shape));
        for (index, chunk) in samples.chunks(step).enumerate() {
            let (mut bytes, mut ids, mut labels) = (Vec::new(), Vec::new(), Vec::new());
            for (id, sample) in (first + (index * step) as u64..).zip(chunk) {
                interrupt::check()?;
                match self.read(sample)? {
                    Ok(picture) => {
                        let name = self.name(sample);
                        self.learning.animated.saw(picture.frames, || name.clone());
                        check_fit(self.learning.rejections.asker(), &name, picture.shape, &self.first, self.shape)?;
                        bytes.extend(picture.samples.into_bytes());
                        ids.push(id);
                        labels.push(sample.label);
                    }
                    Err(reason) => self.learning.rejections.add(self.reject(split, id, sample, reason))?,
                }
            }
            self.learning.rejections.looked_at(chunk.len())?;
            if !self.learning.rejections.ends_the_run() {
                let shapes = Shapes::Equal(self.shape, ids.len());
                emit(batch(split, &shapes, ids.into_iter(), labels, bytes)?)?;
            }
        }
        Ok(())
    }

    fn reject(&self, split: Split, id: u64, sample: &Sample, reason: String) -> Reject {
        let name = self.name(sample);
        Reject { split, id, path: name.clone(), name, reason }
    }

    /// The name of a picture in messages: its archive and its name there.
    fn name(&self, sample: &Sample) -> String {
        format!("{}/{}", self.archives[sample.archive as usize].display(), sample.name)
    }
}

/// The archives that a pattern with braces means, in its order, and each alternative sorted by path.
fn matching_archives(pattern: &Path) -> Result<Vec<PathBuf>> {
    // An existing file is taken literally.
    if store::is_file(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let alternatives = braces::expanded(&pattern.to_string_lossy()).map_err(error::settings)?;
    let mut files: Vec<PathBuf> = Vec::new();
    for alternative in alternatives {
        for path in matching(Path::new(&alternative))? {
            if !files.contains(&path) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Says what is passed over in the archives.
fn tell(found: &[Found], settings: &TarSettings, progress: &Progress) {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for (end, count) in found.iter().flat_map(|found| &found.others).filter(|(_, count)| **count > 0) {
        *others.entry(end).or_default() += count;
    }
    let labels = found.iter().flat_map(|found| &found.pictures).filter(|(_, label)| label.is_some()).count();
    if others.is_empty() {
        return;
    }
    let count: usize = others.values().sum();
    let ends: Vec<_> = others.keys().copied().collect();
    // What stands in parentheses is no end of a name.
    let first = ends.iter().find(|end| !end.starts_with('(')).filter(|_| settings.label.is_some() && labels == 0);
    let advice = first
        .map_or(String::new(), |first| format!("; no labels are read, source.tar.label = {first:?} would take some"));
    progress.note(&format!("passed over: {count} files in the archives, which end in {}{advice}", text::few(&ends)));
}

/// Refuses to draw splits from archives whose folders say them.
fn refuse_splits(found: &[Found], archives: &[PathBuf]) -> Result<()> {
    let all: BTreeSet<_> = found.iter().flat_map(|found| &found.roles).collect();
    if all.len() < 2 {
        return Ok(());
    }
    let first = archives.first().map(|path| path.display().to_string()).unwrap_or_default();
    let message = format!("the names of archives, or of folders in them, say splits: those of {first} and others");
    let advice = "name the archives of each with source.tar.train and .test, or unpack them and read source.folder";
    Err(error::data(format!("{message}; {advice}")))
}

impl Source for Tar {
    fn content(&self) -> Content {
        bytes_of(self.shape)
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

    /// The name of each picture.
    fn tables(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        let rejected: BTreeSet<_> =
            self.learning.rejections.listed().iter().map(|reject| (reject.split, reject.id)).collect();
        let all = Split::ALL.into_iter().flat_map(|split| {
            (0_u64..).zip(&self.splits[split as usize]).map(move |(id, sample)| (split, id, self.name(sample)))
        });
        let rows: Vec<_> = all.filter(|(split, id, _)| !rejected.contains(&(*split, *id))).collect();
        let paths = string_column(rows.iter().map(|(.., name)| name.as_str()));
        let files = listing_table(rows.iter().map(|(split, id, _)| (*split, *id)), vec![("path", paths)])?;
        Ok([vec![("files.parquet", files)], self.learning.rejections.table()?].concat())
    }

    fn learning(&self) -> Option<&Learning> {
        Some(&self.learning)
    }
}

impl SourceKind for TarSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train: _, test: _, validation: _, test_fraction, validation_fraction, label, fit, faults } = self;
        drawn(of_pictures(json!({ "label": label }), fit, faults), *test_fraction, *validation_fraction, seed)
    }

    fn files(&self) -> Result<Vec<(&'static str, Outside)>> {
        let named = |(_, setting, pattern): (Split, &'static str, &PathBuf)| -> Result<_> {
            let archives = matching_archives(pattern)?;
            if is_url(pattern) {
                return Ok((setting, outside(pattern, &archives)));
            }
            let names = archives.into_iter().map(|path| path.to_string_lossy().into_owned());
            Ok((setting, Outside::Files(PathBuf::from("."), names.collect())))
        };
        self.patterns().map(named).collect()
    }

    fn open(&self, seed: u64, _data: &Path, progress: &Progress) -> Result<Box<dyn Source>> {
        Ok(Box::new(Tar::open(self, seed, progress)?))
    }
}
