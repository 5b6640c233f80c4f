//! Replays the fuzz seeds and past findings: every input in `fuzz/seeds` is read as its fuzz target reads it.

#[path = "../fuzz/readers.rs"]
mod readers;

use std::path::Path;

/// Feeds every seed of one target to its reader.
fn replay(target: &str, read: fn(&[u8])) {
    readers::limit_memory();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds = std::fs::read_dir(&folder).unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let mut seeds: Vec<_> = seeds.map(|entry| entry.expect("readable").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    for seed in seeds {
        // The last line before a failure shows the seed.
        println!("{}", seed.display());
        read(&std::fs::read(&seed).expect("readable"));
    }
}

#[test]
fn idx() {
    replay("idx", readers::idx);
}

#[test]
fn arrays() {
    replay("arrays", readers::arrays);
}

#[test]
fn picture() {
    replay("picture", readers::picture);
}

#[test]
fn listing() {
    replay("listing", readers::listing);
}

#[test]
fn foreign() {
    replay("foreign", readers::foreign);
}

#[test]
fn pipeline() {
    replay("pipeline", readers::pipeline);
}

#[test]
fn table() {
    replay("table", readers::table);
}

#[test]
fn model() {
    replay("model", readers::model);
}

#[test]
fn receipt() {
    replay("receipt", readers::receipt);
}
