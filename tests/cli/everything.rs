//! Random pipelines, drawn from the schema of pipeline files: sources × corruptions × models × settings, run whole, and run again in another
//! way: killed and resumed, by tasks, in an object store. Either way gives the same bytes, and the plan tells the truth.
//!
//! `LIMPID_PIPELINES` is how many (2,000 for a night, 20 otherwise), `LIMPID_SEED` the seed of the first.

#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;

use serde_json::{Map, Value};

use crate::harness::{Done, Run, Sandbox};
use crate::random::{Random, number};
use crate::store_server::{Proxy, s3};
use crate::stores::{Files, kinds};

/// Most memory of a run, in MB, most of which covariances of images in colour take.
const BOUND: u64 = 800;

/// Values of settings that would make a run long or large, or of which only few mean something, by the last part of their key.
const VALUES: [(&str, &[&str]); 25] = [
    ("augment", &["[\"flip\"]", "[\"flip\", \"rotate\"]"]),
    ("batch-size", &["7", "16", "100"]),
    ("cache-mib", &["0", "16"]),
    ("channels", &["[2]", "[4, 8]", "[3, 4, 4]"]),
    ("checkpoint-seconds", &["0", "1"]),
    ("code", &["1", "5", "16"]),
    ("compression-level", &["1", "3", "9"]),
    ("decoder-channels", &["[3]", "[4, 8]"]),
    ("epochs", &["1", "2"]),
    ("factor", &["2", "3"]),
    ("fit-rows", &["10", "100"]),
    ("hidden", &["[]", "[8]", "[16, 4]"]),
    ("learning-rate", &["1e-3", "1e-2"]),
    ("memory-mib", &["1", "16"]),
    ("part-mib", &["1"]),
    ("part-rows", &["7", "50"]),
    ("patch", &["8", "16"]),
    ("patches-per-image", &["1", "2"]),
    ("precision", &["\"f32\""]),
    ("residual-blocks", &["0", "1"]),
    ("shard-rows", &["5", "20", "100"]),
    ("sparsity", &["0.0", "0.01"]),
    ("std", &["0.1", "[0.0, 0.3]"]),
    ("validation-fraction", &["0.0", "0.2"]),
    ("warm-up-epochs", &["0.0", "0.5"]),
];

/// Draws settings.
struct Draw<'a> {
    schema: &'a Value,
    random: Random,
}

impl Draw<'_> {
    fn one<'b, T: ?Sized>(&mut self, of: &[&'b T]) -> &'b T {
        of[self.random.below(of.len())]
    }

    fn resolved<'b>(&'b self, node: &'b Value) -> &'b Value {
        let name = node["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"));
        name.map_or(node, |name| &self.schema["$defs"][name])
    }

    /// A value of a setting, as TOML.
    fn value(&mut self, key: &str, node: &Value) -> String {
        if let Some((_, values)) = VALUES.iter().find(|(known, _)| *known == key) {
            return self.one(values).to_owned();
        }
        let node = self.resolved(node).clone();
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = node[choice].as_array() {
                let choices: Vec<&Value> = choices.iter().filter(|choice| choice["type"] != "null").collect();
                let chosen = self.one(&choices).clone();
                return self.value(key, &chosen);
            }
        }
        if !node["const"].is_null() {
            return node["const"].to_string();
        }
        let kind = node["type"].as_str().or_else(|| node["type"][0].as_str()).unwrap_or("object").to_owned();
        let bound = |name: &str, default: f64| node[name].as_f64().unwrap_or(default);
        match kind.as_str() {
            "boolean" => self.one(&["false", "true"]).to_owned(),
            "integer" => {
                let least = bound("minimum", 0.0);
                let most = bound("maximum", f64::MAX).min(least + 3.0);
                format!("{}", least as i64 + self.random.below((most - least) as usize + 1) as i64)
            }
            "number" => {
                let least = bound("minimum", 0.0);
                let most = bound("maximum", f64::MAX).min(least + 1.0);
                format!("{:?}", least + (most - least) * self.random.below(101) as f64 / 100.0)
            }
            "array" => {
                let least = node["minItems"].as_u64().unwrap_or(0) as usize;
                let count = least + self.random.below(2);
                let most = node["maxItems"].as_u64().map_or(count, |most| most as usize);
                let items: Vec<_> = (0..count.min(most)).map(|_| self.value("", &node["items"])).collect();
                format!("[{}]", items.join(", "))
            }
            "object" => {
                let properties = node["properties"].as_object().cloned().unwrap_or_default();
                // The corruptions of a list of several.
                let is_choice = properties.contains_key("gaussian");
                if is_choice {
                    return self.choice(&properties);
                }
                let mut inside = Settings::new();
                self.some("", &properties, &[], &mut inside);
                let inside: Vec<_> = inside.iter().map(|(key, value)| format!("{} = {value}", &key[1..])).collect();
                format!("{{ {} }}", inside.join(", "))
            }
            other => panic!("{key}: settings of the type {other} are not drawn"),
        }
    }

    /// One of the alternatives of a table.
    fn choice(&mut self, properties: &Map<String, Value>) -> String {
        let names: Vec<&str> = properties.keys().map(String::as_str).filter(|name| *name != "several").collect();
        let name = self.one(&names).to_owned();
        format!("{{ {name} = {} }}", self.value(&name, &properties[&name]))
    }

    /// Some of the settings of a table, without those that are left out, below a key.
    fn some(&mut self, below: &str, properties: &Map<String, Value>, left_out: &[&str], settings: &mut Settings) {
        for (name, node) in properties {
            if !left_out.contains(&name.as_str()) && self.random.below(4) == 0 {
                settings.insert(format!("{below}.{name}"), self.value(name, node));
            }
        }
    }

    fn properties(&self, definition: &str) -> Map<String, Value> {
        self.schema["$defs"][definition]["properties"].as_object().cloned().expect("is a table")
    }

    /// The settings of a pipeline, and the number of its source among `files`, if it is one of these.
    fn pipeline(&mut self, files: &[String]) -> (Option<usize>, Settings) {
        let mut settings = Settings::from([
            ("name".to_owned(), "\"small\"".to_owned()),
            ("seed".to_owned(), self.random.below(3).to_string()),
            ("gate.baselines".to_owned(), "[]".to_owned()),
        ]);
        let size = self.one(&["[16, 16]", "[24, 33]", "[40, 17]"]);
        let drawn = self.random.below(files.len() + GENERATED.len());
        let source =
            files.get(drawn).map_or_else(|| GENERATED[drawn - files.len()].replace("SIZE", size), String::clone);
        let (kind, source) = source.split_once(" = ").expect("is a choice");
        settings.insert(format!("source.{kind}"), source.to_owned());
        let corruptions = self.properties("RawCorruption");
        match self.random.below(5) {
            0 => {}
            1 => {
                let items = [self.choice(&corruptions), self.choice(&corruptions)];
                settings.insert("corruption.several".to_owned(), format!("[{}]", items.join(", ")));
            }
            _ => _ = settings.insert("corruption".to_owned(), self.choice(&corruptions)),
        }
        let families = ["dense", "conv", "unet"];
        let family = self.one(&families);
        let raw = ["RawDense", "RawConv", "RawUnet"][families.iter().position(|name| *name == family).expect("is one")];
        settings.insert(format!("model.{family}"), "{}".to_owned());
        let of_family = self.properties(raw);
        self.some(&format!("model.{family}"), &of_family, &[], &mut settings);
        for (table, left_out) in [
            ("model", &families[..]),
            ("training", &["epochs", "blind-spot"]),
            ("encode", &[]),
            ("denoise", &[]),
            ("evaluate", &[]),
            ("output", &[]),
        ] {
            let raw = format!("Raw{}{}", table[..1].to_uppercase(), &table[1..]);
            let properties = self.properties(&raw);
            self.some(table, &properties, left_out, &mut settings);
        }
        settings.insert("training.epochs".to_owned(), self.one(&["1", "2"]).to_owned());
        (Some(drawn).filter(|drawn| *drawn < files.len()), settings)
    }
}

/// Values by dotted keys.
type Settings = BTreeMap<String, String>;

/// The sources that need no files.
const GENERATED: [&str; 6] = [
    "strokes = { train = 90, test = 25 }",
    "strokes = { train = 60, test = 20, validation = 15, colour = true }",
    "documents = { train = 12, test = 4, size = SIZE }",
    "scenes = { train = 14, test = 5, size = SIZE }",
    "scenes = { train = 14, test = 5, size = SIZE, colour = true }",
    "scenes = { train = 12, test = 4, size = SIZE, validation = 3 }",
];

/// As a pipeline file.
fn toml(settings: &Settings) -> String {
    let has_inside =
        |key: &str| settings.keys().any(|other| other.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    let lines = settings.iter().filter(|(key, _)| !has_inside(key));
    lines.map(|(key, value)| format!("{key} = {value}\n")).collect()
}

/// Draws a pipeline, and leaves out the settings that limpid says are wrong. Returns a sandbox with the pipeline and with its source.
fn drawn(draw: &mut Draw<'_>, kinds: &[(&str, Files)]) -> (Sandbox, String) {
    let files: Vec<_> = kinds.iter().map(|(source, _)| source.replace("ROOT", "data")).collect();
    let (source, mut settings) = draw.pipeline(&files);
    let sandbox = Sandbox::new();
    for (name, bytes) in source.map_or(&[][..], |source| &kinds[source].1) {
        sandbox.write(&format!("data/{name}"), bytes);
    }
    loop {
        let text = toml(&settings);
        sandbox.write("small.toml", text.as_bytes());
        let done = sandbox.limpid("run small.toml --runs tried --to ingest --log json").ends();
        let said = done.stderr();
        let last: Value = said.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).expect("is JSON"));
        let wrong: Vec<&str> =
            last["settings"].as_array().into_iter().flatten().filter_map(|setting| setting["key"].as_str()).collect();
        if wrong.is_empty() {
            return (sandbox, text);
        }
        // A corruption is left out as a whole, and a list of settings too.
        let keys = wrong.iter().map(|key| if key.starts_with("corruption") { "corruption" } else { key });
        let mut keys = keys.map(|key| key.split_once('[').map_or(key, |(list, _)| list));
        let is_set = |key: &str| settings.keys().any(|set| set.starts_with(key));
        let key = keys.find(|key| !matches!(*key, "name" | "source") && is_set(key));
        let key = key.unwrap_or_else(|| panic!("no setting that was drawn is named:\n{text}\n{done}"));
        let is_family = matches!(key, "model.conv" | "model.unet");
        settings.retain(|set, _| !set.starts_with(key));
        if is_family {
            settings.insert("model.dense".to_owned(), "{}".to_owned());
        }
    }
}

/// The digests of the files of each stage, by the receipts that `read` returns.
fn digests(read: impl Fn(&str) -> Option<Vec<u8>>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for stage in crate::harness::STAGES_AND_EXPORT {
        let Some(receipt) = read(stage) else { continue };
        let receipt: Value = serde_json::from_slice(&receipt).expect("is JSON");
        for file in receipt["outputs"].as_array().expect("has outputs") {
            let digest = file["digest"].as_str().expect("has a digest").to_owned();
            all.insert(format!("{stage}/{}", file["name"].as_str().expect("has a name")), digest);
        }
    }
    all
}

/// No run may leave temporary files behind, and shards only if it fails: the next one goes on at them.
fn expect_clean(sandbox: &Sandbox, runs: &str, succeeded: bool, what: &str) {
    let root = sandbox.path(runs).join("small");
    let names = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names: BTreeSet<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    let is_left = |name: &&String| name.ends_with(".new") || *name == ".scratch" || (succeeded && *name == ".shards");
    let left: Vec<_> = names.iter().filter(is_left).collect();
    assert!(left.is_empty(), "left behind: {left:?} after {what}");
}

/// Runs a command that a random step kills a few times, until it ends by itself.
fn killed(random: &mut Random, command: impl Fn() -> Run) -> (Done, u64) {
    let mut kills = 0;
    for _ in 0..3 {
        let action = ["kill", "terminate"][random.below(2)];
        let done = command().env("LIMPID_FAILPOINT", format!(":{}:{action}", 1 + random.below(250))).ends();
        if done.status().signal() != Some(9) && done.status().code() != Some(75) {
            return (done, kills);
        }
        kills += 1;
    }
    (command().ends(), kills)
}

#[test]
fn random_pipelines_give_the_same_bytes_however_they_are_run() {
    let (count, seed) = (number("LIMPID_PIPELINES", 20), number("LIMPID_SEED", 1));
    let schema = limpid::config::schema();
    let store = s3("everything");
    let proxy = store.map(|server| Proxy::new(server.address, 30));
    let mut told: BTreeMap<&str, u64> = BTreeMap::new();
    let mut most = 0;
    for number in seed..seed + count {
        let mut draw = Draw { schema: &schema, random: Random(number.wrapping_mul(0x9e37_79b9)) };
        let (sandbox, text) = drawn(&mut draw, &kinds());
        let mut random = draw.random;
        let (done, peak) = sandbox.limpid("run small.toml --runs whole").peak();
        let what = format!("LIMPID_SEED={number}\n{text}\n{done}");
        most = most.max(peak);
        assert!(peak < BOUND, "{peak} MB: {what}");
        let code = done.status().code();
        expect_clean(&sandbox, "whole", code == Some(0), &what);
        if code != Some(0) {
            // Settings that do not go together, and images that they do not fit; the same is said again.
            assert!(matches!(code, Some(2 | 65)) && done.stderr().contains("limpid: "), "{what}");
            sandbox.limpid("run small.toml --runs whole").exits(code.expect("has one"));
            println!(
                "{number} is refused: {}",
                done.stderr().lines().skip_while(|line| !line.starts_with("limpid: ")).collect::<Vec<_>>().join("; ")
            );
            *told.entry("refused").or_default() += 1;
            continue;
        }
        sandbox.limpid("plan small.toml --runs whole --check").succeeds();
        let disk = |runs: &str| {
            digests(|stage| std::fs::read(sandbox.path(&format!("{runs}/small/{stage}/_receipt.json"))).ok())
        };
        let whole = disk("whole");
        let way = if store.is_some() { random.below(8) } else { random.below(7) };
        let (again, name) = match way {
            7 => {
                let (server, proxy) = (store.expect("is there"), proxy.as_ref().expect("is there"));
                let words = format!("small.toml --runs s3://everything/{number}");
                let threads = 1 + random.below(3);
                let run = || sandbox.limpid(&format!("run {words} --threads {threads}")).at(&proxy.url());
                let done = run().ends();
                assert_eq!(done.status().code(), Some(0), "in a store: {what}\n{done}");
                sandbox.limpid(&format!("plan {words} --check")).at(&proxy.url()).succeeds();
                let stages: BTreeSet<&str> = whole.keys().filter_map(|name| name.split('/').next()).collect();
                let read = |stage: &str| {
                    let key = format!("/everything/{number}/small/{stage}/_receipt.json");
                    stages.contains(stage).then(|| server.ask("GET", &key, b""))
                };
                (digests(read), "in a store")
            }
            5 | 6 => {
                for stage in crate::harness::STAGES_AND_EXPORT {
                    let tasks = 1 + random.below(3);
                    let task = |index: usize| {
                        format!("shard small.toml --runs tasks --stage {stage} --index {index} --of {tasks}")
                    };
                    let first = sandbox.limpid(&task(0)).ends();
                    if first.status().code() == Some(0) {
                        for index in (0..tasks).rev() {
                            let (done, _) = killed(&mut random, || sandbox.limpid(&task(index)));
                            assert_eq!(done.status().code(), Some(0), "{}: {what}\n{done}", task(index));
                        }
                        sandbox.limpid(&format!("commit small.toml --runs tasks --stage {stage}")).succeeds();
                    } else {
                        // It is made as a whole, or the pipeline lacks it.
                        assert_eq!(first.status().code(), Some(2), "{what}\n{first}");
                        _ = sandbox.limpid(&format!("run small.toml --runs tasks --to {stage}")).ends();
                    }
                }
                (disk("tasks"), "by tasks")
            }
            _ => {
                let threads = 1 + random.below(3);
                let (done, kills) = killed(&mut random, || {
                    sandbox.limpid(&format!("run small.toml --runs killed --threads {threads}"))
                });
                assert_eq!(done.status().code(), Some(0), "{what}\n{done}");
                expect_clean(&sandbox, "killed", true, &what);
                sandbox.limpid("plan small.toml --runs killed --check").succeeds();
                *told.entry("kills").or_default() += kills;
                (disk("killed"), "killed")
            }
        };
        assert_eq!(again, whole, "{name}: {what}");
        *told.entry(name).or_default() += 1;
    }
    println!("random pipelines: {count}, {told:?}, at most {most} MB; differences: 0");
    let refused = told.get("refused").copied().unwrap_or(0);
    assert!(refused * 4 < count * 3, "{refused} of {count} pipelines were refused");
}
