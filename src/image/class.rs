//! A class as settings name it: by its label, or by its name.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Classes;

/// A class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number or the name of a class")]
#[schemars(inline)]
pub enum Class {
    /// By its label; of named classes, the position of the name.
    Label(i64),
    /// By its name.
    Name(String),
}

impl Class {
    /// Its label among classes of these names; none if it is not among them.
    pub fn label(&self, names: &Classes) -> Option<i64> {
        let mut all = names.iter().flat_map(|names| names.iter());
        match self {
            Class::Label(label) => {
                let is_there = names.as_ref().is_none_or(|names| (0..names.len() as i64).contains(label));
                is_there.then_some(*label)
            }
            Class::Name(name) => all.position(|known| known == name).map(|at| at as i64),
        }
    }

    /// The labels of those of some classes that are among these names.
    pub fn labels(classes: &[Self], names: &Classes) -> BTreeSet<i64> {
        classes.iter().filter_map(|class| class.label(names)).collect()
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Label(label) => label.fmt(f),
            Class::Name(name) => write!(f, "{name:?}"),
        }
    }
}
