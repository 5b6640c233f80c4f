//! A property of every reader: whatever an input holds that it accepts, be it images, pages, frames, labels, splits, columns, arrays or
//! other files, is in the tables or in a line on stderr with its count.
//!
//! `LIMPID_ROUNDS` (6) inputs of each kind are drawn by `LIMPID_SEED`.

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use image::ImageFormat;

use crate::animated::gif;
use crate::applying::idx;
use crate::foreign::{read, write};
use crate::harness::{Done, Sandbox};
use crate::own_arrays::{npy, npz};
use crate::own_images::{encoded, picture, png, sandbox};
use crate::pages::tiff;
use crate::random::{Random, number};

/// What an input holds.
#[derive(Default)]
struct Held {
    /// The setting that reads it.
    source: String,
    /// Everything that counts: images, frames and pages, and what cannot become one.
    units: usize,
    /// Whether each image has a label.
    labelled: bool,
    /// The images of train and test, where names say it.
    splits: Option<[usize; 2]>,
}

fn chance(random: &mut Random) -> bool {
    random.below(2) == 0
}

/// Rows that a reader has made.
struct Made {
    splits: Vec<(String, usize)>,
    rows: usize,
    labelled: usize,
}

fn made(sandbox: &Sandbox) -> Made {
    let mut made = Made { splits: Vec::new(), rows: 0, labelled: 0 };
    for entry in std::fs::read_dir(sandbox.path("runs/small/ingest")).expect("is there") {
        let name = entry.expect("readable").file_name().into_string().expect("is text");
        let Some((split, _)) = name.split_once("-00000") else { continue };
        let (batch, _) = read(sandbox, &format!("runs/small/ingest/{name}"));
        let labels = batch.column_by_name("label").expect("is there").as_primitive::<Int64Type>().clone();
        let lists = batch.column_by_name("labels").map(|lists| lists.as_list::<i32>().clone());
        let labels_of = |row: usize| lists.as_ref().is_some_and(|lists| !lists.value(row).is_empty());
        made.labelled += (0..batch.num_rows()).filter(|row| labels.is_valid(*row) || labels_of(*row)).count();
        made.rows += batch.num_rows();
        made.splits.push((split.to_owned(), batch.num_rows()));
    }
    made
}

/// What stderr counts.
fn counted(done: &Done) -> usize {
    let count = |line: &str| -> Option<usize> {
        let number = |text: &str| text.split_whitespace().next()?.parse().ok();
        match line.split_once("passed over: ") {
            Some((_, rest)) => number(rest),
            None if line.contains("pictures cannot be read: see") => number(line.split_once("ingest: ")?.1),
            None => None,
        }
    };
    done.stderr().lines().filter_map(count).sum()
}

/// A picture of 4×5, the end of its name, and the number of its frames.
fn some_picture(random: &mut Random) -> (Vec<u8>, &'static str, usize) {
    let (seed, frames) = (random.below(200) as u32, 1 + random.below(4));
    match random.below(5) {
        0 => (encoded(&picture(4, 5, seed), ImageFormat::Bmp), "bmp", 1),
        1 => (gif(seed, frames as u32), "gif", frames),
        _ => (png(4, 5, seed), "png", 1),
    }
}

/// Pictures in folders, of labels or splits or both, among other files.
fn folder(random: &mut Random, sandbox: &Sandbox) -> Held {
    let mut held = Held::default();
    let classes = &["ant", "bee", "cow"][..2 + random.below(2)];
    let spellings = [["train", "test"], ["Training", "Testing"], ["seg_train", "seg_test"], ["TRAIN", "VAL"]];
    let (style, labelled, names) = (random.below(3), chance(random), spellings[random.below(4)]);
    let of_classes = |before: String| classes.iter().map(move |class| format!("{before}{class}/")).collect::<Vec<_>>();
    let inside = |before: String| if labelled { of_classes(before) } else { vec![before] };
    // The folders of each split; those of drawn ones are in the first.
    let folders: [Vec<String>; 2] = match style {
        0 => [inside(String::new()), Vec::new()],
        1 => names.map(|name| inside(format!("{name}/"))),
        _ => ["train", "test"].map(|name| classes.iter().map(|class| format!("{class}/{name}/")).collect()),
    };
    let mut splits = [0; 2];
    for (split, folder) in folders.iter().enumerate().flat_map(|(split, all)| all.iter().map(move |one| (split, one))) {
        for index in 0..4 + random.below(3) {
            let (bytes, end, frames) = some_picture(random);
            sandbox.write(&format!("set/{folder}{index}.{end}"), &bytes);
            held.units += frames;
            splits[split] += 1;
        }
        for (name, bytes) in
            [("notes.txt", "text"), ("raw.HEIC", "ftypheic"), ("new.avif", "ftypavif"), ("bad.png", "text")]
        {
            for index in 0..random.below(3) {
                sandbox.write(&format!("set/{folder}{index}{name}"), bytes.as_bytes());
                held.units += 1;
            }
        }
    }
    if style == 1 && chance(random) {
        (0..3).for_each(|index| _ = sandbox.write(&format!("set/extra/{index}.png"), &png(4, 5, index)));
        held.units += 3;
    }
    held.labelled = labelled || style == 2;
    held.splits = (style > 0).then_some(splits);
    held.source = "folder = { path = \"set\", test-fraction = 0.5, on-error = \"skip\" }".to_owned();
    held
}

/// Pictures that a table lists, or not.
fn listed(random: &mut Random, sandbox: &Sandbox) -> Held {
    let (label, split, blank) = ([Some("label"), Some("kind"), None][random.below(3)], chance(random), chance(random));
    let ends = [".csv", ".jsonl"];
    let end = ends[random.below(2)];
    let mut lines = Vec::new();
    let (mut units, mut splits) = (0, [0; 2]);
    for index in 0..12 + random.below(6) {
        let (bytes, form, frames) = some_picture(random);
        let name = format!("{index}.{form}");
        sandbox.write(&format!("set/{name}"), &bytes);
        units += frames;
        // One that no line lists counts once, whatever its frames.
        if random.below(4) == 0 {
            units -= frames - 1;
            continue;
        }
        let number = index % 2;
        splits[number] += 1;
        let fields = [
            Some(("file_name", name)),
            label.map(|label| (label, ["x", "y"][random.below(2)].to_owned())),
            split.then(|| ("split", ["train", "test"][number].to_owned())),
        ];
        lines.push(fields.into_iter().flatten().collect::<Vec<_>>());
    }
    let head: Vec<_> = lines[0].iter().map(|(key, _)| *key).collect();
    let gap = if blank { "\n\n" } else { "\n" };
    let text: Vec<String> = lines
        .iter()
        .map(|fields| match end {
            ".csv" => fields.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(","),
            _ => format!(
                "{{{}}}",
                fields.iter().map(|(key, value)| format!("\"{key}\":\"{value}\"")).collect::<Vec<_>>().join(",")
            ),
        })
        .collect();
    let head = if end == ".csv" { format!("{}\n", head.join(",")) } else { String::new() };
    sandbox.write(&format!("list{end}"), format!("{head}{}\n", text.join(gap)).as_bytes());
    Held {
        source: format!("folder = {{ path = \"set\", csv = \"list{end}\", test-fraction = 0.5 }}"),
        units,
        labelled: label.is_some(),
        splits: split.then_some(splits),
    }
}

/// Tables with more columns than are read, and files that are none.
fn parquet(random: &mut Random, sandbox: &Sandbox) -> Held {
    let (label, extra, drawn) = (random.below(5), random.below(3), chance(random));
    let names = if drawn { &["a", "b"][..] } else { &["train-0", "test-0", "validation-0", "other"] };
    let (mut units, mut splits) = (0, [0; 2]);
    for (number, name) in names.iter().enumerate().take(2 + random.below(3)) {
        let rows = 5 + random.below(4);
        let (pictures, frames): (Vec<_>, Vec<_>) = (0..rows)
            .map(|_| {
                let (bytes, _, frames) = some_picture(random);
                (bytes, frames)
            })
            .unzip();
        // Of files in neither split, rows count.
        units += if drawn || number < 2 { frames.iter().sum() } else { rows };
        splits.get_mut(number).into_iter().for_each(|split| *split = rows);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows as i64).map(|row| row % 3)));
        let mut lists = ListBuilder::new(Int64Builder::new());
        (0..rows as i64).for_each(|row| lists.append_value([Some(row), Some(7)]));
        let mut columns: Vec<(&str, ArrayRef)> =
            vec![("image", Arc::new(pictures.into_iter().map(Some).collect::<BinaryArray>()))];
        columns.extend(match label {
            0 => Some(("label", numbers.clone())),
            1 => Some(("labels", Arc::new(lists.finish()) as ArrayRef)),
            2 => Some(("kind", numbers.clone())),
            3 => Some((
                "label",
                Arc::new(StringArray::from_iter_values((0..rows).map(|row| ["x", "y"][row % 2]))) as ArrayRef,
            )),
            _ => None,
        });
        let text: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("text {row}"))));
        columns.extend([("caption", text.clone()), ("split", text)].into_iter().take(extra));
        let fields: Vec<_> =
            columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
        let batch = RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns.into_iter().map(|(_, column)| column).collect(),
        );
        let path = format!("data/{name}.parquet");
        sandbox.write(&path, b"");
        write(sandbox, &path, &[batch.expect("fits")], parquet::basic::Compression::SNAPPY);
    }
    let strays = random.below(3);
    (0..strays).for_each(|index| _ = sandbox.write(&format!("data/{index}.arrow"), b"ARROW1"));
    sandbox.write("data/README.md", b"about");
    let fraction = if drawn { ", test-fraction = 0.5" } else { "" };
    Held {
        source: format!("parquet = {{ path = \"data\"{fraction} }}"),
        units: units + strays + extra + usize::from(label == 2),
        labelled: label < 4,
        splits: (!drawn).then_some(splits),
    }
}

/// Archives of more arrays than are read.
fn archive(random: &mut Random, sandbox: &Sandbox) -> Held {
    let names =
        [["x_train", "y_train", "x_test", "y_test"], ["train_images", "train_labels", "test_images", "test_labels"]];
    let (names, labelled, drawn) = (names[random.below(2)], chance(random), chance(random));
    let others = ["val_images", "mean", "ids"];
    let images = |count: usize| npy("|u1", &format!("({count}, 4, 5)"), &vec![9; count * 20]);
    let labels = |count: usize| npy("|u1", &format!("({count},)"), &vec![3; count]);
    let (train, test) = (9 + random.below(5), 3 + random.below(5));
    let mut arrays = vec![(names[0], images(train)), (names[2], images(test))];
    if labelled {
        arrays.extend([(names[1], labels(train)), (names[3], labels(test))]);
    }
    let besides = random.below(4);
    arrays.extend(others.iter().take(besides).map(|name| (*name, images(2))));
    sandbox.write("x.npz", &npz(&arrays, zip::CompressionMethod::Deflated));
    let read_labels = labelled && names[1] == "y_train";
    // The twin of the training images has two images for validation, in place of an array that is passed over.
    let validated = usize::from(besides > 0 && names[0] == "train_images");
    let (rest, read) =
        if drawn { ("test-fraction = 0.5".to_owned(), 1) } else { (format!("test = \"{}\"", names[2]), 2) };
    Held {
        source: format!("npz = {{ path = \"x.npz\", train = \"{}\", {rest} }}", names[0]),
        units: train + if drawn { 0 } else { test } + arrays.len() - read * (1 + usize::from(read_labels)) + validated,
        labelled,
        splits: (!drawn).then_some([train, test]),
    }
}

/// Files of arrays, with labels that may lie beside them.
fn arrays(random: &mut Random, sandbox: &Sandbox) -> Held {
    let (count, labelled, named, is_idx) = (9 + random.below(9), chance(random), chance(random), chance(random));
    let sides = |of: &[usize]| of.iter().map(|side| *side as u32).collect::<Vec<_>>();
    let (images, labels) = if is_idx {
        (idx(&sides(&[count, 4, 5])), idx(&sides(&[count])))
    } else {
        let labels: Vec<u8> = (0..count as u16).flat_map(u16::to_be_bytes).collect();
        (
            npy(">u2", &format!("({count}, 4, 5)"), &[0, 9].repeat(count * 20)),
            npy(">u2", &format!("({count},)"), &labels),
        )
    };
    sandbox.write("train-images", &images);
    if labelled {
        sandbox.write("train-labels", &labels);
    }
    let labels = if labelled && named { ", train-labels = \"train-labels\"" } else { "" };
    let kind = if is_idx { "idx" } else { "npy" };
    let source = format!("{kind} = {{ train = \"train-images\", test-fraction = 0.5{labels} }}");
    Held { source, units: count, labelled, splits: None }
}

/// A column for each pixel, beside others, with lines that are blank.
fn columns(random: &mut Random, sandbox: &Sandbox) -> Held {
    let (label, others, rows) =
        ([Some("label"), Some("digit"), None][random.below(3)], random.below(3), 9 + random.below(9));
    let head: Vec<String> = label.map(str::to_owned).into_iter().chain((0..20).map(|at| format!("p{at}"))).collect();
    let mut text = format!("{}{}\n", head.join(","), ",note,when".get(..others * 5).unwrap_or_default());
    for row in 0..rows {
        let label = label.map(|_| (row % 3).to_string());
        let fields = label.into_iter().chain((0..20).map(|at| (at * row % 256).to_string()));
        let fields = fields.chain((0..others).map(|_| "z".to_owned()));
        text += &format!("{}\n{}", fields.collect::<Vec<_>>().join(","), "\n".repeat(random.below(3)));
    }
    sandbox.write("x.csv", text.as_bytes());
    Held {
        source: "columns = { train = \"x.csv\", test-fraction = 0.5, shape = [4, 5] }".to_owned(),
        units: rows + others + usize::from(label == Some("digit")),
        labelled: label.is_some(),
        splits: None,
    }
}

/// Samples of several files in archives, among files of other kinds.
fn archives(random: &mut Random, sandbox: &Sandbox) -> Held {
    let (label, count) = ([Some("cls"), Some("txt"), None][random.below(3)], 12 + random.below(6));
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: String, bytes: &[u8], kind: tar::EntryType| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_entry_type(kind);
        if kind == tar::EntryType::Symlink {
            header.set_link_name("0.png").expect("fits");
        }
        archive.append_data(&mut header, name, bytes).expect("memory");
    };
    let mut units = 0;
    for index in 0..count {
        let (bytes, end, frames) = some_picture(random);
        add(format!("{index}.{end}"), &bytes, tar::EntryType::Regular);
        units += frames;
        label.iter().for_each(|label| add(format!("{index}.{label}"), b"3", tar::EntryType::Regular));
        units += usize::from(label == Some("txt"));
        for (name, kind) in
            [("mask.png", tar::EntryType::Regular), ("json", tar::EntryType::Regular), ("png", tar::EntryType::Symlink)]
        {
            if random.below(6) == 0 {
                let bytes = if kind == tar::EntryType::Symlink { Vec::new() } else { png(4, 5, 1) };
                let name = if name == "png" { format!("link{index}.png") } else { format!("{index}.{name}") };
                add(name, &bytes, kind);
                units += 1;
            }
        }
    }
    for name in ["README", ".hidden.png"].into_iter().take(random.below(3)) {
        add(name.to_owned(), b"text", tar::EntryType::Regular);
        units += 1;
    }
    sandbox.write("x.tar", &archive.into_inner().expect("memory"));
    Held {
        source: "tar = { train = \"x.tar\", test-fraction = 0.5 }".to_owned(),
        units,
        labelled: label.is_some(),
        splits: None,
    }
}

/// Pages of TIFF.
fn pages(random: &mut Random, sandbox: &Sandbox) -> Held {
    let mut units = 0;
    for index in 0..9 {
        let pages = 1 + random.below(4);
        sandbox.write(&format!("set/{index}.tif"), &tiff(&vec![(4, 5); pages], chance(random)));
        units += pages;
    }
    let pages = ["all", "error"][random.below(2)];
    let source = format!("folder = {{ path = \"set\", test-fraction = 0.5, pages = \"{pages}\" }}");
    Held { source, units, labelled: false, splits: None }
}

/// Writes an input of a kind.
type Generate = fn(&mut Random, &Sandbox) -> Held;

#[test]
fn nothing_is_lost_without_a_line() {
    let kinds: [(&str, Generate); 8] = [
        ("folder", folder),
        ("listed", listed),
        ("parquet", parquet),
        ("archive", archive),
        ("arrays", arrays),
        ("columns", columns),
        ("archives", archives),
        ("pages", pages),
    ];
    let (seed, rounds) = (number("LIMPID_SEED", 1), number("LIMPID_ROUNDS", 6));
    for (kind, generate) in kinds {
        let mut accepted = 0;
        for round in 0..rounds {
            let sandbox = sandbox("");
            let held = generate(&mut Random(seed << 32 | round), &sandbox);
            let settings = format!(
                "name = \"small\"\n[source]\n{}\n[model]\ndense = {{ code = 2 }}\n[gate]\nbaselines = []\n",
                held.source
            );
            sandbox.write("small.toml", settings.as_bytes());
            let done = sandbox.limpid("run small.toml --to ingest").ends();
            if done.status().code() == Some(65) {
                assert!(done.stderr().contains("  because: "), "{kind} {round}\n{done}");
                continue;
            }
            let told = || format!("{kind} {round}: {}\n{done}", held.source);
            assert_eq!(done.status().code(), Some(0), "{}", told());
            accepted += 1;
            let made = made(&sandbox);
            assert_eq!(made.rows + counted(&done), held.units, "{} rows; {}", made.rows, told());
            let unlabelled = if held.labelled && !done.stderr().contains("no labels") { 0 } else { made.rows };
            assert!(made.labelled + unlabelled == made.rows, "{} of {} labelled; {}", made.labelled, made.rows, told());
            for (split, count) in ["train", "test"].iter().zip(held.splits.into_iter().flatten()) {
                let found = made.splits.iter().find(|(name, _)| name == split).map_or(0, |(_, rows)| *rows);
                // Some that cannot be read are counted, as checked above.
                assert_eq!(found, count, "{split} {}", told());
            }
        }
        assert!(2 * accepted > rounds || kind == "pages", "{kind}: {accepted} of {rounds} accepted");
    }
}
