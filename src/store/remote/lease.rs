//! The lease to write in a run: an object that its holder renews, and that others swap once it is not renewed any more.
//!
//! Clocks of machines differ. A lease has therefore expired for a process that has seen the same version of it for [`EXPIRY`], by its
//! own clock; a holder that could not renew it for so long has lost it, and publishes nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::put::{Version, swap, versioned};
use crate::progress::Progress;
use crate::store::Lease;
use crate::store::local::host;
use crate::{error, interrupt};

const LEASE: &str = "_lease.json";
/// Time without a renewal after which a lease is anyone's.
const EXPIRY: Duration = Duration::from_secs(60);
/// Time between two renewals.
const RENEWAL: Duration = Duration::from_secs(15);
/// Time between two looks at the lease of another process.
const LOOK: Duration = Duration::from_secs(1);

/// The content of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    since: String,
    /// Counts renewals, so that each has another version.
    renewals: u64,
    /// Whether it was given back.
    released: bool,
}

impl Holder {
    fn name(&self) -> String {
        format!("process {} on {} since {}", self.pid, self.host, self.since)
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// A lease that is held; given back when dropped.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    stop: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    holder: Holder,
    version: Version,
    renewed: Instant,
    lost: bool,
}

impl State {
    /// Whether the content of the object is of this process.
    fn is_own(&self, found: &[u8]) -> bool {
        let Ok(found) = serde_json::from_slice::<Holder>(found) else { return false };
        !found.released && found.name() == self.holder.name()
    }

    /// Swaps the object for one with this change; the lease is lost if that is no longer this process's.
    fn swap(&mut self, path: &Path, change: impl FnOnce(&mut Holder)) {
        let mut holder = self.holder.clone();
        change(&mut holder);
        match swap(path, &holder.bytes(), Some(&self.version)) {
            Ok(Some(version)) => (self.holder, self.version, self.renewed) = (holder, version, Instant::now()),
            // A renewal before, whose answer was lost, has another version.
            Ok(None) => match versioned(path) {
                Ok(Some((found, version))) if self.is_own(&found) => self.version = version,
                Ok(_) => self.lost = true,
                Err(_) => {}
            },
            // The next renewal may succeed in time.
            Err(_) => {}
        }
    }
}

impl Lease for Held {
    fn check(&self) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.lost && state.renewed.elapsed() < EXPIRY {
            return Ok(());
        }
        let message =
            format!("the lease {} could not be renewed, and another process may have it", self.path.display());
        Err(error::try_again(format!("{message}; run the same command again")))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.stop.take());
        _ = self.renewing.take().map(JoinHandle::join);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).swap(&self.path, |holder| holder.released = true);
    }
}

pub fn take(run: &Path, timeout: Option<Duration>, progress: &Progress) -> Result<Held> {
    let (path, start) = (run.join(LEASE), Instant::now());
    let host = host();
    let since = jiff::Timestamp::now().to_string();
    let me = Holder { pid: std::process::id(), host, since, renewals: 0, released: false };
    let (mut seen, mut told) = (None::<(Version, Instant)>, None);
    loop {
        let unreadable = || format!("cannot take the lease {}", path.display());
        let found = versioned(&path).with_context(unreadable)?;
        let holder = found.as_ref().and_then(|(bytes, _)| serde_json::from_slice::<Holder>(bytes).ok());
        let version = found.map(|(_, version)| version);
        if seen.as_ref().map(|(version, _)| version) != version.as_ref() {
            seen = version.clone().map(|version| (version, Instant::now()));
        }
        let is_held = holder.as_ref().is_some_and(|holder| !holder.released);
        let expired = seen.as_ref().is_some_and(|(_, since)| since.elapsed() >= EXPIRY);
        if !is_held || expired {
            if let Some(version) = swap(&path, &me.bytes(), version.as_ref()).with_context(unreadable)? {
                return renewed(path, me, version).with_context(|| "cannot start a thread");
            }
            continue;
        }
        let (root, waited) = (run.display(), start.elapsed());
        let holder = holder.map_or_else(String::new, |holder| holder.name());
        if timeout.is_some_and(|timeout| waited >= timeout) {
            let waited = waited.as_secs_f64();
            return Err(error::try_again(format!("{root} is in use by {holder}; waited {waited:.1} s")));
        }
        if told.as_ref() != Some(&holder) {
            progress.note(&format!("waiting for {root}, which is in use by {holder}"));
            told = Some(holder);
        }
        interrupt::check()?;
        std::thread::sleep(timeout.map_or(LOOK, |timeout| LOOK.min(timeout.saturating_sub(waited))));
    }
}

/// A lease that a thread renews.
fn renewed(path: PathBuf, holder: Holder, version: Version) -> io::Result<Held> {
    let state = Arc::new(Mutex::new(State { holder, version, renewed: Instant::now(), lost: false }));
    let (stop, stopped) = channel();
    let (renewing, place) = (Arc::clone(&state), path.clone());
    let renew = move || {
        while stopped.recv_timeout(RENEWAL) == Err(RecvTimeoutError::Timeout) {
            renewing.lock().unwrap_or_else(PoisonError::into_inner).swap(&place, |holder| holder.renewals += 1);
        }
    };
    let renewing = std::thread::Builder::new().name("lease".to_owned()).spawn(renew)?;
    Ok(Held { path, state, stop: Some(stop), renewing: Some(renewing) })
}
