//! Wrong names of files and folders give exit code 2, which schedulers do not retry.

use crate::harness::Sandbox;

const INPUT: &str = "runs/small/ingest/test-00000-of-00001.parquet";

#[test]
fn a_file_in_the_place_of_a_folder_and_the_reverse_are_settings() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    sandbox.write("file", b"");
    sandbox.write("folder/inside", b"");
    sandbox.write("out/test-00000-of-00001.parquet/inside", b"");
    let long = "x".repeat(300);
    for (words, says) in [
        (format!("encode runs/small {INPUT} -o file"), "cannot create file"),
        (format!("encode runs/small {INPUT} -o file/x"), "cannot create file"),
        (format!("denoise runs/small {INPUT} -o file"), "cannot create file"),
        (format!("denoise runs/small {INPUT} -o out"), "Is a directory"),
        (format!("encode runs/small {INPUT} -o {long}"), "File name too long"),
        ("encode runs/small file/x -o out".to_owned(), "cannot read file/x"),
        ("encode runs/small nothing -o out".to_owned(), "nothing does not exist"),
        ("export runs/small --to file".to_owned(), "file exists already"),
        ("export runs/small --to file/x".to_owned(), "cannot create file"),
        ("export runs/small --to folder".to_owned(), "folder exists already"),
        ("export runs/small --onnx folder".to_owned(), "folder is a folder; name a file"),
        ("export runs/small --onnx .".to_owned(), ". is a folder; name a file"),
        ("export runs/small --onnx file/x".to_owned(), "cannot create file"),
        ("diff runs/small runs/small --html folder".to_owned(), "folder is a folder; name a file"),
        ("diff runs/small runs/small --html file/x".to_owned(), "cannot create file"),
        ("diff runs/small file".to_owned(), "file is not a run directory"),
        (format!("show {long}"), "File name too long"),
        ("run small.toml --runs file".to_owned(), "cannot create file"),
        ("run small.toml --lineage folder".to_owned(), "cannot open the lineage file folder"),
        ("run small.toml --lineage file/x".to_owned(), "cannot open the lineage file file/x"),
        ("run small.toml --lineage missing/x".to_owned(), "its folder does not exist"),
        ("run file/small.toml".to_owned(), "cannot read the pipeline file"),
        ("run folder".to_owned(), "folder is a folder: a pipeline is a TOML file"),
        ("inspect file/x".to_owned(), "cannot read file/x"),
        (format!("inspect {long}"), "cannot read xxx"),
    ] {
        sandbox.limpid(&words).exits(2).says(says);
    }
    let mnist = Sandbox::with("[source]\nmnist = { mirrors = [\"http://127.0.0.1:9/\"] }\n[model]\ndense = {}\n");
    mnist.write("file", b"");
    mnist.limpid("run small.toml --data file").exits(2).says("cannot create file");
}

#[test]
fn a_source_that_is_named_wrongly_is_settings_or_data() {
    for (source, code, says) in [
        ("idx = { train = \"file/x\", test = \"file\" }", 65, "file/x does not exist"),
        ("idx = { train = \"a\\u0000b\", test = \"file\" }", 65, "a\\u0000b does not exist"),
        ("idx = { train = \"folder\", test = \"file\" }", 65, "folder is not a file"),
        ("idx = { train = \"missing\", test = \"file\" }", 65, "missing does not exist"),
        ("npy = { train = \"file/x\", test = \"file\" }", 65, "file/x does not exist"),
        ("npz = { path = \"file/x\" }", 65, "file/x does not exist"),
        ("npz = { path = \"folder\" }", 65, "folder is not a file"),
        ("folder = { path = \"file\" }", 65, "file is not a folder"),
        ("folder = { path = \"file/x\" }", 65, "file/x does not exist"),
        ("folder = { path = \"folder\", csv = \"file/x\" }", 65, "file/x does not exist"),
        ("parquet = { path = \"file\" }", 65, "file is not a folder"),
        ("parquet = { train = \"file/x\", test = \"file\" }", 65, "file/x does not exist"),
        ("mnist = { path = \"file\" }", 65, "does not hold MNIST"),
        ("mnist = { path = \"a\\u0000b\" }", 2, "cannot open a\\u0000b"),
    ] {
        let sandbox = Sandbox::with(&format!("[source]\n{source}\n[model]\ndense = {{ code = 2 }}\n"));
        sandbox.write("file", b"hello, world");
        sandbox.write("folder/inside", b"");
        sandbox.limpid("run small.toml").exits(code).says(says);
    }
}

#[test]
fn files_of_a_run_that_are_no_text_are_bad_data() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let path = "runs/small/evaluate/metrics.json";
    let mut metrics = sandbox.read(path);
    let middle = metrics.len() / 2;
    metrics[middle] = 0xff;
    sandbox.write(path, &metrics);
    for words in ["show runs/small", "diff runs/small runs/small"] {
        sandbox.limpid(words).exits(65).says("metrics.json is not what this limpid's evaluate writes");
    }
    for (path, words) in [
        ("runs/small/train/model.json", "export runs/small --onnx x"),
        ("runs/small/train/last.safetensors", "encode runs/small runs/small/ingest/test-00000-of-00001.parquet -o out"),
        ("runs/small/pipeline.json", "show runs/small"),
    ] {
        sandbox.write(path, b"\xff\xfe{");
        sandbox.limpid(words).exits(65).says("runs/small/");
    }
}
