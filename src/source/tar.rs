//! The source `tar`: pictures in tar archives, as WebDataset has them.
//!
//! Files of an archive whose names are the same up to the first dot are one sample: a picture and, beside it, a file with its label. The
//! archives are read once, for the place and the header of each picture; pictures are then read at their places, by all threads, so that
//! only those of the row groups under way are in memory. Compressed archives have no such places and are refused.

mod braces;
pub mod list;
mod scan;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::draw::{Draw, key};
use super::label_text::{self, Texts};
use super::listed::Listed;
use super::listed::opened::List;
use super::rejected::Rejections;
use super::settings::{drawn, of_pictures};
use super::tables::{matching, outside};
use super::{Outside, Source, SourceKind, check_classes};
use crate::image::{Levels, PerSplit, Split};
use crate::progress::Progress;
use crate::store::url::is_url;
use crate::{error, store, text};
use list::{Archives, Sample};
use scan::Found;
pub use settings::TarSettings;

/// The images of tar archives.
pub type Tar = Listed<Archives>;

impl Tar {
    /// Reads the archives and opens the list of their pictures.
    ///
    /// # Errors
    /// Archives that cannot be read, that are compressed or no archives; splits without pictures; no picture that can be used,
    /// interruption.
    fn of_settings(settings: &TarSettings, seed: u64, progress: &Progress) -> Result<Self> {
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
        let scan = |(number, path): (usize, &PathBuf)| {
            scan::scan(path, number as u32, &settings.fit, settings.label.as_deref())
        };
        let found: Vec<Found> = archives.par_iter().enumerate().map(scan).collect::<Result<_>>()?;
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
        let classes = (texts == Texts::Names && !classes.is_empty()).then(|| classes.into());
        let rejections = Rejections::new(settings.faults, Archives::SECTION);
        Self::open(Archives::new(archives), settings.fit, rejections, splits, classes)
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

impl SourceKind for TarSettings {
    fn decisive(&self, seed: u64) -> Value {
        let Self { train: _, test: _, validation: _, test_fraction, validation_fraction, label, fit, faults } = self;
        drawn(of_pictures(json!({ "label": label }), fit, faults), *test_fraction, *validation_fraction, seed)
    }

    fn levels(&self) -> Option<Levels> {
        self.fit.levels
    }

    fn with_levels(&self, levels: Levels, own_size: bool) -> Option<Box<dyn SourceKind>> {
        Some(Box::new(Self { fit: self.fit.with_levels(levels, own_size), ..self.clone() }))
    }

    fn has_shards(&self) -> bool {
        true
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
        Ok(Box::new(Tar::of_settings(self, seed, progress)?))
    }
}
