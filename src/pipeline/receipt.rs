//! Receipts: what a stage did, beside what it made.
//!
//! The fingerprint and its parts decide about reuse; the rest (times, device, host's threads) is for people and is the only
//! place where such things are written. A receipt is sealed: one of which a bit is wrong counts as none.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fingerprint::Parts;
use super::sealed::{seal, unseal};
use crate::disk;
use crate::error::{self, Kind};
use crate::table::{FileRecord, nanoseconds};

/// The format of receipts: raised when an older limpid would misread a newer one, which then counts as none.
const FORMAT: u32 = 2;

/// What a stage did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Receipt {
    format: u32,
    /// The stage.
    pub stage: String,
    /// Digest of `parts`.
    pub fingerprint: String,
    /// What the result depends on.
    pub parts: Parts,
    /// The files that were read from outside the run, as they were, by the setting that says where they are.
    pub files: BTreeMap<String, FileStamp>,
    /// The files that were written.
    pub outputs: Vec<FileRecord>,
    /// When the stage started, RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The pipeline's seed.
    pub seed: u64,
    /// The device that computed, or those that did one after the other.
    pub device: String,
    /// Threads that were used.
    pub threads: usize,
    /// The version of limpid.
    pub tool: String,
    /// What else the stage has to say.
    pub details: Value,
}

/// What a stage did, as far as the caller knows.
pub struct Work {
    /// The files that were written.
    pub outputs: Vec<FileRecord>,
    /// When the stage started.
    pub started: jiff::Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The pipeline's seed.
    pub seed: u64,
    /// The device that computed, or those that did one after the other.
    pub device: String,
    /// Threads that were used.
    pub threads: usize,
    /// What else the stage has to say.
    pub details: Value,
}

/// A file, or all files of a folder that are read, as they were when they were digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Where it was, without links: for recognising it, it decides about nothing.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, in nanoseconds since 1970; of a folder, 64 bits of the digest of its files' names, sizes and times.
    pub modified: u64,
    /// blake3 of the content, in hexadecimal; of a folder, of its files' names and digests.
    pub digest: String,
}

impl Receipt {
    /// The receipt for work whose result depends on `parts`.
    pub fn new(stage: &str, parts: Parts, files: BTreeMap<String, FileStamp>, work: Work) -> Self {
        let Work { outputs, started, seconds, seed, device, threads, details } = work;
        Self {
            format: FORMAT,
            stage: stage.to_owned(),
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
    /// None that content can cause.
    pub fn serialise(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_string_pretty(self).context("cannot serialise a receipt")?;
        text.push('\n');
        Ok(seal(&text)?.into_bytes())
    }

    /// What is wrong with the files in `folder` compared with the receipt; none if they are as written. Files whose size
    /// and time are unchanged are believed unless `thorough`.
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

/// What is wrong with one of the files in `folder`, as [`Receipt::damage`] tells it.
///
/// # Errors
/// Interruption while it is read.
pub fn output_damage(output: &FileRecord, folder: &Path, thorough: bool) -> Result<Option<String>> {
    let path = folder.join(&output.name);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", path.display())));
        }
        Err(cause) => return Ok(Some(format!("{} cannot be read: {cause}", path.display()))),
    };
    if metadata.len() != output.bytes {
        let (found, expected) = (metadata.len(), output.bytes);
        return Ok(Some(format!("{} has {found} bytes, {expected} were written", path.display())));
    }
    let modified = metadata.modified().map_or(0, nanoseconds);
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

/// blake3 of a file, in hexadecimal.
///
/// # Errors
/// Interruption, or the file system.
pub fn digest(path: &Path) -> Result<String> {
    let file = disk::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    disk::digest_of(file).with_context(|| format!("cannot read {}", path.display()))
}

/// The stamp of a file; the digest of `known` is taken over if place, size and time are unchanged.
///
/// # Errors
/// No such file, or the file system.
pub fn stamp(path: &Path, known: Option<&FileStamp>) -> Result<FileStamp> {
    let found = path.canonicalize().and_then(|path| Ok((std::fs::metadata(&path)?, path)));
    let (metadata, path) = found.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    check_is_file(&path, &metadata)?;
    let (bytes, modified) = (metadata.len(), metadata.modified().map_or(0, nanoseconds));
    let place = path.to_string_lossy();
    match known {
        Some(known) if (known.path.as_str(), known.bytes, known.modified) == (&*place, bytes, modified) => {
            Ok(known.clone())
        }
        _ => Ok(FileStamp { path: place.into_owned(), bytes, modified, digest: digest(&path)? }),
    }
}

/// The stamp of the files called `members` below `root`; the digest of `known` is taken over if place, names, sizes and times
/// are unchanged, so that a folder of many files costs a look at each and not its content.
///
/// # Errors
/// A file that has gone, or the file system.
pub fn stamp_all(root: &Path, members: &[String], known: Option<&FileStamp>) -> Result<FileStamp> {
    let unreadable = |path: &Path| format!("cannot read {}", path.display());
    let place = root.canonicalize().with_context(|| unreadable(root))?.to_string_lossy().into_owned();
    let looked = members.par_iter().map(|member| {
        let path = root.join(member);
        let metadata = match std::fs::metadata(&path) {
            // A link that leads nowhere: ingest decides what becomes of it.
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok((0, 0)),
            metadata => metadata.with_context(|| unreadable(&path))?,
        };
        check_is_file(&path, &metadata)?;
        Ok((metadata.len(), metadata.modified().map_or(0, nanoseconds)))
    });
    let looked: Vec<(u64, u64)> = looked.collect::<Result<_>>()?;
    let mut hasher = blake3::Hasher::new();
    for (member, (bytes, modified)) in members.iter().zip(&looked) {
        hasher.update(member.as_bytes()).update(&[0]).update(&bytes.to_le_bytes()).update(&modified.to_le_bytes());
    }
    let start = hasher.finalize().as_bytes()[..8].iter().fold(0, |start, &byte| start << 8 | u64::from(byte));
    let (bytes, modified) = (looked.iter().map(|(bytes, _)| bytes).sum(), start);
    match known {
        Some(known) if (&known.path, known.bytes, known.modified) == (&place, bytes, modified) => {
            return Ok(known.clone());
        }
        _ => {}
    }
    let digests = members.par_iter().zip(&looked).map(|(member, looked)| match looked {
        (0, 0) => Ok(String::new()),
        _ => digest(&root.join(member)),
    });
    let digests: Vec<String> = digests.collect::<Result<_>>()?;
    let mut hasher = blake3::Hasher::new();
    for (member, digest) in members.iter().zip(&digests) {
        hasher.update(member.as_bytes()).update(&[0]).update(digest.as_bytes());
    }
    Ok(FileStamp { path: place, bytes, modified, digest: hasher.finalize().to_hex().to_string() })
}

/// Refuses what can be read once at most, and might never end: a pipe.
fn check_is_file(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(error::data(format!("{} is not a file", path.display()))) }
}

/// The start of a digest, for people.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
