//! Checksums of Parquet pages, which the `parquet` crate verifies but does not write.
//!
//! A column chunk is collected as the header and the body of each page; [`Chunk::of`] puts the CRC-32 of the body into each
//! header and corrects the sizes and offsets in the chunk's metadata. Format: parquet-format, `parquet.thrift`,
//! `PageHeader.crc`; Thrift's compact protocol.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use parquet::column::page_store::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedRowGroupWriter;

use crate::error;

/// The first byte of a 32-bit field whose number is one more than that of the field before it.
const NEXT_I32: u8 = 0x15;
/// The type of a dictionary page in a header: 2 in zigzag encoding.
const DICTIONARY_PAGE: u8 = 4;

/// A column chunk in memory, with a checksum in each page.
pub struct Chunk {
    bytes: Bytes,
    close: ColumnCloseResult,
}

impl Chunk {
    /// The chunk of `pages`, header and body of each in turn; `close` is its metadata without checksums. The dictionary page may
    /// be anywhere among them.
    ///
    /// # Errors
    /// Headers that the `parquet` crate does not write.
    pub fn of(pages: &[Bytes], mut close: ColumnCloseResult) -> Result<Self> {
        let (pages, rest) = pages.as_chunks::<2>();
        let is_dictionary = |header: &Bytes| header.get(1) == Some(&DICTIONARY_PAGE);
        if !rest.is_empty() || pages.iter().any(|[header, _]| header.len() < 2) {
            return Err(error::bug("a page without its header or its body"));
        }
        let (dictionary, data): (Vec<_>, Vec<_>) = pages.iter().partition(|[header, _]| is_dictionary(header));
        let mut bytes = BytesMut::new();
        let mut put = |[header, body]: &[Bytes; 2]| -> Result<usize> {
            let start = bytes.len();
            put_header(&mut bytes, header, crc32fast::hash(body))?;
            bytes.extend_from_slice(body);
            Ok(start)
        };
        for page in &dictionary {
            put(page)?;
        }
        let starts: Vec<_> = data.iter().map(|page| put(page)).collect::<Result<_>>()?;
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        if let Some(index) = &mut close.offset_index {
            for ((location, start), end) in index.page_locations.iter_mut().zip(&starts).zip(ends) {
                (location.offset, location.compressed_page_size) = (*start as i64, (end - start) as i32);
            }
        }
        let before: usize = pages.iter().flatten().map(Bytes::len).sum();
        let uncompressed = close.metadata.uncompressed_size() + (bytes.len() - before) as i64;
        let builder = close.metadata.into_builder().set_total_uncompressed_size(uncompressed);
        let builder = builder
            .set_total_compressed_size(bytes.len() as i64)
            .set_dictionary_page_offset((!dictionary.is_empty()).then_some(0))
            .set_data_page_offset(starts.first().copied().unwrap_or(0) as i64);
        close.metadata = builder.build().map_err(|cause| error::bug(format!("cannot describe a column: {cause}")))?;
        close.bytes_written = bytes.len() as u64;
        Ok(Self { bytes: bytes.freeze(), close })
    }

    /// Appends it as the next column.
    ///
    /// # Errors
    /// The file system.
    pub fn append_to_row_group<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> parquet::errors::Result<()> {
        group.append_column(&self.bytes, self.close)
    }
}

/// Appends the header of a page with a checksum.
fn put_header(out: &mut BytesMut, header: &[u8], crc: u32) -> Result<()> {
    let unknown = || error::bug("the header of a page has another form than the library writes");
    // A header is the type and two sizes, then fields of the type, numbered at least two higher.
    let mut at = 0;
    for _ in 0..3 {
        if header.get(at) != Some(&NEXT_I32) {
            return Err(unknown());
        }
        let number = &header[at + 1..];
        at += 2 + number.iter().position(|byte| *byte < 0x80).ok_or_else(unknown)?;
    }
    let next = *header.get(at).filter(|next| **next >> 4 >= 2).ok_or_else(unknown)?;
    out.extend_from_slice(&header[..at]);
    out.extend_from_slice(&[NEXT_I32]);
    let crc = crc as i32;
    let mut zigzag = (crc << 1 ^ crc >> 31) as u32;
    while zigzag >= 0x80 {
        out.extend_from_slice(&[zigzag as u8 | 0x80]);
        zigzag >>= 7;
    }
    out.extend_from_slice(&[zigzag as u8, next - 0x10]);
    out.extend_from_slice(&header[at + 1..]);
    Ok(())
}

/// The pages of a column chunk that the `parquet` crate encodes.
#[derive(Debug, Default, Clone)]
pub struct Pages(Arc<Mutex<Vec<Bytes>>>);

impl Pages {
    /// Takes all pages so far: header and body of each in turn.
    pub fn take(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PageStore for Pages {
    fn put(&mut self, value: Bytes) -> parquet::errors::Result<PageKey> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.push(value);
        Ok(PageKey::new(pages.len() as u64 - 1))
    }

    fn take(&mut self, _key: PageKey) -> parquet::errors::Result<Bytes> {
        Err(ParquetError::General("the pages were taken together".to_owned()))
    }

    fn memory_size(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Bytes::len).sum()
    }
}

/// Creates [`Pages`] for columns and keeps a handle to them.
#[derive(Debug, Default)]
pub struct Collector {
    turn: Mutex<()>,
    created: Mutex<Vec<Pages>>,
}

impl Collector {
    /// The result of `create`, and the pages of the columns that it created, in their order.
    ///
    /// # Errors
    /// The errors of `create`.
    pub fn during<T, E>(&self, create: impl FnOnce() -> Result<T, E>) -> Result<(T, Vec<Pages>), E> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let made = create();
        let pages = std::mem::take(&mut *self.created.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((made?, pages))
    }
}

impl PageStoreFactory for Collector {
    fn create(&self, _args: &PageStoreArgs<'_>) -> parquet::errors::Result<Box<dyn PageStore>> {
        let pages = Pages::default();
        self.created.lock().unwrap_or_else(PoisonError::into_inner).push(pages.clone());
        Ok(Box::new(pages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gets_its_checksum_before_what_its_type_asks_for() {
        // A dictionary page (2) of 8 bytes, 5 as stored, then field 7 with anything.
        let header = [0x15, 4, 0x15, 16, 0x15, 10, 0x4c, 0x15, 2, 0, 0];
        let with = |crc| {
            let mut out = BytesMut::new();
            put_header(&mut out, &header, crc).expect("is the library's");
            out.to_vec()
        };
        assert_eq!(with(3), [&header[..6], &[0x15, 6, 0x3c], &header[7..]].concat());
        assert_eq!(with(u32::MAX), [&header[..6], &[0x15, 1, 0x3c], &header[7..]].concat());
        let most = [&header[..6], &[0x15, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x3c], &header[7..]].concat();
        assert_eq!(with(1 << 31), most);
        let mut out = BytesMut::new();
        // A header with a checksum, one that is cut, and two of another form.
        for bad in [&with(3)[..], &header[..6], &[0x15, 0xff], &[0x1c, 0]] {
            assert!(put_header(&mut out, bad, 1).is_err(), "{bad:?}");
        }
    }
}
