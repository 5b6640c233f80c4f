//! A memory budget for decoding pictures.
//!
//! The memory that a picture takes is known once its header is read. All threads share one budget, so that many large pictures
//! together take no more than one may: a thread waits until enough is free.

use std::sync::{Condvar, Mutex, PoisonError};

/// Most bytes of all pictures that are being decoded: their pixels, and the working memory of decoding and scaling.
const MOST_BYTES: u64 = 1 << 30;

static FREE: Mutex<u64> = Mutex::new(MOST_BYTES);
static FREED: Condvar = Condvar::new();

/// A reservation of memory, released when it is dropped.
pub struct Room(u64);

impl Room {
    /// Waits until so many bytes are free, and reserves them.
    ///
    /// # Errors
    /// More than the budget, as text.
    pub fn of(bytes: u64) -> Result<Self, String> {
        if bytes > MOST_BYTES {
            let [bytes, most] = [bytes, MOST_BYTES].map(|bytes| bytes >> 20);
            return Err(format!("decoding and scaling it takes {bytes} MiB of memory; at most {most} MiB work"));
        }
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = FREED.wait_while(free, |free| *free < bytes).unwrap_or_else(PoisonError::into_inner);
        *free -= bytes;
        Ok(Self(bytes))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}
