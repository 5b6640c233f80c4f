//! The kind of input at a path: a folder, or a file format, recognised by the first bytes.

use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result};

use crate::error;
use crate::source::{self, Look, look};
use crate::store::{self, PathKind};

/// The kind of input at a path; a file is recognised by its first bytes, never by its name.
pub enum Kind {
    /// A folder.
    Folder,
    /// A Parquet file.
    Parquet,
    /// A picture.
    Picture,
    /// A NumPy array.
    Array,
    /// IDX, raw or gzip.
    Idx,
}

/// Finds the kind of input at a path.
///
/// # Errors
/// A path that does not exist, and a file of another kind, with what it is and what to do.
pub fn kind(path: &Path) -> Result<Kind> {
    match recognised(path)? {
        Ok(kind) => Ok(kind),
        Err((what, advice)) => Err(error::data(format!("{} is {what}; {advice}", path.display()))),
    }
}

/// The kind of input at a path, or what a file of another kind is, and advice.
///
/// # Errors
/// A path that does not exist or cannot be read.
pub fn recognised(path: &Path) -> Result<Result<Kind, (String, String)>> {
    let mut start = Vec::new();
    match store::of(path).kind(path).with_context(|| format!("cannot read {}", path.display()))? {
        Some(PathKind::Folder) => return Ok(Ok(Kind::Folder)),
        // A pipe can be read only once, and might never end.
        Some(PathKind::Other) => {
            return Err(error::data(format!("{} is neither a file nor a folder", path.display())));
        }
        Some(PathKind::File) | None => {}
    }
    let read = store::reader(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound if is_other_url(path) => error::settings(format!(
            "{} is a URL of a kind that limpid does not read, as it does s3://, gs://, az:// and https://: download it first",
            path.display()
        )),
        ErrorKind::NotFound => error::settings(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    Ok(Ok(match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Kind::Parquet,
        start if source::is_picture(start) => Kind::Picture,
        start if start.starts_with(b"\x93NUMPY") => Kind::Array,
        start if start.starts_with(b"PK\x03\x04") && source::count_arrays(path).is_ok_and(|count| count == 1) => {
            Kind::Array
        }
        _ => match look(path)? {
            Look::Idx => Kind::Idx,
            Look::Other { what, advice, .. } => return Ok(Err((what, advice))),
        },
    }))
}

/// Whether a path is meant as a URL, and is none that a store has.
fn is_other_url(path: &Path) -> bool {
    if crate::store::url::is_url(path) {
        return false;
    }
    let scheme = path.to_str().and_then(|path| path.split_once(":/")).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}
