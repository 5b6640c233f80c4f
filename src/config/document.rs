//! A parsed pipeline file: a tree of values, and the position of each in the file.
//!
//! Values become `serde_json::Value`, which the checks, the defaults, `--set` and deserialisation share. Positions are kept
//! separately, keyed by path, so that a problem found in any of these steps is reported with its line.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use crate::error;
use crate::setting::KeyPath;

/// Sections of whose tables a pipeline chooses one.
pub const CHOICES: [&str; 3] = ["source", "corruption", "model"];

/// A tree of settings with the position of each.
pub struct Document {
    /// The settings.
    pub root: Map<String, Value>,
    places: BTreeMap<KeyPath, String>,
    default_place: String,
}

/// The positions of the settings in the file that they come from. They are no settings: all of them are equal.
#[derive(Debug, Clone, Default)]
pub struct Places(BTreeMap<KeyPath, String>);

impl Places {
    /// The position of a setting: `file:line:column`, or its `--set`; none if neither names it.
    pub fn of(&self, setting: &str) -> Option<&str> {
        self.0.get(&KeyPath::from(setting)).map(String::as_str)
    }
}

impl PartialEq for Places {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Document {
    /// The positions of all settings.
    pub fn places(self) -> Places {
        Places(self.places)
    }

    /// Settings without positions; `name` names them in messages.
    pub fn of(name: &str, root: Map<String, Value>) -> Self {
        Self { root, places: BTreeMap::new(), default_place: name.to_owned() }
    }

    /// Parses TOML; `name` names the file in messages.
    ///
    /// # Errors
    /// Text that is not TOML, with line and column.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let table = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or(name.to_owned(), |span| place(name, text, &span));
            error::settings(format!("{place}: not valid TOML: {}", error.message()))
        })?;
        let mut document = Self { root: Map::new(), places: BTreeMap::new(), default_place: name.to_owned() };
        document.root = document.convert_table(name, text, &KeyPath::default(), table.get_ref());
        Ok(document)
    }

    fn convert_table(&mut self, name: &str, text: &str, path: &KeyPath, table: &DeTable<'_>) -> Map<String, Value> {
        let entries = table.iter().map(|(key, value)| {
            let path = path.name(key.get_ref());
            self.places.insert(path.clone(), place(name, text, &key.span()));
            (key.get_ref().to_string(), self.convert(name, text, &path, value.get_ref()))
        });
        entries.collect()
    }

    fn convert(&mut self, name: &str, text: &str, path: &KeyPath, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(string) => Value::String(string.to_string()),
            DeValue::Integer(integer) => {
                let digits: String = integer.as_str().chars().filter(|&c| c != '_').collect();
                i64::from_str_radix(&digits, integer.radix()).map_or(Value::String(digits), Value::from)
            }
            // JSON has no infinity: it stays a string, which the check then refuses where a number is wanted.
            DeValue::Float(float) => {
                let digits: String = float.as_str().chars().filter(|&c| c != '_').collect();
                let number = digits.parse().ok().and_then(serde_json::Number::from_f64);
                number.map_or(Value::String(digits), Value::Number)
            }
            DeValue::Boolean(boolean) => Value::Bool(*boolean),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(array) => {
                let items = array.iter().enumerate().map(|(index, item)| {
                    let path = path.index(index);
                    self.places.insert(path.clone(), place(name, text, &item.span()));
                    self.convert(name, text, &path, item.get_ref())
                });
                Value::Array(items.collect())
            }
            DeValue::Table(table) => Value::Object(self.convert_table(name, text, path, table)),
        }
    }

    /// Applies one `--set KEY=VALUE`. The value is parsed as TOML, or else taken as a string. A key of one of [`CHOICES`] that
    /// names another table than the file's replaces that table.
    ///
    /// # Errors
    /// No `=`, an empty key, or a key that leads through something that is not a table.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let place = format!("--set {assignment}");
        let (key, text) = assignment
            .split_once('=')
            .ok_or_else(|| error::settings(format!("{place}: expected KEY=VALUE, as in --set training.epochs=5")))?;
        let keys: Vec<&str> = key.trim().split('.').map(str::trim).collect();
        if keys.iter().any(|key| key.is_empty()) {
            return Err(error::settings(format!("{place}: the key {key:?} has an empty part")));
        }
        let path = keys.iter().fold(KeyPath::default(), |path, key| path.name(key));
        let value = match DeValue::parse(text.trim()) {
            Ok(value) => self.convert(&place, text, &path, value.get_ref()),
            Err(_) => Value::String(text.trim().to_owned()),
        };
        if let [section, choice, rest @ ..] = keys.as_slice()
            && CHOICES.contains(section)
            && (is_choice(&value) || !rest.is_empty())
            && let Some(Value::Object(table)) = self.root.get_mut(*section)
            && !table.contains_key(*choice)
        {
            table.retain(|_, other| !is_choice(other));
        }
        let mut table = &mut self.root;
        let (last, parents) = keys.split_last().expect("split yields at least one part");
        for parent in parents {
            table = table
                .entry(*parent)
                .or_insert_with(|| Value::Object(Map::new()))
                .as_object_mut()
                .ok_or_else(|| error::settings(format!("{place}: `{parent}` is not a table")))?;
        }
        table.insert((*last).to_owned(), value);
        self.places.insert(path, place);
        Ok(())
    }

    /// Fills in what is missing. A table inside one of [`CHOICES`] only completes a choice that was made, there or in an entry of a
    /// list of tables there.
    pub fn fill_from(&mut self, defaults: &Map<String, Value>) {
        for (section, default) in defaults {
            let Value::Object(default) = default else {
                self.root.entry(section.clone()).or_insert_with(|| default.clone());
                continue;
            };
            let entry = self.root.entry(section.clone()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(table) = entry else { continue };
            for (key, value) in default {
                match (table.get_mut(key), value) {
                    (Some(Value::Object(chosen)), Value::Object(value)) => {
                        for (key, value) in value {
                            chosen.entry(key.clone()).or_insert_with(|| value.clone());
                        }
                    }
                    (None, Value::Object(_)) if CHOICES.contains(&section.as_str()) => {}
                    (None, value) => _ = table.insert(key.clone(), value.clone()),
                    (Some(_), _) => {}
                }
            }
            if CHOICES.contains(&section.as_str()) {
                complete_entries(table, default);
            }
        }
    }

    /// The position of a setting, or of the nearest one inside or around it: `file:line:column`, or its `--set`.
    pub fn place(&self, path: &KeyPath) -> &str {
        let around = std::iter::successors(Some(path.clone()), KeyPath::parent);
        let place = |path: KeyPath| {
            let inside = || self.places.iter().find(|(key, _)| key.is_within(&path)).map(|(_, place)| place);
            self.places.get(&path).or_else(inside)
        };
        // Without the root, which has no position of its own and contains every setting.
        around.filter(|path| path.parent().is_some()).find_map(place).unwrap_or(&self.default_place)
    }
}

/// Whether the value of a key in one of [`CHOICES`] is one that can be chosen: a table, or a list of tables.
fn is_choice(value: &Value) -> bool {
    let is_list = |items: &Vec<Value>| !items.is_empty() && items.iter().all(Value::is_object);
    value.is_object() || value.as_array().is_some_and(is_list)
}

/// Completes the choices that are made in the entries of lists of tables.
fn complete_entries(table: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    let entries = table.values_mut().filter_map(Value::as_array_mut).flatten();
    for entry in entries.filter_map(Value::as_object_mut) {
        for (key, chosen) in entry.iter_mut() {
            if let (Value::Object(chosen), Some(Value::Object(default))) = (chosen, defaults.get(key)) {
                for (key, value) in default {
                    chosen.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        complete_entries(entry, defaults);
    }
}

fn place(name: &str, text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    format!("{name}:{line}:{column}")
}
