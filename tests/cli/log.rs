//! The lines of `--log json`, validated against the schema.

use std::io::BufRead;

use serde_json::Value;

use crate::harness::Sandbox;

/// Validates every line against the output of `schema --log`, and returns the names of the events.
fn checked(sandbox: &Sandbox, lines: &str) -> Vec<String> {
    let schema = sandbox.limpid("schema --log").succeeds().stdout();
    let schema: Value = serde_json::from_str(&schema).expect("is JSON");
    let check = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|cause| panic!("{line}: {cause}"));
        let variants = schema["oneOf"].as_array().expect("is a list");
        let fitting = variants.iter().filter(|variant| fits(&event, variant)).count();
        assert!(fits(&event, &schema) && fitting == 1, "{fitting} variants of the schema fit {line}");
        // The schema allows unknown fields, but must describe all of limpid's own.
        let name = event["event"].as_str().expect("is text");
        let variant = variants.iter().find(|variant| variant["properties"]["event"]["const"] == name);
        let known = &variant.expect("is known")["properties"];
        for field in event.as_object().expect("is an object").keys() {
            assert!(known[field].is_object() || field == "time", "the schema lacks {field} of {line}");
        }
        name.to_owned()
    };
    lines.lines().map(check).collect()
}

/// Whether a value fits a schema, for the keywords that the schema of the log uses.
fn fits(value: &Value, schema: &Value) -> bool {
    let kind = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("null") => value.is_null(),
        other => panic!("{other:?} is no type"),
    };
    let words = schema.as_object().expect("is an object").iter();
    words.into_iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "$id" | "title" | "description" | "oneOf" => true,
        "type" => rule.as_array().map_or_else(|| kind(rule), |kinds| kinds.iter().any(kind)),
        "const" => value == rule,
        "enum" => rule.as_array().expect("is a list").contains(value),
        "minimum" => value.as_f64().is_none_or(|value| value >= rule.as_f64().expect("is a number")),
        "required" => {
            rule.as_array().expect("is a list").iter().all(|name| {
                value.as_object().is_some_and(|object| object.contains_key(name.as_str().expect("is text")))
            })
        }
        "properties" => rule
            .as_object()
            .expect("is an object")
            .iter()
            .all(|(name, schema)| value.get(name).is_none_or(|value| fits(value, schema))),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, rule))),
        other => panic!("the schema uses {other}, which this test does not know"),
    })
}

#[test]
fn every_line_of_a_run_fits_the_schema() {
    let sandbox = Sandbox::new();
    let names = checked(&sandbox, &sandbox.limpid("run small.toml --log json --log-every 0s").succeeds().stderr());
    let validated = "run small.toml --log json --set source.strokes.validation=20 --to train --runs validated";
    assert!(checked(&sandbox, &sandbox.limpid(validated).succeeds().stderr()).contains(&"epoch".to_owned()));
    for name in ["stage-started", "progress", "epoch", "stage-finished"] {
        assert!(names.iter().any(|known| known == name), "{name} is missing from {names:?}");
    }
    let names = checked(&sandbox, &sandbox.limpid("run small.toml --log json").succeeds().stderr());
    assert_eq!(names, ["stage-skipped"; 7]);
    let note = "run small.toml --only encode --set training.epochs=1 --force --log json";
    assert_eq!(checked(&sandbox, &sandbox.limpid(note).succeeds().stderr())[0], "note");
    let apply = "encode runs/small runs/small/ingest/test-00000-of-00001.parquet -o out --log json --log-every 0s";
    assert!(checked(&sandbox, &sandbox.limpid(apply).succeeds().stderr()).contains(&"progress".to_owned()));
}

#[test]
fn every_line_of_a_failure_and_an_interruption_fits_the_schema() {
    let sandbox = Sandbox::new();
    let names = checked(&sandbox, &sandbox.limpid("run missing.toml --log json").exits(2).stderr());
    assert_eq!(names, ["error"]);
    let wrong = "run small.toml --log json --set training.epochs=0 --set model.dense.codes=1";
    let told = sandbox.limpid(wrong).exits(2).stderr();
    assert_eq!(checked(&sandbox, &told), ["error"]);
    let error: Value = serde_json::from_str(&told).expect("is JSON");
    let settings = error["settings"].as_array().expect("is a list").iter();
    let settings: Vec<_> = settings.map(|setting| (&setting["key"], &setting["place"])).collect();
    let at = |key: &'static str, place: &'static str| (Value::from(key), Value::from(place));
    let expected =
        [at("model.dense.codes", "--set model.dense.codes=1"), at("training.epochs", "--set training.epochs=0")];
    assert_eq!(settings, expected.iter().map(|(key, place)| (key, place)).collect::<Vec<_>>());
    let mut run = sandbox.limpid("run small.toml --log json --set training.epochs=100000").spawn();
    let lines = std::io::BufReader::new(run.stderr.take().expect("is piped")).lines();
    let mut told = String::new();
    let mut asked = false;
    for line in lines {
        told += &(line.expect("is text") + "\n");
        if !asked && told.contains("\"epoch\"") {
            asked = true;
            std::process::Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status().expect("kills");
        }
    }
    assert_eq!(run.wait().expect("gone").code(), Some(75));
    let names = checked(&sandbox, &told);
    assert_eq!(names.last().map(String::as_str), Some("error"));
    assert!(told.contains("\"exit-code\":75"), "{told}");
}

#[test]
fn lines_for_people_tell_stage_percent_rate_and_remaining_time() {
    let sandbox = Sandbox::new();
    let told = sandbox.limpid("run small.toml --log lines --log-every 0s").succeeds().stderr();
    let line = told.lines().find(|line| line.starts_with("train epoch 1/2:  50 %")).expect("is told");
    for part in [" 300 images, ", "/s", " s left"] {
        assert!(line.contains(part), "{part:?} is missing from {line:?}");
    }
}
