//! SIGTERM and SIGINT: a flag that long work polls.
//!
//! The first signal requests a stop: training saves a checkpoint, other stages stop at the next batch, and the process exits with
//! 75. The second one exits at once, which is as safe as a kill. A program that this library is a part of handles signals itself, and
//! sets the flag.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};

use crate::error::{self, Kind};

static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(false)));

/// Installs the handlers; called once, at the start of a command that does long work.
///
/// # Errors
/// The operating system refuses.
pub fn install() -> Result<()> {
    for signal in [SIGTERM, SIGINT] {
        // In this order: the first signal finds the flag unset and sets it, the second finds it set and exits.
        let code = i32::from(Kind::TryAgain.exit_code());
        signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&REQUESTED))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&REQUESTED)))
            .context("cannot install the signal handlers")?;
    }
    // Writing beyond the limit of file sizes then fails as a full disk does, and does not kill the process.
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
        .context("cannot install the signal handlers")?;
    Ok(())
}

/// Requests that all work of this process stops, as a signal does, or withdraws the request.
pub fn request(stop: bool) {
    REQUESTED.store(stop, Ordering::Relaxed);
}

/// Time between two looks at the flag.
const LOOK: Duration = Duration::from_millis(100);

/// The result of work that cannot look at the flag itself, such as one call of a library. `waiting` is called between looks. After a
/// signal the thread of the work is left alone: the process ends without it.
///
/// # Errors
/// Interruption; a panic of the work.
pub fn abandoning<T: Send + 'static>(waiting: &dyn Fn(), work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, done) = mpsc::channel();
    std::thread::spawn(move || _ = sender.send(work()));
    loop {
        match done.recv_timeout(LOOK) {
            Ok(made) => return Ok(made),
            Err(RecvTimeoutError::Timeout) => waiting(),
            Err(RecvTimeoutError::Disconnected) => return Err(error::bug("a computation ended without a result")),
        }
        check()?;
    }
}

/// Whether a signal has arrived.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Fails once a signal has arrived.
///
/// # Errors
/// [`Kind::TryAgain`].
pub fn check() -> Result<()> {
    if requested() { Err(error::try_again("interrupted; run the same command again to go on")) } else { Ok(()) }
}
