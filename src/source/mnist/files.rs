//! Reads MNIST from a folder: the four IDX files, raw or gzip under either name, or Keras' archive.
//!
//! Only a file that does not exist counts as missing; one that cannot be opened is an error.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::super::{archive_failure, gzip};
use super::{Mnist, PARTS, Part, SHAPE, verify};
use crate::error;
use crate::store::local;

/// MNIST from a folder: four IDX files, torchvision's `MNIST/raw` below it, or Keras' `mnist.npz`; none if it has none.
///
/// # Errors
/// Files that cannot be read or hold something else.
pub fn read_folder(folder: &Path) -> Result<Option<Mnist>> {
    for folder in [folder.to_owned(), folder.join("MNIST/raw")] {
        let mut payloads = Vec::new();
        for part in &PARTS {
            let Some(payload) = read_part(&folder, part)? else { break };
            payloads.push(payload);
        }
        if payloads.len() == PARTS.len() {
            return Ok(Some(Mnist::new(payloads)));
        }
    }
    let archive = folder.join("mnist.npz");
    open(&archive)?.map(|file| read_keras(file, &archive)).transpose()
}

/// The name of the first part that a folder lacks.
pub fn first_missing(folder: &Path) -> &'static str {
    let missing = PARTS.iter().find(|part| candidates(folder, part).iter().all(|path| !path.exists()));
    missing.unwrap_or(&PARTS[0]).name
}

/// The payload of a part from a folder; none if it has no such file. Of a raw and a gzip file, one good one suffices.
///
/// # Errors
/// Files that cannot be read or hold something else.
pub fn read_part(folder: &Path, part: &Part) -> Result<Option<Vec<u8>>> {
    let mut failure = None;
    for path in candidates(folder, part) {
        let read = open(&path).and_then(|file| {
            let payload =
                file.map(|file| gzip::payload(file).with_context(|| format!("cannot read {}", path.display())));
            payload.map(|payload| verify(part, read_limited(payload?, part, &path)?, &path)).transpose()
        });
        match read {
            Ok(Some(payload)) => return Ok(Some(payload)),
            Ok(None) => {}
            Err(cause) => failure = failure.or(Some(cause)),
        }
    }
    failure.map_or(Ok(None), Err)
}

/// The paths that a part may have in a folder.
fn candidates(folder: &Path, part: &Part) -> [PathBuf; 2] {
    [folder.join(part.name), folder.join(format!("{}.gz", part.name))]
}

/// Opens a file; none if it is not there.
fn open(path: &Path) -> Result<Option<File>> {
    // Opening a pipe would wait for a writer.
    if path.exists() && !path.is_file() {
        return Err(error::data(format!("{} is not a file", path.display())));
    }
    match local::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(cause) => Err(cause).with_context(|| format!("cannot open {}", path.display())),
    }
}

/// Reads a payload up to one byte more than its size, so that a wrong file cannot fill the memory.
pub fn read_limited(payload: impl Read, part: &Part, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len);
    let read = payload.take(part.len as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|cause| {
        if gzip::is_damage(&cause) {
            return error::data(format!("{} is damaged: {cause}", path.display()));
        }
        anyhow::Error::new(cause).context(format!("cannot read {}", path.display()))
    })?;
    Ok(bytes)
}

/// Reads Keras' archive, which has the same bytes as four NumPy arrays: the IDX headers are restored before the check.
fn read_keras(file: File, path: &Path) -> Result<Mnist> {
    let failed = |cause| archive_failure(path, "is damaged", cause);
    let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(failed)?;
    let payloads = PARTS.iter().map(|part| {
        let entry =
            archive.by_name(part.keras).map_err(failed).with_context(|| format!("cannot read {}", part.keras))?;
        let mut array = entry.take(part.len as u64 + (1 << 16));
        let mut bytes = Vec::with_capacity(part.len);
        array.read_to_end(&mut bytes).map_err(|cause| failed(cause.into()))?;
        let no_array = || error::data(format!("{} is damaged: {} is not a NumPy array", path.display(), part.keras));
        let data = npy_data(&bytes).ok_or_else(no_array)?;
        let items = (part.len - part.header) / if part.header == 16 { SHAPE.len() } else { 1 };
        let mut payload = vec![0, 0, 8, if part.header == 16 { 3 } else { 1 }];
        payload.extend((items as u32).to_be_bytes());
        if part.header == 16 {
            payload.extend([0, 0, 0, 28, 0, 0, 0, 28]);
        }
        payload.extend(data);
        verify(part, payload, path)
    });
    Ok(Mnist::new(payloads.collect::<Result<_>>()?))
}

/// The data of a `.npy` file of any version, after its header (NEP 1).
fn npy_data(bytes: &[u8]) -> Option<&[u8]> {
    let major = *bytes.strip_prefix(b"\x93NUMPY")?.first()?;
    let start = if major == 1 {
        10 + usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]))
    } else {
        12 + u32::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?, *bytes.get(10)?, *bytes.get(11)?]) as usize
    };
    bytes.get(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numpy_header_is_skipped_whatever_its_version() {
        let mut first = b"\x93NUMPY\x01\x00\x04\x00{  }".to_vec();
        first.extend([1, 2]);
        assert_eq!(npy_data(&first), Some(&[1, 2][..]));
        let mut second = b"\x93NUMPY\x02\x00\x04\x00\x00\x00{  }".to_vec();
        second.extend([3]);
        assert_eq!(npy_data(&second), Some(&[3][..]));
        assert_eq!(npy_data(b"\x93NUMPY\x01\x00\xff\xff"), None);
        assert_eq!(npy_data(b"PK"), None);
    }
}
