//! Writes objects: small ones by one request, large ones in parts.
//!
//! An object is visible once it is complete. The answer to a request may be lost after the store has carried it out, so that
//! repeating a conditional request finds the condition no longer true. The content then decides: what is there is compared with
//! what was to be written.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use object_store::{Error, MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion};
use tokio::task::JoinHandle;

use super::client::{self, Object, object, read_only, runtime, wait};
use super::fault::fault;
use super::read::OpenObject;
use super::version::{mark, stat_of};
use crate::store::failpoint::reach;
use crate::store::url::Scheme;
use crate::store::whole::too_large;
use crate::store::{MOST_RECEIPT, NewFile, RangeReader, digest_of};

/// Bytes of a part; stores want equal ones, of at least 5 MiB, and at most 10,000 of them.
const PART: usize = 16 << 20;
/// How many parts are under way at a time.
const AT_ONCE: usize = 4;

/// The object to write.
fn target(path: &Path) -> io::Result<Object> {
    let object = object(path)?;
    if object.location.scheme == Scheme::Http {
        return Err(read_only());
    }
    if object.key.as_ref().is_empty() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "it is a bucket: name an object in it"));
    }
    Ok(object)
}

/// The version of a small object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    e_tag: Option<String>,
    version: Option<String>,
}

impl From<PutResult> for Version {
    fn from(put: PutResult) -> Self {
        Self { e_tag: put.e_tag, version: put.version }
    }
}

/// Replaces a small object, whatever it was.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<Version> {
    reach("put", &[path])?;
    let Object { store, key, .. } = target(path)?;
    wait(store.put(&key, PutPayload::from(bytes.to_vec()))).map(Version::from)
}

/// A small object and its version; none if there is none.
pub fn versioned(path: &Path) -> io::Result<Option<(Vec<u8>, Version)>> {
    let Object { store, key, .. } = object(path)?;
    let read = async {
        let answer = match store.get(&key).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            answer => answer.map_err(fault)?,
        };
        if answer.meta.size > MOST_RECEIPT {
            return Err(too_large(MOST_RECEIPT));
        }
        let version = Version { e_tag: answer.meta.e_tag.clone(), version: answer.meta.version.clone() };
        Ok(Some((answer.bytes().await.map_err(fault)?.into(), version)))
    };
    client::attempt(read)?
}

/// Puts a small object in the place of that of the version `expected`, or where there is none if that is none. None if another is
/// there. Of several who swap the same version, exactly one succeeds.
pub fn swap(path: &Path, bytes: &[u8], expected: Option<&Version>) -> io::Result<Option<Version>> {
    reach("swap", &[path])?;
    let Object { store, key, .. } = target(path)?;
    let mode = match expected {
        None => PutMode::Create,
        Some(Version { e_tag, version }) => {
            PutMode::Update(UpdateVersion { e_tag: e_tag.clone(), version: version.clone() })
        }
    };
    let options = PutOptions { mode, ..PutOptions::default() };
    let put = client::attempt(store.put_opts(&key, PutPayload::from(bytes.to_vec()), options))?;
    let cause = match put {
        Ok(put) => return Ok(Some(put.into())),
        // The object that was to be replaced has gone.
        Err(Error::NotFound { .. }) if expected.is_some() => return Ok(None),
        Err(cause) => cause,
    };
    // It may have been carried out all the same.
    let refused = matches!(cause, Error::AlreadyExists { .. } | Error::Precondition { .. });
    match versioned(path)? {
        Some((found, version)) if found == bytes => Ok(Some(version)),
        _ if refused => Ok(None),
        found if found.as_ref().map(|(_, version)| version) == expected => Err(fault(cause)),
        _ => Ok(None),
    }
}

/// An object that is being written.
pub struct NewObject {
    path: PathBuf,
    object: Object,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    bytes: u64,
    upload: Option<Box<dyn MultipartUpload>>,
    parts: VecDeque<JoinHandle<object_store::Result<()>>>,
    /// Whether it takes the place of another, or must be the first.
    replaces: bool,
    done: bool,
}

/// What is where an object is written to.
enum There {
    Nothing,
    /// The same bytes, and their time.
    Same(u64),
    Other,
}

/// How often an object is put that then is not there: a store refuses it while two are written at once, as S3 does, or its answer is lost.
const TRIES: usize = 5;

impl NewObject {
    /// An object that takes the place of another.
    pub fn create(path: &Path) -> Result<Self> {
        Self::new(path, true)
    }

    /// An object that is written once: if it is there when this one is complete, that is fine if both have the same bytes, and an error
    /// otherwise.
    pub fn create_once(path: &Path) -> Result<Self> {
        Self::new(path, false)
    }

    fn new(path: &Path, replaces: bool) -> Result<Self> {
        let object = reach("create", &[path]).and_then(|()| target(path));
        let object = object.with_context(|| format!("cannot create {}", path.display()))?;
        let (hasher, parts) = (blake3::Hasher::new(), VecDeque::new());
        Ok(Self {
            path: path.to_owned(),
            object,
            buffer: Vec::new(),
            hasher,
            bytes: 0,
            upload: None,
            parts,
            replaces,
            done: false,
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the buffer as a part, once few enough are under way.
    fn send(&mut self) -> io::Result<()> {
        reach("write", &[&self.path])?;
        let part = Bytes::from(std::mem::take(&mut self.buffer));
        let Object { store, key, .. } = &self.object;
        if self.upload.is_none() {
            self.upload = Some(wait(store.put_multipart(key))?);
        }
        while self.parts.len() >= AT_ONCE {
            self.join()?;
        }
        if let Some(upload) = &mut self.upload {
            self.parts.push_back(runtime()?.spawn(upload.put_part(part.into())));
        }
        Ok(())
    }

    /// Waits for the part that was sent first.
    fn join(&mut self) -> io::Result<()> {
        let Some(part) = self.parts.pop_front() else { return Ok(()) };
        client::attempt(part)?.map_err(io::Error::other)?.map_err(fault)
    }

    /// Sends what is left, and completes the object.
    fn complete(&mut self) -> io::Result<u64> {
        if self.upload.is_none() {
            let bytes = Bytes::from(std::mem::take(&mut self.buffer));
            return self.put(&bytes);
        }
        if !self.buffer.is_empty() {
            self.send()?;
        }
        while !self.parts.is_empty() {
            self.join()?;
        }
        // The completion itself has no condition.
        if !self.replaces {
            match self.there()? {
                There::Nothing => {}
                There::Same(time) => {
                    self.abort();
                    return Ok(time);
                }
                There::Other => return Err(other_bytes()),
            }
        }
        reach("complete", &[&self.path])?;
        let Some(upload) = &mut self.upload else { return Ok(0) };
        match client::attempt(upload.complete())? {
            Ok(put) => self.time(put.e_tag),
            // The answer may have been lost after the object was completed.
            Err(cause) => match self.there()? {
                There::Same(time) => Ok(time),
                There::Nothing | There::Other => Err(fault(cause)),
            },
        }
    }

    /// Puts a small object.
    fn put(&self, bytes: &Bytes) -> io::Result<u64> {
        reach("put", &[&self.path])?;
        let Object { store, key, .. } = &self.object;
        let mode = if self.replaces { PutMode::Overwrite } else { PutMode::Create };
        for attempt in 1.. {
            let options = PutOptions { mode: mode.clone(), ..PutOptions::default() };
            match client::attempt(store.put_opts(key, bytes.clone().into(), options))? {
                Ok(put) => return self.time(put.e_tag),
                // A time-out or a broken connection too, after which nobody has repeated a request with a condition.
                Err(cause @ (Error::AlreadyExists { .. } | Error::Generic { .. })) if !self.replaces => {
                    match self.there()? {
                        There::Same(time) => return Ok(time),
                        There::Other => return Err(other_bytes()),
                        There::Nothing if attempt == TRIES => return Err(fault(cause)),
                        There::Nothing => {}
                    }
                }
                Err(cause) => return Err(fault(cause)),
            }
        }
        Ok(0)
    }

    /// The time of the object as [`Store::stat`](crate::store::Store::stat) tells it.
    fn time(&self, e_tag: Option<String>) -> io::Result<u64> {
        match e_tag {
            Some(e_tag) => Ok(mark(&e_tag)),
            None => Ok(stat_of(&wait(self.object.store.head(&self.object.key))?).modified),
        }
    }

    /// What is there, compared with what was written.
    fn there(&self) -> io::Result<There> {
        let found = match OpenObject::open(&self.path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(There::Nothing),
            found => found?,
        };
        let time = found.stat().modified;
        let bytes = crate::store::ReadAt::bytes(&found);
        if bytes != self.bytes {
            return Ok(There::Other);
        }
        let digest = digest_of(RangeReader::new(std::sync::Arc::new(found), 0), bytes).map_err(io::Error::other)?;
        Ok(if digest == self.hasher.finalize().to_hex().as_str() { There::Same(time) } else { There::Other })
    }

    /// Removes the parts of an object that is not completed, which would cost money for ever.
    fn abort(&mut self) {
        self.parts.iter().for_each(JoinHandle::abort);
        if let Some(mut upload) = self.upload.take() {
            _ = runtime().map(|runtime| runtime.block_on(upload.abort()));
        }
    }
}

/// The error of an object that is there with other bytes than those that would be written.
fn other_bytes() -> io::Error {
    let message = "it is there already with other bytes: it was damaged, or another kind of processor or device made it; if no other \
                   process is making it, remove it and run the same command again";
    io::Error::other(message)
}

impl Write for NewObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        self.hasher.update(&bytes[..taken]);
        self.bytes += taken as u64;
        if self.buffer.len() == PART {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for NewObject {
    fn finish(mut self: Box<Self>) -> Result<u64> {
        let time = self.complete().with_context(|| format!("cannot write {}", self.path.display()))?;
        self.done = true;
        Ok(time)
    }
}

impl Drop for NewObject {
    fn drop(&mut self) {
        if !self.done {
            self.abort();
        }
    }
}
