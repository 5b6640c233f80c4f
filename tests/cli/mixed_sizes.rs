//! Pictures of different sizes in one table, from ingest to the report.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, UInt8Type};
use arrow_array::{ArrayRef, Int32Array, ListArray, RecordBatch};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::png;

/// Rows and columns of the pictures, odd and even, of which none is the largest on both sides.
const SIDES: [[u32; 2]; 9] = [[40, 31], [32, 48], [33, 33], [64, 32], [32, 32], [47, 50], [41, 32], [32, 61], [39, 37]];

fn sandbox(training: &str) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        r#"
name = "small"
[source.folder]
path = "photos"
labels = "none"
test-fraction = 0.4
grey = true
[corruption]
gaussian = {{ std = [0.0, 0.2], clip = false }}
[model]
unet = {{ channels = [4, 6], residual-blocks = 1 }}
loss = "mse"
predict = "noise"
[training]
input = "noisy"
epochs = 2
batch-size = 8
{training}
[output]
pixels = "f32"
"#
    ));
    for (index, [rows, columns]) in SIDES.into_iter().enumerate() {
        sandbox.write(&format!("photos/{index}.png"), &png(rows, columns, index as u32));
    }
    sandbox
}

/// Rows and columns of each picture of a table, and its numbers as many as these say.
fn sides(batch: &RecordBatch) -> Vec<[u32; 2]> {
    let side = |name: &str| batch.column_by_name(name).expect("is there").as_primitive::<Int32Type>().values().clone();
    let lists = batch.column_by_name("image").expect("is there").as_list::<i32>();
    let sides =
        side("height").iter().zip(&side("width")).map(|(rows, columns)| [*rows as u32, *columns as u32]).collect();
    let lengths: Vec<_> = lists.offsets().lengths().collect();
    let expected =
        |sides: &Vec<[u32; 2]>| sides.iter().map(|[rows, columns]| (rows * columns) as usize).collect::<Vec<_>>();
    assert_eq!(lengths, expected(&sides));
    sides
}

fn table(sandbox: &Sandbox, stage: &str, split: &str) -> RecordBatch {
    read(sandbox, &format!("runs/small/{stage}/{split}-00000-of-00001.parquet")).0
}

#[test]
fn every_picture_keeps_its_size_through_all_stages() {
    let sandbox = sandbox("patch = 16\naugment = [\"rotate\", \"flip\"]");
    sandbox.limpid("run small.toml --threads 2").succeeds().says("report: done");
    let mut all = Vec::new();
    for split in ["train", "test"] {
        let clean = table(&sandbox, "ingest", split);
        let found = sides(&clean);
        assert_eq!(sides(&table(&sandbox, "corrupt", split)), found);
        assert_eq!(sides(&table(&sandbox, "denoise", split)), found);
        all.extend(found);
        // The pixels are those of the files.
        let files = read(&sandbox, "runs/small/ingest/files.parquet").0;
        let paths = files.column_by_name("path").expect("is there").as_string::<i32>();
        let splits = files.column_by_name("split").expect("is there").as_string::<i32>();
        let paths = paths.iter().zip(splits).filter(|(_, found)| *found == Some(split)).filter_map(|(path, _)| path);
        let lists = clean.column_by_name("image").expect("is there").as_list::<i32>();
        for (row, path) in paths.enumerate() {
            let file = image::load(Cursor::new(sandbox.read(&format!("photos/{path}"))), image::ImageFormat::Png);
            let rgb = file.expect("decodes").into_rgb8();
            let luma = |pixel: &image::Rgb<u8>| {
                let [red, green, blue] = pixel.0.map(u32::from);
                ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u8
            };
            let expected: Vec<u8> = rgb.pixels().map(luma).collect();
            assert_eq!(lists.value(row).as_primitive::<UInt8Type>().values()[..], expected, "{path}");
        }
    }
    all.sort_unstable();
    let mut expected = SIDES.to_vec();
    expected.sort_unstable();
    assert_eq!(all, expected);
    // The same bytes by one thread, and by the commands.
    let whole = sandbox.files("runs/small/denoise");
    sandbox.limpid("run small.toml --threads 1 --runs again").succeeds();
    assert!(sandbox.files("again/small/denoise") == whole);
    let noisy = "runs/small/corrupt/test-00000-of-00001.parquet";
    sandbox.limpid(&format!("denoise runs/small {noisy} photos -o out")).succeeds();
    let commanded = read(&sandbox, "out/test-00000-of-00001.parquet").0;
    assert_eq!(sides(&commanded), sides(&table(&sandbox, "denoise", "test")));
    assert_eq!(sides(&read(&sandbox, "out/photos.parquet").0), SIDES);
    sandbox.limpid(&format!("inspect {noisy}")).succeeds().prints("limpid.channels = 1").prints("height");
}

#[test]
fn exports_keep_the_sizes() {
    let sandbox = sandbox("patch = 16");
    sandbox.limpid("run small.toml --to corrupt").succeeds();
    let table = |profile: &str| read(&sandbox, &format!("{profile}/ingest/train-00000-of-00001.parquet")).0;
    let expected = sides(&self::table(&sandbox, "ingest", "train"));
    for profile in ["default", "spark"] {
        sandbox.limpid(&format!("export runs/small --to {profile} --profile {profile}")).succeeds();
        assert_eq!(sides(&table(profile)), expected);
    }
    sandbox.limpid("export runs/small --to hf --profile hf").succeeds();
    let files = table("hf");
    let files = files.column_by_name("image").expect("is there").as_struct().column(0).as_binary::<i32>().clone();
    let found = files.iter().flatten().map(|file| {
        let picture = image::load(Cursor::new(file), image::ImageFormat::Png).expect("is a picture");
        [picture.height(), picture.width()]
    });
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

/// A pipeline that trains on patches of what a Parquet file or folder has.
fn of_parquet(sandbox: &Sandbox, settings: &str, rest: &str) {
    let model = "[model]\nunet = { channels = [4, 6] }\nloss = \"mse\"\n";
    let text = format!(
        "name = \"again\"\n[source]\nparquet = {{ {settings} }}\n{model}[training]\npatch = 16\nepochs = 1\n{rest}[gate]\nbaselines = []\n"
    );
    sandbox.write("again.toml", text.as_bytes());
}

#[test]
fn tables_of_limpid_are_sources_of_the_same_pictures() {
    let sandbox = sandbox("patch = 16");
    sandbox.limpid("run small.toml --to denoise").succeeds();
    for profile in ["default", "spark"] {
        sandbox.limpid(&format!("export runs/small --to {profile} --profile {profile}")).succeeds();
    }
    let folders = ["runs/small/ingest", "runs/small/denoise", "default/ingest", "default/denoise", "spark/ingest"];
    for (split, folder) in ["train", "test"].into_iter().flat_map(|split| folders.map(|folder| (split, folder))) {
        of_parquet(&sandbox, &format!("path = \"{folder}\""), "");
        sandbox.limpid("run again.toml --to ingest").succeeds();
        let of = |folder: &str| read(&sandbox, &format!("{folder}/{split}-00000-of-00001.parquet")).0;
        let (made, expected) = (of("runs/again/ingest"), of(folder));
        assert_eq!(sides(&made), sides(&expected), "{folder}");
        for column in ["image", "height", "width", "label"] {
            assert!(made.column_by_name(column) == expected.column_by_name(column), "{folder}: {column}");
        }
        let ids = made.column_by_name("id").expect("is there").as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(ids, (0..made.num_rows() as i64).collect::<Vec<_>>());
    }
    // All stages take them; and made to fit, they have one size.
    of_parquet(&sandbox, "path = \"runs/small/ingest\"", "");
    sandbox.limpid("run again.toml").succeeds().says("report: done");
    sandbox.limpid("run again.toml --to ingest --set source.parquet.crop=[16,16]").succeeds();
    let images = read(&sandbox, "runs/again/ingest/test-00000-of-00001.parquet").0;
    assert_eq!(images.column_by_name("image").expect("is there").as_fixed_size_list().value_length(), 256);
}

#[test]
fn lists_of_other_programs_have_their_sides_in_columns() {
    let sandbox = sandbox("patch = 16");
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let clean = table(&sandbox, "ingest", "train");
    let column = |name: &str| clean.column_by_name(name).expect("is there").clone();
    let lists = column("image").as_list::<i32>().clone();
    let (field, offsets, values, _) = lists.into_parts();
    let darker = values.as_primitive::<UInt8Type>().unary::<_, UInt8Type>(|byte| byte / 2);
    let noisy: ArrayRef = Arc::new(ListArray::new(field, offsets, Arc::new(darker), None));
    let write = |columns: [(&str, ArrayRef); 4]| {
        let batch = RecordBatch::try_from_iter(columns).expect("fits");
        sandbox.write("all.parquet", b"");
        crate::foreign::write(&sandbox, "all.parquet", &[batch], parquet::basic::Compression::SNAPPY);
    };
    let sides_and = |noisy: &ArrayRef, height: ArrayRef| {
        [("width", column("width")), ("noisy", noisy.clone()), ("image", column("image")), ("height", height)]
    };
    write(sides_and(&noisy, column("height")));
    let all = "train = \"all.parquet\", test-fraction = 0.4";
    of_parquet(&sandbox, &format!("{all}, noisy = \"noisy\""), "input = \"noisy\"\n");
    sandbox.limpid("run again.toml").succeeds().says("report: done");
    let of = |place: &str, split: &str| read(&sandbox, &format!("runs/again/{place}/{split}-00000-of-00001.parquet")).0;
    let mut count = 0;
    for split in ["train", "test"] {
        let (made, noisy) = (of("ingest", split), of("ingest/noisy", split));
        assert_eq!(sides(&made), sides(&noisy));
        let numbers = |batch: &RecordBatch| {
            let images = batch.column_by_name("image").expect("is there").as_list::<i32>().values().clone();
            images.as_primitive::<UInt8Type>().values().to_vec()
        };
        assert!(numbers(&made).iter().map(|byte| byte / 2).eq(numbers(&noisy)), "{split}");
        count += made.num_rows();
    }
    assert_eq!(count, clean.num_rows());
    // A column may be the label and a side.
    of_parquet(&sandbox, &format!("{all}, label = \"height\""), "");
    sandbox.limpid("run again.toml --to ingest").succeeds();
    let made = of("ingest", "train");
    let labels = made.column_by_name("label").expect("is there").as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(labels, sides(&made).iter().map(|[rows, _]| i64::from(*rows)).collect::<Vec<_>>());
    // Sides that are not those of the lists.
    of_parquet(&sandbox, all, "");
    write(sides_and(&noisy, column("width")));
    sandbox
        .limpid("run again.toml --to ingest")
        .exits(65)
        .says("the first of its lists `image` has")
        .says("height and width");
    let mut heights = column("height").as_primitive::<Int32Type>().values().to_vec();
    heights[1] += 1;
    write(sides_and(&noisy, Arc::new(Int32Array::from(heights))));
    sandbox
        .limpid("run again.toml --to ingest")
        .exits(65)
        .says("row 1 of all.parquet: it has")
        .says("numbers, expected");
}

#[test]
fn what_needs_one_size_says_so() {
    let sandbox = sandbox("");
    sandbox
        .limpid("run small.toml")
        .exits(65)
        .says("photos/1.png is 32×48, but photos/0.png is 40×31")
        .says("set training.patch")
        .says("`resize` or `crop`");
    sandbox
        .limpid("run small.toml --set training.patch=33")
        .exits(65)
        .says("no patch of 33×33 fits into images of 40×31");
    sandbox.limpid("run small.toml --set source.folder.resize=[32,32]").succeeds();
}
