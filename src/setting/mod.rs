//! Types that the settings of all modules share: key paths, problems, and sections of which a pipeline file chooses one table.

mod choice;
mod key_path;
mod problem;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use choice::{Choice, choices};
pub use key_path::KeyPath;
pub use problem::{Problem, Problems, Section};

/// Whether a setting is off, for settings that are off by their type's default. They are not serialised then, so that results
/// from before the setting existed keep their fingerprint.
pub fn is_off<T: Default + PartialEq>(setting: &T) -> bool {
    *setting == T::default()
}

/// The default of settings that are on.
pub fn on() -> bool {
    true
}

/// Whether a setting is on, for settings that are on by default; see [`is_off`].
pub fn is_on(setting: &bool) -> bool {
    *setting
}

/// Settings by dotted key: `{"a": {"b": 1}}` becomes `a.b = 1`.
pub fn flatten(settings: &Value) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(table) if !table.is_empty() => {
                for (key, value) in table {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    walk(&path, value, out);
                }
            }
            // An empty root has no key.
            _ if prefix.is_empty() => {}
            value => _ = out.insert(prefix.to_owned(), value.clone()),
        }
    }
    let mut out = BTreeMap::new();
    walk("", settings, &mut out);
    out
}
