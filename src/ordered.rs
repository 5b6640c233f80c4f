//! A parallel map with results in order and a bounded number of items in flight.
//!
//! The order of the results does not depend on the threads, so that files have the same bytes on any machine; the bound keeps
//! memory independent of the number of items.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::Result;

/// Calls `work` on every item on `threads` threads and `consume` on each result in the order of the items, on the
/// calling thread. At most `threads + 1` items have been taken from the iterator and not yet been consumed.
///
/// # Errors
/// The first error in the order of the items, of the iterator itself, `work` or `consume`; nothing new is started after.
///
/// # Panics
/// Where the iterator, `work` or `consume` does.
pub fn in_order<T, R>(
    threads: usize,
    items: impl Iterator<Item = Result<T>> + Send,
    work: impl Fn(T) -> Result<R> + Sync,
    mut consume: impl FnMut(R) -> Result<()>,
) -> Result<()>
where
    T: Send,
    R: Send,
{
    let items = Mutex::new(items.enumerate());
    let permits = Permits { free: Mutex::new(Some(threads + 1)), changed: Condvar::new() };
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        // Dropped on every return path, so that no worker waits for a consumer that has gone.
        let _withdrawn = WithdrawOnDrop(&permits);
        for _ in 0..threads.max(1) {
            let (items, permits, work, sender) = (&items, &permits, &work, sender.clone());
            scope.spawn(move || {
                while permits.take() {
                    let made = catch_unwind(AssertUnwindSafe(|| {
                        let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                        next.map(|(index, item)| (index, item.and_then(work)))
                    }));
                    let is_last = !matches!(made, Ok(Some((_, Ok(_)))));
                    // A panic is sent too: otherwise the consumer would wait for ever for this result.
                    let sent = made.transpose().is_none_or(|made| sender.send(made).is_ok());
                    if is_last || !sent {
                        // Keeps its permit; there is one more permit than there are workers.
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        while let Ok(made) = results.recv() {
            let (index, result) = made.unwrap_or_else(|panic| resume_unwind(panic));
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&next) {
                consume(result?)?;
                next += 1;
                permits.give_back();
            }
        }
        Ok(())
    })
}

/// A semaphore: a permit is the right to take another item.
struct Permits {
    /// Free permits; `None` once the consumer has gone.
    free: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Permits {
    /// Waits for a permit; false once the consumer has gone.
    fn take(&self) -> bool {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.changed.wait_while(free, |free| *free == Some(0));
        match &mut *free.unwrap_or_else(PoisonError::into_inner) {
            Some(free) => {
                *free -= 1;
                true
            }
            None => false,
        }
    }

    fn give_back(&self) {
        if let Some(free) = &mut *self.free.lock().unwrap_or_else(PoisonError::into_inner) {
            *free += 1;
        }
        self.changed.notify_all();
    }
}

struct WithdrawOnDrop<'a>(&'a Permits);

impl Drop for WithdrawOnDrop<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_few_are_in_flight() {
        for threads in [1, 2, 4] {
            let (taken, consumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut seen = Vec::new();
            let items = (0..200).map(|item: usize| {
                let flying = taken.fetch_add(1, Ordering::SeqCst) + 1 - consumed.load(Ordering::SeqCst);
                assert!(flying <= threads + 1, "{flying} in flight");
                Ok(item)
            });
            let work = |item: usize| {
                std::thread::yield_now();
                Ok(item * 2)
            };
            in_order(threads, items, work, |result| {
                seen.push(result);
                consumed.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .expect("nothing fails");
            assert_eq!(seen, (0..200).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_in_order_wins_and_work_stops() {
        let done = AtomicUsize::new(0);
        let work = |item: usize| {
            done.fetch_add(1, Ordering::SeqCst);
            if item >= 5 { Err(anyhow::anyhow!("item {item}")) } else { Ok(item) }
        };
        let error = in_order(2, (0..10_000).map(Ok), work, |_| Ok(())).expect_err("item 5 fails");
        assert_eq!(error.to_string(), "item 5");
        assert!(done.load(Ordering::SeqCst) < 50);
    }

    #[test]
    fn a_failing_consumer_ends_the_work() {
        let error = in_order(2, (0..10_000).map(Ok), Ok, |_: usize| Err(anyhow::anyhow!("full"))).expect_err("fails");
        assert_eq!(error.to_string(), "full");
    }

    #[test]
    fn a_panic_ends_the_work_and_goes_on_in_the_caller() {
        for threads in [1, 2, 4] {
            let panics = |items: &(dyn Fn(usize) -> Result<usize> + Sync),
                          work: &(dyn Fn(usize) -> Result<usize> + Sync)| {
                let call = || in_order(threads, (0..10_000).map(items), work, |_| Ok(()));
                let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("panics");
                assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"), "{threads} threads");
            };
            let fails = |item| if item == 5 { panic!("on purpose") } else { Ok(item) };
            panics(&Ok, &fails);
            panics(&fails, &Ok);
        }
    }
}
