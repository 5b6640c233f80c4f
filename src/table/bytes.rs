//! The bytes of an opened file, read at any place by any thread.
//!
//! The library's own way to share a file shares its position too, so that two threads would read each other's bytes. Here
//! every read says where. A file that was opened is read to its end whatever takes its name meanwhile: a table of a run goes
//! on while the run replaces it.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::disk;

/// An opened file; clones are the same one.
#[derive(Debug, Clone)]
pub struct TableBytes {
    file: Arc<File>,
    len: u64,
}

impl TableBytes {
    /// Opens a file.
    ///
    /// # Errors
    /// The file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(disk::open(path)?)
    }

    /// The bytes of an open file.
    ///
    /// # Errors
    /// The file system.
    pub fn of(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), len })
    }

    /// Reads from this place on.
    pub fn at(&self, at: u64) -> BytesAt {
        BytesAt { bytes: self.clone(), at }
    }
}

/// A place in a file.
pub struct BytesAt {
    bytes: TableBytes,
    at: u64,
}

impl Read for BytesAt {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = read_at(&self.bytes.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for BytesAt {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(step) => self.at.checked_add_signed(step),
            SeekFrom::End(step) => self.bytes.len.checked_add_signed(step),
        };
        self.at = at.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}

impl Length for TableBytes {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for TableBytes {
    type T = BufReader<BytesAt>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.at(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Not room for what a file claims, but for what it has.
        let there = self.len.saturating_sub(start).min(length as u64) as usize;
        let mut buffer = Vec::with_capacity(there);
        self.at(start).take(length as u64).read_to_end(&mut buffer)?;
        if buffer.len() == length {
            return Ok(buffer.into());
        }
        Err(ParquetError::EOF(format!("expected {length} bytes at byte {start}, found {}", buffer.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn places_are_independent_and_ends_are_errors() {
        let mut file = tempfile::tempfile().expect("can be made");
        file.write_all(b"0123456789").expect("can be written");
        let bytes = TableBytes::of(file).expect("is open");
        let (mut first, mut second) = (bytes.at(2), bytes.at(5));
        let read = |from: &mut BytesAt| {
            let mut two = [0; 2];
            from.read_exact(&mut two).expect("are there");
            two
        };
        assert_eq!([read(&mut first), read(&mut second), read(&mut first)], [*b"23", *b"56", *b"45"]);
        assert_eq!(second.seek(SeekFrom::End(-1)).expect("is there"), 9);
        assert!(second.seek(SeekFrom::Current(-10)).is_err());
        assert_eq!(&bytes.get_bytes(7, 3).expect("are there")[..], b"789");
        assert!(bytes.get_bytes(7, 4).is_err() && bytes.get_bytes(99, 1).is_err());
    }
}
