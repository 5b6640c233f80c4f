//! The folder of a page of the book: what the page presumes, with pipelines that are made small, so that a training takes part of a second.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use image::ImageFormat;
use parquet::arrow::ArrowWriter;
use toml::{Table, Value};

use crate::applying::idx;
use crate::bad_input::gzip;
use crate::book::{Block, root};
use crate::harness::{Sandbox, link};
use crate::own_arrays::{npy, npz};
use crate::own_images::{encoded, picture};
use crate::pages::tiff;

/// Makes a pipeline small: few images, digits that limpid draws in place of MNIST, a small model, one epoch, and no gate.
pub fn small(pipeline: &mut Table) {
    let table = |text: &str| -> Table { text.parse().expect("is TOML") };
    for (name, section) in pipeline.iter_mut() {
        let Some(section) = section.as_table_mut() else { continue };
        match name.as_str() {
            "source" => {
                if section.remove("mnist").is_some() {
                    section.insert("strokes".to_owned(), Table::new().into());
                }
                for (kind, settings) in section.iter_mut() {
                    let few = match kind.as_str() {
                        "strokes" => "train = 60\ntest = 20",
                        "scenes" | "documents" => "train = 12\ntest = 4\nsize = [40, 48]",
                        _ => continue,
                    };
                    settings.as_table_mut().expect("is a table").extend(table(few));
                }
            }
            "model" => {
                for (_, settings) in section.iter_mut().filter(|(kind, _)| ["conv", "unet"].contains(&kind.as_str())) {
                    let settings = settings.as_table_mut().expect("is a table");
                    settings.entry("channels").or_insert_with(|| Value::Array(vec![8.into(); 2]));
                    for (_, widths) in settings.iter_mut().filter(|(key, _)| key.ends_with("channels")) {
                        widths.as_array_mut().expect("is a list").fill(4.into());
                    }
                }
            }
            "training" => {
                section.insert("epochs".to_owned(), 1.into());
                section.get_mut("patch").into_iter().for_each(|side| *side = 16.into());
            }
            _ => {}
        }
    }
    pipeline.insert("gate".to_owned(), table("baselines = []").into());
}

/// A picture in grey.
fn grey(rows: u32, columns: u32, seed: u32, format: ImageFormat) -> Vec<u8> {
    encoded(&picture(rows, columns, seed).grayscale(), format)
}

fn grey_png(rows: u32, columns: u32, seed: u32) -> Vec<u8> {
    grey(rows, columns, seed, ImageFormat::Png)
}

/// A Parquet file with a picture in each of these columns.
pub fn table(columns: &[&str]) -> Vec<u8> {
    let pictures = |first: u32| (first..first + 12).map(|seed| Some(grey_png(30, 34, seed))).collect::<BinaryArray>();
    let columns = columns.iter().zip(0..).map(|(name, at)| (*name, Arc::new(pictures(100 * at)) as ArrayRef));
    let table = RecordBatch::try_from_iter(columns).expect("fits");
    let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), None).expect("starts");
    writer.write(&table).expect("writes");
    writer.into_inner().expect("writes")
}

/// What the pages presume, by name: the pipelines of the repository, and data of the names that they use.
pub fn presumed() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join("pipelines")).expect("is there") {
        let file = entry.expect("is listed").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("is text").to_owned();
        files.push((format!("pipelines/{name}"), std::fs::read(file).expect("is read")));
    }
    let quickstart = std::fs::read_to_string(root().join("pipelines/quickstart.toml")).expect("is text");
    let array =
        |seed: usize| npy("|u1", "(40, 12, 12)", &(0..40 * 144).map(|at| (at * 7 + seed) as u8).collect::<Vec<_>>());
    // As scripts/drawn_table.py, for machines without Python.
    let line = |cell: &dyn Fn(usize) -> String, label: &str| {
        (0..20).map(|column| cell(column) + ",").collect::<String>() + label + "\n"
    };
    let rows = (0..100).map(|row| line(&|column| (row * (column + 3) % 11).to_string(), ["good", "worn"][row % 2]));
    let rows = (line(&|column| format!("bar_{column}"), "label") + &rows.collect::<String>()).into_bytes();
    let arrays = ["x", "y", "x_test", "y_test"].map(|name| (name, array(name.len())));
    let single = [
        ("nightly.toml", quickstart.replace("\"quickstart\"", "\"nightly\"").into_bytes()),
        ("photo.jpg", encoded(&picture(70, 90, 1), ImageFormat::Jpeg)),
        ("large.png", grey_png(300, 400, 1)),
        ("page7.png", grey_png(28, 28, 7)),
        ("noisy/2.png", grey_png(60, 80, 2)),
        ("stack.tif", tiff(&[(40, 50), (64, 30)], false)),
        ("digits.idx3.gz", gzip(&idx(&[20, 28, 28]))),
        ("new.parquet", table(&["image"])),
        ("a/0.parquet", table(&["image"])),
        ("b/0.parquet", table(&["image"])),
        ("data/train-0.parquet", table(&["clean", "scan"])),
        ("data/test-0.parquet", table(&["clean", "scan"])),
        ("clean.npy", array(0)),
        ("noisy.npy", array(1)),
        ("pairs.npz", npz(&arrays, zip::CompressionMethod::Stored)),
        ("machines.csv", rows.clone()),
        ("new.csv", rows),
    ];
    files.extend(single.map(|(name, bytes)| (name.to_owned(), bytes)));
    for seed in 0..60 {
        files.push((format!("photos/{seed}.png"), grey_png(64 + seed % 3, 80 - seed % 5, seed)));
        files.push((format!("scans/a/{seed}.jpg"), grey(28, 28, 100 + seed, ImageFormat::Jpeg)));
        files.push((format!("cleaned/a/{seed}.png"), grey_png(28, 28, seed)));
        files.push((format!("office/Font{seed}_Noise{}_TE.png", seed % 3), grey_png(28, 28, 100 + seed)));
        files.push((format!("office/Font{seed}_Clean_TE.png"), grey_png(28, 28, seed)));
    }
    files.extend((0..100).map(|seed| (format!("train400/{seed}.png"), grey_png(40, 40, seed))));
    for (split, seed) in (0..8).map(|seed| (["train", "test"][seed as usize % 2], seed)) {
        files.push((format!("bsd68/{split}/{seed}.png"), grey_png(40 + seed % 2, 41 - seed % 2, seed)));
        files.push((format!("half/noisy/{split}/{seed}.png"), grey_png(30, 40, 100 + seed)));
        files.push((format!("half/clean/{split}/{seed}.png"), grey_png(30, 40, seed)));
    }
    files
}

/// The folder of a page.
pub struct Place {
    pub sandbox: Sandbox,
}

impl Place {
    /// With those of these files and folders that a page names, and the scripts of the repository.
    pub fn new(files: &[(String, Vec<u8>)], page: &str) -> Self {
        let sandbox = Sandbox::new();
        std::os::unix::fs::symlink(root().join("scripts"), sandbox.path("scripts")).expect("linked");
        for (name, bytes) in files {
            if page.contains(name.split('/').next().unwrap_or(name)) {
                sandbox.write(name, bytes);
            }
        }
        Self { sandbox }
    }

    /// Writes the pipeline of a TOML block whose first line is the name of its file.
    pub fn write_pipeline(&self, block: &Block) {
        let name = block.code.lines().next().and_then(|line| line.strip_prefix("# "));
        if let Some(name) = name.filter(|name| block.language == "toml" && name.ends_with(".toml")) {
            self.sandbox.write(name, block.code.as_bytes());
        }
    }

    /// Makes its pipeline files small.
    pub fn shrink(&self) {
        let folders = ["", "pipelines"].map(|folder| std::fs::read_dir(self.sandbox.path(folder)));
        for file in folders.into_iter().flatten().flatten().map(|entry| entry.expect("is listed").path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&file).expect("is text");
                let mut pipeline: Table = text.parse().expect("is TOML");
                small(&mut pipeline);
                let small = pipeline.to_string();
                // A file that is small already stays as it is, with its time.
                if small != text {
                    std::fs::write(&file, small).expect("written");
                }
            }
        }
    }

    /// Has the runs that a text names, and that nothing has made here yet, from a place where they are made of the pipelines of these names.
    pub fn provide_runs(&self, text: &str, from: &Self) {
        let code = text.lines().map(|line| line.split(" #").next().unwrap_or(line));
        let words = code.flat_map(|line| line.split([' ', '\'', '"']));
        for name in words.filter_map(|word| word.strip_prefix("runs/")?.split('/').next()) {
            let run = format!("runs/{name}");
            let mut files = [format!("pipelines/{name}.toml"), format!("{name}.toml")].into_iter();
            let Some(file) = files.find(|file| from.sandbox.path(file).exists()) else { continue };
            if !self.sandbox.path(&run).exists() {
                if !from.sandbox.path(&run).exists() {
                    from.shrink();
                    from.sandbox.limpid(&format!("run {file}")).succeeds();
                }
                link(&from.sandbox.path(&run), &self.sandbox.path(&run));
            }
        }
    }
}
