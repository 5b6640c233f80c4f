//! Counts what is passed over of animated pictures, of which the first frame is read, from all threads.

use std::sync::{Mutex, PoisonError};

/// The animated pictures that were read.
#[derive(Default)]
pub struct Animated(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    pictures: u64,
    /// Frames after the first.
    frames: u64,
    /// The name of one of them, the first in the order of text.
    example: Option<String>,
}

impl Animated {
    /// Counts a picture of so many frames.
    pub fn saw(&self, frames: usize, name: impl FnOnce() -> String) {
        if frames < 2 {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.pictures, seen.frames) = (seen.pictures + 1, seen.frames.saturating_add(frames as u64 - 1));
        let name = name();
        if seen.example.as_ref().is_none_or(|example| name < *example) {
            seen.example = Some(name);
        }
    }

    /// A line about them, if there are any.
    pub fn line(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (Seen { pictures, frames, .. }, example) = (&*seen, seen.example.as_ref()?);
        Some(format!(
            "passed over: {frames} frames of {pictures} animated pictures, such as {example}, of which the first frame is read; write \
             frames as PNG to have all read"
        ))
    }
}
