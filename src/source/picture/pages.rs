//! The pages of a TIFF, found by its directories alone. What a program keeps beside a page, such as a smaller copy of it or a
//! mask, is no page.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};

use crate::source::Asker;
use crate::source::settings::Pages;

/// Tag of what kind of page a directory describes, and the bits of that: a smaller copy, a mask.
const KIND: u16 = 254;
const COPY_OR_MASK: u32 = 1 | 4;

/// The directory of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Its position among all directories.
    pub index: usize,
    /// Where it is in the file.
    pub place: u64,
}

/// The directories of the pages of a TIFF, as far as they can be read; none for anything else. The first directory is a page,
/// whatever it says.
pub fn pages(file: &mut (impl Read + Seek)) -> Vec<Page> {
    let mut found = Vec::new();
    // A damaged chain ends where it is damaged; decoding the page there fails.
    _ = walk(file, &mut found);
    found
}

/// How many pages a file has that is held whole; 0 if it is no TIFF.
pub fn count_pages(bytes: &[u8]) -> usize {
    pages(&mut io::Cursor::new(bytes)).len()
}

fn walk(file: &mut (impl Read + Seek), found: &mut Vec<Page>) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = [0; 4];
    file.read_exact(&mut start)?;
    let (little, big) = match start {
        [b'I', b'I', 42, 0] => (true, false),
        [b'M', b'M', 0, 42] => (false, false),
        [b'I', b'I', 43, 0] => (true, true),
        [b'M', b'M', 0, 43] => (false, true),
        _ => return Ok(()),
    };
    let word = |file: &mut dyn Read, bytes: usize| -> io::Result<u64> {
        let mut word = [0; 8];
        file.read_exact(&mut word[..bytes])?;
        let value = u64::from_le_bytes(word);
        Ok(if little { value } else { value.swap_bytes() >> (64 - 8 * bytes) })
    };
    let (count, entry, offset) = if big { (8, 20, 8) } else { (2, 12, 4) };
    file.seek(SeekFrom::Start(if big { 8 } else { 4 }))?;
    let mut next = word(file, offset)?;
    let mut seen = BTreeSet::new();
    while next != 0 && seen.insert(next) {
        file.seek(SeekFrom::Start(next))?;
        let entries = word(file, count)?.min(1 << 16);
        let mut page = true;
        for _ in 0..entries {
            let mut bytes = [0; 20];
            file.read_exact(&mut bytes[..entry])?;
            let mut rest = &bytes[..];
            // A LONG, whose value stands at the end of the entry.
            let (tag, _, _) = (word(&mut rest, 2)?, word(&mut rest, 2)?, word(&mut rest, offset)?);
            page &= tag != u64::from(KIND) || word(&mut rest, 4)? & u64::from(COPY_OR_MASK) == 0;
        }
        if page || found.is_empty() {
            found.push(Page { index: seen.len() - 1, place: next });
        }
        next = word(file, offset)?;
    }
    Ok(())
}

/// Makes the page whose directory is at this place the first of a TIFF, so that decoders read it.
pub fn put_first(bytes: &mut [u8], page: Page) {
    let little = bytes.starts_with(b"II");
    let (at, width) = if bytes.get(2..4).is_some_and(|magic| magic.contains(&43)) { (8, 8) } else { (4, 4) };
    let word = if little {
        page.place.to_le_bytes()[..width].to_vec()
    } else {
        page.place.to_be_bytes()[8 - width..].to_vec()
    };
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&word);
    }
}

/// Refuses several pages where one is expected.
///
/// # Errors
/// The reason, with the setting.
pub fn check(pages: usize, wanted: Pages, asker: Asker) -> Result<(), String> {
    if pages < 2 || wanted != Pages::Error {
        return Ok(());
    }
    let setting = asker.setting("pages");
    Err(match asker {
        Asker::Section("source.folder") => {
            format!(
                "it has {pages} pages; {setting} = \"all\" makes each an image, \"first\" leaves all but the first out"
            )
        }
        Asker::Section(_) => format!("it has {pages} pages; {setting} = \"first\" leaves all but the first out"),
        Asker::Command => {
            format!("it has {pages} pages; {setting} all makes each an image, {setting} first leaves the others out")
        }
        Asker::Call => format!("it has {pages} pages; give each as a picture of its own"),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn damaged_chains_end() {
        // A directory without entries that names itself, and one that is cut.
        let mut around = b"II*\0\x08\0\0\0\0\0\x08\0\0\0".to_vec();
        assert_eq!(pages(&mut Cursor::new(&around)), [Page { index: 0, place: 8 }]);
        around[10] = 9;
        assert_eq!(pages(&mut Cursor::new(&around)).len(), 1);
        for end in 0..around.len() {
            assert!(pages(&mut Cursor::new(&around[..end])).len() <= 1);
        }
        assert!(pages(&mut Cursor::new(b"\x89PNG\r\n\x1a\n")).is_empty());
        let mut big = b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10".to_vec();
        big.extend([0; 16]);
        assert_eq!(pages(&mut Cursor::new(&big)), [Page { index: 0, place: 16 }]);
        put_first(&mut big, Page { index: 1, place: 24 });
        assert_eq!(big[8..16], 24_u64.to_be_bytes());
    }
}
