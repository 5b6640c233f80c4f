//! Escaping of names, values and metadata that a terminal would interpret, in the stdout and stderr of every command.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use parquet::basic::Compression;

use limpid::record::receipt::Receipt;

use crate::harness::{Done, Run, Sandbox};
use crate::own_arrays::{npy, npz};
use crate::own_images::png;

/// Characters that change the clipboard, the screen, the cursor or the order of letters: C0, DEL, C1, and directions.
const EVIL: &str = "\x1b]52;c;aGk=\x07\r\x1b[2J\x7f\u{9b}31m\u{202e}\u{2066}\u{feff}";

/// Expects no character that a terminal interprets in the output of a command.
fn clean(done: Done) -> Done {
    [done.stdout(), done.stderr()].iter().for_each(|text| expect_clean(text));
    done
}

/// Expects no character that a terminal interprets in a text, and valid JSON where it is JSON.
fn expect_clean(text: &str) {
    let obeyed = |character: char| {
        let control = character.is_control() && character != '\n';
        control
            || matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!text.contains(obeyed), "{:?}", text.lines().find(|line| line.contains(obeyed)));
    for line in text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

/// Runs a command with both forms of `--log`.
fn in_both_forms(run: impl Fn(&str) -> Run, code: i32) -> [Done; 2] {
    ["lines", "json"].map(|form| clean(run(form).exits(code)))
}

fn table(sandbox: &Sandbox, name: &str) {
    let long = "c".repeat(70_000);
    let names = [EVIL, "text\nof two lines", &long];
    let columns: [ArrayRef; 3] = [
        Arc::new(Int64Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![EVIL, "a\nb"])),
        Arc::new(StringArray::from(vec![long.as_str(), ""])),
    ];
    let fields: Vec<_> =
        names.iter().zip(&columns).map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let metadata = [(format!("key{EVIL}"), format!("value{EVIL}"))].into_iter().collect();
    let schema = Schema::new_with_metadata(fields, metadata);
    let batch = RecordBatch::try_new(Arc::new(schema), columns.to_vec()).expect("fits");
    crate::foreign::write(sandbox, name, &[batch], Compression::SNAPPY);
}

#[test]
fn a_file_cannot_command_the_terminal_that_inspects_it() {
    let sandbox = Sandbox::new();
    table(&sandbox, "table.parquet");
    let shown = clean(sandbox.limpid("inspect table.parquet").succeeds());
    // Names that are longer than Rust can pad are cut.
    let cut = format!("  {}… Utf8", "c".repeat(59));
    shown.prints("\\u001b]52;c;aGk=\\u0007\\u000d\\u001b[2J").prints("text\\u000aof two lines").prints(&cut);

    let array = npy("|u1", "(1, 4, 3)", &[0; 12]);
    let archive = npz(&[(EVIL, array), ("x_test\nlimpid: all is well", vec![])], zip::CompressionMethod::Stored);
    sandbox.write("arrays.npz", &archive);
    clean(sandbox.limpid("inspect arrays.npz").exits(65)).says("\\u001b]52;c;aGk=\\u0007");
    let json = serde_json::json!({ EVIL: 1 }).to_string();
    sandbox.write("odd.json", json.as_bytes());
    clean(sandbox.limpid("inspect odd.json").exits(65)).says("\\u001b]52");
    let header = serde_json::json!({ "\u{9b}31m\u{202e}": { "shape": [1], "data_offsets": [0, 4] } }).to_string();
    let tensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    sandbox.write("odd.safetensors", &tensors);
    clean(sandbox.limpid("inspect odd.safetensors").exits(65)).says("\\u009b31m\\u202e");

    // The name of the file is escaped too.
    for (name, code) in [(format!("{EVIL}.parquet"), 0), (format!("{EVIL}.png"), 0), (format!("{EVIL}.txt"), 65)] {
        match name.rsplit_once('.') {
            Some((_, "parquet")) => table(&sandbox, &name),
            Some((_, "png")) => _ = sandbox.write(&name, &png(8, 9, 1)),
            _ => _ = sandbox.write(&name, b"text"),
        }
        clean(sandbox.limpid("inspect").arg(&name).exits(code));
        // The name as a superfluous argument.
        clean(sandbox.limpid("inspect table.parquet").arg(&name).exits(2)).says("unexpected argument");
    }
    clean(sandbox.limpid("inspect").arg(EVIL).exits(2)).says("does not exist");
}

/// A folder of pictures whose classes and files have such names.
fn folder(sandbox: &Sandbox) {
    for (split, count) in [("train", 6), ("test", 3)] {
        for index in 0..count {
            let class = if index % 2 == 0 { format!("cat{EVIL}") } else { "two\nlines".to_owned() };
            sandbox.write(&format!("photos/{split}/{class}/{index}{EVIL}.png"), &png(8, 9, index));
        }
    }
    sandbox.write(&format!("photos/train/cat{EVIL}/animated{EVIL}.avif"), b"ftypavif");
}

#[test]
fn pictures_cannot_command_the_terminal_whatever_is_done_with_them() {
    let sandbox = crate::own_images::sandbox("folder = { path = \"photos\" }\n");
    folder(&sandbox);
    let run = |words: &str, form: &str| sandbox.limpid(&format!("{words} --log {form} --log-every 0s"));
    let [lines, json] = in_both_forms(|form| run("run small.toml --force", form), 0);
    lines.says("animated\\u001b]52;c;aGk=\\u0007\\u000d");
    json.says("animated\\u001b]52;c;aGk=\\u0007\\r\\u001b[2J\\u007f\\u009b31m\\u202e\\u2066\\ufeff.avif");
    for words in
        ["plan small.toml", "plan small.toml --force --json", "show runs/small --json", "diff runs/small runs/small"]
    {
        clean(sandbox.limpid(words).succeeds());
    }
    clean(sandbox.limpid("show runs/small").succeeds()).prints("cat\\u001b]5…").prints("two\\u000ali…");
    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(page.contains("cat\\u001b]52") && !page.contains(['\x1b', '\r', '\u{9b}', '\u{202e}']));

    let input = format!("{EVIL}.png");
    sandbox.write(&input, &png(8, 9, 1));
    sandbox.write(&format!("{EVIL}/{EVIL}.png"), &png(8, 9, 2));
    for command in ["encode", "denoise"] {
        let words = format!("{command} runs/small -o out");
        for input in [&input, EVIL] {
            in_both_forms(|form| run(&words, form).arg(input), 0);
        }
        in_both_forms(|form| run(&words, form).arg(format!("{EVIL}.jpg")), 2);
    }
    in_both_forms(|form| run("export runs/small --profile hf", form).arg(format!("--to={form}{EVIL}")), 0);
    in_both_forms(|form| run("export runs/small", form).arg(format!("--onnx={form}{EVIL}.onnx")), 0);
    // The exported tables, and the classes in them.
    let exported = format!("lines{EVIL}/ingest/train-00000-of-00001.parquet");
    clean(sandbox.limpid("inspect").arg(exported).succeeds()).prints("\\u001b]52");
    clean(sandbox.limpid("inspect runs/small/ingest/files.parquet").succeeds());
    clean(sandbox.limpid("inspect runs/small/ingest/train-00000-of-00001.parquet").succeeds());

    // Bad pictures are named by the run and by the commands.
    sandbox.write(&format!("photos/train/cat{EVIL}/broken{EVIL}.png"), b"\x89PNG\r\n\x1a\n");
    let [lines, _] = in_both_forms(|form| run("run small.toml --lineage events.jsonl", form), 65);
    lines.says("broken\\u001b]52");
    let events = String::from_utf8(sandbox.read("events.jsonl")).expect("is text");
    assert!(events.contains("broken\\u001b]52"), "{events}");
    expect_clean(&events);
    in_both_forms(|form| run("encode runs/small photos -o out", form), 65);
    let changed = clean(sandbox.limpid("plan small.toml").succeeds());
    changed.prints("source.folder.path: digest");
}

#[test]
fn lists_settings_and_run_directories_cannot_command_the_terminal() {
    let sandbox = crate::own_images::sandbox("folder = { path = \"photos\", csv = \"list.csv\" }\n");
    folder(&sandbox);
    sandbox.write("list.csv", format!("file,label\n\"{EVIL}.png\",\"{EVIL}\"\n").as_bytes());
    clean(sandbox.limpid("plan small.toml").ends());
    in_both_forms(|form| sandbox.limpid(&format!("run small.toml --log {form}")), 65);
    // Settings, their names, and TOML errors that quote the file.
    clean(sandbox.limpid("plan small.toml").arg(format!("--set=name={EVIL}")).exits(2));
    clean(sandbox.limpid("plan small.toml").arg(format!("--set=model.{EVIL}=1")).exits(2));
    clean(sandbox.limpid("plan small.toml --only").arg(EVIL).exits(2)).says("has no stage");
    clean(sandbox.limpid("run --log json").arg(EVIL).exits(2)).says("cannot read the pipeline file");
    sandbox
        .write(&format!("{EVIL}.toml"), "[model]\ndense = { code = \"\u{9b}31m\u{202e}\" }\n\"\u{85}\" = 1".as_bytes());
    clean(sandbox.limpid("plan").arg(format!("{EVIL}.toml")).exits(2));
    clean(sandbox.limpid("show").arg(EVIL).exits(2)).says("is not a run directory");

    // A run directory from another machine.
    let small = Sandbox::new();
    small.limpid("run small.toml").succeeds();
    let evil = serde_json::to_string(EVIL).expect("is text");
    let metrics = String::from_utf8(small.read("runs/small/evaluate/metrics.json")).expect("is text");
    assert!(metrics.contains("\"constant mean\""));
    let metrics = metrics.replace("\"constant mean\"", &evil);
    small.write("runs/small/evaluate/metrics.json", metrics.as_bytes());
    let mut receipt = Receipt::parse(&small.read("runs/small/evaluate/_receipt.json")).expect("is one");
    receipt.device = EVIL.to_owned();
    let output = receipt.outputs.iter_mut().find(|output| output.name == "metrics.json").expect("is there");
    (output.bytes, output.digest) = (metrics.len() as u64, blake3::hash(metrics.as_bytes()).to_hex().to_string());
    small.write("runs/small/evaluate/_receipt.json", &receipt.serialise().expect("is JSON"));
    std::fs::rename(small.path("runs/small"), small.path(EVIL)).expect("renamed");
    for words in ["show", "show --json"] {
        clean(small.limpid(words).arg(EVIL).succeeds()).prints("\\u001b]52");
    }
    clean(small.limpid("diff").arg(EVIL).arg(EVIL).succeeds()).prints("\\u001b]52");
    clean(small.limpid("inspect").arg(format!("{EVIL}/evaluate/metrics.parquet")).succeeds()).prints("provenance");
}

#[test]
fn drawings_reach_the_terminal_as_they_are() {
    let sandbox = Sandbox::new();
    sandbox.write("one.png", &png(8, 9, 1));
    let drawn = sandbox.limpid("inspect one.png --draw sixel").succeeds().stdout();
    assert!(drawn.contains("\x1bPq") && drawn.contains("\x1b\\"), "{drawn}");
}
