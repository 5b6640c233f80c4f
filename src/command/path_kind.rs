//! Which kind of input a path is: a folder, or a file whose format its first bytes tell.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use anyhow::Result;

use crate::error;
use crate::source;

/// What a path leads to, by the first bytes of a file and never by its name.
pub enum Kind {
    /// A folder.
    Folder,
    /// A Parquet file.
    Parquet,
    /// A picture.
    Picture,
    /// A NumPy array.
    Array,
    /// Anything else: IDX, or something that reading it as IDX tells.
    Idx,
}

/// Looks at a path.
pub fn kind(path: &Path) -> Result<Kind> {
    let mut start = Vec::new();
    if path.is_dir() {
        return Ok(Kind::Folder);
    }
    // Whatever else there is, a pipe say, can be read once at most, and might never end.
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
