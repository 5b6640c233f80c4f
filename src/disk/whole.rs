//! Reading a file as a whole: never more of it than its reader is prepared for.
//!
//! It hides how a file is kept from filling the memory, or from never ending: its kind and its length are looked at before it is
//! opened, and no more than the bound is read, whatever the length was said to be.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Most bytes of a file of settings, a receipt, a model's description or metrics: thousands of times what limpid writes into one.
pub const MOST_TEXT: u64 = 64 << 20;

/// The bytes of a file of at most `most` bytes.
///
/// # Errors
/// No regular file (`InvalidData`), a larger one (`FileTooLarge`), the file system.
pub fn read_whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for who writes to it.
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is not a file"));
    }
    let too_large = || {
        let most = if most < 1 << 20 { format!("{most} bytes") } else { format!("{} MiB", most >> 20) };
        io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most}"))
    };
    if metadata.len() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    super::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// As [`read_whole`], of text.
///
/// # Errors
/// As [`read_whole`]; `InvalidData` where it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_whole(path, most)?)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is not text in UTF-8"))
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
        // What says that it has no length is read no further either.
        #[cfg(target_os = "linux")]
        assert_eq!(kind(Path::new("/proc/self/status")), Err(ErrorKind::FileTooLarge));
    }
}
