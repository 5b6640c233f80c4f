//! An object as a file to read, whose ranges are kept in a temporary file if a training reads them again in every epoch.
//!
//! The file has no name: it takes room until the process ends, in whatever way.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::client;
use super::read::{Held, OpenObject};
use crate::store::{ReadAt, Room};

/// An object, with what is kept of it.
#[derive(Debug)]
pub struct ObjectFile {
    object: OpenObject,
    kept: Option<(Arc<Room>, Mutex<Places>)>,
}

#[derive(Debug)]
struct Places {
    file: File,
    /// Where the pieces are in the file, by their starts in the object, with their sizes.
    places: HashMap<u64, (u64, u64)>,
    end: u64,
}

impl ObjectFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { object: OpenObject::open(path)?, kept: None })
    }
}

impl Places {
    /// What is kept of a piece.
    fn get(&mut self, piece: &Range<u64>) -> io::Result<Option<Bytes>> {
        let place = self.places.get(&piece.start).filter(|(_, size)| *size == piece.end - piece.start).copied();
        let Some((at, size)) = place else { return Ok(None) };
        let mut bytes = vec![0; size as usize];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Keeps a piece if there is room; a full disk has none.
    fn keep(&mut self, room: &Room, start: u64, bytes: &Bytes) {
        let size = bytes.len() as u64;
        let mut written = || self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(bytes));
        if !self.places.contains_key(&start) && room.take(size) && written().is_ok() {
            self.places.insert(start, (self.end, size));
            self.end += size;
        }
    }
}

/// A temporary file that is removed already.
fn nameless() -> io::Result<File> {
    let folder = std::env::temp_dir();
    for attempt in 0_u32.. {
        let path = folder.join(format!(".limpid-{}-{attempt}", std::process::id()));
        match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            file => {
                let file = file?;
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

impl ReadAt for ObjectFile {
    fn bytes(&self) -> u64 {
        self.object.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.object.read_at(buffer, at)
    }

    fn holding(&self, ranges: &[Range<u64>]) -> io::Result<Option<Arc<dyn ReadAt>>> {
        let Some(pieces) = self.object.pieces(ranges) else { return Ok(None) };
        let places =
            self.kept.as_ref().map(|(room, places)| (room, || places.lock().unwrap_or_else(PoisonError::into_inner)));
        let (mut held, mut missing) = (Vec::new(), Vec::new());
        for piece in pieces {
            match places.as_ref().map_or(Ok(None), |(_, places)| places().get(&piece))? {
                Some(bytes) => held.push((piece.start, bytes)),
                None => missing.push(piece),
            }
        }
        let read = client::attempt(self.object.read_pieces(missing))??;
        if let Some((room, places)) = places {
            read.iter().for_each(|(start, bytes)| places().keep(room, *start, bytes));
        }
        held.extend(read);
        held.sort_by_key(|(start, _)| *start);
        Ok(Some(Arc::new(Held::new(held, self.object.clone()))))
    }

    fn kept(&self, room: &Arc<Room>) -> io::Result<Option<Arc<dyn ReadAt>>> {
        let places = Places { file: nameless()?, places: HashMap::new(), end: 0 };
        Ok(Some(Arc::new(Self { object: self.object.clone(), kept: Some((Arc::clone(room), Mutex::new(places))) })))
    }
}
