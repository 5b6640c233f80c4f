//! The pictures of tar archives as a list.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::image::{ImageShape, Pixels};
use crate::source::listed::opened::{List, Opened};
use crate::source::outside::common_folder;
use crate::source::picture::{self, PictureFile};
use crate::source::settings::Fit;
use crate::source::{Outside, Version};
use crate::store::{self, ReadAt};

/// Most bytes of an archive that a thread holds: one request to a store takes so much.
const MOST_HELD: u64 = 8 << 20;

/// Pictures in archives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Archives {
    /// The folder that they have in common.
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

/// A picture in an archive; in JSON a list, without what its header tells, which is known once the list is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Sample {
    /// Position among the archives.
    pub(super) archive: u32,
    /// Place of its first byte.
    pub(super) at: u64,
    /// Number of its bytes.
    pub(super) len: u64,
    /// Its name in the archive.
    pub(super) name: String,
    pub(super) label: Option<i64>,
    pub(super) header: Option<(ImageShape, Pixels)>,
}

type Stored = (u32, u64, u64, String, Option<i64>);

impl From<Stored> for Sample {
    fn from((archive, at, len, name, label): Stored) -> Self {
        Self { archive, at, len, name, label, header: None }
    }
}

impl From<Sample> for Stored {
    fn from(Sample { archive, at, len, name, label, header: _ }: Sample) -> Self {
        (archive, at, len, name, label)
    }
}

impl Sample {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

impl Archives {
    /// The archives at these paths.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let folder = common_folder(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>()).to_owned();
        Self { folder, paths }
    }

    fn archive(&self, sample: &Sample) -> &Path {
        &self.paths[sample.archive as usize]
    }

    fn open(&self, sample: &Sample) -> Result<Arc<dyn ReadAt>> {
        let path = self.archive(sample);
        store::of(path).open(path).with_context(|| self.unreadable(sample))
    }

    fn unreadable(&self, sample: &Sample) -> String {
        format!("cannot read {}", self.archive(sample).display())
    }
}

impl List for Archives {
    type Entry = Sample;
    /// An archive, by its number, with the pictures that are read next.
    type Held = Option<(u32, Arc<dyn ReadAt>)>;

    const SECTION: &'static str = "source.tar";

    fn label(sample: &Sample) -> Option<i64> {
        sample.label
    }

    fn page(_: &Sample) -> usize {
        0
    }

    /// Does not depend on where the archives lie.
    fn path(&self, sample: &Sample) -> String {
        let archive = self.archive(sample);
        format!("{}/{}", archive.strip_prefix(&self.folder).unwrap_or(archive).display(), sample.name)
    }

    fn name(&self, sample: &Sample) -> String {
        format!("{}/{}", self.archive(sample).display(), sample.name)
    }

    /// Pictures that are close in one archive, which is opened once for all of them.
    fn hold(&self, samples: &[Sample]) -> Result<(Self::Held, usize)> {
        let Some(first) = samples.first() else { return Ok((None, 0)) };
        let is_near =
            |sample: &Sample| sample.archive == first.archive && sample.end().saturating_sub(first.at) <= MOST_HELD;
        let near: Vec<_> =
            samples.iter().take_while(|sample| is_near(sample)).map(|sample| sample.at..sample.end()).collect();
        if near.is_empty() {
            return Ok((None, 1));
        }
        let file = self.open(first)?;
        let held = file.holding(&near).with_context(|| self.unreadable(first))?;
        Ok((Some((first.archive, held.unwrap_or(file))), near.len()))
    }

    fn read(&self, held: &Self::Held, sample: &Sample) -> Result<Result<PictureFile, String>> {
        let file = match held {
            Some((archive, file)) if *archive == sample.archive => Arc::clone(file),
            _ => self.open(sample)?,
        };
        picture::read_part(file, sample.at, sample.len).with_context(|| self.unreadable(sample))
    }

    fn header(&self, sample: &Sample, _fit: &Fit) -> Option<(ImageShape, Pixels)> {
        sample.header
    }

    fn expect(&self, _samples: &[Sample]) {}

    fn files(&self, samples: &[Sample]) -> Outside {
        let archives: BTreeSet<_> = samples.iter().map(|sample| self.archive(sample)).collect();
        Outside::of(&archives.into_iter().collect::<Vec<_>>())
    }

    fn version(opened: Arc<Opened<Self>>) -> Version {
        Version::Tar(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_held_that_are_close_in_one_archive() {
        let folder = tempfile::tempdir().expect("can be made");
        let paths: Vec<_> = ["a.tar", "b.tar"].iter().map(|name| folder.path().join(name)).collect();
        paths.iter().for_each(|path| std::fs::write(path, path.to_string_lossy().as_bytes()).expect("written"));
        let archives = Archives::new(paths.clone());
        let sample =
            |archive, at, len| Sample { archive, at, len, name: "x.png".to_owned(), label: None, header: None };
        let samples = [
            sample(0, 0, 4),
            sample(0, MOST_HELD - 1, 1),
            sample(0, MOST_HELD, 1),
            sample(1, 0, 5),
            sample(1, 0, MOST_HELD + 1),
        ];
        let held = |from: usize| archives.hold(&samples[from..]).expect("can be read");
        let told = |from: usize| (held(from).0.map(|(archive, _)| archive), held(from).1);
        assert_eq!([0, 1, 2, 3, 4].map(told), [(Some(0), 2), (Some(0), 2), (Some(0), 1), (Some(1), 1), (None, 1)]);
        // What is not held is read all the same, and an archive that ends early is told.
        for at in [0, 3] {
            let file = archives.read(&held(0).0, &samples[at]).expect("can be read").expect("is whole");
            assert_eq!(file.bytes, paths[at / 3].to_string_lossy().as_bytes()[..4 + at / 3]);
        }
        assert!(archives.read(&held(0).0, &samples[1]).expect("can be read").is_err());
        std::fs::remove_file(&paths[1]).expect("removed");
        let message = format!("{:#}", archives.hold(&samples[3..]).map(|_| ()).expect_err("it is gone"));
        assert!(message.starts_with(&format!("cannot read {}", paths[1].display())), "{message}");
    }
}
