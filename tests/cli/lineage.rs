//! The OpenLineage events of a run.

use std::collections::BTreeMap;
use std::io::BufRead;

use serde_json::{Value, json};

use crate::harness::Sandbox;

/// The events of a file, each checked for required fields. `scripts/check_lineage.py` validates them against the published
/// schemas.
fn events(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = String::from_utf8(sandbox.read(name)).expect("is text");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    for event in &events {
        assert_eq!(event["schemaURL"], "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent");
        assert!(event["producer"].as_str().is_some_and(|producer| producer.starts_with("urn:limpid:")));
        let time: Result<jiff::Timestamp, _> = event["eventTime"].as_str().expect("is text").parse();
        assert!(time.is_ok(), "{event}");
        every_facet(event);
    }
    events
}

/// Every facet names its producer and its schema.
fn every_facet(value: &Value) {
    let Some(object) = value.as_object() else {
        value.as_array().into_iter().flatten().for_each(every_facet);
        return;
    };
    for (key, value) in object {
        if matches!(key.as_str(), "facets" | "inputFacets" | "outputFacets") {
            for (name, facet) in value.as_object().expect("facets are an object") {
                let schema = facet["_schemaURL"].as_str().unwrap_or_default();
                assert!(schema.starts_with("https://openlineage.io/spec/") && schema.contains("#/$defs/"), "{name}");
                assert!(facet["_producer"].is_string(), "{name}");
            }
        }
        every_facet(value);
    }
}

/// The types of the events of each job, by its name.
fn by_job(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut jobs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in events {
        let text = |value: &Value| value.as_str().expect("is text").to_owned();
        jobs.entry(text(&event["job"]["name"])).or_default().push(text(&event["eventType"]));
    }
    jobs
}

#[test]
fn every_stage_tells_what_it_read_and_wrote() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --lineage lineage.jsonl").succeeds();
    let told = events(&sandbox, "lineage.jsonl");
    let jobs = by_job(&told);
    assert_eq!(jobs.len(), 8);
    assert!(jobs.values().all(|types| types == &["START", "COMPLETE"]), "{jobs:?}");
    let find = |job: &str, kind: &str| {
        told.iter().find(|event| event["job"]["name"] == job && event["eventType"] == kind).expect("was told")
    };
    let (whole, encode) = (find("small", "START"), find("small.encode", "COMPLETE"));
    assert_eq!(told[0], *whole);
    assert_eq!(whole["job"]["namespace"], "limpid");
    assert_eq!(encode["run"]["runId"], find("small.encode", "START")["run"]["runId"]);
    let parent = &encode["run"]["facets"]["parent"];
    assert_eq!((&parent["run"]["runId"], &parent["job"]["name"]), (&whole["run"]["runId"], &json!("small")));

    let folder = sandbox.path("runs/small").canonicalize().expect("is there");
    let dataset = |datasets: &Value, name: &str| {
        let name = folder.join(name).to_string_lossy().into_owned();
        datasets.as_array().expect("is a list").iter().find(|dataset| dataset["name"] == name.as_str()).cloned()
    };
    let codes = dataset(&encode["outputs"], "encode/train-00000-of-00001.parquet").expect("was written");
    assert_eq!(codes["namespace"], "file");
    assert_eq!(codes["outputFacets"]["outputStatistics"]["rowCount"], 600);
    let fields = codes["facets"]["schema"]["fields"].as_array().expect("is a list");
    let names: Vec<_> = fields.iter().map(|field| field["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["id", "split", "label", "code", "error"]);
    let images = dataset(&encode["inputs"], "ingest/test-00000-of-00001.parquet").expect("was read");
    assert_eq!(images["inputFacets"]["inputStatistics"]["rowCount"], 120);
    assert_eq!(images["inputFacets"]["dataQualityMetrics"]["rowCount"], 120);
    // The output of a stage is the input of the next, with the same version.
    let written = dataset(&find("small.ingest", "COMPLETE")["outputs"], "ingest/test-00000-of-00001.parquet");
    assert_eq!(written.expect("was written")["facets"], images["facets"]);
    assert!(dataset(&encode["inputs"], "train/model.json").is_some());

    // Events are appended; stages that are up to date have none.
    sandbox.limpid("run small.toml --lineage lineage.jsonl").succeeds();
    let again = events(&sandbox, "lineage.jsonl");
    assert_eq!(again.len(), told.len() + 2);
    assert_eq!(by_job(&again[told.len()..])["small"], ["START", "COMPLETE"]);
}

#[test]
fn a_run_has_a_place_in_what_started_it() {
    let sandbox = Sandbox::new();
    let run = "01890ad2-f0a3-7d5f-8c3a-0123456789ab";
    sandbox
        .limpid("run small.toml --to ingest --lineage lineage.jsonl")
        .env("OPENLINEAGE_NAMESPACE", "images")
        .env("OPENLINEAGE_PARENT_ID", format!("airflow/nightly.limpid/{run}"))
        .succeeds();
    let told = events(&sandbox, "lineage.jsonl");
    assert!(told.iter().all(|event| event["job"]["namespace"] == "images"));
    let parent = &told[0]["run"]["facets"]["parent"];
    assert_eq!(parent["run"]["runId"], run);
    assert_eq!(parent["job"], json!({ "namespace": "airflow", "name": "nightly.limpid" }));
}

#[test]
fn a_failure_and_an_interruption_are_told() {
    let sandbox = Sandbox::with("[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[model]\ndense = {}\n");
    sandbox.write("a.idx", b"hello, world");
    sandbox.write("b.idx", b"hello, world");
    sandbox.limpid("run small.toml --lineage lineage.jsonl").exits(65);
    let told = events(&sandbox, "lineage.jsonl");
    let jobs = by_job(&told);
    assert_eq!((&jobs["small"], &jobs["small.ingest"]), (&vec!["START".into(), "FAIL".into()], &jobs["small"]));
    let last = &told[told.len() - 1]["run"]["facets"]["errorMessage"];
    assert!(last["message"].as_str().is_some_and(|message| message.contains("a.idx is not IDX")), "{last}");
    let inputs = told[1]["inputs"].as_array().expect("is a list");
    let names: Vec<_> = inputs.iter().filter_map(|input| input["name"].as_str()).collect();
    let has = |end: &str| names.iter().any(|name| name.ends_with(end));
    assert!(names.len() == 2 && has("/a.idx") && has("/b.idx"), "{names:?}");

    let sandbox = Sandbox::new();
    let mut run = sandbox.limpid("run small.toml --set training.epochs=100000 --lineage lineage.jsonl").spawn();
    // Kept open, since the run prints to stderr until it ends.
    let mut lines = std::io::BufReader::new(run.stderr.take().expect("is piped")).lines();
    assert!(lines.any(|line| line.expect("is text").contains("train: epoch 1/")));
    std::process::Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status().expect("kills");
    assert_eq!(run.wait().expect("gone").code(), Some(75));
    let jobs = by_job(&events(&sandbox, "lineage.jsonl"));
    assert_eq!((&jobs["small"], &jobs["small.train"]), (&vec!["START".into(), "ABORT".into()], &jobs["small"]));
    assert_eq!(jobs["small.ingest"], ["START", "COMPLETE"]);
}

#[test]
fn a_lineage_file_that_cannot_be_written_stops_only_before_the_work() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --lineage missing/x").exits(2).says("cannot open the lineage file missing/x");
    assert!(!sandbox.path("runs").exists());
    sandbox
        .limpid("run small.toml --to ingest --lineage /dev/full")
        .exits(74)
        .prints("runs/small")
        .says("cannot write to the lineage file /dev/full: No space left on device")
        .says("/dev/full lacks 4 lineage events, which could not be written; the results are published");
    sandbox.limpid("plan small.toml --to ingest --check").succeeds();
    // The failure of the run takes precedence.
    let gate = "run small.toml --set gate.least-psnr=99 --lineage /dev/full";
    sandbox.limpid(gate).exits(3).says("cannot write to the lineage file");
}

/// The events of a file with truncated events, and the number of truncated lines.
fn whole_events(text: &[u8]) -> (Vec<Value>, usize) {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text.lines().map(serde_json::from_str::<Value>).collect();
    let count = lines.len();
    let events: Vec<_> = lines.into_iter().flatten().collect();
    let broken = count - events.len();
    (events, broken)
}

#[test]
fn what_a_full_disk_leaves_of_an_event_costs_no_other_event() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let run = "run small.toml --only report --force --lineage lineage.jsonl";
    // START of the pipeline, START and COMPLETE of the stage, COMPLETE of the pipeline.
    for step in 1..=4 {
        _ = std::fs::remove_file(sandbox.path("lineage.jsonl"));
        let full = format!("write lineage.jsonl:{step}:ENOSPC");
        sandbox
            .limpid(run)
            .env("LIMPID_FAILPOINT", full)
            .exits(74)
            .prints("runs/small")
            .says("report: done in")
            .says("lineage.jsonl lacks 1 lineage events");
        let left = sandbox.read("lineage.jsonl");
        let (events, broken) = whole_events(&left);
        assert_eq!((events.len(), broken), (3, 1), "{step}");
        // The next run begins a new line, and removes nothing.
        sandbox.limpid(run).succeeds();
        let all = sandbox.read("lineage.jsonl");
        let (events, broken) = whole_events(&all);
        assert_eq!((events.len(), broken), (7, 1), "{step}");
        assert!(all.starts_with(&left) && all.ends_with(b"}\n"));
    }
    let full = "write lineage.jsonl:2+:ENOSPC";
    sandbox.limpid(run).env("LIMPID_FAILPOINT", full).exits(74).says("lacks 3 lineage events");
    // A lock that another program holds during the whole run is not waited for.
    sandbox.write("locked.jsonl", br#"{"eventTime":"20"#);
    let file = std::fs::File::open(sandbox.path("locked.jsonl")).expect("is there");
    file.lock().expect("is free");
    sandbox.limpid("run small.toml --lineage locked.jsonl").succeeds();
    assert_eq!(whole_events(&sandbox.read("locked.jsonl")).0.len(), 2);
}

#[test]
fn runs_that_share_a_file_keep_their_events_whole() {
    let sandbox = Sandbox::new();
    sandbox.write("lineage.jsonl", br#"{"eventTime":"20"#);
    let runs: Vec<_> = (0..4)
        .map(|index| {
            let words = format!("run small.toml --to ingest --runs r{index} --threads 1 --lineage lineage.jsonl");
            sandbox.limpid(&words).spawn()
        })
        .collect();
    for mut run in runs {
        assert!(run.wait().expect("ends").success());
    }
    let (events, broken) = whole_events(&sandbox.read("lineage.jsonl"));
    assert_eq!((events.len(), broken), (16, 1));
}

#[test]
fn events_are_appended_to_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to ingest").succeeds();
    for (name, content) in [("small.toml", None), ("runs/small/ingest/_receipt.json", None), ("notes.txt", Some("a"))] {
        if let Some(content) = content {
            sandbox.write(name, content.as_bytes());
        }
        let before = sandbox.read(name);
        let refused = sandbox.limpid(&format!("run small.toml --to ingest --lineage {name}"));
        refused.exits(2).says(&format!("{name} holds no lineage events"));
        assert!(sandbox.read(name) == before, "{name}");
    }
    sandbox.limpid("run small.toml --to ingest --lineage events.jsonl").succeeds();
    sandbox.limpid("run small.toml --to ingest --lineage events.jsonl").succeeds();
    let starts = events(&sandbox, "events.jsonl").iter().filter(|event| event["eventType"] == "START").count();
    assert_eq!(starts, 2);
}
