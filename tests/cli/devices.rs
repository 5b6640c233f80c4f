//! Devices: messages about missing ones, and equal results of a pipeline on available ones.
//!
//! The tests run on all devices that the build and the machine have, or those that `LIMPID_TEST_DEVICES=flex,tch` names.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{PIPELINE, STAGES, Sandbox};

use limpid::device::DeviceName;

/// The devices to test.
fn devices() -> Vec<String> {
    let Ok(names) = std::env::var("LIMPID_TEST_DEVICES") else {
        let there = DeviceName::all().into_iter().filter(|name| name.open(1).is_ok());
        return there.map(|name| name.to_string()).collect();
    };
    names.split(',').map(str::to_owned).collect()
}

/// Whether a device repeats results byte for byte (docs/devices.md).
fn repeats(device: &str) -> bool {
    ["flex", "cpu", "tch"].contains(&device)
}

/// Relative tolerance of losses against those of flex: NVIDIA's GPUs multiply with fewer bits.
fn course(device: &str) -> f64 {
    if device.contains("cuda") { 1e-2 } else { 1e-3 }
}

fn receipt(sandbox: &Sandbox, run: &str, stage: &str) -> Value {
    serde_json::from_slice(&sandbox.read(&format!("{run}/{stage}/_receipt.json"))).expect("is JSON")
}

/// The test losses of the epochs, from the log.
fn losses(log: &str) -> Vec<f64> {
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("is JSON"));
    events.filter(|event| event["event"] == "epoch").map(|event| event["test-loss"].as_f64().expect("a loss")).collect()
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
    let sandbox = Sandbox::new();
    let unknown = sandbox.limpid("run small.toml --device gpu").exits(2);
    unknown
        .says("there is no device \"gpu\"; there are flex (also called cpu), tch, tch:cuda:0, cuda:0, wgpu, and auto");
    sandbox.limpid("run small.toml --device cuda:x").exits(2).says("\"x\" is not the index of a GPU");
    let features = [
        ("tch", "tch", cfg!(feature = "tch")),
        ("tch:cuda:99", "tch", cfg!(feature = "tch")),
        ("cuda:99", "cuda", cfg!(feature = "cuda")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
    ];
    for (device, feature, built) in features {
        let done = sandbox.limpid(&format!("run small.toml --device {device}"));
        if !built {
            let message = format!("this build lacks the device {device}; build limpid with --features {feature}");
            done.exits(2).says(&message).never_says("panicked");
        } else if device.ends_with(":99") {
            done.exits(2).says(&format!("this machine lacks the device {device}: looked for")).never_says("panicked");
        } else {
            done.ends().never_says("panicked");
            // The folder exists if the device is available.
            _ = std::fs::remove_dir_all(sandbox.path("runs"));
        }
    }
    for command in ["encode runs/x y -o z", "denoise runs/x y -o z"] {
        sandbox.limpid(&format!("{command} --device cuda:99")).exits(2).says("lacks the device cuda:99");
    }
    assert!(!sandbox.path("runs").exists(), "nothing was started");
}

#[test]
fn a_precision_that_the_device_lacks_stops_a_training_and_nothing_else() {
    let sandbox = Sandbox::new();
    let precise = "run small.toml --set training.precision=\"bf16\"";
    sandbox.limpid(precise).exits(2).says("training.precision = \"bf16\" is not for the device flex");
    let planned = precise.replace("run", "plan");
    sandbox.limpid(&planned).succeeds();
    sandbox
        .limpid(&format!("{planned} --device flex"))
        .exits(2)
        .says("training.precision = \"bf16\" is not for the device flex");
    sandbox.limpid(&format!("{planned} --device flex --to ingest")).succeeds();
    sandbox.limpid("plan small.toml --device flex").succeeds();
    assert!(!sandbox.path("runs/small/ingest").exists(), "nothing was started");
    sandbox.limpid(&format!("{precise} --to ingest")).succeeds();
}

#[test]
fn devices_are_listed_with_their_rates() {
    let sandbox = Sandbox::new();
    let listed = sandbox.limpid("devices --json").succeeds().stdout();
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("is JSON");
    let of = |name: &str| listed.iter().find(|device| device["device"] == name).unwrap_or_else(|| panic!("{name}"));
    let flex = of("flex");
    assert_eq!((&flex["in-build"], &flex["on-machine"], &flex["why"]), (&true.into(), &true.into(), &Value::Null));
    let rate = |device: &Value, model: &str| device["images-per-second"][model].as_f64().unwrap_or(0.0);
    assert!(rate(flex, "dense") > rate(flex, "conv") && rate(flex, "conv") > 0.0, "{flex}");
    for name in ["tch", "tch:cuda:0", "cuda:0", "wgpu"] {
        let device = of(name);
        let usable = device["on-machine"] == true;
        assert_eq!(usable, device["why"].is_null(), "{device}");
        assert_eq!(usable, rate(device, "dense") > 0.0, "{device}");
        assert_eq!(device["in-build"] == false, device["on-machine"].is_null(), "{device}");
    }
    let text = sandbox.limpid("devices --threads 1").succeeds().stdout();
    assert!(text.lines().any(|line| line.starts_with("flex ") && line.ends_with("images/s")), "{text}");
}

#[test]
fn a_pipeline_gives_the_same_on_every_device() {
    let conv = PIPELINE.replace("dense = { hidden = [32], code = 8 }", "conv = { channels = [6, 4] }");
    for pipeline in [PIPELINE.to_owned(), conv] {
        let sandbox = Sandbox::with(&pipeline);
        let run = |device: &str, runs: &str| {
            let log = sandbox.limpid(&format!("run small.toml --log json --device {device} --runs {runs}"));
            losses(&log.succeeds().stderr())
        };
        let expected = run("cpu", "flex");
        for device in devices() {
            let found = run(&device, "other");
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found / expected - 1.0).abs() < course(&device), "{device}: {found} and not {expected}");
            }
            for stage in STAGES {
                assert_eq!(receipt(&sandbox, "other/small", stage)["device"], device.as_str(), "{stage}");
            }
            // A repetition, which on some devices has the same bytes, even if these differ from those of flex.
            run(&device, "again");
            for stage in STAGES {
                let same =
                    sandbox.files(&format!("other/small/{stage}")) == sandbox.files(&format!("again/small/{stage}"));
                assert!(same || !repeats(&device), "{device}: {stage}");
            }
            // Training resumes on another device.
            let plan = sandbox.limpid("run small.toml --runs other --device flex --set training.epochs=3").succeeds();
            plan.says("resuming after 2 epochs");
            let trained = if device == "flex" { device.clone() } else { format!("{device}, then flex") };
            assert_eq!(receipt(&sandbox, "other/small", "train")["device"], trained.as_str());
            for folder in ["other", "again"] {
                std::fs::remove_dir_all(sandbox.path(folder)).expect("removed");
            }
        }
    }
}

#[test]
fn a_training_that_is_killed_goes_on_on_every_device() {
    let pipeline = PIPELINE.replace("epochs = 2", "epochs = 3\ncheckpoint-seconds = 0");
    for device in devices() {
        let sandbox = Sandbox::with(&pipeline);
        let run = |runs: &str| sandbox.limpid(&format!("run small.toml --device {device} --log json --runs {runs}"));
        let expected = losses(&run("whole").succeeds().stderr());
        let mut child = run("cut").spawn();
        let checkpoint = sandbox.path("cut/small/.checkpoint/train");
        for _ in 0..2000 {
            if checkpoint.exists() || child.try_wait().expect("waits").is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.try_wait().expect("waits").is_none(), "{device}: it came to its end");
        _ = child.kill();
        child.wait().expect("waits");
        let log = run("cut").succeeds().stderr();
        assert!(log.contains("resuming"), "{device}: {log}");
        let found = losses(&log);
        let (found, expected) = (found.last().copied(), expected.last().copied());
        let same = sandbox.files("cut/small/train") == sandbox.files("whole/small/train");
        assert!(same || !repeats(&device), "{device}");
        if let (Some(found), Some(expected)) = (found, expected) {
            assert!((found / expected - 1.0).abs() < course(&device), "{device}: {found} and not {expected}");
        }
    }
}
