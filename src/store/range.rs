//! Reads ranges of a file, from any thread.
//!
//! Each read gives its position: with a shared position, threads would disturb each other.

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file of which any range can be read.
pub trait ReadAt: Debug + Send + Sync {
    /// Its size in bytes when it was opened.
    fn bytes(&self) -> u64;

    /// Reads some bytes from `at` on into `buffer`, and returns how many; 0 at the end.
    ///
    /// # Errors
    /// They cannot be read.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// The same file with these ranges in memory, read by few requests; none if reading is cheap anyway, or they are too large.
    ///
    /// # Errors
    /// They cannot be read.
    fn holding(&self, _ranges: &[Range<u64>]) -> io::Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }

    /// The same file with what [`Self::holding`] reads of it kept on the local disk, while there is room; none if reading it again is
    /// cheap anyway.
    ///
    /// # Errors
    /// There can be no temporary file.
    fn kept(&self, _room: &Arc<Room>) -> io::Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}

/// Room on the local disk, in bytes, that several files share.
#[derive(Debug)]
pub struct Room(AtomicU64);

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(bytes)))
    }

    /// Takes so many bytes, if there are as many left.
    pub fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// A reader of a file, with its own position.
pub struct RangeReader {
    file: Arc<dyn ReadAt>,
    at: u64,
}

impl RangeReader {
    /// A reader that starts at byte `at`.
    pub fn new(file: Arc<dyn ReadAt>, at: u64) -> Self {
        Self { file, at }
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.file.bytes()
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for RangeReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(step) => self.at.checked_add_signed(step),
            SeekFrom::End(step) => self.file.bytes().checked_add_signed(step),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
