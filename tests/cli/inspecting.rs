//! The command `inspect`: the content and origin of a file, and what is wrong with one that limpid cannot use.

use crate::applying::idx;
use crate::bad_input::gzip;
use crate::harness::Sandbox;
use crate::own_images::png;

const DENOISED: &str = "runs/small/denoise/test-00000-of-00001.parquet";

fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --set output.profile=hf").succeeds();
    sandbox
}

#[test]
fn any_parquet_and_any_idx_is_shown() {
    let sandbox = trained();
    let history = sandbox.limpid("inspect runs/small/train/history.parquet --images 1").succeeds();
    history.prints("2 rows in 1 row groups").prints("train_loss Float64").prints("epoch      1\n");
    sandbox.limpid("inspect runs/small/train/history.parquet --images 0").succeeds();
    sandbox.write("labels.idx", &idx(&[40]));
    sandbox.limpid("inspect labels.idx").succeeds().prints("labels.idx: IDX, 40 numbers of type u8");
    sandbox.write("floats.idx", &[0, 0, 0x0d, 2, 0, 0, 0, 3, 0, 0, 0, 5]);
    sandbox.limpid("inspect floats.idx").succeeds().prints("3×5 numbers of type f32");
    let mut images = idx(&[3, 2, 2]);
    images[16..].copy_from_slice(&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]);
    sandbox.write("images.idx", &images);
    let numbers = "12 numbers, least 0, mean 55.00000, greatest 110";
    sandbox.limpid("inspect images.idx --images 1").succeeds().prints("3 images of 2×2").prints(numbers);
    sandbox.write("images.idx", &images[..images.len() - 1]);
    sandbox
        .limpid("inspect images.idx --images 0")
        .exits(65)
        .says("images.idx is truncated: its data end after 11 bytes");
    sandbox.limpid("inspect nothing").exits(2).says("nothing does not exist");
    // A path that cannot be opened is an I/O error, not a missing file.
    std::os::unix::fs::symlink("loop", sandbox.path("loop")).expect("linked");
    sandbox.limpid("inspect loop").exits(74).says("cannot read loop").never_says("does not exist");
}

#[test]
fn statistics_are_those_of_every_value() {
    let sandbox = trained();
    let shown = sandbox.limpid(&format!("inspect {DENOISED} --images 0")).succeeds().stdout();
    let line = |name: &str| -> Vec<String> {
        let line =
            shown.lines().skip_while(|line| *line != "statistics").find(|line| line.starts_with(&format!("  {name} ")));
        line.unwrap_or_else(|| panic!("{name}\n{shown}")).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(line("id").join(" "), "id 120 0 120 0 59.50000 119");
    assert_eq!(line("split").join(" "), "split 120 0");
    let pixels: Vec<f64> = {
        use arrow_array::cast::AsArray;
        let (batch, _) = crate::foreign::read(&sandbox, DENOISED);
        let image = batch.column_by_name("image").expect("is there").as_fixed_size_list().values().clone();
        image.as_primitive::<arrow_array::types::UInt8Type>().values().iter().map(|byte| f64::from(*byte)).collect()
    };
    let (least, greatest) = pixels.iter().fold((256.0_f64, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    let mean = pixels.iter().sum::<f64>() / pixels.len() as f64;
    assert_eq!(line("image").join(" "), format!("image 120 0 94080 {least} {mean:.5} {greatest}"));
    assert!(shown.contains("\nsplit: 1 different\n  test       120\n"), "{shown}");
    // Every label is counted; digits have class names.
    let counts: Vec<u64> = shown
        .split("\nlabel: 10 different\n")
        .nth(1)
        .unwrap_or_else(|| panic!("{shown}"))
        .lines()
        .map_while(|line| line.split_whitespace().last()?.parse().ok())
        .collect();
    assert_eq!((counts.len(), counts.iter().sum::<u64>()), (10, 120), "{shown}");
    // Encoded pictures have no statistics but the number of rows.
    let shown = sandbox.limpid("inspect runs/small/export/denoise/test-00000-of-00001.parquet").succeeds().stdout();
    assert!(shown.contains("120      0"), "{shown}");
    // Damage after the first rows.
    let path = "runs/small/ingest/train-00000-of-00001.parquet";
    let mut bytes = sandbox.read(path);
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    sandbox.write("damaged.parquet", &bytes);
    sandbox.limpid("inspect damaged.parquet --images 0").exits(65).says("damaged");
}

#[test]
fn a_file_of_a_run_says_where_it_comes_from() {
    let sandbox = trained();
    let inspect = |path: &str| sandbox.limpid(&format!("inspect {path} --images 0"));
    inspect(DENOISED)
        .succeeds()
        .prints("pipeline   small")
        .prints("stage      denoise, version ")
        .prints("seed       1")
        .prints(" s by limpid 0.")
        .prints(", as the receipt says")
        .prints("made from  corrupt/test-00000-of-00001.parquet (");
    // Any file of a stage, in its sub-folders too.
    inspect("runs/small/train/last.safetensors")
        .succeeds()
        .prints("stage      train")
        .prints("a safetensors file of 8 tensors");
    inspect("runs/small/train/model.json").succeeds().prints("JSON with the keys ");
    inspect("runs/small/report/report.html").succeeds().prints("an HTML page");
    inspect("runs/small/evaluate/_receipt.json").succeeds().prints("stage      evaluate");
    inspect("runs/small/export/README.md").succeeds().prints("stage      export");
    inspect("runs/small/export/encode/test-00000-of-00001.parquet")
        .succeeds()
        .prints("stage      export")
        .prints(", as the receipt says");
    // A copy outside the run has no provenance.
    std::fs::copy(sandbox.path(DENOISED), sandbox.path("copy.parquet")).expect("copied");
    assert!(!inspect("copy.parquet").succeeds().stdout().contains("provenance"));
    // A replaced file is detected.
    std::fs::copy(sandbox.path("runs/small/corrupt/test-00000-of-00001.parquet"), sandbox.path(DENOISED))
        .expect("copied");
    inspect(DENOISED).succeeds().prints("the file has changed since limpid wrote it");
    let weights = sandbox.read("runs/small/train/last.safetensors");
    sandbox.write("runs/small/train/last.safetensors", &weights[..weights.len() - 4]);
    inspect("runs/small/train/last.safetensors")
        .exits(65)
        .prints("the file has changed since limpid wrote it")
        .says("is a safetensors file of ")
        .says("where its header promises");
}

#[test]
fn a_file_that_is_none_is_told_what_it_is_and_what_to_do() {
    let sandbox = trained();
    let table = sandbox.read(DENOISED);
    let weights = sandbox.read("runs/small/train/last.safetensors");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";
    let npy = [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &[0; 24]].concat();
    let picture = png(8, 9, 1);
    for (name, bytes, what, advice) in [
        ("empty", &b""[..], "empty is empty; ", "write it again"),
        (
            "cut.parquet",
            &table[..table.len() - 9],
            "is not a whole Parquet file: its end is missing (",
            "copy or write it again",
        ),
        ("short.parquet", b"PAR1", "is not a whole Parquet file: its end is missing (4 bytes", "again"),
        ("late.parquet", &table[4..], "is a Parquet file whose beginning is damaged or missing", "again"),
        ("cut.png", &picture[..picture.len() - 30], "starts as a PNG does, but cannot be decoded: ", "copy it again"),
        ("a.gz", &gzip(b"some text"), "is a gzip file of text", "gunzip"),
        ("cut.gz", &gzip(&[7; 99])[..12], "is a gzip file that cannot be unpacked", "again"),
        ("cut.idx.gz", &gzip(&idx(&[9, 4, 4]))[..24], "cut.idx.gz is ", "cut.idx.gz"),
        ("cut.idx", &idx(&[9, 4, 4])[..14], "cut.idx is truncated", "expected an IDX header"),
        ("odd.idx", &[0, 0, 99, 1], "is not IDX: it has elements of the unknown type 0x63", "odd.idx"),
        ("a.npy", &npy, "is a NumPy array of 2×3 numbers of float32", "source.npy"),
        ("cut.npy", &npy[..npy.len() - 1], "is a NumPy array that cannot be used (cut.npy is truncated", "again"),
        ("cut.npz", b"PK\x03\x04 and no more", "is a zip or NumPy archive whose end is missing", "again"),
        ("a.safetensors", &weights, "is a safetensors file of 8 tensors: ", "limpid encode RUN"),
        ("cut.safetensors", &weights[..99], "is a safetensors file that ends within its header", "again"),
        ("a.json", b"{\"a\": 1, \"b\": [2]}", "is JSON with the keys a, b", "limpid show"),
        ("cut.json", b"{\"a\": [1,", "is JSON that breaks off (", "again"),
        ("notes.txt", "Grüße".as_bytes(), "is text", "limpid reads Parquet"),
        ("list.csv", b"file,label\n", "is a table in text", "source.folder.csv"),
        ("p.toml", b"[source]\n", "is a TOML file", "limpid plan FILE"),
        ("page", b"<!DOCTYPE html><html>", "is an HTML page", "the download failed"),
        ("big.bin", b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS", "git lfs pull"),
        ("a.feather", b"ARROW1\0\0", "is an Arrow or Feather file", "Parquet"),
        ("a.avif", b"\0\0\0\x1cftypavif", "is an AVIF picture", "convert it, as to PNG"),
        ("noise", &[0xfe, 0x80, 0x81, 0x00], "is nothing that limpid knows: it starts with fe 80 81 00", "Parquet"),
    ] {
        sandbox.write(name, bytes);
        sandbox.limpid(&format!("inspect {name}")).exits(65).says(what).says(advice);
    }
    sandbox.write("scans/1.png", &picture);
    std::fs::create_dir(sandbox.path("hollow")).expect("created");
    for (folder, what) in [
        ("runs/small", "is a folder, a run directory: show it with limpid show runs/small"),
        ("runs/small/denoise", "is a folder of Parquet files"),
        ("scans", "is a folder of pictures: name one of them, or read all with source.folder"),
        ("hollow", "is a folder, an empty one"),
        ("runs", "is a folder: name a file in it"),
    ] {
        sandbox.limpid(&format!("inspect {folder}")).exits(65).says(what);
    }
}

#[test]
fn images_are_drawn_as_the_terminal_can() {
    let sandbox = trained();
    sandbox.write("one.png", &png(8, 9, 1));
    let draw = |words: &str| sandbox.limpid(&format!("inspect {words}"));
    // Where stdout is no terminal, images are drawn as blocks.
    let blocks = draw("runs/small/ingest/test-00000-of-00001.parquet").env("TERM", "xterm-kitty").succeeds().stdout();
    assert!(blocks.contains('█') && !blocks.contains('\x1b'), "{blocks}");
    let none = draw(&format!("{DENOISED} --draw none")).succeeds().stdout();
    assert!(none.contains("id 2, label") && !none.contains('█'), "{none}");
    for (how, start, end) in
        [("kitty", "\x1b_Ga=T,f=100,q=2,m=", "\x1b\\"), ("iterm2", "\x1b]1337;File=inline=1;size=", "\x07")]
    {
        for file in [DENOISED, "one.png"] {
            let drawn = draw(&format!("{file} --images 1 --draw {how}")).succeeds().stdout();
            assert_eq!(drawn.matches(start).count(), 1, "{how}");
            let text: String = drawn
                .split(start)
                .nth(1)
                .and_then(|rest| rest.split(end).next())
                .and_then(|command| command.split([';', ':']).next_back())
                .expect("has a payload")
                .to_owned();
            assert!(text.starts_with("iVBORw0KGgo"), "{how}: a PNG file in base64");
        }
    }
    let sixel = draw("one.png --draw sixel").succeeds().stdout();
    assert!(sixel.contains("\x1bPq\"1;1;153;136#") && sixel.contains("\x1b\\"), "{sixel}");
    draw("one.png --draw crayon").exits(2).says("[possible values: auto, kitty, iterm2, sixel, blocks, none]");
}
