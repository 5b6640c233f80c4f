//! The source `folder`, `encode` and `denoise` of picture files, and colour images.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type, UInt8Type};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::foreign::read;
use crate::harness::Sandbox;

pub const TRAIN: &str = "runs/small/ingest/train-00000-of-00001.parquet";
pub const TEST: &str = "runs/small/ingest/test-00000-of-00001.parquet";
pub const VALIDATION: &str = "runs/small/ingest/validation-00000-of-00001.parquet";

pub fn sandbox(source: &str) -> Sandbox {
    Sandbox::with(&format!("[source]\n{source}\n[model]\ndense = {{ code = 2 }}\n[training]\nepochs = 1\n"))
}

pub fn picture(rows: u32, columns: u32, seed: u32) -> DynamicImage {
    RgbImage::from_fn(columns, rows, |x, y| Rgb([(x * 20 + seed) as u8, (y * 20) as u8, seed as u8])).into()
}

pub fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

pub fn png(rows: u32, columns: u32, seed: u32) -> Vec<u8> {
    encoded(&picture(rows, columns, seed), ImageFormat::Png)
}

/// Ids, labels and pixels of a table.
pub fn images(sandbox: &Sandbox, path: &str) -> (Vec<i64>, Vec<Option<i64>>, Vec<u8>) {
    let (batch, _) = read(sandbox, path);
    let numbers = |name: &str| batch.column_by_name(name).expect("is there").as_primitive::<Int64Type>().clone();
    let image = batch.column_by_name("image").expect("is there").as_fixed_size_list().values().clone();
    let pixels = match image.as_primitive_opt::<UInt8Type>() {
        Some(bytes) => bytes.values().to_vec(),
        // What is not rounded to bytes, as the nearest ones.
        None => {
            image.as_primitive::<Float32Type>().values().iter().map(|pixel| (255.0 * pixel).round() as u8).collect()
        }
    };
    (numbers("id").values().to_vec(), numbers("label").iter().collect(), pixels)
}

/// The class names of a table.
pub fn classes(sandbox: &Sandbox, path: &str) -> Option<String> {
    let (batch, _) = read(sandbox, path);
    batch.schema().field_with_name("label").expect("is there").metadata().get("limpid.classes").cloned()
}

/// A folder with two classes and both splits: two training images, one test image.
fn folder(sandbox: &Sandbox) {
    sandbox.write("photos/train/dog/b.png", &png(8, 9, 1));
    sandbox.write("photos/train/cat/z.BMP", &encoded(&picture(8, 9, 2), ImageFormat::Bmp));
    sandbox.write("photos/test/dog/a.webp", &encoded(&picture(8, 9, 3), ImageFormat::WebP));
    sandbox.write("photos/train/notes.txt", b"not an image");
    sandbox.write("photos/train/.hidden.png", b"not an image");
}

#[test]
fn a_folder_gives_its_images_in_the_order_of_their_paths() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    folder(&sandbox);
    sandbox.write("photos/train/cat/b.AVIF", b"ftypavif");
    sandbox.write("photos/train/cat/a.ppm", b"P6");
    let passed_over = "passed over: 2 images of formats that are not read (1 AVIF, 1 PPM), such as photos/train/cat/a.ppm; \
                       convert them to one that is: PNG, JPEG, WebP, GIF, BMP or TIFF";
    sandbox.limpid("run small.toml").succeeds().says(passed_over);
    let (ids, labels, pixels) = images(&sandbox, TRAIN);
    assert_eq!((ids, labels), (vec![0, 1], vec![Some(0), Some(1)]));
    assert_eq!(pixels, [picture(8, 9, 2).into_bytes(), picture(8, 9, 1).into_bytes()].concat());
    assert_eq!(images(&sandbox, TEST).1, [Some(1)]);
    // All tables have the class names.
    for path in
        [TRAIN, "runs/small/denoise/test-00000-of-00001.parquet", "runs/small/encode/test-00000-of-00001.parquet"]
    {
        assert_eq!(classes(&sandbox, path).as_deref(), Some("[\"cat\",\"dog\"]"), "{path}");
    }
    sandbox.limpid("show runs/small").succeeds().prints("PSNR by class, dB     dog");
    sandbox.limpid("diff runs/small runs/small").succeeds().prints("class dog: psnr-pooled");
    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(page.contains("data-label=\"dog\"") && page.contains("<span>dog</span>"));
    let (files, _) = read(&sandbox, "runs/small/ingest/files.parquet");
    let paths: Vec<_> = files.column_by_name("path").expect("is there").as_string::<i32>().iter().flatten().collect();
    assert_eq!(paths, ["train/cat/z.BMP", "train/dog/b.png", "test/dog/a.webp"]);
}

#[test]
fn a_folder_is_up_to_date_until_a_file_changes() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    folder(&sandbox);
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("plan small.toml --check").succeeds();
    // New times change nothing, nor does another path of the folder.
    sandbox.write("photos/train/dog/b.png", &png(8, 9, 1));
    std::fs::rename(sandbox.path("photos"), sandbox.path("moved")).expect("renamed");
    sandbox.limpid("plan small.toml --check --set source.folder.path=moved").succeeds();
    std::fs::rename(sandbox.path("moved"), sandbox.path("photos")).expect("renamed");
    sandbox.write("photos/train/dog/b.png", &png(8, 9, 4));
    sandbox.limpid("plan small.toml --check").exits(10).prints("source.folder.path: digest");
    sandbox.write("photos/train/dog/b.png", &png(8, 9, 1));
    sandbox.limpid("plan small.toml --check").succeeds();
    std::fs::rename(sandbox.path("photos/train/dog"), sandbox.path("photos/train/wolf")).expect("renamed");
    sandbox.limpid("plan small.toml --check").exits(10).prints("source.folder.path: digest");
}

#[test]
fn splits_are_drawn_by_name_where_there_are_none() {
    let sandbox = sandbox("folder = { path = \"photos\", test-fraction = 0.3 }");
    let write = |index: u32| sandbox.write(&format!("photos/a/{index:03}.png"), &png(4, 4, index));
    (0..60).for_each(|index| _ = write(index));
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let listed = || {
        let (files, _) = read(&sandbox, "runs/small/ingest/files.parquet");
        let text = |name: &str| files.column_by_name(name).expect("is there").as_string::<i32>().clone();
        let (paths, splits) = (text("path"), text("split"));
        let pairs = paths.iter().flatten().zip(splits.iter().flatten());
        pairs.map(|(path, split)| (path.to_owned(), split.to_owned())).collect::<Vec<_>>()
    };
    let before = listed();
    let tests = before.iter().filter(|(_, split)| split == "test").count();
    assert!((8..30).contains(&tests), "{tests} of 60");
    // Additional files do not change the split of others.
    (60..70).for_each(|index| _ = write(index));
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let after = listed();
    assert!(after.len() == 70 && before.iter().all(|pair| after.contains(pair)));
    sandbox.limpid("run small.toml --to ingest --set seed=2").succeeds();
    assert_ne!(listed(), after);
}

#[test]
fn a_csv_says_labels_and_splits() {
    let sandbox = sandbox("folder = { path = \"photos\", csv = \"list.csv\" }");
    (0..4).for_each(|index| _ = sandbox.write(&format!("photos/{index}.png"), &png(4, 4, index)));
    sandbox.write("list.csv", b"file_name,label,split\n3.png,b,train\n1.png,a,train\n2.png,b,validation\n");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(images(&sandbox, TRAIN).1, [Some(0), Some(1)]);
    assert_eq!(images(&sandbox, TEST).1, [Some(1)]);
    assert_eq!(classes(&sandbox, TEST).as_deref(), Some("[\"a\",\"b\"]"));
    // Numeric labels are kept.
    sandbox.write("list.csv", b"file,label,split\n3.png,7,train\n1.png,5,test\n");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, classes(&sandbox, TRAIN)), (vec![Some(7)], None));
    for (text, expected) in [
        ("file,label\n9.png,1\n", "list.csv: line 2: there is no file photos/9.png"),
        ("file,split\n1.png,train\n2.png,best\n", "line 3: the split is \"best\", expected train, test or validation"),
        ("file\n1.png\n./1.png\n", "line 3: 1.png is listed twice"),
        ("id,label\n1,2\n", "its columns are id, label; one of file_name, file"),
    ] {
        sandbox.write("list.csv", text.as_bytes());
        sandbox.limpid("run small.toml --to ingest").exits(65).says(expected);
    }
}

#[test]
#[cfg(unix)]
fn a_pipe_is_no_picture_and_a_link_may_lead_nowhere() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    for (index, split) in ["train", "train", "test"].into_iter().enumerate() {
        sandbox.write(&format!("photos/{split}/{index}.png"), &png(4, 4, index as u32));
    }
    let pipe = sandbox.path("photos/train/pipe.png");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("is there");
    assert!(made.success());
    sandbox.limpid("run small.toml").succeeds();
    assert_eq!(images(&sandbox, TRAIN).0, [0, 1]);
    sandbox
        .limpid("encode runs/small photos/train/pipe.png -o out")
        .exits(65)
        .says("pipe.png is neither a file nor a folder");
    let csv = "--set source.folder.csv=photos/train/pipe.png";
    sandbox.limpid(&format!("plan small.toml {csv}")).exits(65).says("pipe.png is not a file");
    std::os::unix::fs::symlink("nothing", sandbox.path("photos/train/2.png")).expect("linked");
    let ingest = "run small.toml --to ingest";
    sandbox.limpid(ingest).exits(65).says("cannot use photos/train/2.png: it does not exist");
    let plan = sandbox.limpid("plan small.toml --to ingest --set source.folder.on-error=skip");
    plan.succeeds().prints("source.folder.on-error: \"fail\" → \"skip\"");
    sandbox.limpid(&format!("{ingest} --set source.folder.on-error=skip")).succeeds();
    assert_eq!(read(&sandbox, "runs/small/ingest/rejected.parquet").0.num_rows(), 1);
}

#[test]
fn what_a_csv_lists_counts_wherever_it_is() {
    let sandbox = sandbox("folder = { path = \"photos\", csv = \"list.csv\", outside = true }");
    sandbox.write("photos/unlisted.png", &png(4, 4, 9));
    sandbox.write("list.csv", b"file,split\n../other/a.png,train\n.hidden,train\nb.picture,test\n");
    let listed = ["other/a.png", "photos/.hidden", "photos/b.picture"];
    (0..3).zip(listed).for_each(|(seed, path)| _ = sandbox.write(path, &png(4, 4, seed)));
    let refused = "list.csv: line 2: ../other/a.png leads out of photos; source.folder.outside = true reads such files";
    sandbox.limpid("run small.toml --to ingest --set source.folder.outside=false").exits(65).says(refused);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    for (seed, path) in (3..6).zip(listed) {
        sandbox.write(path, &png(4, 4, seed));
        sandbox.limpid("plan small.toml --to ingest --check").exits(10).prints("source.folder.path: digest ");
        sandbox.limpid("run small.toml --to ingest").succeeds();
    }
    sandbox.write("photos/unlisted.png", &png(4, 4, 10));
    sandbox.limpid("plan small.toml --to ingest --check").succeeds();
}

#[test]
fn metadata_of_hugging_face_say_labels() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    for (index, split) in ["train", "train", "test"].into_iter().enumerate() {
        sandbox.write(&format!("photos/{split}/{index}.png"), &png(4, 4, index as u32));
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(images(&sandbox, TRAIN).1, [None, None]);
    // One table in each split, or one for all.
    sandbox.write("photos/train/metadata.csv", b"file_name,label\n1.png,dog\n0.png,cat\n");
    sandbox.write("photos/test/metadata.csv", b"file_name,label\n2.png,dog\n");
    sandbox.limpid("plan small.toml --to ingest --check").exits(10).prints("metadata.csv: digest (absent) → ");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, images(&sandbox, TEST).1), (vec![Some(0), Some(1)], vec![Some(1)]));
    assert_eq!(classes(&sandbox, TEST).as_deref(), Some("[\"cat\",\"dog\"]"));
    sandbox.write("photos/metadata.csv", b"file_name,label\ntrain/0.png,7\ntrain/1.png,8\ntest/2.png,9\n");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, images(&sandbox, TEST).1), (vec![Some(7), Some(8)], vec![Some(9)]));
    sandbox.limpid("plan small.toml --to ingest --check").succeeds();
    // Files outside of both splits belong to none, as without a table.
    sandbox.write("photos/more/3.png", &png(4, 4, 3));
    let more = b"file_name,label\ntrain/0.png,7\ntrain/1.png,8\ntest/2.png,9\nmore/3.png,1\n";
    sandbox.write("photos/metadata.csv", more);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, images(&sandbox, TEST).1), (vec![Some(7), Some(8)], vec![Some(9)]));
    // A table without labels is ignored.
    sandbox.write("photos/metadata.csv", b"file_name,text\ntrain/0.png,a cat\n");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(images(&sandbox, TRAIN).1, [None, None]);
    sandbox.write("photos/metadata.csv", b"file_name,label\n9.png,1\n");
    sandbox
        .limpid("run small.toml --to ingest")
        .exits(65)
        .says("photos/metadata.csv: line 2: there is no file photos/9.png");
}

#[test]
fn metadata_may_be_json_lines() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    for (index, split) in ["train", "train", "test"].into_iter().enumerate() {
        sandbox.write(&format!("photos/{split}/{index}.png"), &png(4, 4, index as u32));
    }
    let lines = [
        r#"{"file_name": "train/0.png", "label": 3, "size": [4, 4]}"#,
        "",
        r#"{"label": null, "file_name": "train/1.png"}"#,
        r#"{"file_name": "test/2.png", "label": 4}"#,
    ];
    sandbox.write("photos/metadata.jsonl", lines.join("\n").as_bytes());
    let ingest = "run small.toml --to ingest";
    sandbox.limpid(ingest).succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, images(&sandbox, TEST).1), (vec![Some(3), None], vec![Some(4)]));
    sandbox.write("photos/metadata.jsonl", lines.join("\n").replace('4', "\"four\"").as_bytes());
    sandbox.limpid("plan small.toml --to ingest --check").exits(10).prints("metadata.jsonl: digest ");
    for (text, expected) in [
        ("{\"file_name\": \"train/0.png\", \"label\": 3", "photos/metadata.jsonl: line 1 is no JSON object"),
        ("[1, 2]", "photos/metadata.jsonl: line 1 is no JSON object"),
        ("{\"file_name\": \"train/0.png\", \"label\": 3}\nx", "photos/metadata.jsonl: line 2 is no JSON object"),
        ("{\"file_name\": \"0.png\", \"label\": 3}", "photos/metadata.jsonl: line 1: there is no file photos/0.png"),
        // Columns are those of all lines.
        ("{\"label\": 3}\n{\"file_name\": \"train/0.png\"}", "photos/metadata.jsonl: line 1: there is no file photos"),
        (
            "{\"file_name\": \"train/0.png\", \"label\": 3}\n{\"file_name\": \"train/1.png\", \"split\": \"train\"}",
            "photos/metadata.jsonl: line 1: the split is \"\", expected train, test or validation",
        ),
    ] {
        sandbox.write("photos/metadata.jsonl", text.as_bytes());
        sandbox.limpid(ingest).exits(65).says(expected);
    }
    // A table in which no line names a file is ignored, as is a CSV without the column.
    sandbox.write("photos/metadata.jsonl", b"{\"label\": 3}\n{\"label\": 4}");
    sandbox.limpid(ingest).succeeds();
}

#[test]
fn mixed_images_are_refused_with_the_setting_that_accepts_them() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    folder(&sandbox);
    sandbox.write("photos/train/dog/c.png", &png(20, 10, 1));
    let ingest = "run small.toml --to ingest";
    sandbox
        .limpid(ingest)
        .exits(65)
        .says("photos/train/dog/c.png is 20×10, but photos/train/cat/z.BMP is 8×9")
        .says("`resize` or `crop` of the source");
    for setting in ["resize", "crop"] {
        sandbox.limpid(&format!("{ingest} --set source.folder.{setting}=[6,5]")).succeeds();
        assert_eq!(images(&sandbox, TRAIN).2.len(), 3 * 6 * 5 * 3);
    }
    sandbox.limpid(&format!("{ingest} --set source.folder.crop=[6,5] --set source.folder.resize=[6,5]")).exits(2);
    let grey: DynamicImage = picture(8, 9, 1).into_luma8().into();
    sandbox.write("photos/train/dog/c.png", &encoded(&grey, ImageFormat::Png));
    sandbox
        .limpid(ingest)
        .exits(65)
        .says("c.png is grey, but photos/train/cat/z.BMP is RGB; source.folder.grey = true");
    sandbox.limpid(&format!("{ingest} --set source.folder.grey=true")).succeeds();
    assert_eq!(images(&sandbox, TRAIN).2.len(), 3 * 8 * 9);
    sandbox.limpid(&format!("{ingest} --set source.folder.grey=false")).succeeds();
    assert_eq!(images(&sandbox, TRAIN).2.len(), 3 * 8 * 9 * 3);
}

#[test]
fn broken_images_end_the_run_or_are_listed() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    folder(&sandbox);
    let whole = png(8, 9, 5);
    sandbox.write("photos/train/cat/a.png", &whole[..whole.len() - 30]);
    sandbox.write("photos/train/dog/a.jpg", b"%PDF of another kind");
    sandbox.write("photos/train/dog/c.jpg", b"");
    sandbox
        .limpid("run small.toml --to ingest")
        .exits(65)
        .says("cannot use 3 pictures; source.folder.on-error = \"skip\" leaves such pictures out and lists them\n")
        .says("\n  photos/train/cat/a.png: ")
        .says("\n  photos/train/dog/a.jpg: it is not a PNG, JPEG, WebP, GIF, BMP or TIFF picture, but a PDF file; ")
        .says("\n  photos/train/dog/c.jpg: ");
    assert!(!sandbox.path("runs/small/ingest").exists());
    let skip = "run small.toml --to ingest --set source.folder.on-error=skip";
    for threads in [1, 3] {
        sandbox.limpid(&format!("{skip} --threads {threads} --force")).succeeds().says("3 pictures cannot be read");
        // Ids count all files, bad ones included.
        assert_eq!(images(&sandbox, TRAIN).0, [1, 3]);
        let (rejected, _) = read(&sandbox, "runs/small/ingest/rejected.parquet");
        let paths: Vec<_> =
            rejected.column_by_name("path").expect("is there").as_string::<i32>().iter().flatten().collect();
        assert_eq!(paths, ["train/cat/a.png", "train/dog/a.jpg", "train/dog/c.jpg"]);
        assert_eq!(read(&sandbox, "runs/small/ingest/files.parquet").0.num_rows(), 3);
    }
    sandbox
        .limpid(&format!("{skip} --set source.folder.max-rejected=2"))
        .exits(65)
        .says("more than 2 pictures cannot be read (source.folder.max-rejected)")
        .says("train/dog/a.jpg");
    sandbox.write("photos/test/dog/a.webp", b"");
    sandbox.limpid(skip).exits(65).says("no picture of the split test can be read");
    // Of many bad pictures ten are named and all are counted, whatever their split.
    (0..30).for_each(|index| _ = sandbox.write(&format!("photos/train/dog/x{index:02}.png"), b"x"));
    for threads in [1, 3] {
        sandbox
            .limpid(&format!("run small.toml --to ingest --threads {threads}"))
            .exits(65)
            .says("cannot use 34 pictures; ")
            .says("\n  photos/train/cat/a.png: ")
            .says("\n  photos/train/dog/x06.png: it is not a PNG")
            .says("\n  and 24 more\n")
            .never_says("x07.png");
    }
    assert!(!sandbox.path("runs").exists() || !sandbox.path("runs/small/.scratch").exists());
    // A common reason is not hidden by a rare one.
    sandbox.write("photos/train/dog/c.png", &png(20, 10, 1));
    sandbox.limpid("run small.toml --to ingest").exits(65).says("c.png is 20×10, but photos/train/cat/z.BMP is 8×9");
}

#[test]
fn a_folder_without_images_is_refused() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    sandbox.limpid("run small.toml").exits(65).says("photos does not exist");
    sandbox.write("photos/notes.txt", b"");
    sandbox.limpid("run small.toml").exits(65).says("photos holds no image files");
    sandbox.write("photos/train/a/1.png", &png(4, 4, 1));
    sandbox.limpid("run small.toml").exits(65).says("has a sub-folder train but none called test");
    sandbox.write("photos/test/1.png", &png(4, 4, 1));
    sandbox.limpid("run small.toml").exits(65).says("photos/test/1.png lies in no sub-folder that could be its label");
    sandbox.limpid("run small.toml --to ingest --set source.folder.labels=none").succeeds();
    assert_eq!(images(&sandbox, TRAIN).1, [None]);
}

#[test]
fn splits_that_differ_in_capitals_are_no_labels() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    for path in ["photos/Train/cat/1.png", "photos/Train/dog/2.png", "photos/Test/cat/3.png"] {
        sandbox.write(path, &png(4, 4, 1));
    }
    if sandbox.path("photos/train").exists() {
        return println!("skipped: this file system takes Train for train");
    }
    let said = "splits by sub-folders: train is Train (2 images), test is Test (1)";
    sandbox.limpid("run small.toml --to ingest").succeeds().says(said);
    assert_eq!(images(&sandbox, TRAIN).1, [Some(0), Some(1)]);
    let named = "--set source.folder.train=Train --set source.folder.test=Test";
    sandbox.limpid(&format!("run small.toml --to ingest {named}")).succeeds().never_says("splits by sub-folders");
    assert_eq!(images(&sandbox, TRAIN).1, [Some(0), Some(1)]);
}

#[test]
fn a_run_does_not_write_over_what_no_run_has_made() {
    let sandbox = sandbox("folder = { path = \"photos\" }");
    folder(&sandbox);
    let before = sandbox.files("photos");
    for words in ["run small.toml", "plan small.toml"] {
        let words = format!("{words} --runs . --set name=\"photos\"");
        sandbox.limpid(&words).exits(2).says("the run directory ./photos would lie among the images of photos");
    }
    // Nor into a folder with a sub-folder that a stage would replace.
    sandbox.write("other/train/mine.txt", b"mine");
    let other = "run small.toml --runs . --set name=\"other\"";
    sandbox.limpid(other).exits(2).says("./other/train exists and no run has made it");
    assert_eq!((sandbox.files("photos"), sandbox.files("other").len()), (before, 1));
    std::fs::remove_file(sandbox.path("other/train/mine.txt")).expect("removed");
    sandbox.limpid(other).succeeds();
    // A result of a run may be replaced, even if its receipt is lost.
    std::fs::remove_file(sandbox.path("other/train/_receipt.json")).expect("removed");
    sandbox.limpid(other).succeeds().says("train: its receipt is missing");
}

#[test]
fn a_draw_that_leaves_a_split_empty_says_what_decides_it() {
    let sandbox = sandbox("folder = { path = \"photos\", labels = \"none\", test-fraction = 0.0001 }");
    sandbox.write("photos/1.png", &png(4, 4, 1));
    let message = "test-fraction = 0.0001 of 1 images leaves none for the split test; another `test-fraction`";
    sandbox.limpid("run small.toml --to ingest").exits(65).says(message);
}

#[test]
fn a_model_applies_to_pictures_and_folders_of_them() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    for index in [2, 0, 1] {
        sandbox.write(&format!("scans/{index}.png"), &png(28, 28, index));
    }
    sandbox.limpid("denoise runs/small scans scans/1.png -o out").succeeds().prints("out/scans.parquet");
    // Converted to grey, since the model's images are.
    let (ids, labels, pixels) = images(&sandbox, "out/scans.parquet");
    assert_eq!((ids, labels, pixels.len()), (vec![0, 1, 2], vec![None; 3], 3 * 784));
    assert_eq!(images(&sandbox, "out/1.parquet").2, pixels[784..1568]);
    sandbox.write("scans/3.png", &png(28, 29, 0));
    sandbox
        .limpid("encode runs/small scans -o out")
        .exits(65)
        .says("scans/3.png is 28×29, but scans/0.png is 28×28; scans has images of different sizes")
        .says("; --resize or --crop makes pictures fit");
    sandbox
        .limpid("encode runs/small scans/3.png -o out")
        .exits(65)
        .says("but the model takes images of 28×28; --resize or --crop makes pictures fit");
    // The same as the settings of a pipeline.
    for (option, setting) in [("--resize", "resize"), ("--crop", "crop")] {
        let folder = format!("{{path=\"scans\",labels=\"none\",test-fraction=0.5,{setting}=[28,28],grey=true}}");
        let pipeline = format!("[source]\nfolder = {folder}\n[model]\ndense = {{ code = 2 }}\n");
        sandbox.write(&format!("{setting}.toml"), pipeline.as_bytes());
        sandbox.limpid(&format!("run {setting}.toml --to ingest")).succeeds();
        let tables = ["train", "test"].map(|split| format!("runs/{setting}/ingest/{split}-00000-of-00001.parquet"));
        let inputs = tables.join(" ");
        sandbox.limpid(&format!("encode runs/small {inputs} -o {setting}/a")).succeeds();
        sandbox.limpid(&format!("encode runs/small scans {option} -o {setting}/b")).succeeds();
        let codes = |path: &str| {
            let (batch, _) = read(&sandbox, &format!("{setting}/{path}"));
            let code = batch.column_by_name("code").expect("is there").as_fixed_size_list();
            let numbers = code.values().as_primitive::<Float32Type>().values().to_vec();
            let ids = batch.column_by_name("id").expect("is there").as_primitive::<Int64Type>().values().to_vec();
            ids.into_iter().zip(numbers.chunks(8).map(<[f32]>::to_vec).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let (files, _) = read(&sandbox, &format!("runs/{setting}/ingest/files.parquet"));
        let paths = files.column_by_name("path").expect("is there").as_string::<i32>();
        let splits = [codes("a/train-00000-of-00001.parquet"), codes("a/test-00000-of-00001.parquet")].concat();
        for (path, (_, code)) in paths.iter().flatten().zip(splits) {
            let id: i64 = path.trim_end_matches(".png").parse().expect("is a number");
            assert!(codes("b/scans.parquet").contains(&(id, code)), "{setting} {path}");
        }
    }
    sandbox.limpid("encode runs/small scans -o out --crop --resize").exits(2).says("cannot be used with");
    sandbox.write("broken/1.png", &png(28, 28, 0));
    let whole = png(28, 28, 0);
    sandbox.write("broken/2.png", &whole[..whole.len() - 30]);
    sandbox.write("broken/3.png", b"");
    sandbox
        .limpid("encode runs/small broken -o out")
        .exits(65)
        .says("cannot use 2 pictures; --on-error skip")
        .says("broken/3.png: ");
    assert!(!sandbox.path("out/broken.parquet").exists() && !sandbox.path("out/.broken.parquet.new").exists());
    sandbox.limpid("encode runs/small broken/2.png -o out").exits(65).says("cannot use broken/2.png: unexpected end");
    sandbox.limpid("inspect scans/3.png").succeeds().prints("a picture of 28×29×3");
    sandbox.limpid("inspect scans").exits(65).says("is a folder of pictures");
}

/// Trains on coloured digits and returns the errors of the model's images, of its inputs, and of a constant.
fn learned(sandbox: &Sandbox) -> [f64; 3] {
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("plan small.toml --check").succeeds();
    let metrics: serde_json::Value =
        serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    [0, 1, 2].map(|row| metrics["scores"][row]["mse"].as_f64().expect("is a number"))
}

const COLOURED: &str = "\n[source]\nstrokes = { train = 1500, test = 200, colour = true }\n[model]\n\
    dense = { hidden = [64], code = 24 }\nloss = \"mse\"\n[training]\ninput = \"noisy\"\nlearning-rate = 0.003\n";

#[test]
fn grey_images_are_coloured() {
    let sandbox = Sandbox::with(&format!("corruption.grayscale = {{}}{COLOURED}epochs = 12\nbatch-size = 25\n"));
    let [made, _, constant] = learned(&sandbox);
    assert!(made * 1.4 < constant, "{made} and {constant}");
    let chroma = |stage: &str| {
        let pixels = images(&sandbox, &format!("runs/small/{stage}/test-00000-of-00001.parquet")).2;
        let differences = pixels.chunks(3).map(|pixel| f64::from(pixel[0].abs_diff(pixel[2])));
        differences.sum::<f64>() / pixels.len() as f64
    };
    assert_eq!(chroma("corrupt"), 0.0);
    assert!(chroma("denoise") > chroma("ingest") / 2.0, "{} of {}", chroma("denoise"), chroma("ingest"));
}

#[test]
fn pairs_of_noisy_images_teach_what_is_clean() {
    let pairs = "target = \"noisy\"\nnoise = \"fixed\"\n";
    let noise = "corruption.gaussian.std = 0.2";
    let sandbox = Sandbox::with(&format!("{noise}{COLOURED}epochs = 6\nbatch-size = 50\n{pairs}"));
    // Scored against the clean images, which training never used.
    let [made, given, _] = learned(&sandbox);
    assert!(made * 2.0 < given, "{made} after {given}");
}

#[test]
fn the_first_of_the_usual_columns_counts_and_a_file_is_listed_once() {
    let sandbox = sandbox("folder = { path = \"photos\", csv = \"list.csv\", outside = true }");
    for index in 0..3 {
        sandbox.write(&format!("photos/a/{index}.png"), &png(4, 4, index));
    }
    let rows = |third: &str| {
        format!("name,category,file_name,label,split\nRex,7,a/0.png,1,train\nTom,8,a/1.png,2,test\n{third}")
    };
    sandbox.write("list.csv", rows("Kim,9,a/2.png,3,test\n").as_bytes());
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&sandbox, TRAIN).1, images(&sandbox, TEST).1), (vec![Some(1)], vec![Some(2), Some(3)]));
    let whole = sandbox.path("photos/a/0.png").canonicalize().expect("is there");
    for again in ["a/../a/0.png", "../photos/a/0.png", whole.to_str().expect("is text")] {
        sandbox.write("list.csv", rows(&format!("Kim,9,{again},3,test\n")).as_bytes());
        sandbox
            .limpid("run small.toml --to ingest")
            .exits(65)
            .says("are the same file, which is listed twice")
            .says(again);
    }
    // A link is an image of its own, as where a store of contents is behind a folder, and is told.
    std::os::unix::fs::symlink("0.png", sandbox.path("photos/a/link.png")).expect("linked");
    sandbox.write("list.csv", rows("Kim,9,a/link.png,3,test\n").as_bytes());
    sandbox
        .limpid("run small.toml --to ingest")
        .succeeds()
        .says("maybe in another split: 1, such as photos/a/link.png");
    assert_eq!(images(&sandbox, TEST).1, vec![Some(2), Some(3)]);
    let texts: String =
        (0..70_000).map(|index| format!("{index},7,../many/{index}.png,about {index},train\n")).collect();
    sandbox.write("list.csv", rows(&texts).as_bytes());
    std::fs::create_dir(sandbox.path("many")).expect("created");
    for index in 0..70_000 {
        std::fs::hard_link(sandbox.path("photos/a/0.png"), sandbox.path(&format!("many/{index}.png")))
            .or_else(|_| std::fs::write(sandbox.path(&format!("many/{index}.png")), b""))
            .expect("written");
    }
    sandbox
        .limpid("run small.toml --to ingest")
        .exits(65)
        .says("has more than 65536 different texts, which are no names");
}
