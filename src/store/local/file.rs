//! Open files of the file system: one to read ranges of, one to write and sync.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

use anyhow::{Context, Result};

use super::nanoseconds;
use crate::store::ReadAt;
use crate::store::failpoint::{self, reach};
use crate::store::whole::too_large;

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    bytes: u64,
}

impl OpenFile {
    /// The file, with its current size.
    ///
    /// # Errors
    /// The file system.
    pub fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

impl ReadAt for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, at)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, at)
    }
}

/// An open file, of which any range can be read.
///
/// # Errors
/// The file system.
#[cfg(test)]
pub fn opened(file: File) -> io::Result<Arc<dyn ReadAt>> {
    Ok(Arc::new(OpenFile::new(file)?))
}

/// A file that is being written.
pub struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Creates an empty file, replacing any other.
    ///
    /// # Errors
    /// The file system.
    pub fn create(path: &Path) -> Result<Self> {
        let file = reach("create", &[path]).and_then(|()| File::create(path));
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file, path: path.to_owned() })
    }
}

impl crate::store::NewFile for NewFile {
    fn finish(self: Box<Self>) -> Result<u64> {
        let synced = reach("sync", &[&self.path]).and_then(|()| self.file.sync_all());
        let metadata = synced.and_then(|()| self.file.metadata());
        let metadata = metadata.with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(metadata.modified().map_or(0, nanoseconds))
    }
}

/// Writes the buffer. With failpoints, it is written in two halves with the step `write` between them, so that a fault leaves a
/// partial write.
pub fn write_in_steps(mut file: &File, path: &Path, buffer: &[u8]) -> io::Result<usize> {
    let half = if failpoint::installed() { buffer.len() / 2 } else { 0 };
    file.write_all(&buffer[..half])?;
    reach("write", &[path])?;
    Ok(half + file.write(&buffer[half..])?)
}

impl Write for NewFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        write_in_steps(&self.file, &self.path, buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The bytes of a file of at most `most` bytes: its kind and length are checked before it is opened, and no more is read.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe would block until another process writes to it.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is not a file"));
    }
    if metadata.len() > most {
        return Err(too_large(most));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    super::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes) }
}
