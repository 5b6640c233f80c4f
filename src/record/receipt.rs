//! Receipts: the record of what a stage did, stored in its result.
//!
//! The fingerprint and its parts decide about reuse; the rest (times, device, threads) is for people and is written
//! nowhere else. A receipt is sealed with a digest: a damaged one counts as missing.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StageName;
use super::digest::{FileStamp, digest, short};
use super::fingerprint::Parts;
use super::sealed::{sealed, unseal};
use crate::error::{self, Kind};
use crate::store::{self, Stat};
use crate::table::FileRecord;

/// The format version of receipts: raised when an older limpid would misread a newer one. Receipts of another format count as
/// missing.
const FORMAT: u32 = 2;

/// The record of what a stage did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    format: u32,
    /// The stage.
    pub stage: String,
    /// Digest of `parts`.
    pub fingerprint: String,
    /// Everything that the result depends on.
    pub parts: Parts,
    /// The stamps of the files that were read from outside the run, by the setting that names them.
    pub files: BTreeMap<String, FileStamp>,
    /// The files that were written.
    pub outputs: Vec<FileRecord>,
    /// When the stage started, RFC 3339.
    pub started: String,
    /// Duration in seconds.
    pub seconds: f64,
    /// The pipeline's seed.
    pub seed: u64,
    /// The device that computed, or those that did one after the other.
    pub device: String,
    /// Threads that were used.
    pub threads: usize,
    /// The version of limpid.
    pub tool: String,
    /// Further details of the stage.
    pub details: Value,
}

/// The fields of a receipt that the caller provides.
pub struct Work {
    /// The files that were written.
    pub outputs: Vec<FileRecord>,
    /// When the stage started.
    pub started: jiff::Timestamp,
    /// Duration in seconds.
    pub seconds: f64,
    /// The pipeline's seed.
    pub seed: u64,
    /// The device that computed, or those that did one after the other.
    pub device: String,
    /// Threads that were used.
    pub threads: usize,
    /// Further details of the stage.
    pub details: Value,
}

impl Receipt {
    /// The receipt of work whose result depends on `parts`.
    pub fn new(stage: StageName, parts: Parts, files: BTreeMap<String, FileStamp>, work: Work) -> Self {
        let Work { outputs, started, seconds, seed, device, threads, details } = work;
        Self {
            format: FORMAT,
            stage: stage.to_string(),
            fingerprint: parts.digest(),
            parts,
            files,
            outputs,
            started: started.to_string(),
            seconds: (seconds * 1000.0).round() / 1000.0,
            seed,
            device,
            threads,
            tool: concat!("limpid ", env!("CARGO_PKG_VERSION")).to_owned(),
            details,
        }
    }

    /// Reads a receipt; none if it is damaged or of another format.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let receipt: Self = serde_json::from_str(&unseal(bytes)?).ok()?;
        (receipt.format == FORMAT && receipt.fingerprint == receipt.parts.digest()).then_some(receipt)
    }

    /// The receipt as the bytes of a file.
    ///
    /// # Errors
    /// The serialisation fails, which no content causes.
    pub fn serialise(&self) -> Result<Vec<u8>> {
        sealed(self)
    }

    /// When the stage started, to the second.
    pub fn started_second(&self) -> String {
        self.started.parse::<jiff::Timestamp>().map_or_else(|_| self.started.clone(), |time| format!("{time:.0}"))
    }

    /// The digests of the files that were written, by `stage/name`, as fingerprints have them.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let digest = |output: &FileRecord| (format!("{}/{}", self.stage, output.name), output.digest.clone());
        self.outputs.iter().map(digest).collect()
    }

    /// The rows of the tables that were written, by `stage/name`.
    pub fn rows(&self) -> BTreeMap<String, u64> {
        let rows = |output: &FileRecord| Some((format!("{}/{}", self.stage, output.name), output.rows?));
        self.outputs.iter().filter_map(rows).collect()
    }

    /// The damage of the files in `folder` compared with the receipt; none if they are as written. Files with unchanged size
    /// and time are trusted unless `thorough`.
    ///
    /// # Errors
    /// Interruption while a file is read.
    pub fn damage(&self, folder: &Path, thorough: bool) -> Result<Option<String>> {
        for output in &self.outputs {
            if let Some(damage) = output_damage(output, folder, thorough)? {
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }
}

/// The damage of one of the files in `folder`, as in [`Receipt::damage`].
///
/// # Errors
/// Interruption while it is read.
pub fn output_damage(output: &FileRecord, folder: &Path, thorough: bool) -> Result<Option<String>> {
    let path = folder.join(&output.name);
    let Stat { bytes, modified, .. } = match store::of(&path).stat(&path) {
        Ok(stat) => stat,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", path.display())));
        }
        Err(cause) => return Ok(Some(format!("{} cannot be read: {cause}", path.display()))),
    };
    if bytes != output.bytes {
        return Ok(Some(format!("{} has {bytes} bytes, {} were written", path.display(), output.bytes)));
    }
    if modified == output.modified && !thorough {
        return Ok(None);
    }
    match digest(&path) {
        Ok(found) if found == output.digest => Ok(None),
        Ok(found) => {
            let (found, expected) = (short(&found), short(&output.digest));
            Ok(Some(format!("{} has changed: digest {expected} → {found}", path.display())))
        }
        Err(cause) if error::kind(&cause) == Kind::TryAgain => Err(cause),
        Err(cause) => Ok(Some(format!("{cause:#}"))),
    }
}
