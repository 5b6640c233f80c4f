//! Writes TIFF from the first byte to the last: uncompressed, so that it is known beforehand where each strip will be.

use std::io::{BufWriter, Write};

use anyhow::{Context, Result};

use super::{Depth, Header};
use crate::error;

/// Bytes of a strip, unless a row has more.
const STRIP: usize = 1 << 20;
/// Bytes of the file's header, after which the directory follows.
const START: u64 = 8;

/// Types of values.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

/// Whether its offsets can say where the pixels are, and what precedes them.
pub fn fits(header: &Header) -> bool {
    let pixels = (header.row_bytes() as u64).saturating_mul(header.height as u64);
    let besides = 16 * header.height as u64 + header.profile.as_ref().map_or(0, Vec::len) as u64 + (1 << 10);
    pixels.saturating_add(besides) <= u64::from(u32::MAX)
}

/// An entry of the directory.
struct Entry {
    tag: u16,
    kind: u16,
    count: usize,
    value: Vec<u8>,
}

fn shorts(tag: u16, values: &[u16]) -> Entry {
    let value = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    Entry { tag, kind: SHORT, count: values.len(), value }
}

fn longs(tag: u16, values: &[u32]) -> Entry {
    let value = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    Entry { tag, kind: LONG, count: values.len(), value }
}

/// All that precedes the pixels.
fn start(header: &Header) -> Vec<u8> {
    let Header { height, width, channels, depth, .. } = *header;
    let strip_rows = (STRIP / header.row_bytes().max(1)).clamp(1, height);
    let strips =
        (0..height).step_by(strip_rows).map(|first| (strip_rows.min(height - first) * header.row_bytes()) as u32);
    let strips: Vec<u32> = strips.collect();
    let bits = 8 * depth.bytes() as u16;
    let format = if depth == Depth::F32 { 3 } else { 1 };
    let directory = |offsets: &[u32]| {
        let mut entries = vec![
            longs(256, &[width as u32]),
            longs(257, &[height as u32]),
            shorts(258, &vec![bits; channels]),
            // No compression; black is zero, or RGB.
            shorts(259, &[1]),
            shorts(262, &[if header.colours() == 1 { 1 } else { 2 }]),
            longs(273, offsets),
            shorts(277, &[channels as u16]),
            longs(278, &[strip_rows as u32]),
            longs(279, &strips),
            // Pixels are whole.
            shorts(284, &[1]),
        ];
        if header.has_alpha() {
            entries.push(shorts(338, &[if header.premultiplied { 1 } else { 2 }]));
        }
        entries.push(shorts(339, &vec![format; channels]));
        if let Some(profile) = &header.profile {
            entries.push(Entry { tag: 34675, kind: UNDEFINED, count: profile.len(), value: profile.clone() });
        }
        entries
    };
    // Values of more than four bytes follow the directory; whatever the offsets are, they take as much room.
    let entries = directory(&vec![0; strips.len()]);
    let after = START as usize + 2 + 12 * entries.len() + 4;
    let room = |entry: &Entry| if entry.value.len() > 4 { entry.value.len().next_multiple_of(4) } else { 0 };
    let mut next = (after + entries.iter().map(room).sum::<usize>()) as u32;
    let offset = |bytes: &u32| {
        let offset = next;
        next = next.saturating_add(*bytes);
        offset
    };
    let offsets: Vec<u32> = strips.iter().map(offset).collect();
    let entries = directory(&offsets);
    let mut bytes = if cfg!(target_endian = "big") { b"MM".to_vec() } else { b"II".to_vec() };
    bytes.extend(42_u16.to_ne_bytes());
    bytes.extend((START as u32).to_ne_bytes());
    bytes.extend((entries.len() as u16).to_ne_bytes());
    let mut values = Vec::new();
    for entry in entries {
        bytes.extend(entry.tag.to_ne_bytes());
        bytes.extend(entry.kind.to_ne_bytes());
        bytes.extend((entry.count as u32).to_ne_bytes());
        let mut value = entry.value;
        value.resize(value.len().next_multiple_of(4), 0);
        if value.len() == 4 {
            bytes.extend(value);
        } else {
            bytes.extend(((after + values.len()) as u32).to_ne_bytes());
            values.extend(value);
        }
    }
    // No other page.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(values);
    bytes
}

/// A TIFF that is being written.
pub struct TiffWriter {
    file: BufWriter<Box<dyn Write>>,
    /// Bytes of pixels that are missing.
    missing: u64,
}

impl TiffWriter {
    /// Writes what precedes the pixels.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: Box<dyn Write>, header: &Header) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 16, file);
        file.write_all(&start(header)).context("cannot write the TIFF")?;
        Ok(Self { file, missing: header.row_bytes() as u64 * header.height as u64 })
    }

    /// Writes rows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, rows: &[u8]) -> Result<()> {
        self.missing = self.missing.saturating_sub(rows.len() as u64);
        self.file.write_all(rows).context("cannot write the TIFF")
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if self.missing > 0 {
            return Err(error::bug("a TIFF lacks rows"));
        }
        self.file.flush().context("cannot write the TIFF")
    }
}
