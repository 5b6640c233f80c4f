//! The path of a setting in a pipeline file, as a list of keys.
//!
//! It is not a string, because a quoted key of TOML may contain dots and brackets: `"training.epochs" = 3` is one unknown key,
//! not the number of epochs.

use std::fmt;

use serde_json::{Map, Value};

/// The keys from the root of the settings to one of them; empty for the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Key>);

/// One element of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A key of a table.
    Name(String),
    /// An index of a list.
    Index(usize),
}

impl KeyPath {
    /// The path of the entry `name` of the table at this path.
    pub fn name(&self, name: &str) -> Self {
        Self([self.0.as_slice(), &[Key::Name(name.to_owned())]].concat())
    }

    /// The path of the entry `index` of the list at this path.
    pub fn index(&self, index: usize) -> Self {
        Self([self.0.as_slice(), &[Key::Index(index)]].concat())
    }

    /// The path of the enclosing table or list; none for the root.
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, parents)| Self(parents.to_vec()))
    }

    /// Whether it is `outer` or inside it.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// The path of the last table that it leads into, and the name there; no name for the root.
    pub fn table_and_name(&self) -> (Self, Option<&str>) {
        let names = self.0.iter().enumerate().rev().find_map(|(position, key)| match key {
            Key::Name(name) => Some((Self(self.0[..position].to_vec()), Some(name.as_str()))),
            Key::Index(_) => None,
        });
        names.unwrap_or_default()
    }

    /// The table at this path in a tree of settings.
    pub fn within<'a>(&self, root: &'a mut Map<String, Value>) -> Option<&'a mut Map<String, Value>> {
        let Some((Key::Name(first), rest)) = self.0.split_first() else { return Some(root) };
        let value = rest.iter().try_fold(root.get_mut(first)?, |value, key| match key {
            Key::Name(name) => value.get_mut(name),
            Key::Index(index) => value.get_mut(index),
        });
        value?.as_object_mut()
    }
}

/// The path of a known setting, from `section.key`.
impl From<&str> for KeyPath {
    fn from(dotted: &str) -> Self {
        Self(dotted.split('.').map(|name| Key::Name(name.to_owned())).collect())
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        for (position, key) in self.0.iter().enumerate() {
            match key {
                Key::Index(index) => write!(f, "[{index}]")?,
                Key::Name(name) => {
                    let dot = if position == 0 { "" } else { "." };
                    // Keys that are not bare are quoted, as in TOML.
                    match !name.is_empty() && name.chars().all(bare) {
                        true => write!(f, "{dot}{name}")?,
                        false => write!(f, "{dot}{name:?}")?,
                    }
                }
            }
        }
        Ok(())
    }
}
