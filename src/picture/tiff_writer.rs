//! Writes TIFF from the first byte to the last: uncompressed, so that it is known beforehand where each strip and page will be.

use std::io::{BufWriter, Write};

use anyhow::{Context, Result};

use super::{Density, Depth, Header};
use crate::error;

/// Bytes of a strip, unless a row has more.
const STRIP: usize = 1 << 20;
/// Bytes of the file's header, after which the first directory follows.
const START: u64 = 8;

/// Types of values.
const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const RATIONAL: u16 = 5;
const UNDEFINED: u16 = 7;

/// Whether its offsets can say where the pixels are, and what precedes them.
pub fn fits(header: &Header) -> bool {
    bytes(header) <= u64::from(u32::MAX)
}

/// Most bytes that a page takes.
fn bytes(header: &Header) -> u64 {
    let pixels = (header.row_bytes() as u64).saturating_mul(header.height as u64);
    let texts: usize = header.texts.iter().map(|(_, text)| text.len() + 24).sum();
    let aside = header.profile.as_ref().map_or(0, Vec::len) + texts;
    pixels.saturating_add(16 * header.height as u64 + aside as u64 + (1 << 10))
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

fn rational(tag: u16, (above, below): (u32, u32)) -> Entry {
    let value = [above, below].iter().flat_map(|value| value.to_ne_bytes()).collect();
    Entry { tag, kind: RATIONAL, count: 1, value }
}

fn text(tag: u16, text: &[u8]) -> Entry {
    let value = [text, &[0]].concat();
    Entry { tag, kind: ASCII, count: value.len(), value }
}

/// All that precedes the pixels of a page whose directory is at `at`, an even number, and where its pixels end. With `more`,
/// another directory follows them, at the next even place.
fn start(header: &Header, at: u64, more: bool) -> (Vec<u8>, u64) {
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
        if let Some((across, down, unit)) = header.density.map(Density::tiff) {
            entries.extend([rational(282, across), rational(283, down), shorts(296, &[unit])]);
        }
        entries.extend(header.texts.iter().map(|(tag, found)| text(*tag, found)));
        entries.sort_by_key(|entry| entry.tag);
        entries
    };
    // Values of more than four bytes follow the directory; whatever the offsets are, they take as much room.
    let entries = directory(&vec![0; strips.len()]);
    let after = at as usize + 2 + 12 * entries.len() + 4;
    let room = |entry: &Entry| if entry.value.len() > 4 { entry.value.len().next_multiple_of(4) } else { 0 };
    let mut next = (after + entries.iter().map(room).sum::<usize>()) as u32;
    let offset = |bytes: &u32| {
        let offset = next;
        next = next.saturating_add(*bytes);
        offset
    };
    let offsets: Vec<u32> = strips.iter().map(offset).collect();
    let entries = directory(&offsets);
    let mut bytes = (entries.len() as u16).to_ne_bytes().to_vec();
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
    bytes.extend(if more { next.next_multiple_of(2) } else { 0 }.to_ne_bytes());
    bytes.extend(values);
    (bytes, u64::from(next))
}

/// A TIFF that is being written.
pub struct TiffWriter {
    file: BufWriter<Box<dyn Write>>,
    /// Where the pixels of the page end.
    end: u64,
    /// Bytes of pixels that are missing.
    missing: u64,
}

impl TiffWriter {
    /// Writes what precedes the pixels; with `more`, other pages follow.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: Box<dyn Write>, header: &Header, more: bool) -> Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 16, file);
        let order = if cfg!(target_endian = "big") { b"MM" } else { b"II" };
        let words = [&order[..], &42_u16.to_ne_bytes(), &(START as u32).to_ne_bytes()].concat();
        file.write_all(&words).context("cannot write the TIFF")?;
        let mut writer = Self { file, end: START, missing: 0 };
        writer.next_page(header, more).map(|()| writer)
    }

    /// Writes what precedes the pixels of the next page.
    ///
    /// # Errors
    /// The file cannot be written, or would be too large.
    pub fn next_page(&mut self, header: &Header, more: bool) -> Result<()> {
        self.check_whole()?;
        let at = self.end.next_multiple_of(2);
        if at.saturating_add(bytes(header)) > u64::from(u32::MAX) {
            return Err(error::settings("a TIFF file cannot hold pages of 4 GiB; split it"));
        }
        let (start, end) = start(header, at, more);
        let gap = vec![0; (at - self.end) as usize];
        self.file.write_all(&gap).and_then(|()| self.file.write_all(&start)).context("cannot write the TIFF")?;
        (self.end, self.missing) = (end, header.row_bytes() as u64 * header.height as u64);
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        if self.missing > 0 { Err(error::bug("a TIFF lacks rows")) } else { Ok(()) }
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
        self.check_whole()?;
        self.file.flush().context("cannot write the TIFF")
    }
}
