//! Reads objects: whole small ones by one request, and ranges of large ones.
//!
//! Each request costs money and tens of milliseconds, so that ranges are read in larger pieces than asked for, and further ahead the
//! longer a reader goes on from where it was. What is known in advance, such as the columns of a row group, is read by as few
//! requests as possible ([`OpenObject::read_pieces`]). All answers have the version that the object had when it was opened: one that changes while
//! it is read gives an error, and never a mixture.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use tokio::task::JoinHandle;

use super::client::{self, Object, object, runtime, wait};
use super::fault::{changed, fault};
use super::version::stat_of;
use super::{ahead, list};
use crate::store::url::Scheme;
use crate::store::whole::too_large;
use crate::store::{ReadAt, Stat};

/// Bytes of the first piece that is read: a footer of thousands of columns, or most pictures.
const FIRST: u64 = 512 << 10;
/// Most bytes of a piece: half a second at 16 MB/s.
const LARGEST: u64 = 8 << 20;
/// How many pieces an open object keeps.
const KEPT: usize = 4;
/// Most bytes that are held of an object at a time; of more, pieces are read as they are needed.
const MOST_HELD: u64 = 256 << 20;
/// Ranges that are closer than this are read as one.
const NEAR: u64 = 1 << 20;
/// How many requests for parts of the same object are under way at a time.
const AT_ONCE: usize = 8;

/// Asks for the size and the version of an object.
pub fn stat(path: &Path) -> io::Result<Stat> {
    if let Some(stat) = list::stat(path) {
        return Ok(stat);
    }
    let Object { store, key, location } = object(path)?;
    if key.as_ref().is_empty() && location.scheme != Scheme::Http {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a bucket, and no object"));
    }
    Ok(stat_of(&wait(store.head(&key))?))
}

/// The bytes of an object of at most `most` bytes.
pub fn whole(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if let Some((_, bytes)) = ahead::take(path)? {
        return if bytes.len() as u64 > most { Err(too_large(most)) } else { Ok(bytes.into()) };
    }
    let Object { store, key, .. } = object(path)?;
    let read = async {
        let answer = store.get(&key).await.map_err(fault)?;
        if answer.meta.size > most {
            return Err(too_large(most));
        }
        answer.bytes().await.map_err(fault)
    };
    Ok(client::attempt(read)??.into())
}

/// An object that is open for reading.
#[derive(Debug, Clone)]
pub struct OpenObject(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    object: Object,
    path: PathBuf,
    stat: Stat,
    pieces: Mutex<Pieces>,
}

/// What was read of an object last.
#[derive(Debug, Default)]
struct Pieces {
    kept: VecDeque<(u64, Bytes)>,
    /// The piece that is being read ahead.
    ahead: Option<(Range<u64>, JoinHandle<io::Result<Bytes>>)>,
}

impl OpenObject {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut pieces = Pieces::default();
        let stat = match ahead::take(path)? {
            Some((meta, bytes)) => {
                pieces.kept.push_front((0, bytes));
                stat_of(&meta)
            }
            None => stat(path)?,
        };
        let pieces = Mutex::new(pieces);
        Ok(Self(Arc::new(Inner { object: object(path)?, path: path.to_owned(), stat, pieces })))
    }

    /// Its size, time and version.
    pub fn stat(&self) -> Stat {
        self.0.stat
    }

    /// The pieces by which ranges are read, which depend on these alone; none if they are too large to be held.
    pub fn pieces(&self, ranges: &[Range<u64>]) -> Option<Vec<Range<u64>>> {
        let size = self.0.stat.bytes;
        let ranges = near(ranges.iter().map(|range| range.start.min(size)..range.end.min(size)).collect());
        let held = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        let pieces = ranges.into_iter().flat_map(|Range { start, end }| {
            (start..end).step_by(LARGEST as usize).map(move |start| start..end.min(start + LARGEST))
        });
        (held <= MOST_HELD).then(|| pieces.collect())
    }

    /// Reads pieces, several at a time, and returns them with their starts, in order.
    pub async fn read_pieces(&self, pieces: Vec<Range<u64>>) -> io::Result<Vec<(u64, Bytes)>> {
        let read = stream::iter(pieces).map(|piece| {
            let inner = Arc::clone(&self.0);
            async move { Ok::<_, io::Error>((piece.start, inner.range(piece).await?)) }
        });
        read.buffered(AT_ONCE).try_collect().await.map_err(|cause| of(&self.0.path, cause))
    }
}

impl Inner {
    /// Reads a range, with the requests that a broken connection makes necessary.
    async fn range(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let length = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let answer = self.object.store.get_opts(&self.object.key, options).await.map_err(fault)?;
        let found = stat_of(&answer.meta);
        if (found.bytes, found.modified) != (self.stat.bytes, self.stat.modified) {
            return Err(changed());
        }
        let bytes = answer.bytes().await.map_err(fault)?;
        if bytes.len() as u64 == length {
            return Ok(bytes);
        }
        let message = format!("{} bytes came of {length} (store error)", bytes.len());
        Err(io::Error::new(ErrorKind::UnexpectedEof, message))
    }

    /// The piece from the start of `range` on that is worth reading for a reader at `at`.
    fn piece(&self, pieces: &Pieces, at: u64) -> Range<u64> {
        let size = self.stat.bytes;
        let before = pieces.kept.iter().find(|(start, bytes)| start + bytes.len() as u64 == at);
        match before {
            Some((_, bytes)) => at..size.min(at + (4 * bytes.len() as u64).clamp(FIRST, LARGEST)),
            // What lies before the end of a file, such as a footer, is read with it.
            None if at + FIRST > size => size.saturating_sub(FIRST)..size,
            None => at..at + FIRST,
        }
    }
}

impl ReadAt for OpenObject {
    fn bytes(&self) -> u64 {
        self.0.stat.bytes
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let inner = &self.0;
        if at >= inner.stat.bytes || buffer.is_empty() {
            return Ok(0);
        }
        let mut pieces = inner.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = pieces.kept.iter().find_map(|(start, bytes)| copied(*start, bytes, buffer, at)) {
            return Ok(read);
        }
        let is_ahead = pieces.ahead.as_ref().is_some_and(|(range, _)| range.contains(&at));
        let (start, bytes, goes_on) = match pieces.ahead.take_if(|_| is_ahead) {
            Some((range, read)) => {
                let read = client::attempt(read)?.map_err(io::Error::other)?;
                (range.start, read.map_err(|cause| of(&inner.path, cause))?, true)
            }
            None => {
                let range = inner.piece(&pieces, at);
                let goes_on = pieces.kept.iter().any(|(start, bytes)| start + bytes.len() as u64 == range.start);
                let read = client::attempt(inner.range(range.clone()))?;
                (range.start, read.map_err(|cause| of(&inner.path, cause))?, goes_on)
            }
        };
        let read = copied(start, &bytes, buffer, at).unwrap_or(0);
        let end = start + bytes.len() as u64;
        pieces.kept.push_front((start, bytes));
        pieces.kept.truncate(KEPT);
        if goes_on && end < inner.stat.bytes {
            let (range, inner) = (inner.piece(&pieces, end), Arc::clone(inner));
            let reading = range.clone();
            pieces.ahead = Some((range, runtime()?.spawn(async move { inner.range(reading).await })));
        }
        Ok(read)
    }
}

/// The ranges, sorted, with those that are close to each other joined.
fn near(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| range.start <= last.end.saturating_add(NEAR)) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

/// Copies what a piece has from `at` on; none if it has nothing there.
fn copied(start: u64, bytes: &Bytes, buffer: &mut [u8], at: u64) -> Option<usize> {
    let rest = at.checked_sub(start).and_then(|offset| bytes.get(offset as usize..)).filter(|rest| !rest.is_empty())?;
    let length = rest.len().min(buffer.len());
    buffer[..length].copy_from_slice(&rest[..length]);
    Some(length)
}

/// The same error, with the path of the object.
fn of(path: &Path, cause: io::Error) -> io::Error {
    if cause.get_ref().is_some_and(|inner| inner.is::<crate::error::Again>()) {
        let message = cause.to_string();
        return io::Error::other(crate::error::Again(format!("{}: {message}", path.display())));
    }
    io::Error::new(cause.kind(), format!("{}: {cause}", path.display()))
}

/// Ranges of an object that were read, and the object for anything else.
#[derive(Debug)]
pub struct Held {
    /// Sorted, with their starts.
    held: Vec<(u64, Bytes)>,
    rest: OpenObject,
}

impl Held {
    pub fn new(held: Vec<(u64, Bytes)>, rest: OpenObject) -> Self {
        Self { held, rest }
    }
}

impl ReadAt for Held {
    fn bytes(&self) -> u64 {
        self.rest.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let after = self.held.partition_point(|(start, _)| *start <= at);
        let held = after.checked_sub(1).and_then(|index| {
            let (start, bytes) = &self.held[index];
            copied(*start, bytes, buffer, at)
        });
        held.map_or_else(|| self.rest.read_at(buffer, at), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_are_near_are_read_as_one() {
        let far = 10 * NEAR;
        assert_eq!(near(vec![far..far + 1, 5..9, 0..4, 3..3]), [0..9, far..far + 1]);
        assert_eq!(near(Vec::new()), []);
    }
}
