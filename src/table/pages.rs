//! Limits the memory that a Parquet file can claim: checks page headers before pages are unpacked, and bounds the rows per batch.
//!
//! The header of a page gives its decompressed size, and the reader of the `parquet` crate allocates that much without a
//! check: a file of a kilobyte could ask for two gibibytes. This file reads the headers (Thrift's compact
//! protocol, of which only sizes, counts and encodings matter here; everything else is skipped) and refuses sizes that no
//! writer produces. The size of a row is the worst case that the headers allow: a value of a dictionary may be that of every row.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};

use anyhow::{Context, Result};
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::bytes::TableBytes;
use crate::error;

/// Most bytes of one page. Writers aim at a mebibyte; even a page with a whole row group stays below this.
const MOST_BYTES: i64 = 256 << 20;
/// Deepest nesting of a header; the real ones have two levels.
const MOST_LEVELS: usize = 8;
/// Longest header: statistics may hold values of any length.
const MOST_HEADER: u64 = 1 << 20;

/// Most bytes of the pages in memory at the same time: for each column read, a dictionary and a page of values, and their
/// compressed forms.
const MOST_HELD: u64 = 512 << 20;
/// Most bytes that the rows of a batch can take, unless it is a single row.
const MOST_ROWS: u64 = 128 << 20;

/// Checks the pages of the columns of a row group that are read, by their positions among its leaves. Returns the number of rows,
/// at least 1, that take about so many `bytes`, judged by the page with the largest rows.
/// In a file whose footer is `guarded`, headers must agree with the footer, since no checksum covers them.
///
/// # Errors
/// A page that claims too much or contradicts the footer, no page where one should be, the file system.
pub fn check(
    file: &TableBytes,
    group: &RowGroupMetaData,
    is_read: impl Fn(usize) -> bool,
    bytes: u64,
    guarded: bool,
) -> Result<usize> {
    let rows = group.num_rows().max(0) as u64;
    // A row group without rows, which other programs write for empty tables, has no pages.
    if rows == 0 {
        return Ok(usize::MAX);
    }
    let mut all = Claims::default();
    for (_, chunk) in group.columns().iter().enumerate().filter(|(index, _)| is_read(*index)) {
        let claims = claims(file, chunk, rows, guarded)
            .with_context(|| format!("cannot read the column `{}`", chunk.column_path().string()))?;
        all.held = all.held.saturating_add(claims.held);
        all.usual = all.usual.saturating_add(claims.usual);
        all.worst = all.worst.saturating_add(claims.worst);
    }
    if all.held > MOST_HELD {
        let [held, most] = [all.held, MOST_HELD].map(|bytes| bytes >> 20);
        let message = format!("the pages of its columns that are held at the same time claim {held} MiB");
        return Err(error::data(format!("{message}; limpid reads up to {most}")));
    }
    let rows = (bytes.min(MOST_ROWS) / all.usual.max(1)).min(MOST_ROWS / all.worst.max(1)).max(1);
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// The sizes that the pages of a column claim, in bytes.
#[derive(Default)]
struct Claims {
    /// The largest dictionary and page of values, in memory at the same time.
    held: u64,
    /// A row in the page with the largest rows.
    usual: u64,
    /// The largest possible row.
    worst: u64,
}

/// Reads the headers of the pages of a column of so many rows.
fn claims(file: &TableBytes, chunk: &ColumnChunkMetaData, rows: u64, guarded: bool) -> Result<Claims> {
    let start = chunk.dictionary_page_offset().unwrap_or(i64::MAX).min(chunk.data_page_offset());
    let (Ok(mut at), Ok(length)) = (u64::try_from(start), u64::try_from(chunk.compressed_size())) else {
        return Err(error::data("its place in the file is negative"));
    };
    let end = at.saturating_add(length);
    let mut reader = BufReader::with_capacity(1 << 10, file.at(at));
    let is_packed = chunk.compression() != Compression::UNCOMPRESSED;
    // Texts and pictures may have any length. Numbers may be compressed to almost nothing, so that their count decides.
    let width = match chunk.column_type() {
        Type::BYTE_ARRAY => 0,
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => chunk.column_descr().type_length().max(0) as u64,
    };
    let is_list = chunk.column_descr().max_rep_level() > 0;
    let (mut dictionary, mut page, mut all, mut values, mut usual, mut worst) = (0, 0, 0_u64, 0_u64, 0, 0);
    let mut sizes = 0;
    while at < end {
        reader.seek(SeekFrom::Start(at))?;
        if reader.fill_buf()?.is_empty() {
            return Err(error::data("its pages go on after the end of the file"));
        }
        let mut input = Input { input: (&mut reader).take(MOST_HEADER), length: 0 };
        let header = input.header().map_err(|cause| match cause.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => error::data(format!("there is no page at byte {at}")),
            _ => cause.into(),
        })?;
        if guarded && !header.is_of(chunk) {
            return Err(error::data(format!("the header of the page at byte {at} is damaged")));
        }
        let Header { unpacked, packed, is_dictionary, count, encoding, .. } = header;
        sizes += input.length as i64 + unpacked;
        let claimed = unpacked.max(count.saturating_mul(if is_list { width as i64 } else { 0 }));
        if ![claimed, packed, unpacked].iter().all(|bytes| (0..=MOST_BYTES).contains(bytes)) || count < 0 {
            let claimed = if unpacked < 0 { unpacked } else { claimed.max(packed) };
            return Err(error::data(format!(
                "the page at byte {at} claims {claimed} bytes; limpid reads up to {MOST_BYTES}"
            )));
        }
        at += input.length + packed as u64;
        let [unpacked, packed, count] = [unpacked, packed, count].map(|number| number as u64);
        let held = unpacked + if is_packed { packed } else { 0 };
        // Each value takes at least the four bytes of its length. With a dictionary, or with values that share a prefix with
        // the one before, every row may have the longest value.
        let longest = unpacked.saturating_sub(4 * count.saturating_sub(1));
        if width == 0 && (is_dictionary || encoding == DELTA_BYTE_ARRAY) {
            worst = longest.max(worst);
        }
        if is_dictionary {
            dictionary = held.max(dictionary);
        } else {
            page = held.max(page);
            (all, values) = (all.saturating_add(unpacked), values.saturating_add(count));
        }
        if !is_list && (width == 0 || !is_dictionary) {
            usual = (unpacked / count.max(1)).max(usual);
        }
    }
    let says = (at, sizes, values);
    if guarded && says != (end, chunk.uncompressed_size(), chunk.num_values().max(0) as u64) {
        return Err(error::data("the headers of its pages are damaged: they say otherwise than the footer"));
    }
    if is_list {
        (usual, worst) = (all.max(values.saturating_mul(width)) / rows, values.saturating_mul(worst) / rows);
    }
    Ok(Claims { held: dictionary + page, usual: usual.max(width), worst: worst.max(width) })
}

/// Parquet's number of the encoding that stores texts as a shared prefix with the one before and a suffix.
const DELTA_BYTE_ARRAY: i64 = 7;

/// The fields of a page header that matter here.
struct Header {
    /// Bytes of the page once it is unpacked.
    unpacked: i64,
    /// Bytes as it is stored.
    packed: i64,
    is_dictionary: bool,
    /// Values in it.
    count: i64,
    /// Parquet's number of their encoding.
    encoding: i64,
    /// The encodings of the definition and repetition levels, where the header has them.
    levels: [i64; 2],
}

impl Header {
    /// Whether its encodings are among those that the footer lists for the column.
    fn is_of(&self, chunk: &ColumnChunkMetaData) -> bool {
        if self.is_dictionary {
            return self.encoding == Encoding::PLAIN as i64;
        }
        let named = chunk.page_encoding_stats_mask().map_or(0, |mask| mask.as_i32());
        let is_named = (0..i64::from(i32::BITS)).contains(&self.encoding) && named >> self.encoding & 1 == 1;
        is_named && self.levels.iter().all(|level| *level == Encoding::RLE as i64)
    }
}

/// The input that a header is read from, and the number of bytes read.
struct Input<R> {
    input: R,
    length: u64,
}

impl<R: Read> Input<R> {
    fn header(&mut self) -> io::Result<Header> {
        let mut header =
            Header { unpacked: -1, packed: -1, is_dictionary: false, count: 0, encoding: -1, levels: [-1; 2] };
        let mut field = 0;
        while let Some(kind) = self.field(&mut field)? {
            match (field, kind) {
                (2, 4..=6) => header.unpacked = self.integer()?,
                (3, 4..=6) => header.packed = self.integer()?,
                // The headers of a data page, a dictionary page, and a data page of version 2.
                (5 | 7 | 8, 12) => {
                    header.is_dictionary = field == 7;
                    [header.count, header.encoding, header.levels[0], header.levels[1]] =
                        self.values(if field == 8 { [1, 4, -1, -1] } else { [1, 2, 3, 4] })?;
                }
                _ => self.skip(kind, MOST_LEVELS)?,
            }
        }
        Ok(header)
    }

    /// The number of values of a page and the numbers of its encodings, which are in these fields.
    fn values(&mut self, fields: [i64; 4]) -> io::Result<[i64; 4]> {
        let (mut found, mut field) = ([0, -1, -1, -1], 0);
        while let Some(kind) = self.field(&mut field)? {
            match fields.iter().position(|wanted| *wanted == field) {
                Some(at) if (4..=6).contains(&kind) => found[at] = self.integer()?,
                _ => self.skip(kind, MOST_LEVELS - 1)?,
            }
        }
        Ok(found)
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
            // Booleans have no bytes: the type is the value.
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
        let mut input = Input { input: bytes, length: 0 };
        input.header().map(|header| ([header.unpacked, header.packed], input.length))
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
    fn values_are_counted_with_their_encoding() {
        let header = |bytes: &[u8]| Input { input: bytes, length: 0 }.header().expect("is a header");
        // Sizes of 10 and 5; then a dictionary page, and a data page of version 2, whose encoding is its fourth field.
        let dictionary = header(&[0x25, 20, 0x15, 10, 0x4c, 0x15, 6, 0x15, 0, 0, 0]);
        assert_eq!((dictionary.is_dictionary, dictionary.count, dictionary.encoding), (true, 3, 0));
        let values = header(&[0x25, 20, 0x15, 10, 0x5c, 0x15, 8, 0x15, 0, 0x15, 8, 0x15, 14, 0, 0]);
        assert_eq!((values.is_dictionary, values.count, values.encoding), (false, 4, DELTA_BYTE_ARRAY));
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
