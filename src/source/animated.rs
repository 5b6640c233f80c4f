//! Counts what is passed over of animated pictures, of which the first frame is read, from all threads.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The animated pictures that were read.
#[derive(Default)]
pub struct Animated(Mutex<Frames>);

/// Animated pictures, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Frames {
    pictures: u64,
    /// Frames after the first.
    frames: u64,
    /// The name of one of them, the first in the order of text.
    example: Option<String>,
}

impl Frames {
    /// Counts others too.
    fn add(&mut self, others: Self) {
        self.pictures += others.pictures;
        self.frames = self.frames.saturating_add(others.frames);
        self.example = [self.example.take(), others.example].into_iter().flatten().min();
    }
}

impl Animated {
    /// Counts a picture of so many frames.
    pub fn saw(&self, frames: usize, name: impl FnOnce() -> String) {
        if frames > 1 {
            self.learn(Frames { pictures: 1, frames: frames as u64 - 1, example: Some(name()) });
        }
    }

    /// Counts those that others have read.
    pub fn learn(&self, others: Frames) {
        self.seen().add(others);
    }

    /// What was counted.
    pub fn learned(&self) -> Frames {
        self.seen().clone()
    }

    /// A line about them, if there are any.
    pub fn line(&self) -> Option<String> {
        let seen = self.seen();
        let (Frames { pictures, frames, .. }, example) = (&*seen, seen.example.as_ref()?);
        Some(format!(
            "passed over: {frames} frames of {pictures} animated pictures, such as {example}, of which the first frame is read; write \
             frames as PNG to have all read"
        ))
    }

    fn seen(&self) -> MutexGuard<'_, Frames> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
