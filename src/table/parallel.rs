//! Work on many items at once, results in order, a bounded number in flight.
//!
//! The order of the results never depends on the threads, which is what makes the files the same bytes on any machine;
//! the bound is what keeps memory independent of the number of items.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Condvar, Mutex, PoisonError};

use anyhow::Result;

/// Calls `work` on every item on `threads` threads and `consume` on each result in the order of the items, on the
/// calling thread. At most `threads + 1` items are in flight.
///
/// # Errors
/// The first error in the order of the items, of the iterator itself, `work` or `consume`; nothing new is started after.
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
    let gate = Gate { limit: Mutex::new(threads + 1), changed: Condvar::new() };
    let (sender, results) = mpsc::channel();
    std::thread::scope(|scope| {
        // Opened on every way out, so that no worker waits for a consumer that has gone.
        let opener = OpenOnDrop(&gate);
        for _ in 0..threads.max(1) {
            let (items, gate, work, sender) = (&items, &gate, &work, sender.clone());
            scope.spawn(move || {
                loop {
                    let next = items.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, item)) = next else { return };
                    if !gate.wait_for(index) {
                        return;
                    }
                    let result = item.and_then(work);
                    let failed = result.is_err();
                    if sender.send((index, result)).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut next = 0;
        while let Ok((index, result)) = results.recv() {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&next) {
                consume(result?)?;
                next += 1;
                gate.raise();
            }
        }
        drop(opener);
        // Every worker has gone. A gap means that one stopped without a result: its panic is about to surface.
        waiting.into_values().try_for_each(|result| consume(result?))
    })
}

/// Lets an item in once few enough are before it.
struct Gate {
    limit: Mutex<usize>,
    changed: Condvar,
}

/// The limit of a gate whose consumer has gone.
const CLOSED: usize = usize::MAX;

impl Gate {
    /// Waits until `index` is below the limit; false once the consumer has gone.
    fn wait_for(&self, index: usize) -> bool {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.changed.wait_while(limit, |limit| index >= *limit).unwrap_or_else(PoisonError::into_inner);
        *limit != CLOSED
    }

    fn raise(&self) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }
}

struct OpenOnDrop<'a>(&'a Gate);

impl Drop for OpenOnDrop<'_> {
    fn drop(&mut self) {
        *self.0.limit.lock().unwrap_or_else(PoisonError::into_inner) = CLOSED;
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
            let (started, consumed) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut seen = Vec::new();
            let work = |item: usize| {
                let flying = started.fetch_add(1, Ordering::SeqCst) + 1 - consumed.load(Ordering::SeqCst);
                assert!(flying <= threads + 1, "{flying} in flight");
                std::thread::yield_now();
                Ok(item * 2)
            };
            in_order(threads, (0..200).map(Ok), work, |result| {
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
}
