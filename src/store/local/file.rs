//! Open files of the file system: one to read ranges of, one to write and sync.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::{NEW, host, nanoseconds, parent, remove_file, rename, sync_folder};
use crate::error;
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
    /// What it is called in messages and to failpoints.
    path: PathBuf,
}

impl NewFile {
    /// Creates an empty file, replacing any other.
    ///
    /// # Errors
    /// The file system.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_at(path, path)
    }

    /// As [`Self::create`], at another place than the path that it will have.
    fn create_at(place: &Path, path: &Path) -> Result<Self> {
        let file = reach("create", &[path]).and_then(|()| File::create(place));
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

/// A file that is written under a hidden name and takes its own when it is finished.
pub struct WholeFile {
    /// None once it is finished.
    file: Option<NewFile>,
    hidden: PathBuf,
    path: PathBuf,
    syncs: bool,
}

impl WholeFile {
    /// Creates the file under a hidden name that no other process uses; its folder is synced when it is finished if `syncs`.
    ///
    /// # Errors
    /// The file system.
    pub fn create(path: &Path, syncs: bool) -> Result<Self> {
        static CREATED: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (host, process, count) = (host(), std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
        let hidden = path.with_file_name(format!(".{name}.{host}-{process}-{count}{NEW}"));
        Ok(Self { file: Some(NewFile::create_at(&hidden, path)?), hidden, path: path.to_owned(), syncs })
    }

    fn file(&mut self) -> io::Result<&mut NewFile> {
        self.file.as_mut().ok_or_else(|| ErrorKind::BrokenPipe.into())
    }
}

impl crate::store::NewFile for WholeFile {
    fn finish(mut self: Box<Self>) -> Result<u64> {
        let Some(file) = self.file.take() else { return Err(error::bug("a file is finished twice")) };
        let finished = Box::new(file).finish().and_then(|modified| {
            rename(&self.hidden, &self.path)?;
            if self.syncs {
                sync_folder(parent(&self.path))?;
            }
            Ok(modified)
        });
        finished.inspect_err(|_| _ = remove_file(&self.hidden))
    }
}

impl Write for WholeFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file()?.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

impl Drop for WholeFile {
    /// Removes a file that was not finished.
    fn drop(&mut self) {
        if self.file.is_some() {
            _ = remove_file(&self.hidden);
        }
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
