//! How much the pages of a Parquet file claim to hold, before any is unpacked.
//!
//! The header of a page says how large the page is once it is decompressed, and the reader of the `parquet` crate takes so much
//! memory on its word: a file of a kilobyte could ask for two gibibytes. This file reads the headers (Thrift's compact
//! protocol, of which only the sizes matter here; everything else is passed over) and refuses what no writer makes.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::bytes::TableBytes;
use crate::error;

/// Most bytes of one page. Writers aim at a mebibyte; one that puts a whole row group into a page stays below this too.
const MOST_BYTES: i64 = 256 << 20;
/// Deepest nesting of a header; the real ones have two levels.
const MOST_LEVELS: usize = 8;
/// Longest header: statistics may hold values of any length.
const MOST_HEADER: u64 = 1 << 20;

/// Checks the pages of the columns of a row group.
///
/// # Errors
/// A page that claims too much, no page where one should be, the file system.
pub fn check(file: &TableBytes, group: &RowGroupMetaData) -> Result<()> {
    // Without rows it has no pages, as others write a table that is empty.
    if group.num_rows() == 0 {
        return Ok(());
    }
    group.columns().iter().try_for_each(|chunk| {
        check_chunk(file, chunk).with_context(|| format!("cannot read the column `{}`", chunk.column_path().string()))
    })
}

fn check_chunk(file: &TableBytes, chunk: &ColumnChunkMetaData) -> Result<()> {
    let start = chunk.dictionary_page_offset().unwrap_or(i64::MAX).min(chunk.data_page_offset());
    let (Ok(mut at), Ok(length)) = (u64::try_from(start), u64::try_from(chunk.compressed_size())) else {
        return Err(error::data("its place in the file is negative"));
    };
    let end = at.saturating_add(length);
    let mut reader = BufReader::with_capacity(1 << 10, file.at(at));
    while at < end {
        reader.seek(SeekFrom::Start(at))?;
        if reader.fill_buf()?.is_empty() {
            return Err(error::data("its pages go on after the end of the file"));
        }
        let mut header = Header { input: (&mut reader).take(MOST_HEADER), length: 0 };
        let [unpacked, packed] = header.sizes().map_err(|cause| match cause.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => error::data(format!("there is no page at byte {at}")),
            _ => cause.into(),
        })?;
        if !(0..=MOST_BYTES).contains(&unpacked) || packed < 0 {
            return Err(error::data(format!(
                "the page at byte {at} claims {unpacked} bytes; limpid reads up to {MOST_BYTES}"
            )));
        }
        at += header.length + packed as u64;
    }
    Ok(())
}

/// The header of a page, and how many of its bytes have been read.
struct Header<R> {
    input: R,
    length: u64,
}

impl<R: Read> Header<R> {
    /// Reads the header: bytes of the page once it is unpacked, and as it is stored.
    fn sizes(&mut self) -> io::Result<[i64; 2]> {
        let (mut sizes, mut field) = ([-1; 2], 0);
        while let Some(kind) = self.field(&mut field)? {
            match (field, kind) {
                (2 | 3, 4..=6) => sizes[field as usize - 2] = self.integer()?,
                _ => self.skip(kind, MOST_LEVELS)?,
            }
        }
        Ok(sizes)
    }

    /// The type of the next field of a struct, whose number is put into `field`; none at its end.
    fn field(&mut self, field: &mut i64) -> io::Result<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        *field = match byte >> 4 {
            0 => self.integer()?,
            step => field.saturating_add(i64::from(step)),
        };
        Ok(Some(byte & 0xf))
    }

    fn skip(&mut self, kind: u8, levels: usize) -> io::Result<()> {
        let levels = levels.checked_sub(1).ok_or(ErrorKind::InvalidData)?;
        match kind {
            // Booleans are in their type.
            1 | 2 => {}
            3 => _ = self.byte()?,
            4..=6 => _ = self.varint()?,
            7 => self.pass(8)?,
            8 => {
                let length = self.varint()?;
                self.pass(length)?;
            }
            9 | 10 => {
                let byte = self.byte()?;
                let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
                let item = byte & 0xf;
                for _ in 0..count {
                    // A boolean in a list has a byte of its own.
                    self.skip(if item <= 2 { 3 } else { item }, levels)?;
                }
            }
            12 => {
                let mut field = 0;
                while let Some(kind) = self.field(&mut field)? {
                    self.skip(kind, levels)?;
                }
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        Ok(())
    }

    fn integer(&mut self) -> io::Result<i64> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ErrorKind::InvalidData.into())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.length += 1;
        Ok(byte[0])
    }

    fn pass(&mut self, count: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        self.length += passed;
        if passed == count { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: &[u8]) -> io::Result<([i64; 2], u64)> {
        let mut header = Header { input: bytes, length: 0 };
        header.sizes().map(|sizes| (sizes, header.length))
    }

    #[test]
    fn sizes_are_found_among_other_fields() {
        // Fields 1 to 3 are integers, 4 a struct with a text, a list of booleans and a double, 6 (by its number) a boolean.
        let text = [0x18, 2, b'a', b'b'];
        let list = [0x19, 0x31, 1, 2, 1];
        let double = [0x17, 0, 0, 0, 0, 0, 0, 0, 0];
        let inner = [&[0x1c][..], &text, &list, &double, &[0]].concat();
        let header = [&[0x15, 0, 0x15, 0xd0, 0x0f, 0x15, 0x54][..], &inner, &[0x01, 12], &[0]].concat();
        let length = header.len() as u64;
        assert_eq!(sizes(&[header, vec![9, 9]].concat()).expect("is a header"), ([1000, 42], length));
    }

    #[test]
    fn headers_that_end_early_or_never_are_refused() {
        assert!(sizes(&[0x15]).is_err());
        assert!(sizes(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, b'a']).is_err());
        assert!(sizes(&[0x1c; 100]).is_err(), "nested too deeply");
        assert!(sizes(&[0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(sizes(&[0x1b, 0]).is_err(), "maps are in no header");
    }
}
