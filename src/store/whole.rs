//! Reads whole files, up to a bound.
//!
//! A file can neither fill the memory nor block for ever: its kind and length are checked before it is opened, and no more than
//! the bound is read, whatever its length is said to be.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::Result;

use crate::interrupt;

/// Most bytes of a file of settings, a model's description or metrics: thousands of times what limpid writes into one.
pub const MOST_TEXT: u64 = 64 << 20;

/// Most bytes of a receipt, which names every file of a result: millions of pictures.
pub const MOST_RECEIPT: u64 = 1 << 30;

/// The error of a file that is larger than `most` bytes.
pub(super) fn too_large(most: u64) -> io::Error {
    let most = if most < 1 << 20 { format!("{most} bytes") } else { format!("{} MiB", most >> 20) };
    io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most}"))
}

/// As [`Store::read`](super::Store::read), from the store that has the path.
///
/// # Errors
/// As [`Store::read`](super::Store::read).
pub fn read_whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    super::of(path).read(path, most)
}

/// As [`read_whole`], of text.
///
/// # Errors
/// As [`read_whole`]; `InvalidData` where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_whole(path, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
}

/// Bytes that are digested between two checks for interruption.
const CHUNK: usize = 1 << 20;

/// Least number of bytes that several threads digest faster than one.
const DIGESTED_ALONE: usize = 256 << 10;

/// blake3 of the rest of a file of about `len` bytes, in hexadecimal; computed on all threads if it is large.
///
/// # Errors
/// Interruption, or the file system.
pub fn digest_of(mut file: impl Read, len: u64) -> Result<String> {
    // One byte more than the file has, since a read into an empty buffer looks like the end.
    let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; len.saturating_add(1).min(CHUNK as u64) as usize]);
    loop {
        interrupt::check()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finalize().to_hex().to_string()),
            Ok(read) if read < DIGESTED_ALONE => _ = hasher.update(&buffer[..read]),
            Ok(read) => _ = hasher.update_rayon(&buffer[..read]),
            Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_the_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let kind = |path: &Path| read_whole(path, 4).map_err(|cause| cause.kind());
        std::fs::write(&path, b"four").expect("written");
        assert_eq!(kind(&path).as_deref(), Ok(&b"four"[..]));
        std::fs::write(&path, b"fives").expect("written");
        assert_eq!(kind(&path), Err(ErrorKind::FileTooLarge));
        assert_eq!(kind(folder.path()), Err(ErrorKind::InvalidData));
        assert_eq!(kind(&folder.path().join("none")), Err(ErrorKind::NotFound));
        std::fs::write(&path, b"\xff").expect("written");
        assert_eq!(read_text(&path, 4).map_err(|cause| cause.kind()), Err(ErrorKind::InvalidData));
        // The bound also holds for a file whose length is given as 0.
        #[cfg(target_os = "linux")]
        assert_eq!(kind(Path::new("/proc/self/status")), Err(ErrorKind::FileTooLarge));
    }
}
