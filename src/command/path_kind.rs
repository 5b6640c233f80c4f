//! The kind of input at a path: a folder, or a file format, recognised by the first bytes.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::source;

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
    /// Anything else: IDX, or a file that reading it as IDX refuses.
    Idx,
}

/// Finds the kind of input at a path.
pub fn kind(path: &Path) -> Result<Kind> {
    let mut start = Vec::new();
    if path.is_dir() {
        return Ok(Kind::Folder);
    }
    // Anything else, such as a pipe, can be read only once, and might never end.
    if path.exists() && !path.is_file() {
        return Err(error::data(format!("{} is neither a file nor a folder", path.display())));
    }
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => error::settings(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    Ok(match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Kind::Parquet,
        start if source::is_picture(start) => Kind::Picture,
        start if start.starts_with(b"\x93NUMPY") => Kind::Array,
        _ => Kind::Idx,
    })
}
