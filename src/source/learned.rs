//! What is learned from images while they are read, besides the images themselves: plain data, which those who read parts of a source
//! hand to whoever judges all of it.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::animated::{Animated, Frames};
use super::rejected::{Looked, Rejections};

/// What was learned from some images of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Learned {
    /// The pictures that cannot be used.
    pub looked: Looked,
    /// The animated pictures.
    pub animated: Frames,
    /// Those of the held-out labels that images have.
    pub labels: BTreeSet<i64>,
    /// The largest of all pixels, rounded up to a byte.
    pub brightest: u8,
}

/// What is learned from the pictures of a source, collected from all threads that read them.
pub struct Learning {
    /// The pictures that cannot be used.
    pub rejections: Rejections,
    /// The animated pictures.
    pub animated: Animated,
}

impl Learning {
    /// Nothing yet; the rejections say what is done with pictures that cannot be used.
    pub fn new(rejections: Rejections) -> Self {
        Self { rejections, animated: Animated::default() }
    }

    /// What was learned so far.
    pub fn learned(&self) -> Learned {
        Learned { looked: self.rejections.looked(), animated: self.animated.learned(), ..Learned::default() }
    }

    /// Takes over what others have learned.
    ///
    /// # Errors
    /// More bad pictures than may be left out.
    pub fn learn(&self, learned: Learned) -> Result<()> {
        self.animated.learn(learned.animated);
        self.rejections.learn(learned.looked)
    }
}
