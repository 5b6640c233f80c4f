//! The real MNIST, where `MNIST_DIR` names a folder that holds it.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::Sandbox;

const DENSE: &str = "[source]\nmnist = {}\n[model]\ndense = {}\n[training]\nepochs = 1\n";

fn mnist() -> Option<PathBuf> {
    let folder = std::env::var_os("MNIST_DIR").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MNIST_DIR does not name a folder that holds MNIST");
    }
    folder
}

#[test]
fn one_epoch_of_the_chapter_model_follows_pytorch() {
    let Some(folder) = mnist() else { return };
    let sandbox = Sandbox::with(DENSE);
    sandbox.limpid("run small.toml").env("MNIST_DIR", folder).succeeds();
    let shown = sandbox.limpid("show runs/small --json").succeeds().stdout();
    let shown: Value = serde_json::from_str(&shown).expect("is JSON");
    let stage = |name: &str| {
        let stages = shown["stages"].as_array().expect("is a list");
        stages.iter().find(|stage| stage["stage"] == name).expect("has run").clone()
    };
    assert_eq!(stage("ingest")["outputs"][0]["rows"], 60_000);
    assert_eq!(stage("ingest")["outputs"][1]["rows"], 10_000);
    // FACTS of the data set: the floor of the cross-entropy and the score of the mean pixel, on the test split.
    let metrics = &shown["metrics"];
    assert!((metrics["cross-entropy-floor"].as_f64().expect("is a number") - 0.05808).abs() < 5e-5);
    assert!((metrics["scores"][1]["psnr-pooled"].as_f64().expect("is a number") - 10.16).abs() < 0.005);
    // PyTorch 2.9 with the same settings gave 0.03670 with one seed.
    let mse = metrics["scores"][0]["mse"].as_f64().expect("is a number");
    assert!((0.034..0.040).contains(&mse), "{mse}");
}

/// Serves the folder's files, the first time each cut in half, and counts nothing else.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("has an address");
    std::thread::spawn(move || {
        let mut seen = std::collections::HashSet::new();
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut request).expect("reads");
            let name = request.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
            let body = std::fs::read(folder.join(&name)).expect("is there");
            let end = if seen.insert(name) { body.len() / 2 } else { body.len() };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..end]));
        }
    });
    format!("http://{address}/")
}

#[test]
fn a_download_that_breaks_off_is_tried_again() {
    let Some(folder) = mnist() else { return };
    let sandbox = Sandbox::with(DENSE);
    let mirrors = format!("source.mnist.mirrors=[\"http://127.0.0.1:9/\",\"{}\"]", serve(folder));
    sandbox.limpid("run small.toml --to ingest --set").arg(&mirrors).succeeds();
    let mut names: Vec<_> = sandbox.files("data/mnist").into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with("-ubyte.gz")), "{names:?}");
    // The second time it is there.
    sandbox.limpid("run small.toml --to ingest --force").succeeds();
}
