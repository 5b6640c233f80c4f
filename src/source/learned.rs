//! What is learned from images while they are read, besides the images themselves: plain data, which those who read parts of a source
//! hand to whoever judges all of it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::animated::Frames;
use super::rejected::Looked;

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
