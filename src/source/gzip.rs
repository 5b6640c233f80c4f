//! Reads a file that may be gzip-compressed.
//!
//! The format is detected by the first bytes and not by the name: people rename files, and tools unpack them in place.
//! Like gzip(1), the reader continues with the next member at the end of one, and skips zeros after the last one, the
//! padding of tapes and block devices.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::store;

/// Bytes read at a time.
const BUFFER: usize = 1 << 18;
/// The start of every gzip member.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The content of a file, decompressed if it is gzip.
///
/// # Errors
/// The start of the file cannot be read.
pub fn payload<'a>(file: impl Read + Send + 'a) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    Ok(if is_gzip(file.fill_buf()?) {
        Box::new(BufReader::with_capacity(BUFFER, Members { member: Some(GzDecoder::new(file)) }))
    } else {
        Box::new(file)
    })
}

/// The first 4 KiB of the decompressed content of a gzip file.
///
/// # Errors
/// It cannot be read or decompressed.
pub fn unpacked_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    payload(store::reader(path)?)?.take(1 << 12).read_to_end(&mut start)?;
    Ok(start)
}

/// Whether bytes start as gzip does.
pub fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Whether an error of a payload means damaged data; any other comes from the disk.
pub fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// The members of a gzip file, one after the other.
struct Members<R> {
    /// The current member; none at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The member that follows any padding.
fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    loop {
        let buffer = rest.fill_buf()?;
        let (zeros, len) = (buffer.iter().take_while(|byte| **byte == 0).count(), buffer.len());
        rest.consume(zeros);
        if zeros < len {
            return Ok(Some(GzDecoder::new(rest)));
        }
        if len == 0 {
            return Ok(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        payload(bytes)?.read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn members_and_padding_are_read_as_gzip_reads_them() {
        assert_eq!(read(b"raw").expect("is whole"), b"raw");
        assert_eq!(read(&gzip(b"one")).expect("is whole"), b"one");
        assert_eq!(read(&[gzip(b"one"), gzip(b"two")].concat()).expect("is whole"), b"onetwo");
        assert_eq!(read(&[gzip(b"one"), vec![0; 3 * BUFFER]].concat()).expect("is whole"), b"one");
    }

    #[test]
    fn anything_else_after_the_last_member_is_damage() {
        for end in [&b"garbage that follows"[..], b"\0\0garbage", &gzip(b"cut")[..8]] {
            let cause = read(&[gzip(b"one").as_slice(), end].concat()).expect_err("is damaged");
            assert!(is_damage(&cause), "{end:?}: {cause}");
        }
    }
}
