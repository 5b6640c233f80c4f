//! Checks a tree of settings against the JSON schema of [`RawPipeline`](super::raw::RawPipeline).
//!
//! A general validator reports "not valid under any of the given schemas". This one handles only the constructs that our schema
//! uses, and reports every problem at once, with the expected type or the most similar key.

use serde_json::{Map, Value};

use crate::setting::{KeyPath, Problem};

/// All violations of `schema` by `settings`, in the order of the keys.
pub fn check(schema: &Value, settings: &Map<String, Value>) -> Vec<Problem> {
    let mut checker = Checker { schema, problems: Vec::new() };
    checker.table(schema, &KeyPath::default(), settings);
    checker.problems
}

struct Checker<'a> {
    schema: &'a Value,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, path: &KeyPath, message: String) {
        self.problems.push(Problem { path: path.clone(), message, stands_alone: false });
    }

    /// Follows `$ref`, and `anyOf`: to the option of the type that was found, or else to the first that is not null, since an
    /// optional table is described as `anyOf [X, null]`.
    fn resolve(&self, mut node: &'a Value, found: &Value) -> &'a Value {
        loop {
            if let Some(reference) = node["$ref"].as_str() {
                node = self.schema.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null);
            } else if let Some(options) = node["anyOf"].as_array() {
                let options = options.iter().filter(|option| option["type"] != "null");
                let mut options = options.map(|option| self.resolve(option, found));
                let first = options.next().unwrap_or(&Value::Null);
                return std::iter::once(first).chain(options).find(|option| is_of_type(found, option)).unwrap_or(first);
            } else {
                return node;
            }
        }
    }

    fn table(&mut self, node: &'a Value, path: &KeyPath, table: &Map<String, Value>) {
        let node = self.resolve(node, &Value::Null);
        for (key, value) in table {
            let path = path.name(key);
            match node["properties"].get(key) {
                Some(property) => self.value(property, &path, value),
                None => {
                    let hint = self.hint(node, key);
                    self.problem(&path, format!("unknown key `{key}`{hint}"));
                }
            }
        }
    }

    fn value(&mut self, node: &'a Value, path: &KeyPath, value: &Value) {
        let node = self.resolve(node, value);
        let choices = choices(node);
        if !choices.is_empty() {
            if !choices.iter().any(|choice| value.as_str() == Some(choice)) {
                let expected = choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(" or ");
                self.problem(path, format!("expected {expected}, found {}", describe(value)));
            }
            return;
        }
        match (expected_type(node), value) {
            ("object", Value::Object(table)) => self.table(node, path, table),
            ("array", Value::Array(items)) => {
                let (least, most) = (node["minItems"].as_u64(), node["maxItems"].as_u64());
                if least.is_some_and(|least| (items.len() as u64) < least) {
                    self.problem(path, format!("needs at least {} entries", least.unwrap_or_default()));
                }
                if most.is_some_and(|most| items.len() as u64 > most) {
                    self.problem(path, format!("has {} entries; at most {} work", items.len(), most.unwrap_or(0)));
                }
                for (index, item) in items.iter().enumerate() {
                    self.value(&node["items"], &path.index(index), item);
                }
            }
            ("integer", Value::Number(number)) if number.is_i64() => self.range(node, path, value),
            ("number", Value::Number(_)) => self.range(node, path, value),
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => {}
            (expected, found) => {
                self.problem(path, format!("expected {}, found {}", name_of(expected), describe(found)));
            }
        }
    }

    fn range(&mut self, node: &Value, path: &KeyPath, value: &Value) {
        let number = value.as_f64().unwrap_or(f64::NAN);
        let (least, most) = (node["minimum"].as_f64(), node["maximum"].as_f64());
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            let message = match (least, most) {
                (Some(least), Some(most)) => format!("must lie between {least} and {most}, found {value}"),
                (Some(least), None) => format!("must be at least {least}, found {value}"),
                _ => format!("must be at most {}, found {value}", most.unwrap_or_default()),
            };
            self.problem(path, message);
        }
    }

    /// The hint for an unknown key: the most similar key of this table, the section that has this key, or all keys of this
    /// table.
    fn hint(&self, node: &'a Value, key: &str) -> String {
        let empty = Map::new();
        let properties = node["properties"].as_object().unwrap_or(&empty);
        let nearest = properties
            .keys()
            .map(|known| (strsim::damerau_levenshtein(known, &key.to_lowercase().replace('_', "-")), known))
            .min()
            .filter(|(distance, known)| *distance <= 1.max(known.len() / 3));
        if let Some((_, known)) = nearest {
            return format!("; did you mean `{known}`?");
        }
        let sections = self.schema["properties"].as_object().unwrap_or(&empty);
        for (section, property) in sections {
            if self.resolve(property, &Value::Null)["properties"].get(key).is_some() {
                return format!("; it belongs to [{section}]");
            }
        }
        let known: Vec<_> = properties.keys().map(|key| format!("`{key}`")).collect();
        format!("; known here: {}", known.join(", "))
    }
}

/// The strings that an enumeration allows: its `enum`, or the constants of its `oneOf`.
fn choices(node: &Value) -> Vec<&str> {
    let listed = node["enum"].as_array().into_iter().flatten();
    let documented = node["oneOf"].as_array().into_iter().flatten().map(|option| &option["const"]);
    listed.chain(documented).filter_map(Value::as_str).collect()
}

/// The schema's type; an optional one is a list of the type and "null".
fn expected_type(node: &Value) -> &str {
    match &node["type"] {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or(""),
        _ => "",
    }
}

/// Whether a value is of the type of a node, if not in its range.
fn is_of_type(value: &Value, node: &Value) -> bool {
    match value {
        Value::Object(_) => expected_type(node) == "object",
        Value::Array(_) => expected_type(node) == "array",
        Value::Number(_) => matches!(expected_type(node), "number" | "integer"),
        Value::String(_) => expected_type(node) == "string",
        Value::Bool(_) => expected_type(node) == "boolean",
        Value::Null => false,
    }
}

fn name_of(schema_type: &str) -> &str {
    match schema_type {
        "object" => "a table",
        "array" => "a list",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "boolean" => "true or false",
        other => other,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Null => "nothing".to_owned(),
        value => format!("{value}"),
    }
}
