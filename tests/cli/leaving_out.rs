//! Pictures that cannot be used: `--on-error skip` of `encode` and `denoise`, and where the images of a folder came from.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::{classes, encoded, images};

fn grey(width: u32, height: u32) -> Vec<u8> {
    let image = GrayImage::from_fn(width, height, |x, y| Luma([(x * 7 + y * 13) as u8]));
    encoded(&image.into(), ImageFormat::Png)
}

fn floats(number: f32) -> Vec<u8> {
    let image =
        ImageBuffer::from_fn(28, 28, |x, _| Rgb([if x == 3 { f32::NAN } else { number }, number + 7.0, number]));
    encoded(&DynamicImage::ImageRgb32F(image), ImageFormat::Tiff)
}

/// The texts of a column.
fn texts(sandbox: &Sandbox, path: &str, column: &str) -> Vec<String> {
    let (batch, _) = read(sandbox, path);
    let texts = batch.column_by_name(column).expect("is there").as_string::<i32>();
    texts.iter().map(|text| text.expect("is not null").to_owned()).collect()
}

fn ids(sandbox: &Sandbox, path: &str) -> Vec<i64> {
    let (batch, _) = read(sandbox, path);
    batch.column_by_name("id").expect("is there").as_primitive::<Int64Type>().values().to_vec()
}

#[test]
fn the_images_of_a_folder_know_their_files_and_bad_ones_are_left_out() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    for name in ["cat/0", "dog/1", "dog/3"] {
        sandbox.write(&format!("scans/{name}.png"), &grey(28, 28));
    }
    let whole = grey(28, 28);
    sandbox.write("scans/dog/2.png", &whole[..whole.len() - 20]);
    sandbox.write("scans/cat/x.png", b"xx");
    for command in ["encode", "denoise"] {
        sandbox
            .limpid(&format!("{command} runs/small scans -o {command}"))
            .exits(65)
            .says("cannot use 2 pictures; --on-error skip leaves such pictures out and lists them\n")
            .says("\n  scans/dog/2.png: ");
        assert!(sandbox.files(command).is_empty());
        for threads in [1, 3] {
            let line = format!("{command} runs/small scans -o {command} --on-error skip --threads {threads}");
            sandbox
                .limpid(&line)
                .succeeds()
                .says("left out: 2 pictures that cannot be used, such as cat/x.png: ")
                .says(&format!("{command}/scans.rejected.parquet lists them"));
            assert_eq!(ids(&sandbox, &format!("{command}/scans.parquet")), [0, 2, 4]);
            assert_eq!(
                texts(&sandbox, &format!("{command}/scans.rejected.parquet"), "path"),
                ["cat/x.png", "dog/2.png"]
            );
            let files = format!("{command}/scans.files.parquet");
            assert_eq!(
                (ids(&sandbox, &files), texts(&sandbox, &files, "path")),
                (vec![0, 2, 4], ["cat/0.png", "dog/1.png", "dog/3.png"].map(str::to_owned).to_vec())
            );
            assert_eq!(sandbox.files(command).len(), 3);
        }
        sandbox
            .limpid(&format!("{command} runs/small scans -o {command} --on-error skip --max-rejected 1"))
            .exits(65)
            .says("more than 1 pictures cannot be read (--max-rejected)");
    }
    assert_eq!(images(&sandbox, "denoise/scans.parquet").1, [Some(0), Some(1), Some(1)]);
    assert_eq!(classes(&sandbox, "denoise/scans.parquet").as_deref(), Some("[\"cat\",\"dog\"]"));
    // The folders of the splits are no labels.
    sandbox.write("both/train/cat/0.png", &grey(28, 28));
    sandbox.write("both/test/dog/0.png", &grey(28, 28));
    sandbox.limpid("denoise runs/small both -o both-clean").succeeds();
    assert_eq!(classes(&sandbox, "both-clean/both.parquet").as_deref(), Some("[\"cat\",\"dog\"]"));
    sandbox.write("bad/0.png", b"xx");
    sandbox.limpid("encode runs/small bad -o out --on-error skip").exits(65).says("cannot use bad/0.png: ");
    sandbox.write("both.files/0.png", &grey(28, 28));
    sandbox
        .limpid("encode runs/small both both.files -o out")
        .exits(2)
        .says("both and both.files would both be written to both.files.parquet");
}

#[test]
fn pictures_are_cleaned_side_by_side_and_bad_ones_are_left_out() {
    let sandbox = Sandbox::with(
        "[source]\nstrokes = { train = 60, test = 20 }\n[corruption]\ngaussian = { std = 0.3 }\n\
         [model]\nunet = { channels = [3, 4] }\n[training]\ninput = \"noisy\"\nepochs = 1\n",
    );
    sandbox.limpid("run small.toml --to train").succeeds();
    for index in 0..7 {
        sandbox.write(&format!("scans/{index}.png"), &grey(40 + 9 * index, 30));
    }
    // So large that it is taken by itself.
    sandbox.write("scans/large.png", &grey(2100, 2100));
    sandbox.write("scans/3.png", b"xx");
    sandbox.write("scans/f.tif", &floats(40.0));
    let fails = |threads: u32| {
        sandbox.limpid(&format!("denoise runs/small scans --pictures -o x{threads} --threads {threads}"))
    };
    fails(1).exits(65).says("cannot denoise scans/3.png");
    fails(3).exits(65).says("cannot denoise scans/3.png");
    let printed = ["0", "1", "2", "4", "5", "6", "large"].map(|name| format!("clean/{name}.png\n")).concat();
    let mut made = None;
    for threads in [1, 2, 4] {
        let done = sandbox
            .limpid(&format!("denoise runs/small scans --pictures -o clean --on-error skip --threads {threads}"));
        done.succeeds()
            .prints(&printed)
            .says("left out: 2 pictures that cannot be used, such as 3.png: ")
            .says("clean/rejected.parquet lists them");
        assert_eq!(texts(&sandbox, "clean/rejected.parquet", "path"), ["3.png", "f.tif"]);
        let reason = &texts(&sandbox, "clean/rejected.parquet", "reason")[1];
        assert!(reason.contains("row 0 holds 40; floats must lie in [0, 1]"), "{reason}");
        let files = sandbox.files("clean");
        assert!(*made.get_or_insert_with(|| files.clone()) == files, "{threads} threads");
    }
}

#[test]
fn floats_that_are_no_brightness_are_refused_with_their_range() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.write("pics/0.tif", &floats(0.0));
    let expected = "cannot use pics/0.tif: it holds floats of 0 to 7 and NaN, but they must lie in [0, 1]: scale it";
    sandbox.limpid("encode runs/small pics -o out").exits(65).says(expected);
    (1..8).for_each(|index| _ = sandbox.write(&format!("pics/{index}.tif"), &floats(index as f32 / 9.0)));
    let source = "[source]\nfolder = { path = \"pics\", test-fraction = 0.4 }\n[model]\ndense = { code = 2 }\n";
    sandbox.write("own.toml", source.as_bytes());
    sandbox
        .limpid("run own.toml --to ingest")
        .exits(65)
        .says("cannot use 8 pictures; source.folder.on-error")
        .says("pics/0.tif: it holds floats of 0 to 7 and NaN");
}
