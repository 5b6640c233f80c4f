//! Room in memory for the pictures that are being decoded.
//!
//! What a picture takes is known once its header was read. All threads share one room, so that many large pictures at the same time
//! take no more than one does: who finds it full waits until another picture is done.

use std::sync::{Condvar, Mutex, PoisonError};

/// Most bytes that the pictures take together which are being decoded: their pixels, and what decoding and scaling need besides.
const MOST_BYTES: u64 = 1 << 30;

static FREE: Mutex<u64> = Mutex::new(MOST_BYTES);
static FREED: Condvar = Condvar::new();

/// A part of the room, free again when it is dropped.
pub struct Room(u64);

impl Room {
    /// Waits for so many bytes.
    ///
    /// # Errors
    /// More than there are, in words.
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
