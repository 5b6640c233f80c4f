//! One pipeline in every place and by every engine: the files that are published have the same digests.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::ingest::bmp;
use crate::process::{Cluster, MAP_STAGES, results};
use crate::random::{Random, number};
use crate::store_server::{Server, azure, azure_blob, azure_container, azure_login, login, s3};

/// The stages whose files are compared. The scores take long without optimisation: [`SMALL`] is what they are compared of.
const STAGES: [&str; 6] = ["ingest", "corrupt", "train", "encode", "denoise", "export"];

/// Pictures so small that the scores of them take a second.
const SMALL: &str = r#"
name = "small"
[source]
folder = { path = "photos", grey = true }
[corruption]
gaussian = { std = 0.2 }
[model]
dense = { hidden = [8], code = 3 }
[training]
epochs = 2
batch-size = 10
[output]
shard-rows = 10
[gate]
baselines = []
"#;

/// Digests by stage and name.
pub type Digests = BTreeMap<String, String>;

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the run directories are.
#[derive(Clone, Copy)]
pub enum Place {
    Disk,
    S3(&'static Server),
    Azure(&'static Server),
}

impl Place {
    /// This disk, and the servers that are installed.
    pub fn all() -> Vec<Self> {
        let azure = azure().inspect(|server| azure_container(server, "everywhere"));
        let stores = [s3("everywhere").map(Place::S3), azure.map(Place::Azure)];
        [Place::Disk].into_iter().chain(stores.into_iter().flatten()).collect()
    }

    /// The folder of the run directories, for this way to make them.
    pub fn runs(self, way: &str) -> String {
        match self {
            Place::Disk => format!("runs-{way}"),
            Place::S3(_) => format!("s3://everywhere/{way}"),
            Place::Azure(_) => format!("az://everywhere/{way}"),
        }
    }

    pub fn cluster(self) -> Cluster {
        let login = match self {
            Place::Disk => Vec::new(),
            Place::S3(server) => login(&format!("http://{}", server.address)).into(),
            Place::Azure(server) => azure_login(server).into(),
        };
        let pictures = if self.has_pictures() { "pictures = \"u8\"\n" } else { "" };
        Cluster::with(&format!("profile = \"hf\"\npart-rows = 250\n{pictures}"), login)
    }

    /// Whether images are exported as pictures too: thousands, for which the servers take minutes.
    fn has_pictures(self) -> bool {
        matches!(self, Place::Disk)
    }

    /// The shards of the export: pictures are made of each of eight files of three tables; parts begin in four of the eight.
    fn export_shards(self) -> usize {
        if self.has_pictures() { 3 * 8 + 4 } else { 4 * 4 }
    }

    /// The receipt of a stage of a run.
    pub fn receipt(self, cluster: &Cluster, way: &str, stage: &str) -> serde_json::Value {
        let receipt = match self {
            Place::Disk => cluster.sandbox.read(&format!("{}/small/{stage}/_receipt.json", self.runs(way))),
            Place::S3(_) | Place::Azure(_) => self.object(&format!("everywhere/{way}/small/{stage}/_receipt.json")),
        };
        serde_json::from_slice(&receipt).expect("is JSON")
    }

    fn object(self, path: &str) -> Vec<u8> {
        match self {
            Place::Disk => unreachable!("files are no objects"),
            Place::S3(server) => server.ask("GET", &format!("/{path}"), b""),
            Place::Azure(server) => azure_blob(server, path),
        }
    }

    /// What a run has published.
    fn published(self, cluster: &Cluster, way: &str) -> Digests {
        self.published_of(cluster, way, &STAGES)
    }

    /// What a run has published of these stages.
    pub fn published_of(self, cluster: &Cluster, way: &str, stages: &[&str]) -> Digests {
        if let Place::Disk = self {
            let run = format!("{}/small", self.runs(way));
            return results(&cluster.sandbox, &run, stages)
                .iter()
                .map(|(name, bytes)| (name.clone(), digest(bytes)))
                .collect();
        }
        let run = format!("everywhere/{way}/small");
        let mut published = Digests::new();
        for stage in stages {
            let manifest = self.object(&format!("{run}/latest/{stage}.json"));
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("is JSON");
            let folder = format!("{run}/{stage}/{}/", &manifest["fingerprint"].as_str().expect("is text")[..16]);
            for url in manifest["files"].as_array().expect("is a list") {
                let (_, path) = url.as_str().and_then(|url| url.split_once("://")).expect("is a URL");
                let name = path.strip_prefix(&folder).unwrap_or_else(|| panic!("{path} is not in {folder}"));
                published.insert(format!("{stage}/{name}"), digest(&self.object(path)));
            }
        }
        published
    }
}

/// A run by executors of a cluster.
fn by_executors(place: Place, executors: usize) -> Digests {
    let (cluster, way) = (place.cluster(), executors.to_string());
    let (_scheduler, address) = cluster.scheduler();
    let _executors: Vec<_> = (0..executors).map(|_| cluster.executor(&address, "")).collect();
    let runs = place.runs(&way);
    let start = |stages: &str| {
        let words = format!("run small.toml {stages} --runs {runs} --threads 2 --log json --engine {address}");
        let mut run = cluster.start(&words, "");
        run.exits(0);
        run
    };
    start("--to denoise").tells_each_shard_once(&MAP_STAGES);
    let export = start("--only export");
    let told = export.told_shards();
    assert!(told.len() == place.export_shards() && told.values().all(|times| *times == 1), "{told:?}\n{export}");
    place.published(&cluster, &way)
}

/// A run whose stages with shards are made by tasks in random order, one of which runs twice at once.
fn by_tasks(place: Place, random: &mut Random) -> Digests {
    const TASKS: usize = 3;
    let cluster = place.cluster();
    let runs = format!("--runs {}", place.runs("tasks"));
    for (stage, before) in [("corrupt", "ingest"), ("encode", "train"), ("denoise", "train"), ("export", "denoise")] {
        cluster.start(&format!("run small.toml --to {before} {runs}"), "").exits(0);
        let mut order: Vec<_> = (0..TASKS).collect();
        (1..TASKS).for_each(|last| order.swap(last, random.below(last + 1)));
        let task = |index: usize| {
            cluster.start(&format!("shard small.toml --stage {stage} --index {index} --of {TASKS} {runs}"), "")
        };
        let mut twice = task(order[0]);
        order.into_iter().for_each(|index| task(index).exits(0));
        twice.exits(0);
        cluster.start(&format!("commit small.toml --stage {stage} {runs}"), "").exits(0);
    }
    place.published(&cluster, "tasks")
}

/// A cluster with [`SMALL`] and its pictures.
fn small(place: Place) -> Cluster {
    let cluster = place.cluster();
    cluster.sandbox.write("small.toml", SMALL.as_bytes());
    for (split, label, seed) in (0..80).map(|seed| (["train", "test"][seed % 4 / 3], ["cat", "dog"][seed % 2], seed)) {
        cluster.sandbox.write(&format!("photos/{split}/{label}/{seed}.bmp"), &bmp(7, 6, seed));
    }
    cluster
}

#[test]
fn every_stage_with_the_scores_and_the_report_publishes_the_same_digests_everywhere() {
    let stages = ["ingest", "corrupt", "train", "encode", "denoise", "evaluate", "report"];
    let alone = small(Place::Disk);
    alone.start("run small.toml --runs runs-alone", "").exits(0);
    let expected = Place::Disk.published_of(&alone, "alone", &stages);
    assert!(
        ["denoise/train-00005-of-00006.parquet", "evaluate/metrics.json", "report/report.html"]
            .iter()
            .all(|name| expected.contains_key(*name))
    );
    let places = Place::all();
    std::thread::scope(|scope| {
        for place in places {
            let (expected, stages) = (&expected, &stages);
            scope.spawn(move || {
                let cluster = small(place);
                let (_scheduler, address) = cluster.scheduler();
                let _executors = [cluster.executor(&address, ""), cluster.executor(&address, "")];
                let runs = place.runs("whole");
                cluster.start(&format!("run small.toml --runs {runs} --engine {address}"), "").exits(0);
                assert_eq!(place.published_of(&cluster, "whole", stages), *expected, "{runs}");
            });
        }
    });
}

#[test]
fn disk_s3_azure_one_executor_four_and_tasks_publish_the_same_digests() {
    let seed = number("LIMPID_SEED", 1);
    let alone = Place::Disk.cluster();
    alone.start("run small.toml --to denoise --runs runs-alone", "").exits(0);
    alone.start("run small.toml --only export --runs runs-alone", "").exits(0);
    let expected = Place::Disk.published(&alone, "alone");
    assert!(MAP_STAGES.iter().all(|stage| expected.contains_key(&format!("{stage}/train-00005-of-00006.parquet"))));
    for start in ["README.md", "denoise/train-00002-of-00003.parquet", "pictures/denoise/train/"] {
        assert!(
            expected.keys().any(|name| name.starts_with(&format!("export/{start}"))),
            "{start}: {:?}",
            expected.keys()
        );
    }
    let places = Place::all();
    std::thread::scope(|scope| {
        for (place, seed) in places.iter().zip(seed..) {
            let expected = &expected;
            scope.spawn(move || {
                let whose = place.runs("");
                let of_place = |name: &String| place.has_pictures() || !name.starts_with("export/pictures/");
                let expected: Digests = expected.clone().into_iter().filter(|(name, _)| of_place(name)).collect();
                for executors in [1, 4] {
                    assert_eq!(by_executors(*place, executors), expected, "{whose} by {executors} executors");
                }
                assert_eq!(by_tasks(*place, &mut Random(seed)), expected, "{whose} by tasks, seed {seed}");
            });
        }
    });
    println!(
        "places: {}, each by 1 executor, by 4 and by tasks: {} files with the same digests",
        places.len(),
        expected.len()
    );
}
