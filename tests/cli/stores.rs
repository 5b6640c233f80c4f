//! Object stores: what is read from and written to them is the same as with files, whatever their requests come to.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::applying::idx;
use crate::harness::{Done, PIPELINE, Run, STAGES, Sandbox, files};
use crate::inputs::tar;
use crate::own_arrays::{npy, npz};
use crate::own_images::{png, sandbox};
use crate::store_server::{self as server, KEY, Proxy, SECRET, Server, azure, login, s3};

impl Run {
    /// Has it log in at an S3 store.
    pub fn at(self, url: &str) -> Self {
        login(url).into_iter().fold(self, |run, (name, value)| run.env(name, value))
    }
}

/// The name of the test table of a run.
const TEST: &str = "test-00000-of-00001.parquet";

/// A sandbox with a trained model.
fn trained(pipeline: &str) -> Sandbox {
    let sandbox = Sandbox::with(pipeline);
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox
}

/// Puts every file of a folder into a bucket.
fn upload(server: &Server, folder: &Path, to: &str) {
    for (name, bytes) in files(folder).expect("is there") {
        server.ask("PUT", &format!("/{to}/{name}"), &bytes);
    }
}

fn told(what: &str, counts: &BTreeMap<String, u64>) {
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    println!("requests: {what}: {}", counts.join(", "));
}

#[test]
fn tables_are_inspected_encoded_and_denoised_in_a_store_as_in_files() {
    let Some(server) = s3("tables") else { return };
    let (sandbox, proxy) = (trained(PIPELINE), Proxy::new(server.address, 0));
    upload(server, &sandbox.path("runs/small/ingest"), "tables/in");
    let input = format!("s3://tables/in/{TEST}");
    let here = sandbox.limpid(&format!("inspect runs/small/ingest/{TEST}")).succeeds().stdout();
    let there = sandbox.limpid(&format!("inspect {input}")).at(&proxy.url()).succeeds().stdout();
    told("inspect", &proxy.counts());
    // A copy has no receipt, and another place.
    let (_, here) = here.split_once("\n\n").expect("starts with its provenance");
    assert_eq!(here.replace("runs/small/ingest", "s3://tables/in"), there);
    for verb in ["encode", "denoise"] {
        sandbox.limpid(&format!("{verb} runs/small runs/small/ingest/{TEST} -o here/{verb}")).succeeds();
        let run = sandbox.limpid(&format!("{verb} runs/small {input} -o s3://tables/out/{verb}")).at(&proxy.url());
        run.succeeds().prints(&format!("s3://tables/out/{verb}/{TEST}"));
        told(&format!("{verb} a table"), &proxy.counts());
        assert!(
            sandbox.read(&format!("here/{verb}/{TEST}"))
                == server.ask("GET", &format!("/tables/out/{verb}/{TEST}"), b"")
        );
    }
    let run = sandbox.limpid(&format!("encode runs/small {input} -o s3://tables/in")).at(&proxy.url());
    run.exits(2).says("would be overwritten by its own result");
    sandbox.limpid("inspect s3://tables/in/none.parquet").at(&proxy.url()).exits(2).says("does not exist");
    sandbox.limpid("inspect s3://tables/in").at(&proxy.url()).exits(65).says("a folder of Parquet files");
    sandbox.limpid("inspect s3://nowhere/x.parquet").at(&proxy.url()).exits(2).says("bucket does not exist");
}

#[test]
fn a_store_that_fails_one_request_in_twenty_makes_no_difference() {
    let Some(server) = s3("flaky") else { return };
    // Codes of 2 kB an image make a table of several parts.
    let sandbox = trained(
        "name = \"small\"\n[source]\nstrokes = { train = 100, test = 16000 }\n[model]\ndense = { code = 512 }\n\
         [training]\nepochs = 1\n",
    );
    upload(server, &sandbox.path("runs/small/ingest"), "flaky/in");
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o here")).succeeds();
    let expected = sandbox.read(&format!("here/{TEST}"));
    assert!(expected.len() > 16 << 20, "{} bytes are one part", expected.len());
    let proxy = Proxy::new(server.address, 20);
    for round in 0..4 {
        let run = format!("encode runs/small s3://flaky/in/{TEST} -o s3://flaky/out{round}");
        sandbox.limpid(&run).at(&proxy.url()).succeeds();
        assert!(expected == server.ask("GET", &format!("/flaky/out{round}/{TEST}"), b""), "round {round}");
        told("encode a table in two parts", &proxy.counts());
    }
    assert!(proxy.failed.load(Ordering::Relaxed) > 0, "no request failed");
    let left = server.keys("flaky");
    assert_eq!(left.len(), 4 + sandbox.files("runs/small/ingest").len(), "{left:?}");
}

/// Files by name.
pub type Files = Vec<(String, Vec<u8>)>;

/// The sources of every kind, with files for each, and the splits that they have.
pub fn kinds() -> Vec<(&'static str, Files)> {
    let pictures = |folder: &str| {
        let name = move |index: u32, folder: &str| {
            let split = if index.is_multiple_of(4) { "test" } else { "train" };
            (format!("{folder}/{split}/{}/{index:03}.png", ["cat", "dog"][(index / 4 % 2) as usize]), png(8, 9, index))
        };
        (0..48).map(|index| name(index, folder)).collect::<Vec<_>>()
    };
    let array = |count: usize| (0..count * 64).map(|at| (at * 7 % 251) as u8).collect::<Vec<_>>();
    let idx_of = |count: u32| idx(&[count, 8, 8]);
    let table = |rows: usize| {
        let head: Vec<_> = (0..64).map(|pixel| format!("pixel{pixel}")).collect();
        let row = |row: usize| {
            let pixels: Vec<_> = (0..64).map(|pixel| ((row * 64 + pixel) * 7 % 251).to_string()).collect();
            format!("{},{}\n", row % 3, pixels.join(","))
        };
        format!("label,{}\n{}", head.join(","), (0..rows).map(row).collect::<String>()).into_bytes()
    };
    let archive = || {
        let files: Vec<_> = (0..10).map(|index| (format!("{index:03}.png"), png(4, 5, index))).collect();
        tar(&files)
    };
    let metadata = {
        let lines = (0..48).step_by(2).map(|index| {
            let split = if index % 4 == 0 { "test" } else { "train" };
            format!("{split}/{}/{index:03}.png,{},{split}\n", ["cat", "dog"][index / 4 % 2], index % 3)
        });
        format!("file,label,split\n{}", lines.collect::<String>()).into_bytes()
    };
    let npz_of = |count: usize| {
        npz(&[("x", npy("|u1", &format!("({count}, 8, 8)"), &array(count)))], zip::CompressionMethod::Deflated)
    };
    vec![
        ("folder = { path = \"ROOT/photos\" }", pictures("photos")),
        ("folder = { path = \"ROOT/listed\", csv = \"ROOT/listed.csv\" }", {
            [pictures("listed"), vec![("listed.csv".to_owned(), metadata)]].concat()
        }),
        ("npy = { train = \"ROOT/x.npy\", test-fraction = 0.2 }", {
            vec![("x.npy".to_owned(), npy("|u1", "(40, 8, 8)", &array(40)))]
        }),
        ("npz = { path = \"ROOT/x.npz\", train = \"x\", test-fraction = 0.2 }", vec![("x.npz".to_owned(), npz_of(30))]),
        ("idx = { train = \"ROOT/a.idx3.gz\", test = \"ROOT/b.idx3\" }", {
            vec![("a.idx3.gz".to_owned(), crate::bad_input::gzip(&idx_of(20))), ("b.idx3".to_owned(), idx_of(5))]
        }),
        ("columns = { train = \"ROOT/t.csv\", test-fraction = 0.2 }", vec![("t.csv".to_owned(), table(30))]),
        ("vectors = { train = \"ROOT/t.csv\", test-fraction = 0.2 }", vec![("t.csv".to_owned(), table(30))]),
        ("tar = { train = \"ROOT/s-{0..1}.tar\", test = \"ROOT/s-2.tar\" }", {
            (0..3).map(|shard| (format!("s-{shard}.tar"), archive())).collect()
        }),
    ]
}

#[test]
fn sources_of_every_kind_are_read_from_a_store() {
    let Some(server) = s3("sources") else { return };
    let proxy = Proxy::new(server.address, 0);
    for (index, (source, files)) in kinds().into_iter().enumerate() {
        let of = |root: &str| sandbox(&source.replace("ROOT", root));
        let (here, there) = (of("data"), of(&format!("s3://sources/{index}")));
        for (name, bytes) in &files {
            here.write(&format!("data/{name}"), bytes);
            server.ask("PUT", &format!("/sources/{index}/{name}"), bytes);
        }
        here.limpid("run small.toml --to ingest").succeeds();
        there.limpid("run small.toml --to ingest").at(&proxy.url()).succeeds();
        told(&format!("ingest of {source}"), &proxy.counts());
        let tables = |sandbox: &Sandbox| {
            let mut files = sandbox.files("runs/small/ingest");
            // That of tar names the archives by their paths.
            files.retain(|(name, _)| !(source.starts_with("tar") && name == "files.parquet"));
            files
        };
        assert!(tables(&here) == tables(&there), "{source}");
        there.limpid("plan small.toml --to ingest --check").at(&proxy.url()).succeeds();
        told("plan of it", &proxy.counts());
        // An object that was written again is seen by its version.
        let (name, bytes) = &files[0];
        let other = [&bytes[..bytes.len() - 1], &[bytes[bytes.len() - 1] ^ 1]].concat();
        server.ask("PUT", &format!("/sources/{index}/{name}"), &other);
        there.limpid("plan small.toml --to ingest --check").at(&proxy.url()).exits(10);
    }
}

#[test]
fn parquet_files_are_found_by_pattern_and_name_in_a_store() {
    let Some(server) = s3("parquet") else { return };
    let (maker, proxy) = (trained(PIPELINE), Proxy::new(server.address, 0));
    let exported = "export runs/small --to out --profile hf --part-rows 250";
    maker.limpid("run small.toml --to corrupt").succeeds();
    maker.limpid(exported).succeeds();
    upload(server, &maker.path("out/ingest"), "parquet/a/data");
    for source in [
        "parquet = { path = \"ROOT\" }",
        "parquet = { train = \"ROOT/data/train-*.parquet\", test = \"ROOT/data/test-0000?-of-*.parquet\" }",
        "parquet = { train = \"ROOT/**/train-*.parquet\", test-fraction = 0.2 }",
    ] {
        let (here, there) = (sandbox(&source.replace("ROOT", "x")), sandbox(&source.replace("ROOT", "s3://parquet/a")));
        crate::harness::link(&maker.path("out/ingest"), &here.path("x/data"));
        here.limpid("run small.toml --to ingest").succeeds();
        there.limpid("run small.toml --to ingest").at(&proxy.url()).succeeds();
        told(&format!("ingest of {source}"), &proxy.counts());
        assert!(here.files("runs/small/ingest") == there.files("runs/small/ingest"), "{source}");
    }
    let missing = sandbox("parquet = { train = \"s3://parquet/a/none-*.parquet\", test-fraction = 0.2 }");
    missing.limpid("run small.toml").at(&proxy.url()).exits(65).says("s3://parquet/a/none-*.parquet does not exist");
}

#[test]
fn pictures_of_a_store_become_pictures_there() {
    let Some(server) = s3("pictures") else { return };
    let sandbox = trained(
        "name = \"small\"\n[source]\nscenes = { train = 20, test = 4, size = [16, 16], colour = true }\n[model]\n\
         conv = { channels = [4] }\n[training]\nepochs = 1\n",
    );
    for index in 0..40 {
        let (name, bytes) = (format!("scans/{}/{index}.png", index % 2), png(20, 17, index));
        sandbox.write(&name, &bytes);
        server.ask("PUT", &format!("/pictures/{name}"), &bytes);
    }
    let proxy = Proxy::new(server.address, 0);
    sandbox.limpid("denoise runs/small scans -o clean --pictures").succeeds();
    let run =
        sandbox.limpid("denoise runs/small s3://pictures/scans -o s3://pictures/clean --pictures").at(&proxy.url());
    run.succeeds();
    told("denoise 40 pictures", &proxy.counts());
    for (name, bytes) in sandbox.files("clean") {
        assert!(bytes == server.ask("GET", &format!("/pictures/clean/{name}"), b""), "{name}");
    }
    sandbox.limpid("encode runs/small scans -o codes --codes pooled").ends();
    sandbox.limpid("denoise runs/small scans -o tables --resize").succeeds();
    let run =
        sandbox.limpid("denoise runs/small s3://pictures/scans -o s3://pictures/tables --resize").at(&proxy.url());
    run.succeeds();
    told("denoise a folder of 40 pictures to a table", &proxy.counts());
    for (name, bytes) in sandbox.files("tables") {
        assert!(bytes == server.ask("GET", &format!("/pictures/tables/{name}"), b""), "{name}");
    }
}

/// Serves files by HTTP, with ranges; each request is counted.
fn served(files: Vec<(String, Vec<u8>)>) -> (String, Arc<AtomicU64>) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let url = crate::download::serve(move |stream, name, head| {
        counted.fetch_add(1, Ordering::Relaxed);
        let Some((_, bytes)) = files.iter().find(|(file, _)| file == name) else {
            _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        };
        let range = server::header(head, "range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.map(|(from, to)| {
            let (from, to) = (from.parse().unwrap_or(0), to.parse().unwrap_or(bytes.len() - 1));
            from..bytes.len().min(to + 1)
        });
        let (status, extra, part) = match range {
            Some(range) => {
                let extra = format!("Content-Range: bytes {}-{}/{}\r\n", range.start, range.end - 1, bytes.len());
                ("206 Partial Content", extra, &bytes[range])
            }
            None => ("200 OK", String::new(), &bytes[..]),
        };
        let common = "ETag: \"1\"\r\nLast-Modified: Sun, 29 Nov 2026 12:00:00 GMT\r\nAccept-Ranges: bytes\r\n";
        let end = format!("{extra}{common}Content-Length: {}\r\nConnection: close\r\n\r\n", part.len());
        let body = if head.starts_with("HEAD") { &[][..] } else { part };
        _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{end}").as_bytes()).and_then(|()| stream.write_all(body));
    });
    (url, count)
}

#[test]
fn files_are_read_by_http_from_this_machine_alone() {
    let sandbox = trained(PIPELINE);
    let bytes = sandbox.read(&format!("runs/small/ingest/{TEST}"));
    let (url, requests) = served(vec![(TEST.to_owned(), bytes)]);
    sandbox.limpid(&format!("inspect {url}/{TEST}")).succeeds().prints("120 rows");
    println!("requests: inspect by HTTP: {}", requests.load(Ordering::Relaxed));
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o here")).succeeds();
    sandbox.limpid(&format!("encode runs/small {url}/{TEST} -o there")).succeeds();
    assert!(sandbox.files("here") == sandbox.files("there"));
    sandbox.limpid(&format!("inspect {url}/none.parquet")).exits(2).says("does not exist");
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o {url}/out")).exits(2).says("only read");
    sandbox.limpid("inspect http://192.0.2.1/x.parquet").exits(2).says("use https://");
}

#[test]
fn archives_of_mixed_sizes_are_read_by_http() {
    let archive = |sides: &[[u32; 2]]| {
        let file = |(index, [rows, columns]): (usize, &[u32; 2])| (format!("{index}.png"), png(*rows, *columns, 7));
        tar(&sides.iter().enumerate().map(file).collect::<Vec<_>>())
    };
    let many: Vec<_> = (0..150).map(|index| [16 + index % 7, 16 + index % 15]).collect();
    let files = [("a.tar", archive(&many)), ("b.tar", archive(&[[16, 16], [40, 20]]))];
    let (url, requests) = served(files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect());
    let of = |root: &str| {
        let settings = "label = \"none\", grey = true";
        let source = format!("tar = {{ train = \"{root}/a.tar\", test = \"{root}/b.tar\", {settings} }}");
        let rest = "[model]\nconv = { channels = [2] }\n[training]\npatch = 8\n[encode]\ncodes = \"pooled\"\n";
        Sandbox::with(&format!("name = \"small\"\n[source]\n{source}\n{rest}"))
    };
    let (here, there) = (of("data"), of(&url));
    files.iter().for_each(|(name, bytes)| _ = here.write(&format!("data/{name}"), bytes));
    for sandbox in [&here, &there] {
        sandbox.limpid("run small.toml --to ingest").succeeds();
    }
    let requests = requests.load(Ordering::Relaxed);
    println!("requests: ingest of archives by HTTP: {requests}");
    assert!(requests < 50, "{requests} requests for 152 pictures");
    for split in ["train", "test"] {
        let table = format!("runs/small/ingest/{split}-00000-of-00001.parquet");
        assert!(here.read(&table) == there.read(&table), "{split}");
    }
}

/// Every text that a command wrote.
fn texts(done: &Done) -> String {
    done.stdout() + &done.stderr()
}

#[test]
fn nothing_that_limpid_writes_holds_credentials() {
    let Some(server) = s3("secrets") else { return };
    let (sandbox, proxy) = (trained(PIPELINE), Proxy::new(server.address, 0));
    upload(server, &sandbox.path("runs/small/ingest"), "secrets/in");
    let input = format!("s3://secrets/in/{TEST}");
    let mut said = String::new();
    let source = sandbox.read("small.toml");
    let source = String::from_utf8_lossy(&source).replace(
        "strokes = { train = 600, test = 120 }",
        &format!("parquet = {{ train = \"s3://secrets/in/train-*.parquet\", test = \"{input}\" }}"),
    );
    sandbox.write("remote.toml", source.replace("\"small\"", "\"remote\"").as_bytes());
    for words in [
        format!("inspect {input}"),
        "inspect s3://secrets/none".to_owned(),
        format!("encode runs/small {input} -o s3://secrets/out --log json"),
        "run remote.toml --to ingest --lineage lineage.jsonl --log json".to_owned(),
        "show runs/remote --json".to_owned(),
        "run remote.toml --to ingest --runs s3://nowhere/runs --log json".to_owned(),
    ] {
        said += &texts(&sandbox.limpid(&words).at(&proxy.url()).ends());
    }
    // A store that refuses everything and repeats the key, as S3 does.
    let refusing = crate::download::serve(|stream, _, _| {
        let body = format!(
            "<Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>"
        );
        let head = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        _ = std::io::Write::write_all(stream, (head + &body).as_bytes());
    });
    let refused = sandbox.limpid(&format!("encode runs/small {input} -o out --log json")).at(&refusing).exits(74);
    said += &texts(&refused);
    for url in [
        format!("s3://{KEY}:{SECRET}@secrets/x"),
        format!("az://c/x.parquet?sv=1&sig={SECRET}"),
        format!("https://h/x?X-Amz-Signature={SECRET}"),
    ] {
        said += &texts(&sandbox.limpid(&format!("inspect {url}")).exits(2));
        said += &texts(&sandbox.limpid(&format!("encode runs/small {url} -o out --log json")).exits(2));
        said += &texts(&sandbox.limpid(&format!("show {url}")).exits(2));
    }
    for (name, bytes) in files(&sandbox.path("runs")).expect("is there") {
        said += &format!("{name} {}", String::from_utf8_lossy(&bytes));
    }
    said += &String::from_utf8_lossy(&sandbox.read("runs/remote/ingest/_receipt.json"));
    said += &String::from_utf8_lossy(&sandbox.read("lineage.jsonl"));
    assert!(said.contains("s3://secrets/in"), "{said}");
    for secret in [KEY, SECRET] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn profiles_say_how_to_log_in() {
    let Some(server) = s3("profiles") else { return };
    server.ask("PUT", "/profiles/x.npy", &npy("|u1", "(3, 8, 8)", &[7; 192]));
    let sandbox = Sandbox::new();
    let url = Proxy::new(server.address, 0).url();
    sandbox.write(
        ".aws/config",
        format!("[profile own]\nregion = us-east-1\nendpoint_url = {url}\n[profile sso]\nsso_session = x\n").as_bytes(),
    );
    sandbox.write(
        ".aws/credentials",
        format!("[own]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n").as_bytes(),
    );
    let inspect = || sandbox.limpid("inspect s3://profiles/x.npy");
    inspect().env("AWS_PROFILE", "own").exits(65).says("a NumPy array of 3");
    inspect().env("AWS_PROFILE", "none").exits(2).says("no profile \"none\"");
    inspect().env("AWS_PROFILE", "sso").exits(2).says("aws configure export-credentials --profile sso");
}

#[test]
fn azure_keeps_tables_too() {
    let Some(server) = azure() else { return };
    let sandbox = trained(PIPELINE);
    let at = |words: &str| {
        let login = server::azure_login(server).into_iter();
        login.fold(sandbox.limpid(words), |run, (name, value)| run.env(name, value))
    };
    server::azure_container(server, "tables");
    at(&format!("encode runs/small runs/small/ingest/{TEST} -o az://tables/codes")).succeeds();
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o here")).succeeds();
    assert!(server::azure_blob(server, &format!("tables/codes/{TEST}")) == sandbox.read(&format!("here/{TEST}")));
    at(&format!("denoise runs/small runs/small/ingest/{TEST} -o az://tables/clean")).succeeds();
    at(&format!("inspect az://tables/clean/{TEST}")).succeeds().prints("120 rows");
    at(&format!("encode runs/small az://tables/clean/{TEST} -o there")).succeeds();
    sandbox.limpid(&format!("denoise runs/small runs/small/ingest/{TEST} -o clean")).succeeds();
    sandbox.limpid(&format!("encode runs/small clean/{TEST} -o again")).succeeds();
    assert!(sandbox.files("there") == sandbox.files("again"));
}

/// What a run in a bucket tells of the published result of a stage.
fn manifest(server: &Server, run: &str, stage: &str) -> serde_json::Value {
    serde_json::from_slice(&server.ask("GET", &format!("/{run}/latest/{stage}.json"), b"")).expect("is JSON")
}

/// The tables of a stage that each of the patterns in its manifest matches, after those that none does.
fn matched(server: &Server, run: &str, stage: &str) -> Vec<usize> {
    let manifest = manifest(server, run, stage);
    let files = manifest["files"].as_array().expect("is a list").iter().map(|path| path.as_str().expect("is text"));
    let mut tables: Vec<_> = files.filter(|path| path.ends_with(".parquet")).collect();
    let folders = manifest["folders"].as_object().expect("is a table").values();
    let mut counts = Vec::new();
    for pattern in std::iter::once(&manifest["tables"]).filter(|pattern| !pattern.is_null()).chain(folders) {
        let start = pattern.as_str().and_then(|pattern| pattern.strip_suffix("*.parquet")).expect("is a pattern");
        let before = tables.len();
        tables.retain(|path| path.strip_prefix(start).is_none_or(|name| name.contains('/')));
        counts.push(before - tables.len());
    }
    [vec![tables.len()], counts].concat()
}

/// The files of a stage that a run in a bucket has published, by name, as its manifest lists them.
fn published(server: &Server, run: &str, stage: &str) -> Vec<(String, Vec<u8>)> {
    let manifest = manifest(server, run, stage);
    let start = format!("s3://{run}/{stage}/{}/", &manifest["fingerprint"].as_str().expect("is text")[..16]);
    let files = manifest["files"].as_array().expect("is a list").iter().map(|path| {
        let path = path.as_str().expect("is text");
        let name = path.strip_prefix(&start).unwrap_or_else(|| panic!("{path} is not in {start}"));
        (name.to_owned(), server.ask("GET", &format!("/{}", &path[5..]), b""))
    });
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[test]
fn a_run_in_a_store_has_the_bytes_of_one_in_a_folder() {
    let Some(server) = s3("runs") else { return };
    let (sandbox, proxy) = (Sandbox::new(), Proxy::new(server.address, 0));
    let at = |words: &str| sandbox.limpid(words).at(&proxy.url());
    let same = || {
        for stage in STAGES {
            let (here, there) =
                (sandbox.files(&format!("runs/small/{stage}")), published(server, "runs/all/small", stage));
            let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&here), names(&there), "{stage}");
            here.iter().zip(&there).for_each(|(here, there)| assert!(here == there, "{stage}: {}", here.0));
        }
    };
    sandbox.limpid("run small.toml").succeeds();
    at("run small.toml --runs s3://runs/all").succeeds().prints("s3://runs/all/small");
    told("a run of seven stages", &proxy.counts());
    same();
    at("plan small.toml --runs s3://runs/all --check").succeeds();
    told("plan of it", &proxy.counts());
    at("run small.toml --runs s3://runs/all").succeeds().says("report: up to date");
    told("the same run again", &proxy.counts());
    // Training goes on from what is in the store.
    sandbox.limpid("run small.toml --set training.epochs=3").succeeds();
    at("run small.toml --runs s3://runs/all --set training.epochs=3").succeeds().says("goes on after epoch 2");
    same();
    let paths = at("show s3://runs/all/small --paths").succeeds().stdout();
    let tables: Vec<_> = paths.lines().filter(|path| path.contains("/denoise/")).collect();
    assert_eq!(tables.len(), 2, "{paths}");
    at(&format!("inspect {}", tables[0])).succeeds().prints("provenance").prints("small").prints("as the receipt says");
    at("show s3://runs/all/small").succeeds().prints("denoise");
    at("diff s3://runs/all/small runs/small").succeeds();
    // A model in the store, for files here.
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o here")).succeeds();
    at(&format!("encode s3://runs/all/small runs/small/ingest/{TEST} -o there")).succeeds();
    assert!(sandbox.files("here") == sandbox.files("there"));
    sandbox.limpid("export runs/small --to out").succeeds();
    at("export s3://runs/all/small --to s3://runs/out").succeeds();
    for (name, bytes) in sandbox.files("out") {
        assert!(bytes == server.ask("GET", &format!("/runs/out/{name}"), b""), "{name}");
    }
    at("export s3://runs/all/small --to s3://runs/out").exits(2).says("exists already");
    // What the first training has left goes, and nothing else.
    let before = server.keys("runs").len();
    let swept = at("clean s3://runs/all/small").succeeds().stdout();
    assert!(server.keys("runs").len() < before, "{swept}");
    same();
    at("clean s3://runs/all/small").succeeds().prints("0 files removed");
    at("plan small.toml --runs s3://runs/all --set training.epochs=3 --check").succeeds();
    at("show s3://runs/none").exits(2).says("is not a run directory");
}

#[test]
fn one_process_at_a_time_writes_in_a_run_of_a_store() {
    let Some(server) = s3("leases") else { return };
    let sandbox = Sandbox::new();
    let run = || {
        sandbox
            .limpid("run small.toml --to ingest --runs s3://leases/x --lock-timeout 1s")
            .at(&format!("http://{}", server.address))
    };
    let other = br#"{"pid":7,"host":"elsewhere","since":"2026-11-29T12:00:00Z","renewals":3,"released":false}"#;
    server.ask("PUT", "/leases/x/small/_lease.json", other);
    run().exits(75).says("is in use by process 7 on elsewhere since 2026-11-29T12:00:00Z");
    let released = String::from_utf8_lossy(other).replace("false", "true");
    server.ask("PUT", "/leases/x/small/_lease.json", released.as_bytes());
    run().succeeds();
    let left = String::from_utf8_lossy(&server.ask("GET", "/leases/x/small/_lease.json", b"")).into_owned();
    assert!(left.contains("\"released\":true"), "{left}");
}

#[test]
fn a_lease_that_is_not_renewed_is_taken_over_after_a_minute() {
    let Some(server) = s3("expired") else { return };
    let sandbox = Sandbox::new();
    let other = br#"{"pid":7,"host":"elsewhere","since":"2026-11-29T12:00:00Z","renewals":3,"released":false}"#;
    server.ask("PUT", "/expired/small/_lease.json", other);
    let start = Instant::now();
    let run =
        sandbox.limpid("run small.toml --to ingest --runs s3://expired").at(&format!("http://{}", server.address));
    run.succeeds().says("which is in use by process 7 on elsewhere").says("ingest: done");
    assert!(start.elapsed() >= Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn images_that_a_training_reads_in_every_epoch_are_kept_while_there_is_room() {
    let Some(server) = s3("kept") else { return };
    let (sandbox, proxy) = (Sandbox::new(), Proxy::new(server.address, 0));
    let settings = "--set source.strokes.train=2000 --set training.memory-mib=1 --set training.epochs=6";
    let train = |cache: u64| {
        let run = |to: &str| {
            let cache = format!("--runs s3://kept/{cache} --set training.cache-mib={cache}");
            sandbox.limpid(&format!("run small.toml --to {to} {settings} {cache}")).at(&proxy.url()).succeeds();
        };
        run("corrupt");
        proxy.counts();
        run("train");
        proxy.counts().get("GET").copied().unwrap_or(0)
    };
    let [kept, read] = [1, 0].map(train);
    // All but the first of the six epochs read what is kept.
    assert!(kept + 5 <= read, "{kept} and {read} requests");
    assert!(published(server, "kept/1/small", "train") == published(server, "kept/0/small", "train"));
}

#[test]
fn clean_leaves_shards_alone_that_may_be_under_way() {
    let Some(server) = s3("swept") else { return };
    let sandbox = Sandbox::new();
    let at = |words: &str| sandbox.limpid(words).at(&format!("http://{}", server.address));
    let (runs, settings) = ("--runs s3://swept", "--set output.shard-rows=100");
    at(&format!("run small.toml --to ingest {runs} {settings}")).succeeds();
    let shard = format!("--stage corrupt --of 2 {runs} {settings}");
    at(&format!("shard small.toml --index 0 {shard}")).succeeds();
    at("clean s3://swept/small").succeeds().prints("0 files removed");
    at("clean s3://swept/small --keep 1h").succeeds().prints("0 files removed");
    // Four files and their receipts.
    at("clean s3://swept/small --keep 0s").succeeds().prints("8 files removed");
    at(&format!("plan small.toml --only corrupt {runs} {settings}")).succeeds().prints("corrupt");
    for index in 0..2 {
        at(&format!("shard small.toml --index {index} {shard}")).succeeds();
    }
    at(&format!("commit small.toml --stage corrupt {runs} {settings}")).succeeds();
    at("clean s3://swept/small --keep 0s").succeeds().prints("0 files removed");
    at(&format!("run small.toml --to corrupt {runs} {settings}")).succeeds().says("corrupt: up to date");
}

#[test]
fn a_shard_is_put_once_and_other_bytes_in_its_place_are_an_error() {
    let Some(server) = s3("once") else { return };
    let sandbox = Sandbox::new();
    let at = |words: &str| sandbox.limpid(words).at(&format!("http://{}", server.address));
    let (runs, settings) = ("--runs s3://once", "--set output.shard-rows=100");
    at(&format!("run small.toml --to ingest {runs} {settings}")).succeeds();
    let shard = format!("shard small.toml --stage corrupt --index 0 --of 8 {runs} {settings}");
    let path = at(&shard).succeeds().stdout();
    let key = path.trim().strip_prefix("s3://").expect("is a URL").to_owned();
    let receipt = key.replacen("/train-", ".receipts/train-", 1).replacen("/test-", ".receipts/test-", 1) + ".json";
    let whole = server.ask("GET", &format!("/{key}"), b"");
    // Without its receipt, as a task leaves it that is killed between the two, it is made again and found to be the same.
    server.ask("DELETE", &format!("/{receipt}"), b"");
    at(&shard).succeeds();
    // One that is damaged is made again; with other bytes under no receipt, nobody knows which are right.
    server.ask("PUT", &format!("/{key}"), b"damaged");
    at(&shard).succeeds();
    assert!(server.ask("GET", &format!("/{key}"), b"") == whole);
    server.ask("DELETE", &format!("/{receipt}"), b"");
    server.ask("PUT", &format!("/{key}"), b"other");
    at(&shard).exits(74).says("it is there already with other bytes").says("remove it and run the same command again");
    server.ask("DELETE", &format!("/{key}"), b"");
    at(&format!("run small.toml --to corrupt {runs} {settings}")).succeeds();
    // What is damaged of a published result is made again where it is.
    server.ask("PUT", &format!("/{key}"), b"damaged");
    at(&format!("run small.toml --to corrupt {runs} {settings}")).succeeds().says("corrupt: done");
    assert!(server.ask("GET", &format!("/{key}"), b"") == whole);
}

#[test]
fn a_run_in_a_store_that_is_killed_or_loses_requests_has_the_same_bytes() {
    let Some(server) = s3("killed") else { return };
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let rounds = std::env::var("LIMPID_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2);
    let proxy = Proxy::new(server.address, 20);
    let (mut kills, mut step) = (0, 3);
    // A signal leaves a checkpoint in the store.
    let run = || sandbox.limpid("run small.toml --runs s3://killed/0").at(&proxy.url());
    run().env("LIMPID_FAILPOINT", "put s3://killed/0/small/.checkpoint/train:1:terminate").exits(75);
    assert!(server.keys("killed").contains(&"0/small/.checkpoint/train".to_owned()));
    for round in 0..rounds {
        let run = |words: &str| {
            sandbox.limpid(&format!("run small.toml --runs s3://killed/{round} {words}")).at(&proxy.url())
        };
        // Ever later, until it comes to its end.
        loop {
            let done = run("").env("LIMPID_FAILPOINT", format!(":{step}:kill")).ends();
            if done.status().success() {
                break;
            }
            kills += 1;
            step += 5;
            // Its lease would expire in a minute.
            server.ask("DELETE", &format!("/killed/{round}/small/_lease.json"), b"");
        }
        step = 2 + round;
        for stage in STAGES {
            let (here, there) = (
                sandbox.files(&format!("runs/small/{stage}")),
                published(server, &format!("killed/{round}/small"), stage),
            );
            assert!(here == there, "{stage} after {kills} kills");
        }
    }
    println!("{kills} kills, {} failed requests", proxy.failed.load(Ordering::Relaxed));
    assert!(kills > 0);
}

#[test]
fn shards_in_a_store_are_made_by_several_processes() {
    let Some(server) = s3("shards") else { return };
    let sandbox = Sandbox::new();
    let proxy = Proxy::new(server.address, 0);
    let settings = "--set output.shard-rows=100";
    sandbox.limpid(&format!("run small.toml --to denoise {settings}")).succeeds();
    let at = |words: &str| sandbox.limpid(&format!("{words} --runs s3://shards/x {settings}")).at(&proxy.url());
    at("run small.toml --to train").succeeds();
    proxy.counts();
    for stage in ["encode", "denoise"] {
        at(&format!("commit small.toml --stage {stage}")).exits(75).says("shards are not finished");
        // Out of order, and one of them twice at once.
        let twice = [2, 2].map(|index| at(&format!("shard small.toml --stage {stage} --index {index} --of 3")).spawn());
        twice.into_iter().for_each(|mut task| assert!(task.wait().expect("ends").success()));
        for index in [1, 0] {
            at(&format!("shard small.toml --stage {stage} --index {index} --of 3")).succeeds();
        }
        told(&format!("{stage} by three tasks, of which one runs twice"), &proxy.counts());
        at(&format!("commit small.toml --stage {stage}")).succeeds();
        told("its commit", &proxy.counts());
        assert!(sandbox.files(&format!("runs/small/{stage}")) == published(server, "shards/x/small", stage), "{stage}");
    }
    // The files of an export lie in folders, and are pictures as well.
    let settings = "--set source.strokes.train=20 --set source.strokes.test=8 --set output.shard-rows=10 --set output.profile=hf \
                    --set output.part-rows=15 --set output.pictures=u8";
    sandbox.limpid(&format!("run small.toml {settings} --runs few --to denoise")).succeeds();
    sandbox.limpid(&format!("run small.toml {settings} --runs few --only export")).succeeds();
    let at = |words: &str| sandbox.limpid(&format!("{words} --runs s3://shards/few {settings}")).at(&proxy.url());
    at("run small.toml --to denoise").succeeds();
    for index in [1, 0, 1] {
        at(&format!("shard small.toml --stage export --index {index} --of 2")).succeeds();
    }
    at("commit small.toml --stage export").succeeds();
    assert!(sandbox.files("few/small/export") == published(server, "shards/few/small", "export"));
    // Of corrupt, denoise, encode and ingest, two files of training and one of test images each; the others lie in no folders.
    assert_eq!(matched(server, "shards/few/small", "export"), [0, 3, 3, 3, 3]);
    assert_eq!(matched(server, "shards/few/small", "denoise"), [0, 3]);
    let left = server.keys("shards").into_iter().filter(|key| key.contains(".receipts")).collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:?}");
}
