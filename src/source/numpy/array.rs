//! Reads one NumPy array (format of NEP 1) from an untrusted file: the header is bounded, sizes are multiplied with overflow
//! checks, and the data must end where the header says.

use std::fmt;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use flate2::CrcReader;
use flate2::read::DeflateDecoder;

use super::element::{Element, float, little_endian, signed};
use super::fortran::in_c_order;
use super::location::{Held, Location, element};
use crate::error;
use crate::image::ImageShape;
use crate::source::{archive_failure, check_channels, explained};
use crate::store::{self, RangeReader};
use crate::text;

/// Longest header that is read.
const MAX_HEADER: usize = 1 << 16;
/// Most labels: 2^31, far beyond any data set of images.
const MAX_LABELS: u64 = 1 << 31;
/// Most bytes of an array in Fortran's order, which is held in memory twice.
const MOST_FORTRAN: u64 = 512 << 20;
/// Most images, as IDX can have.
const MAX_IMAGES: u64 = u32::MAX as u64;

/// An opened array, positioned at its first number.
pub struct Array {
    location: Location,
    /// The type of its numbers.
    pub element: Element,
    /// Its sizes, the number of items first.
    pub sizes: Vec<u64>,
    /// Whether the first byte of a number is the highest.
    big_endian: bool,
    /// Whether the first index, and not the last, is the one that counts up from a number to the next.
    fortran: bool,
    payload: CrcReader<Box<dyn Read + Send>>,
    /// Bytes of its numbers, according to the size of the file or archive member.
    len: u64,
    /// The checksum of a member of an archive.
    crc: Option<u32>,
}

impl Array {
    /// Opens an array and reads its header.
    ///
    /// # Errors
    /// A file that cannot be read, an archive without it, or one that is no array of numbers.
    pub fn open(location: &Location) -> Result<Self> {
        let Payload { reader: payload, len: total, crc } = match location {
            Location::File(path) => {
                let file = open(path)?;
                let len = file.size();
                Payload { reader: Box::new(BufReader::new(file)), len, crc: None }
            }
            Location::Member(path, name) => open_member(path, name)?,
            Location::Held(held) => return Self::of_held(held),
        };
        let mut start_len = 0;
        let mut payload = CrcReader::new(payload);
        let bad = |what: String| error::data(format!("{location} {what}"));
        let mut read = |len: usize| -> Result<Vec<u8>> {
            let mut bytes = vec![0; len];
            payload.read_exact(&mut bytes).map_err(|cause| unreadable(location, cause))?;
            start_len += len as u64;
            Ok(bytes)
        };
        let start = read(8)?;
        if !start.starts_with(b"\x93NUMPY") {
            let cause = bad("is not a NumPy array".to_owned());
            return Err(match location {
                Location::File(path) => explained(path, "a NumPy array", cause),
                Location::Member(..) | Location::Held(_) => cause,
            });
        }
        let len = match start[6] {
            1 => little_endian(&read(2)?) as usize,
            2 | 3 => little_endian(&read(4)?) as usize,
            version => return Err(bad(format!("is a NumPy array of format {version}; limpid reads 1, 2 and 3"))),
        };
        if len > MAX_HEADER {
            return Err(bad(format!("has a header of {len} bytes; at most {MAX_HEADER} work")));
        }
        let header = String::from_utf8_lossy(&read(len)?).into_owned();
        let description = entry(&header, "descr").map(|text| text.trim_matches(['\'', '"']));
        let element = element(location, description)?;
        let big_endian = description.is_some_and(|description| description.starts_with('>'));
        let sizes = entry(&header, "shape").and_then(|text| text.strip_prefix('('));
        let sizes: Option<Vec<u64>> = sizes.and_then(|text| {
            text.split(',').map(str::trim).filter(|size| !size.is_empty()).map(|size| size.parse().ok()).collect()
        });
        let sizes = sizes.ok_or_else(|| bad("has a damaged header".to_owned()))?;
        let fortran = match entry(&header, "fortran_order") {
            Some("True") => sizes.len() > 1,
            Some("False") => false,
            _ => return Err(bad("has a damaged header".to_owned())),
        };
        let len = total.saturating_sub(start_len);
        Ok(Self { location: location.clone(), element, sizes, big_endian, fortran, payload, len, crc })
    }

    fn of_held(held: &Arc<Held>) -> Result<Self> {
        Ok(Self {
            location: Location::Held(held.clone()),
            element: held.element()?,
            sizes: held.sizes.clone(),
            big_endian: held.description.starts_with('>'),
            fortran: false,
            payload: CrcReader::new(Box::new(Cursor::new(held.numbers.clone()))),
            len: held.numbers.len() as u64,
            crc: None,
        })
    }

    /// The shape and the number of images.
    ///
    /// # Errors
    /// Sizes or a type that images do not have, or a file that is too short.
    pub fn images(&self) -> Result<(ImageShape, u64)> {
        let bad = |what: String| error::data(format!("{} {what}", self.location));
        let (count, [height, width, channels]) = match self.sizes[..] {
            [count, height, width] => (count, [height, width, 1]),
            [count, height, width, channels] => (count, [height, width, channels]),
            _ => {
                let sizes = self.sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
                return Err(bad(format!(
                    "has the sizes ({sizes}); images have (count, rows, columns) or (count, rows, columns, channels)"
                )));
            }
        };
        let side = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let shape = ImageShape::new(side(height), side(width), side(channels)).ok_or_else(|| {
            let most = ImageShape::MAX_LEN;
            bad(format!("has images of {height}×{width}×{channels}; 1 to {most} numbers each work"))
        })?;
        check_channels(shape).map_err(|cause| bad(format!("{cause}: numpy.moveaxis(images, 1, -1)")))?;
        if count == 0 && !matches!(self.location, Location::Held(_)) {
            return Err(bad("holds no images".to_owned()));
        }
        if count > MAX_IMAGES {
            return Err(bad(format!("announces {count} images; at most {MAX_IMAGES} work")));
        }
        if count * (shape.len() * self.element.size()) as u64 > self.len {
            return Err(unreadable(&self.location, io::ErrorKind::UnexpectedEof.into()));
        }
        Ok((shape, count))
    }

    /// The next numbers, little-endian, in the order in which the last index counts up first.
    ///
    /// # Errors
    /// Data that end too early or are damaged; an array in Fortran's order that is too large.
    pub fn read(&mut self, numbers: usize) -> Result<Vec<u8>> {
        if std::mem::take(&mut self.fortran) {
            self.reorder()?;
        }
        let size = self.element.size();
        let mut bytes = vec![0; numbers * size];
        self.payload.read_exact(&mut bytes).map_err(|cause| unreadable(&self.location, cause))?;
        if self.big_endian && size > 1 {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    /// Reads all numbers of an array in Fortran's order, in which an image is spread over all of the file, and puts them in order.
    fn reorder(&mut self) -> Result<()> {
        let size = self.element.size();
        let bytes = self.sizes.iter().try_fold(size as u64, |bytes, size| bytes.checked_mul(*size));
        let bytes = bytes.filter(|bytes| *bytes <= MOST_FORTRAN).ok_or_else(|| {
            let (location, most) = (&self.location, MOST_FORTRAN >> 20);
            error::data(format!(
                "{location} is in Fortran's order, and larger than {most} MiB, which is the most that can be put in order; save \
                 numpy.ascontiguousarray of it"
            ))
        })?;
        if bytes > self.len {
            return Err(unreadable(&self.location, io::ErrorKind::UnexpectedEof.into()));
        }
        let mut stored = vec![0; bytes as usize];
        self.payload.read_exact(&mut stored).map_err(|cause| unreadable(&self.location, cause))?;
        self.end()?;
        self.payload = CrcReader::new(Box::new(Cursor::new(in_c_order(&stored, &self.sizes, size))));
        self.crc = None;
        Ok(())
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    /// Something does, or the checksum is wrong.
    pub fn end(&mut self) -> Result<()> {
        let bad = |what: &str| error::data(format!("{} {what}", self.location));
        let mut rest = [0];
        match self.payload.read(&mut rest) {
            Ok(0) if self.crc.is_some_and(|crc| crc != self.payload.crc().sum()) => {
                Err(bad("is damaged: its checksum is wrong"))
            }
            Ok(0) => Ok(()),
            Ok(_) => Err(bad("goes on after the numbers that its header announces")),
            Err(cause) => Err(unreadable(&self.location, cause)),
        }
    }

    /// All numbers as integers.
    ///
    /// # Errors
    /// Floats that are not whole, too many, numbers beyond 2^63, damage.
    pub fn integers(mut self, count: u64) -> Result<Vec<i64>> {
        let location = self.location.clone();
        let bad = |what: String| error::data(format!("{location} {what}"));
        if count > MAX_LABELS {
            return Err(bad(format!("has {count} labels; at most {MAX_LABELS} work")));
        }
        let (mut labels, size, element) = (Vec::new(), self.element.size(), self.element);
        // Read in pieces, so that a short file allocates little.
        while (labels.len() as u64) < count {
            let piece = (count - labels.len() as u64).min(1 << 20) as usize;
            let bytes = self.read(piece)?;
            for bytes in bytes.chunks_exact(size) {
                labels.push(match element {
                    Element::Signed(_) => signed(bytes),
                    Element::Float(_) => {
                        let value = float(bytes);
                        // Up to 2^53, every whole number is a float.
                        if value.trunc() != value || value.abs() > (1_u64 << 53) as f64 {
                            return Err(bad(format!("has the label {value}, which is no whole number")));
                        }
                        value as i64
                    }
                    _ => little_endian(bytes).try_into().map_err(|_| bad("has a label beyond 2^63".to_owned()))?,
                });
            }
        }
        self.end()?;
        Ok(labels)
    }
}

/// The location of the array in a file, which may be an archive of one.
///
/// # Errors
/// A file that cannot be read, or an archive of several.
pub fn only(path: &Path) -> Result<Location> {
    if !is_archive(path)? {
        return Ok(Location::File(path.to_owned()));
    }
    match &members(path)?[..] {
        [name] => Ok(Location::Member(path.to_owned(), name.clone())),
        names => {
            let (path, names, count) = (path.display(), text::few(names), names.len());
            Err(error::data(format!("{path} is an archive of {count} arrays, {names}: read it with source.npz")))
        }
    }
}

/// Whether a file starts as an archive does.
pub fn is_archive(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    open(path)?.take(4).read_to_end(&mut start).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(start == b"PK\x03\x04")
}

/// The names of the arrays in an archive.
///
/// # Errors
/// A file that cannot be read or is no archive.
pub fn members(path: &Path) -> Result<Vec<String>> {
    let archive = archive(path)?;
    Ok(names(&archive))
}

fn names(archive: &zip::ZipArchive<BufReader<RangeReader>>) -> Vec<String> {
    archive.file_names().flatten().filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect()
}

fn open(path: &Path) -> Result<RangeReader> {
    store::reader(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => error::data(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot open {}", path.display())),
    })
}

fn archive(path: &Path) -> Result<zip::ZipArchive<BufReader<RangeReader>>> {
    let file = BufReader::new(open(path)?);
    zip::ZipArchive::new(file)
        .map_err(|cause| explained(path, "an .npz archive", archive_failure(path, "is not an .npz archive", cause)))
}

/// The bytes of an array, its header included.
struct Payload {
    reader: Box<dyn Read + Send>,
    /// Their number, by the file's size or the archive's directory.
    len: u64,
    /// The checksum of a member of an archive.
    crc: Option<u32>,
}

/// Opens a member of an archive; it is decompressed as it is read.
fn open_member(path: &Path, name: &str) -> Result<Payload> {
    let mut archive = archive(path)?;
    let index = archive.index_for_name(&format!("{name}.npy")).ok_or_else(|| {
        let found = names(&archive).join(", ");
        error::data(format!("{} has no array {name}; it has {found}", path.display()))
    })?;
    let bad = |cause: &dyn fmt::Display| error::data(format!("{} ({name}) is damaged: {cause}", path.display()));
    let failed = |cause| archive_failure(path, &format!("({name}) is damaged"), cause);
    let member = archive.by_index(index).map_err(failed)?;
    let (packed, len, crc, method) = (member.compressed_size(), member.size(), member.crc32(), member.compression());
    let start = member.data_start().ok_or_else(|| bad(&"it has no data"))?;
    drop(member);
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(start)).with_context(|| format!("cannot read {}", path.display()))?;
    let stored = BufReader::with_capacity(1 << 18, file).take(packed);
    let reader: Box<dyn Read + Send> = match method {
        zip::CompressionMethod::Stored => Box::new(stored),
        zip::CompressionMethod::Deflated => Box::new(BufReader::with_capacity(1 << 18, DeflateDecoder::new(stored))),
        other => return Err(bad(&format!("it is compressed with {other}, limpid reads deflate"))),
    };
    Ok(Payload { reader, len, crc: Some(crc) })
}

/// The value of an entry of the header, a Python dictionary, as text: up to the comma or parenthesis that ends it.
fn entry<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{key}':"))?.1.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

/// Damage is an I/O error of the decompressor; other I/O errors come from the disk.
fn unreadable(location: &Location, cause: io::Error) -> anyhow::Error {
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            error::data(format!("{location} is truncated: its data end before the numbers that its header announces"))
        }
        _ if super::super::gzip::is_damage(&cause) => error::data(format!("{location} is damaged: {cause}")),
        _ => anyhow::Error::new(cause).context(format!("cannot read {location}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_whatever_its_spaces() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 28, 28), }   \n";
        assert_eq!(entry(header, "descr"), Some("'<f4'"));
        assert_eq!(entry(header, "fortran_order"), Some("False"));
        assert_eq!(entry(header, "shape"), Some("(3, 28, 28"));
        assert_eq!(entry("{'shape':(5,)}", "shape"), Some("(5,"));
        assert_eq!(entry(header, "other"), None);
    }
}
