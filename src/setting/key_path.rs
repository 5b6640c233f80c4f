//! The path of a setting in a pipeline file, as a list of keys.
//!
//! It is not a string, because a quoted key of TOML may contain dots and brackets: `"training.epochs" = 3` is one unknown key,
//! not the number of epochs.

use std::fmt;

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

    /// The keys of tables, up to the first index of a list.
    pub fn names(&self) -> Vec<&str> {
        let names = self.0.iter().map_while(|key| match key {
            Key::Name(name) => Some(name.as_str()),
            Key::Index(_) => None,
        });
        names.collect()
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
