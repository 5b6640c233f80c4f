//! `limpid denoise` from pictures to pictures.

use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt8Type;
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::harness::Sandbox;
use crate::own_arrays::npy;
use crate::own_images::encoded;

/// A model for any size, trained for a moment.
pub const PIPELINE: &str = r#"
[source]
strokes = { train = 60, test = 20 }
[corruption]
gaussian = { std = 0.3 }
[model]
unet = { channels = [3, 5, 4], residual-blocks = 1 }
[training]
input = "noisy"
epochs = 1
"#;

fn trained_with(pipeline: &str) -> Sandbox {
    let sandbox = Sandbox::with(pipeline);
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox
}

fn trained() -> Sandbox {
    trained_with(PIPELINE)
}

fn grey(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| Luma([(x * 7 + y * 13 + (x * y) % 31) as u8]))
}

fn colour(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7 + y) as u8, (y * 5) as u8, ((x * y) % 251) as u8]))
}

fn open(sandbox: &Sandbox, name: &str) -> DynamicImage {
    image::load_from_memory(&sandbox.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The bytes of the images in a table.
fn table(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).expect("is there");
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build()).expect("is a table");
    let batches = reader.map(|batch| batch.expect("is whole"));
    let images = batches.flat_map(|batch| {
        let column = batch.column_by_name("image").expect("is there").as_fixed_size_list().values().clone();
        column.as_primitive::<UInt8Type>().values().to_vec()
    });
    images.collect()
}

#[test]
fn a_picture_becomes_what_the_table_holds() {
    let sandbox = trained();
    sandbox.write("page.png", &encoded(&grey(28, 28).into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small page.png -o out").succeeds().prints("out/page.parquet");
    sandbox.limpid("denoise runs/small page.png -o new/clean.png").succeeds().prints("new/clean.png");
    let made = open(&sandbox, "new/clean.png");
    assert_eq!((made.color(), made.as_bytes()), (image::ColorType::L8, &table(&sandbox.path("out/page.parquet"))[..]));
    assert_ne!(made.as_bytes(), grey(28, 28).as_raw().as_slice());
    // Whatever the format that is named, and the number of threads.
    for name in ["clean.tif", "clean.bmp", "clean.webp"] {
        sandbox.limpid(&format!("denoise runs/small page.png --threads 1 -o {name}")).succeeds();
        assert_eq!(open(&sandbox, name).into_luma8(), made.to_luma8(), "{name}");
    }
    sandbox.limpid("denoise runs/small page.png -o clean.jpg").succeeds();
    assert_eq!(open(&sandbox, "clean.jpg").color(), image::ColorType::L8);
    // Nothing else is left.
    assert_eq!(sandbox.files("new").len(), 1);
}

#[test]
fn colours_are_cleaned_one_by_one_and_depth_and_transparency_stay() {
    let sandbox = trained();
    let photo = colour(131, 70);
    sandbox.write("photo.png", &encoded(&photo.clone().into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small photo.png -o clean.png").succeeds();
    let clean = open(&sandbox, "clean.png").into_rgb8();
    for channel in 0..3 {
        let plane = GrayImage::from_fn(131, 70, |x, y| Luma([photo.get_pixel(x, y)[channel]]));
        sandbox.write("plane.png", &encoded(&plane.into(), ImageFormat::Png));
        sandbox.limpid("denoise runs/small plane.png -o one.png").succeeds();
        let one = open(&sandbox, "one.png").into_luma8();
        assert!(one.enumerate_pixels().all(|(x, y, pixel)| pixel[0] == clean.get_pixel(x, y)[channel]), "{channel}");
    }
    // The transparency stays as it is, and does not matter.
    let veiled = RgbaImage::from_fn(131, 70, |x, y| {
        let Rgb([r, g, b]) = *photo.get_pixel(x, y);
        Rgba([r, g, b, (x + y) as u8])
    });
    sandbox.write("veiled.png", &encoded(&veiled.clone().into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small veiled.png -o clean-veiled.tiff").succeeds();
    let made = open(&sandbox, "clean-veiled.tiff").into_rgba8();
    assert!(made.pixels().zip(veiled.pixels()).all(|(made, before)| made[3] == before[3]));
    assert!(made.pixels().zip(clean.pixels()).all(|(made, clean)| made.0[..3] == clean.0));
    // 16 bits are not rounded to 8 on the way.
    let deep = ImageBuffer::from_fn(50, 41, |x, y| Luma([(x * 1000 + y * 313 + 7) as u16]));
    sandbox.write("deep.png", &encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png));
    sandbox.limpid("denoise runs/small deep.png -o clean-deep.png").succeeds();
    let made = open(&sandbox, "clean-deep.png");
    assert_eq!(made.color(), image::ColorType::L16);
    assert!(made.into_luma16().pixels().filter(|pixel| pixel[0] % 257 != 0).count() > 1000);
    // Floats stay floats, and agree with the bytes up to their rounding.
    let floats = ImageBuffer::from_fn(131, 70, |x, y| Rgb(photo.get_pixel(x, y).0.map(|byte| f32::from(byte) / 255.0)));
    sandbox.write("floats.tif", &encoded(&DynamicImage::ImageRgb32F(floats), ImageFormat::Tiff));
    sandbox.limpid("denoise runs/small floats.tif -o clean-floats.tif").succeeds();
    let made = open(&sandbox, "clean-floats.tif");
    assert_eq!(made.color(), image::ColorType::Rgb32F);
    let made = made.into_rgb32f();
    let near = |made: &f32, byte: &u8| (made * 255.0 - f32::from(*byte)).abs() <= 0.501;
    assert!(made.as_raw().iter().zip(clean.as_raw()).all(|(made, byte)| near(made, byte)));
}

#[test]
fn a_folder_of_pictures_of_any_size_becomes_the_same_folder() {
    let sandbox = trained();
    sandbox.write("scans/a.png", &encoded(&grey(1, 1).into(), ImageFormat::Png));
    sandbox.write("scans/b/c.JPG", &encoded(&colour(90, 33).into(), ImageFormat::Jpeg));
    sandbox.write("scans/b/d.tif", &encoded(&grey(7, 300).into(), ImageFormat::Tiff));
    sandbox.write("scans/notes.txt", b"not a picture");
    sandbox.write("single.bmp", &encoded(&colour(40, 50).into(), ImageFormat::Bmp));
    let done = sandbox.limpid("denoise runs/small scans single.bmp --pictures -o clean").succeeds();
    done.prints("clean/a.png\n").prints("clean/b/c.JPG\n").prints("clean/b/d.tif\n").prints("clean/single.bmp\n");
    let names: Vec<_> = sandbox.files("clean").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a.png", "b/c.JPG", "b/d.tif", "single.bmp"]);
    for (name, size) in [("a.png", (1, 1)), ("b/c.JPG", (90, 33)), ("b/d.tif", (7, 300)), ("single.bmp", (40, 50))] {
        let made = open(&sandbox, &format!("clean/{name}"));
        assert_eq!((made.width(), made.height()), size, "{name}");
    }
    // The same again, with another number of threads.
    sandbox.limpid("denoise runs/small scans single.bmp --pictures --threads 3 -o again").succeeds();
    assert_eq!(sandbox.files("clean"), sandbox.files("again"));
    sandbox.limpid("denoise runs/small scans --pictures -o scans/clean").exits(2).says("whose pictures the next run");
    sandbox.write("more/a.png", &encoded(&grey(2, 2).into(), ImageFormat::Png));
    sandbox
        .limpid("denoise runs/small scans more --pictures -o both")
        .exits(2)
        .says("scans/a.png would both be written to both/a.png");
    sandbox.limpid("denoise runs/small more --pictures -o more").exits(2).says("lies in more");
    assert!(!sandbox.path("both").exists());
}

#[test]
fn what_cannot_be_done_is_said_with_what_can() {
    let sandbox = trained();
    sandbox.write("page.png", &encoded(&grey(30, 30).into(), ImageFormat::Png));
    let deep = ImageBuffer::from_pixel(9, 9, Luma([300_u16]));
    sandbox.write("deep.png", &encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png));
    let says = |words: &str, code: i32, expected: &str| {
        sandbox.limpid(&format!("denoise runs/small {words}")).exits(code).says(expected);
    };
    says("deep.png -o x.jpg", 2, "a JPEG file cannot hold numbers of 16 bits; name a .png or a .tif");
    says("page.png deep.png -o x.png", 2, "x.png is one picture, but there are several inputs; name a folder with -o");
    let table = "runs/small/ingest/test-00000-of-00001.parquet";
    let none = format!("x.png is a picture, but {table} is none; name a folder with -o");
    says(&format!("{table} -o x.png"), 2, &none);
    says("page.png -o ./page.png", 2, "page.png would be overwritten by its own result");
    says("page.png --pictures -o .", 2, "page.png would be overwritten by its own result");
    says("page.png --resize -o x.png", 2, "--resize, --crop and --image are for tables");
    says("page.png --pictures -o x.png", 2, "--pictures writes to a folder");
    says(&format!("{table} --pictures -o x"), 2, &format!("{table} is neither a picture nor a folder"));
    says("small.toml -o x.png", 65, "small.toml is a TOML file");
    says("page.png -o runs/small/train/x.png", 2, "is the result of a run");
    sandbox.write("named", &sandbox.read("page.png"));
    says("named --pictures -o x", 2, "the name of named does not say its format");
    let cut = sandbox.read("page.png");
    sandbox.write("cut.png", &cut[..cut.len() - 20]);
    says("cut.png -o x.png", 65, "cannot denoise cut.png");
    let float = ImageBuffer::from_pixel(9, 9, Rgb([0.5_f32, 2.0, 0.0]));
    sandbox.write("float.tif", &encoded(&DynamicImage::ImageRgb32F(float), ImageFormat::Tiff));
    says("float.tif -o x.tif", 65, "row 0 holds 2; floats must lie in [0, 1]; scale it");
    says("float.tif -o x.png", 2, "a PNG file cannot hold numbers of 32-bit floats; name a .tif");
    for name in ["x", "x.png", "x.tif", ".x.png.new", ".x.tif.new"] {
        assert!(!sandbox.path(name).exists(), "{name}");
    }
    // A folder of that name is written to as before.
    std::fs::create_dir(sandbox.path("folder.png")).expect("created");
    sandbox.limpid("denoise runs/small page.png --resize -o folder.png").succeeds().prints("folder.png/page.parquet");
}

#[test]
fn the_mean_over_the_orientations_is_taken_where_it_is_asked_for() {
    let sandbox = trained();
    sandbox.write("page.png", &encoded(&grey(61, 45).into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small page.png -o plain.png").succeeds();
    sandbox.limpid("denoise runs/small page.png -o mean.png --ensemble").succeeds();
    sandbox.limpid("denoise runs/small page.png -o again.png --ensemble --threads 1").succeeds();
    sandbox.limpid("denoise runs/small page.png -o table --ensemble").succeeds();
    let made = |name: &str| open(&sandbox, name).into_luma8().into_raw();
    assert_ne!(made("plain.png"), made("mean.png"));
    assert_eq!(made("again.png"), made("mean.png"));
    assert_eq!(table(&sandbox.path("table/page.parquet")), made("mean.png"));
    // A stage takes it from its setting, which belongs to it alone.
    sandbox.limpid("run small.toml --to denoise").succeeds();
    let denoised = || sandbox.read("runs/small/denoise/test-00000-of-00001.parquet");
    let plain = denoised();
    sandbox
        .limpid("run small.toml --to denoise --set denoise.ensemble=true")
        .succeeds()
        .says("train: up to date")
        .never_says("denoise: up to date");
    assert_ne!(denoised(), plain);
    let model =
        "npy = { train = \"train.npy\", test = \"test.npy\" }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n";
    let sandbox = Sandbox::with(&format!("[source]\n{model}"));
    for (name, grey) in [("train.npy", 7), ("test.npy", 9)] {
        sandbox.write(name, &crate::own_arrays::npy("|u1", "(20, 4, 5)", &[grey; 400]));
    }
    sandbox
        .limpid("run small.toml --to denoise --set denoise.ensemble=true")
        .exits(2)
        .says("a dense layer binds the model to images of 4×5")
        .says("which cannot be turned; leave the ensemble out");
}

#[test]
fn models_of_one_size_or_of_colour_say_so() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.write("page.png", &encoded(&grey(28, 28).into(), ImageFormat::Png));
    sandbox
        .limpid("denoise runs/small page.png -o x.png")
        .exits(2)
        .says("a dense layer binds it to images of 28×28; train a unet, or a conv without a code");
    let sandbox = trained_with(&PIPELINE.replace("test = 20", "test = 20, colour = true"));
    sandbox.write("page.png", &encoded(&grey(28, 28).into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small page.png -o x.png").exits(2).says("it has 1 channels, but the model takes 3");
    sandbox.write("photo.png", &encoded(&colour(45, 31).into(), ImageFormat::Png));
    sandbox.limpid("denoise runs/small photo.png -o x.png").succeeds();
    assert_eq!(open(&sandbox, "x.png").color(), image::ColorType::Rgb8);
}

#[test]
fn a_result_is_published_whole_and_of_an_unchanged_picture() {
    let sandbox = trained();
    let page = encoded(&grey(300, 300).into(), ImageFormat::Png);
    for (fault, code, expected) in [
        ("write:1:ENOSPC", 74, "cannot denoise page.png"),
        ("sync:1:EIO", 74, "cannot denoise page.png"),
        ("rename:1:EIO", 74, "cannot denoise page.png"),
        ("create ./.x:1:terminate", 75, "interrupted; the same command begins anew"),
        ("read page.png:3:edit", 75, "page.png has changed while it was read"),
    ] {
        sandbox.write("page.png", &page);
        for old in ["x.png", "x.tif"] {
            sandbox.write(old, b"the old one");
            let run = sandbox.limpid(&format!("denoise runs/small page.png -o {old}")).env("LIMPID_FAILPOINT", fault);
            run.exits(code).says(expected);
            assert_eq!(sandbox.read(old), b"the old one", "{fault}");
            assert!(!sandbox.path(&format!(".{old}.new")).exists(), "{fault}");
            sandbox.write("page.png", &page);
        }
    }
}

/// Memory follows the rows that are under way, not the picture.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_page() {
    let sandbox = trained_with(&PIPELINE.replace("[3, 5, 4], residual-blocks = 1", "[2, 2], residual-blocks = 0"));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let peak = |height: u32| {
            sandbox.write("page", &encoded(&grey(2500, height).into(), format));
            let name = if format == ImageFormat::Png { "x.png" } else { "x.tif" };
            let (done, peak) = sandbox.limpid(&format!("denoise runs/small page --threads 1 -o {name}")).peak();
            assert!(done.status().success(), "{done}");
            peak
        };
        let (short, long) = (peak(1000), peak(9000));
        let more = 8000 * 2500 / 1_000_000;
        println!("{format:?}: {short} MB for 2.5 megapixels, {long} MB for 22.5");
        assert!(long < short + more / 2, "{format:?}: {short} MB, {long} MB for {more} MB more");
    }
}

#[test]
fn arrays_of_another_size_become_tables_with_the_pixels_of_the_pictures() {
    let sandbox = trained();
    let (rows, columns) = (41, 30);
    let picture = grey(columns, rows);
    sandbox.write("page.npy", &npy("|u1", &format!("(1, {rows}, {columns})"), picture.as_raw()));
    sandbox.write("page.png", &encoded(&DynamicImage::ImageLuma8(picture), ImageFormat::Png));
    sandbox.limpid("denoise runs/small page.npy -o tables").succeeds();
    sandbox.limpid("denoise runs/small page.png -o clean.png").succeeds();
    let clean = open(&sandbox, "clean.png").into_luma8();
    assert_eq!((clean.height(), clean.width()), (rows, columns));
    assert_eq!(table(&sandbox.path("tables/page.parquet")), clean.into_raw());
}
