//! The name of a stage.

use std::fmt;

use serde::Serialize;

/// The name of a stage and of its folder. Each stage defines its name as a constant, so that names are not written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StageName(&'static str);

impl StageName {
    /// The name of a stage, in lower case.
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Its text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}
