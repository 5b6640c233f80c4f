//! The bytes of an open Parquet file, for the readers of the `parquet` crate.
//!
//! The crate's own way to share a file shares its position too, which several threads would overwrite. An open file stays
//! readable when its name is replaced, so that a table can be read while a run replaces it.

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};

use crate::store::{self, RangeReader, ReadAt, Room};

/// An open file, which clones share.
#[derive(Debug, Clone)]
pub struct TableBytes(Arc<dyn ReadAt>);

impl TableBytes {
    /// Opens a file.
    ///
    /// # Errors
    /// The store.
    pub fn open(path: &Path) -> io::Result<Self> {
        store::of(path).open(path).map(Self)
    }

    /// The bytes of an open file.
    ///
    /// # Errors
    /// The file system.
    #[cfg(test)]
    pub fn of(file: std::fs::File) -> io::Result<Self> {
        store::local::opened(file).map(Self)
    }

    /// The same file with the columns of some row groups in memory that `is_read` names by their positions among the leaves, if
    /// reading them page by page would be dear.
    ///
    /// # Errors
    /// The store.
    pub fn holding(&self, groups: &[RowGroupMetaData], is_read: impl Fn(usize) -> bool) -> io::Result<Self> {
        let range = |chunk: &ColumnChunkMetaData| {
            let start = chunk.dictionary_page_offset().unwrap_or(i64::MAX).min(chunk.data_page_offset());
            // What a damaged footer claims is refused when its pages are checked.
            let (start, length) = (u64::try_from(start).ok()?, u64::try_from(chunk.compressed_size()).ok()?);
            Some(start..start.checked_add(length)?)
        };
        let columns = groups.iter().flat_map(|group| group.columns().iter().enumerate());
        let ranges: Vec<_> = columns.filter(|(leaf, _)| is_read(*leaf)).filter_map(|(_, chunk)| range(chunk)).collect();
        Ok(self.0.holding(&ranges)?.map_or_else(|| self.clone(), Self))
    }

    /// The same file with what is read of it kept on the local disk, if reading it again would be dear.
    ///
    /// # Errors
    /// There can be no temporary file.
    pub fn kept(&self, room: &Arc<Room>) -> io::Result<Self> {
        Ok(self.0.kept(room)?.map_or_else(|| self.clone(), Self))
    }

    /// A reader that starts at byte `at`.
    pub fn at(&self, at: u64) -> RangeReader {
        RangeReader::new(Arc::clone(&self.0), at)
    }
}

impl Length for TableBytes {
    fn len(&self) -> u64 {
        self.0.bytes()
    }
}

impl ChunkReader for TableBytes {
    type T = BufReader<RangeReader>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.at(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // Memory for the bytes that the file has, not for a length that a damaged footer claims.
        let there = self.len().saturating_sub(start).min(length as u64) as usize;
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
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn places_are_independent_and_ends_are_errors() {
        let mut file = tempfile::tempfile().expect("can be made");
        file.write_all(b"0123456789").expect("can be written");
        let bytes = TableBytes::of(file).expect("is open");
        let (mut first, mut second) = (bytes.at(2), bytes.at(5));
        let read = |from: &mut RangeReader| {
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
