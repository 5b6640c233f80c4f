//! Fingerprints: all that the result of a stage depends on, in parts, so that a change can be explained.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::digest::short;

/// The parts of a fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Version of the stage's code: raised when the same input would give another output.
    pub code: u32,
    /// The settings that it uses, by dotted key.
    pub settings: BTreeMap<String, Value>,
    /// Digests of the files that it reads, by `stage/name`, or by the setting that names a file of the user: the use of a file
    /// counts, not its path.
    pub inputs: BTreeMap<String, String>,
}

impl Parts {
    /// blake3 of the parts, in hexadecimal.
    pub fn digest(&self) -> String {
        // Maps are ordered, so that equal parts serialise to equal text.
        let text = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&text).to_hex().to_string()
    }

    /// The changes from `old` to these parts.
    pub fn changes(&self, old: &Parts) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.code != old.code {
            changes.push(Change::Code { old: old.code, new: self.code });
        }
        for (key, [old, new]) in differences(&old.settings, &self.settings) {
            changes.push(Change::Setting { key, old, new });
        }
        for (name, [old, new]) in differences(&old.inputs, &self.inputs) {
            changes.push(Change::File { name, old, new });
        }
        changes
    }
}

/// The differences between two maps, by key: first the keys of the old one, then those that only the new one has.
fn differences<T: Clone + PartialEq>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> Vec<(String, [Option<T>; 2])> {
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let sides = keys.map(|key| (key.clone(), [old.get(key).cloned(), new.get(key).cloned()]));
    sides.filter(|(_, [old, new])| old != new).collect()
}

/// A change of something that a result depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Change {
    /// The version of the stage's code.
    Code {
        /// As in the receipt.
        old: u32,
        /// As it is now.
        new: u32,
    },
    /// A setting; none where it has no value.
    Setting {
        /// Its dotted key.
        key: String,
        /// As in the receipt.
        old: Option<Value>,
        /// As it is now.
        new: Option<Value>,
    },
    /// The digest of a file that is read; none where there is no such file.
    File {
        /// Its name, as [`Parts::inputs`] has it.
        name: String,
        /// As in the receipt.
        old: Option<String>,
        /// As it is now.
        new: Option<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<Value>| value.as_ref().map_or("\"(unset)\"".to_owned(), Value::to_string);
        let digest =
            |digest: &Option<String>| digest.as_ref().map_or("(absent)".to_owned(), |digest| short(digest).to_owned());
        match self {
            Change::Code { old, new } => write!(f, "code version {old} → {new}"),
            Change::Setting { key, old, new } => write!(f, "{key}: {} → {}", value(old), value(new)),
            Change::File { name, old, new } => write!(f, "{name}: digest {} → {}", digest(old), digest(new)),
        }
    }
}

/// The changes for people, a line each; of many files of one stage, the first ones and a count.
pub fn told(changes: &[Change]) -> Vec<String> {
    const MOST: usize = 6;
    let stage = |change: &Change| match change {
        Change::File { name, .. } => name.split_once('/').map(|(stage, _)| stage.to_owned()),
        _ => None,
    };
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = Vec::new();
    for change in changes {
        let count = stage(change).map(|stage| files.entry(stage).and_modify(|count| *count += 1).or_insert(1));
        if count.is_none_or(|count| *count <= MOST) {
            lines.push(change.to_string());
        }
    }
    let more = files.into_iter().filter(|(_, count)| *count > MOST);
    lines.extend(more.map(|(stage, count)| format!("and {} more files of {stage}", count - MOST)));
    lines
}

/// The settings of several stages in one map: a key on which they disagree appears once for each stage, with its name.
pub fn united<'a>(stages: impl IntoIterator<Item = (&'a str, &'a BTreeMap<String, Value>)>) -> BTreeMap<String, Value> {
    let mut by_key: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
    for (stage, settings) in stages {
        for (key, value) in settings {
            by_key.entry(key).or_default().push((stage, value));
        }
    }
    let mut united = BTreeMap::new();
    for (key, values) in by_key {
        match values.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, value)| value == first) => {
                united.insert(key.to_owned(), (*first).clone());
            }
            values => united.extend(values.iter().map(|(stage, value)| (format!("{key} ({stage})"), (*value).clone()))),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::flatten;
    use serde_json::json;

    fn parts(code: u32, settings: Value, inputs: &[(&str, &str)]) -> Parts {
        let inputs = inputs.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
        Parts { code, settings: flatten(&settings), inputs }
    }

    #[test]
    fn every_difference_is_named_from_what_to_what() {
        let old = parts(1, json!({"a": {"b": 1}, "c": "x"}), &[("ingest/f", "0123456789abcdef"), ("gone", "1")]);
        let new = parts(2, json!({"a": {"b": 2}, "d": [1]}), &[("ingest/f", "fedcba9876543210")]);
        let expected = [
            "code version 1 → 2",
            "a.b: 1 → 2",
            "c: \"x\" → \"(unset)\"",
            "d: \"(unset)\" → [1]",
            "gone: digest 1 → (absent)",
            "ingest/f: digest 0123456789ab → fedcba987654",
        ];
        let changes = new.changes(&old);
        assert_eq!(told(&changes), expected);
        assert_eq!(json!(changes[1]), json!({ "kind": "setting", "key": "a.b", "old": 1, "new": 2 }));
        assert_ne!(new.digest(), old.digest());
        assert_eq!(old.changes(&old.clone()), []);
    }

    #[test]
    fn of_many_files_some_are_named() {
        let files: Vec<_> = (0..9).map(|file| (format!("ingest/{file}"), file.to_string())).collect();
        let files: Vec<_> = files.iter().map(|(name, digest)| (name.as_str(), digest.as_str())).collect();
        let lines = told(&parts(1, json!({}), &files).changes(&parts(1, json!({}), &[("train/f", "1")])));
        assert_eq!((lines.len(), lines[7].as_str()), (8, "and 3 more files of ingest"));
        assert_eq!(lines[0], "train/f: digest 1 → (absent)");
    }

    #[test]
    fn stages_that_disagree_are_told_apart() {
        let stages = [("a", flatten(&json!({ "x": 1, "y": 1 }))), ("b", flatten(&json!({ "x": 1, "y": 2 })))];
        let united = united(stages.iter().map(|(stage, settings)| (*stage, settings)));
        assert_eq!(json!(united), json!({ "x": 1, "y (a)": 1, "y (b)": 2 }));
        assert_eq!(flatten(&json!({})), BTreeMap::new());
    }
}
