//! Replays the fuzz seeds and past findings: every input in `fuzz/seeds` is read as its fuzz target reads it, and so are
//! `LIMPID_MUTATIONS` (10) of each with some bytes changed, drawn by `LIMPID_SEED`, which need no fuzzer.

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
        let bytes = std::fs::read(&seed).expect("readable");
        read(&bytes);
        for round in 0..number("LIMPID_MUTATIONS", 10) {
            println!("  changed, round {round}");
            read(&changed(&bytes, &mut Random(number("LIMPID_SEED", 1) << 32 | round)));
        }
    }
}

/// A pseudo-random generator (Steele, Lea & Flood 2014, SplitMix64).
struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Some bytes flipped, set to an extreme, cut, repeated or replaced by others of the same file.
fn changed(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(6) {
        let (at, from) = (random.below(bytes.len()), random.below(bytes.len()));
        let length = random.below(9).min(bytes.len() - at.max(from));
        match random.below(6) {
            _ if bytes.is_empty() => {}
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'.', b','][random.below(8)],
            2 => bytes.truncate(at.max(bytes.len() / 2)),
            3 => _ = bytes.splice(at..at, bytes[from..from + length].to_vec()),
            4 => bytes.copy_within(from..from + length, at),
            _ => _ = bytes.drain(at..at + length),
        }
    }
    bytes
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
fn pairs() {
    replay("pairs", readers::pairs);
}

#[test]
fn given() {
    replay("given", readers::given);
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
fn columns() {
    replay("columns", readers::columns);
}

#[test]
fn tar() {
    replay("tar", readers::tar);
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
