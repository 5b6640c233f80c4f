//! Digests of files, and stamps that detect changes without reading.
//!
//! The digest decides; the stamp only saves computing it again. A stamp therefore holds everything by which a file system shows a
//! change, including the change time of the inode, which no program can set.

use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error;
use crate::source::Outside;
use crate::store::{self, PathKind, RangeReader, Stat};

/// Files that a store reads ahead.
const AHEAD: usize = 32;

/// The state of a file, or of all files of a folder that are read, when they were digested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Its path, with links resolved; it serves to recognise the file and enters no fingerprint.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Last modification, in nanoseconds since 1970; of a folder, 64 bits of the digest of its files' names, sizes and times.
    pub modified: u64,
    /// The same of the inode's change time, which no program can set: it reveals a file that was edited and given its old time
    /// back. 0 where the system has none.
    pub changed: u64,
    /// blake3 of the content, in hexadecimal; of a folder, of its files' names and digests.
    pub digest: String,
}

impl FileStamp {
    /// Whether the stamps are equal apart from the digest.
    pub fn is_as(&self, seen: &FileStamp) -> bool {
        let told = |stamp: &FileStamp| (stamp.path.clone(), stamp.bytes, stamp.modified, stamp.changed);
        told(self) == told(seen)
    }
}

/// blake3 of a file, in hexadecimal.
///
/// # Errors
/// Interruption, or the file system.
pub fn digest(path: &Path) -> Result<String> {
    let file = store::of(path).open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file.bytes();
    store::digest_of(RangeReader::new(file, 0), bytes).with_context(|| format!("cannot read {}", path.display()))
}

/// The stamp of files. The digest of `known` is reused if path, names, sizes and times are unchanged, so that a large folder
/// costs one `stat` for each file, and its content is not read.
///
/// # Errors
/// No such file, one that has gone, or the file system.
pub fn stamp(files: &Outside, known: Option<&FileStamp>) -> Result<FileStamp> {
    let seen = look(files)?;
    if let Some(known) = known.filter(|known| known.is_as(&seen)) {
        return Ok(known.clone());
    }
    let digest = match files {
        Outside::File(path) => digest(path)?,
        Outside::Files(root, members) => {
            let digests = members.par_iter().enumerate().map(|(index, member)| {
                let next = &members[index..members.len().min(index + AHEAD)];
                store::of(root).expect(&mut next.iter().map(|member| root.join(member)));
                match digest(&root.join(member)) {
                    // A broken link: ingest reports it.
                    Err(cause) if is_missing(&cause) => Ok(String::new()),
                    digest => digest,
                }
            });
            let mut hasher = blake3::Hasher::new();
            for (member, digest) in members.iter().zip(digests.collect::<Result<Vec<_>>>()?) {
                hasher.update(member.as_bytes()).update(&[0]).update(digest.as_bytes());
            }
            hasher.finalize().to_hex().to_string()
        }
    };
    Ok(FileStamp { digest, ..seen })
}

/// The stamp of files without the digest, from their metadata alone.
///
/// # Errors
/// As [`stamp`].
pub fn look(files: &Outside) -> Result<FileStamp> {
    look_by(files, |root, members| store::of(root).stats(root, members))
}

/// As [`look`], whatever earlier listings said.
///
/// # Errors
/// As [`stamp`].
pub fn look_now(files: &Outside) -> Result<FileStamp> {
    look_by(files, |root, members| store::of(root).stats_now(root, members))
}

fn look_by(
    files: &Outside,
    stats: impl FnOnce(&Path, &[String]) -> io::Result<Vec<Option<Stat>>>,
) -> Result<FileStamp> {
    let (Outside::File(path) | Outside::Files(path, _)) = files;
    let found = store::of(path).real(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    });
    let (place, digest) = (found?.to_string_lossy().into_owned(), String::new());
    let unreadable = || format!("cannot read {}", path.display());
    let Outside::Files(root, members) = files else {
        check_is_file(path)?;
        let Stat { bytes, modified, changed } = store::of(path).stat(path).with_context(unreadable)?;
        return Ok(FileStamp { path: place, bytes, modified, changed, digest });
    };
    let looks = stats(root, members).map_err(|cause| match cause.kind() {
        ErrorKind::InvalidData => error::data(cause.to_string()),
        _ => anyhow::Error::new(cause).context(unreadable()),
    });
    let (mut bytes, mut hashers) = (0, [blake3::Hasher::new(), blake3::Hasher::new()]);
    // Of a broken link there is none.
    for (member, look) in members.iter().zip(looks?) {
        let [size, modified, changed] = look.map_or([0; 3], |stat| [stat.bytes, stat.modified, stat.changed]);
        bytes += size;
        for (hasher, time) in hashers.iter_mut().zip([modified, changed]) {
            hasher.update(member.as_bytes()).update(&[0]).update(&size.to_le_bytes()).update(&time.to_le_bytes());
        }
    }
    let start = |hasher: &blake3::Hasher| {
        hasher.finalize().as_bytes()[..8].iter().fold(0, |start, &byte| start << 8 | u64::from(byte))
    };
    let [modified, changed] = hashers.each_ref().map(start);
    Ok(FileStamp { path: place, bytes, modified, changed, digest })
}

/// Whether files that now look like `after` have the content of `before`. They are digested if `again`, and where metadata alone does
/// not tell.
///
/// # Errors
/// As [`stamp`].
pub fn is_unchanged(files: &Outside, before: &FileStamp, after: &FileStamp, again: bool) -> Result<bool> {
    let told = |stamp: &FileStamp| (stamp.path.clone(), stamp.bytes, stamp.modified);
    if told(before) != told(after) {
        return Ok(false);
    }
    // A new owner or hard link changes the inode, but not the content: the digest decides.
    let is_touched = before.changed != after.changed;
    Ok(!(again || is_touched) || stamp(files, None)?.digest == before.digest)
}

fn is_missing(cause: &anyhow::Error) -> bool {
    cause.downcast_ref::<std::io::Error>().is_some_and(|cause| cause.kind() == ErrorKind::NotFound)
}

/// Refuses pipes and the like, which can be read only once and may never end.
fn check_is_file(path: &Path) -> Result<()> {
    match store::of(path).kind(path).with_context(|| format!("cannot read {}", path.display()))? {
        Some(PathKind::Folder | PathKind::Other) => Err(error::data(format!("{} is not a file", path.display()))),
        _ => Ok(()),
    }
}

/// The start of a digest, for people.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
