//! Keeps the threads of the pool awake between the short parallel parts of a step.
//!
//! A step of a small model takes a few hundred microseconds, a good part of which a sleeping thread needs to wake up. Idle
//! threads therefore poll for work until there has been none for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

/// How long a thread polls in vain before it may sleep.
const PATIENCE: Duration = Duration::from_millis(2);

/// Does `work` on a thread of the pool while the others stay awake.
pub fn keep_awake<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let done = AtomicBool::new(false);
    rayon::scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| {
                let mut last = Instant::now();
                while !done.load(Ordering::Relaxed) && last.elapsed() < PATIENCE {
                    if rayon::yield_now() == Some(Yield::Executed) {
                        last = Instant::now();
                    }
                }
            });
        }
        // Set on every return path, so that after a panic the others stop polling at once.
        let _guard = SetOnDrop(&done);
        work()
    })
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
