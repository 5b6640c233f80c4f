//! Fast encoding and decoding of columns of lists.
//!
//! Parquet stores a list value by value, each with two levels, and the `parquet` crate processes value by value too: four
//! fifths of the cost of storing an image. Without nulls and empty lists, levels follow from the lengths of the lists, and the
//! values of a page are one block: bytes are their own indices into a dictionary of 0 to 255 (8 bits each,
//! bit-packed), floats are plain. This file writes exactly one form of page, which any reader of Parquet takes, and reads
//! only that form; anything else is left to the crate. Formats: parquet-format, `Encodings.md`, "RLE / Bit-Packing
//! Hybrid", "Dictionary Encoding", "Plain".

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, ListArray, UInt8Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder, PageEncodingStats, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::bytes::TableBytes;
use super::checksum::Chunk;
use crate::error;

/// The type of a list's items, and how it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    /// Indices into a dictionary of all bytes.
    Byte,
    /// Plain little-endian numbers.
    Float,
}

impl Element {
    fn of(item: &DataType) -> Option<Self> {
        match item {
            DataType::UInt8 => Some(Element::Byte),
            DataType::Float32 => Some(Element::Float),
            _ => None,
        }
    }

    fn encoding(self) -> Encoding {
        match self {
            Element::Byte => Encoding::RLE_DICTIONARY,
            Element::Float => Encoding::PLAIN,
        }
    }

    fn size(self) -> usize {
        match self {
            Element::Byte => 1,
            Element::Float => 4,
        }
    }
}

/// Encodes one column chunk, a page for each array.
pub struct ListWriter {
    column: ColumnDescPtr,
    element: Element,
    compression: ZstdLevel,
    compressor: zstd::bulk::Compressor<'static>,
    /// Header and body of each page in turn.
    pages: Vec<Bytes>,
    statistics: Vec<PageEncodingStats>,
    offsets: OffsetIndexBuilder,
    rows: u64,
    values: i64,
    uncompressed: usize,
}

impl ListWriter {
    /// A writer for a column of this type, if it holds lists of bytes or floats.
    ///
    /// # Errors
    /// The compressor cannot be created.
    pub fn new(data_type: &DataType, column: ColumnDescPtr, compression: ZstdLevel) -> Result<Option<Self>> {
        let (DataType::FixedSizeList(item, _) | DataType::List(item)) = data_type else { return Ok(None) };
        let Some(element) = Element::of(item.data_type()) else { return Ok(None) };
        let compressor = zstd::bulk::Compressor::new(compression.compression_level());
        let mut writer = Self {
            column,
            element,
            compression,
            compressor: compressor.context("cannot prepare compression")?,
            pages: Vec::new(),
            statistics: Vec::new(),
            offsets: OffsetIndexBuilder::new(),
            rows: 0,
            values: 0,
            uncompressed: 0,
        };
        if element == Element::Byte {
            let dictionary = dictionary();
            let compressed = writer.compress(&dictionary)?;
            let page =
                Page::DictionaryPage { buf: compressed, num_values: 256, encoding: Encoding::PLAIN, is_sorted: false };
            writer.page(page, dictionary.len(), PageType::DICTIONARY_PAGE, Encoding::PLAIN)?;
        }
        Ok(Some(writer))
    }

    /// Adds a page of lists, which have no nulls and are not empty.
    ///
    /// # Errors
    /// Another column, an empty list, more values than a page can hold.
    pub fn write(&mut self, lists: &ArrayRef) -> Result<()> {
        let rows = lists.len();
        if rows == 0 {
            return Ok(());
        }
        let (values, lengths) = match (lists.as_fixed_size_list_opt(), lists.as_list_opt::<i32>()) {
            (Some(lists), _) => {
                let (start, len) = (lists.value_offset(0) as usize, lists.value_length() as usize);
                (lists.values().slice(start, rows * len), Lengths::Equal(rows, len))
            }
            (None, Some(lists)) => {
                let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[rows] as usize);
                let lengths = lists.offsets().lengths().collect::<Vec<_>>();
                if lengths.contains(&0) {
                    return Err(error::bug("an image without pixels"));
                }
                (lists.values().slice(start, end - start), Lengths::Each(lengths))
            }
            (None, None) => return Err(error::bug("a column of images is not a list")),
        };
        let count = values.len();
        let mut page = Vec::with_capacity(count * self.element.size() + 8 * rows + 64);
        put_levels(&mut page, &lengths);
        put_values_header(&mut page, self.element, count);
        match self.element {
            Element::Byte => {
                page.extend_from_slice(values.as_primitive::<UInt8Type>().values());
                page.resize(page.len() + count.next_multiple_of(8) - count, 0);
            }
            Element::Float => {
                let values = values.as_primitive::<Float32Type>().values();
                page.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        let num_values = u32::try_from(count).map_err(|_| error::bug("a page of more than 2^32 values"))?;
        let compressed = Page::DataPage {
            buf: self.compress(&page)?,
            num_values,
            encoding: self.element.encoding(),
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        self.page(compressed, page.len(), PageType::DATA_PAGE, self.element.encoding())?;
        // Offset and size are set once the page has a checksum.
        self.offsets.append_offset_and_size(0, 0);
        self.offsets.append_row_count(rows as i64);
        self.rows += rows as u64;
        self.values += i64::from(num_values);
        Ok(())
    }

    /// Ends the chunk.
    ///
    /// # Errors
    /// The metadata cannot be built, which no content causes.
    pub fn close(self) -> Result<Chunk> {
        let mut encodings = vec![Encoding::PLAIN, Encoding::RLE];
        encodings.extend((self.element == Element::Byte).then_some(Encoding::RLE_DICTIONARY));
        let metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(Compression::ZSTD(self.compression))
            .set_encodings(encodings)
            .set_page_encoding_stats(self.statistics)
            .set_num_values(self.values)
            .set_total_uncompressed_size(self.uncompressed as i64)
            .build()
            .context("cannot describe a column")?;
        let close = ColumnCloseResult {
            bytes_written: 0,
            rows_written: self.rows,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: Some(self.offsets.build()),
        };
        Chunk::of(&self.pages, close)
    }

    fn compress(&mut self, page: &[u8]) -> Result<Bytes> {
        Ok(self.compressor.compress(page).context("cannot compress a page")?.into())
    }

    /// Appends a page.
    fn page(&mut self, page: Page, len: usize, page_type: PageType, encoding: Encoding) -> Result<()> {
        let body = page.buffer().len();
        let (page, mut sink) = (CompressedPage::new(page, len), TrackedWrite::new(Vec::with_capacity(body + 64)));
        let written = SerializedPageWriter::new(&mut sink).write_page(page).context("cannot write a page")?;
        self.uncompressed += written.uncompressed_size;
        let mut header = Bytes::from(sink.into_inner().context("cannot write a page")?);
        let body = header.split_off(header.len() - body);
        self.pages.extend([header, body]);
        match self.statistics.last_mut().filter(|last| last.page_type == page_type) {
            Some(last) => last.count += 1,
            None => self.statistics.push(PageEncodingStats { page_type, encoding, count: 1 }),
        }
        Ok(())
    }
}

/// The lengths of consecutive lists.
enum Lengths {
    /// So many of one length.
    Equal(usize, usize),
    /// Each its own, none of them 0.
    Each(Vec<usize>),
}

/// Reads all lists `name` of a row group if every page is of the form that [`ListWriter`] writes, with lists of `len` values
/// or, if that is none, of any length; none otherwise.
pub fn read(
    file: &TableBytes,
    group: &RowGroupMetaData,
    name: &str,
    item: &DataType,
    len: Option<usize>,
) -> Option<ArrayRef> {
    let element = Element::of(item)?;
    let is_lists = |chunk: &&ColumnChunkMetaData| {
        let column = chunk.column_descr();
        let physical = match element {
            Element::Byte => Type::INT32,
            Element::Float => Type::FLOAT,
        };
        let path = column.path().parts();
        path.len() == 3
            && path[0] == name
            && (column.max_rep_level(), column.max_def_level(), column.physical_type()) == (1, 1, physical)
    };
    let chunk = group.columns().iter().find(is_lists)?;
    let rows = usize::try_from(group.num_rows()).ok()?;
    let count = usize::try_from(chunk.num_values()).ok()?;
    if len.is_some_and(|len| rows.checked_mul(len) != Some(count)) {
        return None;
    }
    let pages = SerializedPageReader::new(Arc::new(file.clone()), chunk, rows, None).ok()?;
    let mut has_dictionary = false;
    let (mut values, mut lengths) = (Vec::<u8>::new(), Vec::new());
    for page in pages {
        match page.ok()? {
            Page::DictionaryPage { buf, encoding: Encoding::PLAIN, .. } if element == Element::Byte => {
                has_dictionary = buf == dictionary();
            }
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: Encoding::RLE,
                rep_level_encoding: Encoding::RLE,
                ..
            } if encoding == element.encoding() => {
                let num_values = num_values as usize;
                // Checked before the levels are generated: a header can claim any number.
                let (found, expected) = (values.len() / element.size() + num_values, count);
                if found > expected || buf.len() < num_values * element.size() {
                    return None;
                }
                let levels = match len {
                    Some(len) if num_values.is_multiple_of(len) => Lengths::Equal(num_values / len, len),
                    Some(_) => return None,
                    None => Lengths::Each(read_lengths(&buf, num_values)?),
                };
                let mut start = Vec::new();
                put_levels(&mut start, &levels);
                if let Lengths::Each(more) = levels {
                    lengths.extend(more);
                }
                put_values_header(&mut start, element, num_values);
                let body = buf.strip_prefix(start.as_slice())?;
                if values.capacity() == 0 {
                    values.reserve_exact(count * element.size());
                }
                values.extend_from_slice(body.get(..num_values * element.size())?);
            }
            _ => return None,
        }
    }
    if values.len() != count * element.size() || (element == Element::Byte && !has_dictionary) {
        return None;
    }
    let values: ArrayRef = match element {
        Element::Byte => Arc::new(UInt8Array::from(values)),
        Element::Float => {
            let numbers = values.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Arc::new(Float32Array::from_iter_values(numbers))
        }
    };
    let field = Arc::new(Field::new("element", item.clone(), false));
    Some(match len {
        Some(len) => Arc::new(FixedSizeListArray::try_new(field, i32::try_from(len).ok()?, values, None).ok()?),
        // Their lengths add up to the number of values, as those of each page do.
        None if lengths.len() == rows && i32::try_from(count).is_ok() => {
            Arc::new(ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), values, None).ok()?)
        }
        None => return None,
    })
}

/// The lengths of the lists of a page of so many values, by their repetition levels; none if they are not as [`put_levels`] puts
/// them.
fn read_lengths(page: &[u8], count: usize) -> Option<Vec<usize>> {
    let (length, rest) = page.split_first_chunk()?;
    let mut levels = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let (mut lengths, mut sum) = (Vec::new(), 0_usize);
    while !levels.is_empty() {
        let (run, level) = (take_varint(&mut levels)?, *levels.split_off_first()?);
        let values = run >> 1;
        sum = sum.checked_add(values).filter(|sum| *sum <= count && values > 0 && run & 1 == 0)?;
        match level {
            // The first value of a list; two lists of one value each are two runs.
            0 if values == 1 => lengths.push(1),
            1 => *lengths.last_mut()? += values,
            _ => return None,
        }
    }
    (sum == count).then_some(lengths)
}

/// The dictionary of a column of bytes: every byte, as the 32-bit number that Parquet has for it.
fn dictionary() -> Vec<u8> {
    (0..256_u32).flat_map(u32::to_le_bytes).collect()
}

/// Repetition and definition levels of lists without nulls: repetition is 0 at the start of a list and 1 in it, definition is 1.
fn put_levels(page: &mut Vec<u8>, lengths: &Lengths) {
    let with_length = |page: &mut Vec<u8>, put: &dyn Fn(&mut Vec<u8>)| {
        let start = page.len();
        page.extend([0; 4]);
        put(page);
        let bytes = (page.len() - start - 4) as u32;
        page[start..start + 4].copy_from_slice(&bytes.to_le_bytes());
    };
    let put_list = |page: &mut Vec<u8>, len: usize| {
        put_run(page, 1, 0);
        if len > 1 {
            put_run(page, len - 1, 1);
        }
    };
    with_length(page, &|page| match lengths {
        Lengths::Equal(rows, 1) => put_run(page, *rows, 0),
        Lengths::Equal(rows, len) => (0..*rows).for_each(|_| put_list(page, *len)),
        Lengths::Each(lengths) => lengths.iter().for_each(|len| put_list(page, *len)),
    });
    let count = match lengths {
        Lengths::Equal(rows, len) => rows * len,
        Lengths::Each(lengths) => lengths.iter().sum(),
    };
    with_length(page, &|page| put_run(page, count, 1));
}

/// An RLE run of `count` equal levels of one bit.
fn put_run(page: &mut Vec<u8>, count: usize, level: u8) {
    put_varint(page, count << 1);
    page.push(level);
}

/// The bytes between the levels and the values.
fn put_values_header(page: &mut Vec<u8>, element: Element, count: usize) {
    if element == Element::Byte {
        page.push(8); // Bits of an index.
        put_varint(page, count.div_ceil(8) << 1 | 1);
    }
}

/// Takes an unsigned LEB128 number off the front.
fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0_usize, 0);
    loop {
        let byte = *bytes.split_off_first()?;
        number |= usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 35)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

/// Unsigned LEB128.
fn put_varint(page: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        page.push(number as u8 | 0x80);
        number >>= 7;
    }
    page.push(number as u8);
}

#[cfg(test)]
mod tests;
