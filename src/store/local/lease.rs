//! The right to write in a run directory: a lock of the file `.lock` in it.
//!
//! It is flock(2)'s. On NFS the client turns that into a lock of the whole file at the server, so that it holds between
//! machines too, unless the mount has `nolock` or `local_lock`; where a file system has no locks, taking it fails.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{create_folder, is_at, open_lock};
use crate::progress::Progress;
use crate::store::Lease;
use crate::{error, interrupt};

const LOCK: &str = ".lock";
/// How long the holder of a lock may take to sign it.
const SIGNED_AFTER: Duration = Duration::from_secs(1);

/// A lock; given back when dropped, or by the kernel when the process dies.
#[derive(Debug)]
pub struct WriteLock {
    _file: File,
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
    /// A lock with the name of this process in its file. Only messages use it: failing to write it is no reason not to work.
    fn signed(mut file: File) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let holder = Holder { pid: std::process::id(), host, since: jiff::Timestamp::now().to_string() };
        _ = serde_json::to_string(&holder)
            .map(|text| file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes())));
        Self { _file: file }
    }
}

pub fn take(run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<WriteLock> {
    let (path, start) = (run.join(LOCK), Instant::now());
    let mut told = None;
    loop {
        // Opened again each time: whoever waits must not be left with a file that was removed with its folder.
        create_folder(run)?;
        let mut file = open_lock(&path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, &path) => return Ok(WriteLock::signed(file)),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(cause)) => {
                return Err(cause).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let (root, waited) = (run.display(), start.elapsed());
        // Who has only just taken it has yet to sign.
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

/// The process that has signed a lock.
fn holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().and_then(|()| file.take(1 << 10).read_to_string(&mut text)).ok()?;
    let Holder { pid, host, since } = serde_json::from_str(&text).ok()?;
    Some(format!("process {pid} on {host} since {since}"))
}
