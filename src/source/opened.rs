//! An opened source as one file: what its opening has found out, from which any process reads images without opening it again.
//!
//! The file is named by its digest, so that a job that names it cannot mean another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::pairs::Pairs;
use super::rejected::Looked;
use super::tar::Tar;
use super::version::Version;
use super::{Folder, Source, SourceSettings, Tables};
use crate::error;
use crate::image::Levels;
use crate::store::{self, MOST_RECEIPT};

/// An opened source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OpenedSource {
    /// The settings that opened it.
    pub settings: SourceSettings,
    /// The levels that were measured for it.
    pub levels: Option<Levels>,
    /// What was told about it.
    pub notes: Vec<String>,
    /// The images; the clean ones of pairs.
    pub images: Version,
    /// The noisy ones of pairs.
    pub noisy: Option<Version>,
}

impl Version {
    /// Its images as a source, after others of it were looked at.
    pub fn source(&self, looked: Looked) -> Box<dyn Source> {
        match self {
            Self::Folder(opened) => Box::new(Folder::again(Arc::clone(opened), looked)),
            Self::Tar(opened) => Box::new(Tar::again(Arc::clone(opened), looked)),
            Self::Parquet(opened) => Box::new(Tables::again(opened, looked)),
        }
    }
}

/// What the names of the files start with.
const START: &str = "opened-";
const END: &str = ".json";

impl OpenedSource {
    /// The images, or the noisy ones of pairs.
    pub fn version(&self, noisy: bool) -> Option<&Version> {
        if noisy { self.noisy.as_ref() } else { Some(&self.images) }
    }

    /// Its images as a source.
    ///
    /// # Errors
    /// As [`Pairs::new`].
    pub fn source(&self) -> Result<Box<dyn Source>> {
        let again = |version: &Version| version.source(Looked::default());
        Ok(match &self.noisy {
            None => again(&self.images),
            Some(noisy) => Box::new(Pairs::new(again(&self.images), again(noisy))?),
        })
    }

    /// Writes it to a folder, and returns the path and the digest of the file.
    ///
    /// # Errors
    /// The store.
    pub fn write(&self, folder: &Path) -> Result<(PathBuf, String)> {
        let bytes = serde_json::to_vec(self).map_err(|cause| {
            let advice =
                "rename what is on the way to the images, or start limpid there and name them by a relative path";
            error::settings(format!("the source cannot be handed to other processes: {cause}; {advice}"))
        })?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let path = folder.join(format!("{START}{digest}{END}"));
        store::write_whole(&path, &bytes).map(|_| (path, digest))
    }

    /// The digest of the file of this name, if it is that of an opened source.
    pub fn digest_in(name: &str) -> Option<&str> {
        name.strip_prefix(START)?.strip_suffix(END)
    }

    /// Reads the file with this digest.
    ///
    /// # Errors
    /// It is damaged or of another version; the store.
    pub fn read(path: &Path, digest: &str) -> Result<Self> {
        let bytes = store::read_whole(path, MOST_RECEIPT).with_context(|| format!("cannot read {}", path.display()))?;
        let is_whole = blake3::hash(&bytes).to_hex().as_str() == digest;
        let opened = is_whole.then(|| serde_json::from_slice(&bytes).ok()).flatten();
        let message = || format!("{} is damaged, or of another version; run the same command again", path.display());
        opened.ok_or_else(|| error::io(message()))
    }
}
