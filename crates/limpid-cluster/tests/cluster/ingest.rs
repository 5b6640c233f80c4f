//! The ingest of folders and of Parquet in every place and by every engine: the tables have the same digests.

use std::collections::BTreeMap;

use crate::everywhere::{Digests, Place};
use crate::process::Cluster;
use crate::random::{Random, number};

/// Tasks of a stage.
const TASKS: usize = 3;

/// A picture as BMP, of 24 bits.
pub fn bmp(rows: usize, columns: usize, seed: usize) -> Vec<u8> {
    let width = (3 * columns).next_multiple_of(4);
    let mut bytes = b"BM".to_vec();
    bytes.extend_from_slice(&(54 + (rows * width) as u32).to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
    bytes.extend_from_slice(&(columns as u32).to_le_bytes());
    bytes.extend_from_slice(&(rows as u32).to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 24, 0]);
    bytes.extend_from_slice(&[0; 24]);
    let pixel = |at: usize| (at * 31 + seed * 57 + at * at % (seed + 3)) as u8;
    bytes.extend((0..rows * width).map(pixel));
    bytes
}

/// Sources, as a pipeline has them: pictures of one size, of which some in several shards cannot be read; of different sizes; pairs; Parquet
/// files, with splits and without; an archive.
const SOURCES: [&str; 6] = [
    "folder = { path = \"{at}photos\", grey = true, on-error = \"skip\" }",
    "folder = { path = \"{at}mixed\", test-fraction = 0.3 }",
    "folder = { noisy = \"{at}noisy\", clean = \"{at}clean\", grey = true }",
    "parquet = { train = \"{at}tables/train-*\", test = \"{at}tables/test-*\" }",
    "parquet = { path = \"{at}tables\", test-fraction = 0.4 }",
    "tar = { train = \"{at}all.tar\", test-fraction = 0.4, grey = true }",
];

/// The pictures, by path.
fn pictures() -> BTreeMap<String, Vec<u8>> {
    let mut pictures = BTreeMap::new();
    for (split, count) in [("train", 18), ("test", 6)] {
        for (label, seed) in (0..count).flat_map(|seed| [("cat", seed), ("dog", seed + 50)]) {
            let is_bad = [4, 11, 53, 64].contains(&seed);
            let picture = if is_bad { b"BM is no picture".to_vec() } else { bmp(10, 12, seed) };
            pictures.insert(format!("photos/{split}/{label}/{seed}.bmp"), picture);
        }
        for seed in 0..count {
            pictures.insert(format!("mixed/{}.bmp", seed + count), bmp(9 + seed % 5, 10 + seed % 4, seed));
        }
    }
    for (split, count) in [("train", 12), ("test", 5)] {
        for (version, seed) in (0..count).flat_map(|seed| [("clean", seed), ("noisy", seed + 90)]) {
            pictures.insert(format!("{version}/{split}/{}.bmp", seed % 90), bmp(10, 12, seed));
        }
    }
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in pictures.iter().filter(|(name, _)| name.starts_with("clean")) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name.replace('/', "-"), bytes.as_slice()).expect("memory");
    }
    pictures.insert("all.tar".to_owned(), archive.into_inner().expect("memory"));
    pictures
}

fn pipeline(source: &str, at: &str) -> String {
    let source = source.replace("{at}", at);
    let rest = "[model]\nconv = { channels = [2] }\n[training]\npatch = 8\n[encode]\ncodes = \"pooled\"\n[output]\nshard-rows = 8\n";
    format!("name = \"small\"\n[source]\n{source}\n{rest}")
}

/// The pictures and the Parquet files, and what one process makes of each case.
fn expected() -> (BTreeMap<String, Vec<u8>>, Vec<Digests>) {
    let (cluster, mut files) = (Place::Disk.cluster(), pictures());
    files.iter().for_each(|(name, bytes)| _ = cluster.sandbox.write(name, bytes));
    let run = |number: usize, source: &str| {
        cluster.sandbox.write("small.toml", pipeline(source, "").as_bytes());
        let way = format!("alone-{number}");
        cluster.start(&format!("run small.toml --to ingest --runs runs-{way}"), "").exits(0);
        Place::Disk.published_of(&cluster, &way, &["ingest"])
    };
    let photos = run(0, SOURCES[0]);
    for name in photos.keys().filter(|name| name.contains("-of-")) {
        let (path, table) = (format!("runs-alone-0/small/{name}"), name.replace("ingest/", "tables/"));
        files.insert(table.clone(), cluster.sandbox.read(&path));
        cluster.sandbox.write(&table, &files[&table]);
    }
    let all: Vec<_> = SOURCES.iter().enumerate().map(|(number, source)| run(number + 1, source)).collect();
    assert!(all[0] == photos && all[0].contains_key("ingest/rejected.parquet"), "{:?}", all[0].keys());
    assert_eq!(all.iter().map(tables).collect::<Vec<_>>(), [7, 2, 6, 6, 6, 3]);
    (files, all)
}

/// The number of files of tables, each of which is a shard.
fn tables(made: &Digests) -> usize {
    made.keys().filter(|name| name.contains("-of-")).count()
}

/// A cluster whose pipeline reads the files from the place, where that is a store that they can be put into.
fn cluster(place: Place, files: &BTreeMap<String, Vec<u8>>, source: &str) -> Cluster {
    let cluster = place.cluster();
    let at = if let Place::S3(server) = place {
        files.iter().for_each(|(name, bytes)| _ = server.ask("PUT", &format!("/everywhere/files/{name}"), bytes));
        "s3://everywhere/files/"
    } else {
        files.iter().for_each(|(name, bytes)| _ = cluster.sandbox.write(name, bytes));
        ""
    };
    cluster.sandbox.write("small.toml", pipeline(source, at).as_bytes());
    cluster
}

fn by_executors(cluster: &Cluster, place: Place, way: &str, executors: usize) -> Digests {
    let (_scheduler, address) = cluster.scheduler();
    let _executors: Vec<_> = (0..executors).map(|_| cluster.executor(&address, "")).collect();
    let runs = place.runs(way);
    let mut run = cluster.start(&format!("run small.toml --to ingest --runs {runs} --log json --engine {address}"), "");
    run.exits(0);
    let told = run.told_shards();
    let made = place.published_of(cluster, way, &["ingest"]);
    // A shard that is all of its table is not worth a line.
    let several = made.keys().any(|name| name.contains("-00001-of-"));
    let expected = if several { tables(&made) } else { 0 };
    assert!(told.len() == expected && told.values().all(|times| *times == 1), "{told:?}\n{run}");
    made
}

fn by_tasks(cluster: &Cluster, place: Place, way: &str, random: &mut Random) -> Digests {
    let runs = format!("--runs {}", place.runs(way));
    let mut order: Vec<_> = (0..TASKS).collect();
    (1..TASKS).for_each(|last| order.swap(last, random.below(last + 1)));
    let task = |index: usize| {
        cluster.start(&format!("shard small.toml --stage ingest --index {index} --of {TASKS} {runs}"), "")
    };
    let mut twice = task(order[0]);
    order.into_iter().for_each(|index| task(index).exits(0));
    twice.exits(0);
    cluster.start(&format!("commit small.toml --stage ingest {runs}"), "").exits(0);
    place.published_of(cluster, way, &["ingest"])
}

#[test]
fn folders_and_parquet_are_ingested_to_the_same_tables_by_whatever_makes_them() {
    let (seed, (files, expected)) = (number("LIMPID_SEED", 1), expected());
    let places = Place::all();
    std::thread::scope(|scope| {
        for place in &places {
            let (files, expected) = (&files, &expected);
            scope.spawn(move || {
                for (number, (source, expected)) in SOURCES.iter().zip(expected).enumerate() {
                    let whose = place.runs("");
                    let cluster = cluster(*place, files, source);
                    for executors in [1, 4] {
                        let way = format!("ingest-{number}-{executors}");
                        let made = by_executors(&cluster, *place, &way, executors);
                        assert_eq!(made, *expected, "{source}: {whose} by {executors} executors");
                    }
                    let way = format!("ingest-{number}-tasks");
                    let made = by_tasks(&cluster, *place, &way, &mut Random(seed + number as u64));
                    assert_eq!(made, *expected, "{source}: {whose} by tasks, seed {seed}");
                }
            });
        }
    });
}

#[test]
fn what_has_no_shards_is_ingested_by_the_process_that_commands() {
    let cluster = Cluster::new();
    let mut run = cluster.start("run small.toml --to ingest --engine ballista", "");
    run.exits(0);
    run.says("ingest of this source is made as a whole, by this process");
}

#[test]
fn executors_refuse_a_picture_that_has_changed_since_the_fingerprint() {
    let cluster = Place::Disk.cluster();
    pictures().iter().for_each(|(name, bytes)| _ = cluster.sandbox.write(name, bytes));
    cluster.sandbox.write("small.toml", pipeline(SOURCES[1], "").as_bytes());
    let (_scheduler, address) = cluster.scheduler();
    let picture = cluster.path("mixed/27.bmp");
    let _executor = cluster.executor(&address, &format!("read {}:1:edit", picture.display()));
    let mut run = cluster.start(&format!("run small.toml --to ingest --engine {address}"), "");
    run.exits(75);
    run.says("has changed while it was read");
    assert!(!cluster.path("runs/small/ingest").exists());
}
