//! The lease to write in a run directory: a lock on the file `.lock` in it.
//!
//! The lock is taken with flock(2). An NFS client turns it into a lock of the whole file at the server, so that it holds
//! between machines too, unless the mount has `nolock` or `local_lock`. On a file system without locks, taking it fails.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Local, create_folder, host, is_at, open_lock, remove_file};
use crate::progress::Progress;
use crate::store::{Lease, Store};
use crate::{error, interrupt};

const LOCK: &str = ".lock";
/// How long the holder of a lock may take to write its name into the file.
const SIGNED_AFTER: Duration = Duration::from_secs(1);

/// A lock; released when dropped, or by the kernel when the process dies.
#[derive(Debug)]
pub struct WriteLock {
    _file: File,
    run: PathBuf,
    /// Whether the folder was made for the lock.
    made: bool,
}

impl Drop for WriteLock {
    /// Removes the lock if nothing else is in the run directory, as when a command was refused before it wrote anything, and the directory
    /// if it was made for the lock. A process that waits for the lock finds that it is gone, and begins again.
    fn drop(&mut self) {
        let alone = Local.list(&self.run).is_ok_and(|names| names == [LOCK]);
        if alone && remove_file(&self.run.join(LOCK)).is_ok() && self.made {
            // It stays if another process has begun again in it.
            _ = std::fs::remove_dir(&self.run);
        }
    }
}

impl Lease for WriteLock {}

/// The process that holds a lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: String,
}

impl WriteLock {
    /// Writes the name of this process into the lock file. Only messages use it, so that failing to write it is not an error.
    fn signed(mut file: File, run: &Path, made: bool) -> Self {
        let holder = Holder { pid: std::process::id(), host: host(), since: jiff::Timestamp::now().to_string() };
        _ = serde_json::to_string(&holder)
            .map(|text| file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())));
        Self { _file: file, run: run.to_owned(), made }
    }
}

pub fn take(run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<WriteLock> {
    let (path, start) = (run.join(LOCK), Instant::now());
    let (mut told, made) = (None, !run.exists());
    loop {
        // Opened again each time, since the file may have been removed with its folder meanwhile.
        create_folder(run)?;
        let mut file = match open_lock(&path) {
            Err(_) if !run.exists() => continue,
            file => file?,
        };
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => return Ok(WriteLock::signed(file, run, made)),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(cause)) => {
                return Err(cause).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let (root, waited) = (run.display(), start.elapsed());
        // A process that has just taken the lock may not have written its name yet.
        let unknown = || (waited >= SIGNED_AFTER && told.is_none()).then(|| "another process".to_owned());
        let holder = holder(&mut file).or_else(unknown);
        if timeout.is_some_and(|timeout| waited >= timeout) {
            let holder = holder.or(told).unwrap_or_else(|| "another process".to_owned());
            let waited = waited.as_secs_f64();
            return Err(error::try_again(format!("{root} is in use by {holder}; waited {waited:.1} s")));
        }
        if holder.is_some() && holder != told {
            progress.note(&format!("waiting for {root}, which is in use by {}", holder.as_deref().unwrap_or_default()));
            told = holder;
        }
        interrupt::check()?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The process named in a lock file, for messages.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(1 << 10).read_to_string(&mut text)).ok()?;
    let Holder { pid, host, since } = serde_json::from_str(&text).ok()?;
    Some(format!("process {pid} on {host} since {since}"))
}
