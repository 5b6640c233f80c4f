//! The source `parquet`: images in Parquet files of other programs.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, FixedSizeListBuilder, Float32Builder, ListBuilder, UInt8Builder};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field, Schema};
use image::{DynamicImage, ImageFormat};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::{TEST, TRAIN, classes, encoded, images, picture, png, sandbox};

/// Writes one column of images, and labels, as Parquet.
fn table(sandbox: &Sandbox, path: &str, image: ArrayRef, field: Option<Field>, label: ArrayRef) {
    sandbox.write(path, b"");
    let field = field.unwrap_or_else(|| Field::new("image", image.data_type().clone(), true));
    let schema = Schema::new(vec![Field::new("label", label.data_type().clone(), true), field]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![label, image]).expect("fits");
    crate::foreign::write(sandbox, path, &[batch], parquet::basic::Compression::SNAPPY);
}

#[test]
fn parquet_columns_of_every_kind_give_the_same_images() {
    let pictures: Vec<DynamicImage> = (0..3).map(|seed| picture(3, 4, seed)).collect();
    let pixels: Vec<u8> = pictures.iter().flat_map(|picture| picture.as_bytes().to_vec()).collect();
    let files: Vec<Vec<u8>> = pictures.iter().map(|picture| encoded(picture, ImageFormat::Png)).collect();
    let binary: ArrayRef =
        Arc::new(files.iter().map(|file| Some(file.as_slice())).collect::<arrow_array::BinaryArray>());
    let paths: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 3]));
    let fields =
        [("bytes", DataType::Binary), ("path", DataType::Utf8)].map(|(name, kind)| Field::new(name, kind, true));
    let hugging_face: ArrayRef = Arc::new(StructArray::new(fields.to_vec().into(), vec![binary.clone(), paths], None));
    let mut variable = ListBuilder::new(UInt8Builder::new());
    let mut fixed = FixedSizeListBuilder::new(Float32Builder::new(), 36);
    for image in pixels.chunks(36) {
        variable.values().append_slice(image);
        variable.append(true);
        image.iter().for_each(|&byte| fixed.values().append_value(f32::from(byte) / 255.0));
        fixed.append(true);
    }
    let variable: ArrayRef = Arc::new(variable.finish());
    let fixed: ArrayRef = Arc::new(fixed.finish());
    let tensor = Field::new("image", fixed.data_type().clone(), true).with_metadata(
        [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", "{\"shape\":[3,4,3]}")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None, Some(2)]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("b")]));
    let named = (vec![Some(1), None, Some(0)], Some("[\"b\",\"x\"]".to_owned()));
    for (name, column, field, label, settings) in [
        ("binary", &binary, None, &numbers, ""),
        ("struct", &hugging_face, None, &names, ""),
        ("variable", &variable, None, &numbers, "--set source.parquet.shape=[3,4,3]"),
        ("fixed", &fixed, None, &names, "--set source.parquet.shape=[3,4,3]"),
        ("tensor", &fixed, Some(tensor), &numbers, ""),
    ] {
        let sandbox = sandbox("parquet = { path = \"data\" }");
        table(&sandbox, "data/train-00000-of-00002.parquet", column.clone(), field.clone(), label.clone());
        table(&sandbox, "data/train-00001-of-00002.parquet", column.clone(), field.clone(), label.clone());
        table(&sandbox, "data/validation.parquet", column.slice(1, 1), field, label.slice(1, 1));
        sandbox.limpid(&format!("run small.toml --to ingest {settings}")).succeeds();
        let (ids, labels, found) = images(&sandbox, TRAIN);
        assert_eq!((ids, found), ((0..6).collect(), pixels.repeat(2)), "{name}");
        let expected =
            if label.data_type() == &DataType::Utf8 { named.clone() } else { (vec![Some(4), None, Some(2)], None) };
        assert_eq!((labels, classes(&sandbox, TRAIN)), (expected.0.repeat(2), expected.1), "{name}");
        assert_eq!(images(&sandbox, TEST).2, pixels[36..72], "{name}");
        let globs = format!("--set source.parquet={{train=\"data/train-*.parquet\",test=\"data/val*\"}} {settings}");
        sandbox.limpid(&format!("run small.toml --to ingest {globs}")).succeeds();
        assert_eq!(images(&sandbox, TRAIN).2.len(), 6 * 36, "{name}");
        sandbox.limpid(&format!("plan small.toml --to ingest --check {globs}")).succeeds();
        // Lists of pixels are resized as pictures are.
        let fit = "--set source.parquet.resize=[6,8] --set source.parquet.grey=true";
        sandbox.limpid(&format!("run small.toml --to ingest {settings} {fit}")).succeeds();
        assert_eq!(images(&sandbox, TRAIN).2.len(), 6 * 48, "{name}");
    }
    // Refused, since a run would read its own results.
    let sandbox = sandbox("parquet = { path = \".\" }");
    table(&sandbox, "train.parquet", binary.clone(), None, numbers.clone());
    table(&sandbox, "test.parquet", binary, None, numbers);
    sandbox.limpid("run small.toml").exits(2).says("the run directory runs/small would lie among the images of");
    let deep = "run small.toml --set source.parquet={train=\"**/train*.parquet\",test=\"**/test*.parquet\"}";
    sandbox.limpid(deep).exits(2).says("the run directory runs/small would lie among the images of");
    assert!(!sandbox.path("runs").exists());
    let elsewhere = tempfile::tempdir().expect("a folder");
    sandbox.limpid(&format!("run small.toml --to ingest --runs {}", elsewhere.path().display())).succeeds();
}

#[test]
fn parquet_that_cannot_be_used_says_why() {
    let sandbox = sandbox("parquet = { train = \"a.parquet\", test = \"b.parquet\" }");
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let mut binary = BinaryBuilder::new();
    binary.append_value(png(4, 4, 1));
    binary.append_value(b"no picture");
    let binary: ArrayRef = Arc::new(binary.finish());
    let both = |images: ArrayRef| {
        table(&sandbox, "a.parquet", images.clone(), None, labels.clone());
        table(&sandbox, "b.parquet", images, None, labels.clone());
    };
    both(binary);
    sandbox
        .limpid("run small.toml")
        .exits(65)
        .says("cannot use 2 pictures; ")
        .says("\n  row 1 of a.parquet: it is not a PNG, JPEG");
    sandbox.limpid("run small.toml --to ingest --set source.parquet.on-error=skip").succeeds();
    assert_eq!(read(&sandbox, "runs/small/ingest/rejected.parquet").0.num_rows(), 2);
    sandbox
        .limpid("run small.toml --set source.parquet.image=photo")
        .exits(65)
        .says("a.parquet has no column `photo`; name it with source.parquet.image; its columns: label, image");
    sandbox
        .limpid("run small.toml --set source.parquet.image=label")
        .exits(65)
        .says("its column `label` is Int64, expected pictures in binary");
    let mut list = ListBuilder::new(Float32Builder::new());
    for value in [0.5, 7.0] {
        list.values().append_slice(&[value; 4]);
        list.append(true);
    }
    both(Arc::new(list.finish()));
    sandbox.limpid("run small.toml").exits(65).says("set source.parquet.shape = [rows, columns]");
    sandbox
        .limpid("run small.toml --set source.parquet.shape=[2,2]")
        .exits(65)
        .says("row 1 of a.parquet: it holds 7; floats must lie in [0, 1]");
    sandbox
        .limpid("run small.toml --set source.parquet.shape=[2,3]")
        .exits(65)
        .says("it has 4 numbers, expected 6 for 2×3");
    sandbox.limpid("run small.toml --set source.parquet.train=c*.parquet").exits(65).says("c*.parquet does not exist");
    sandbox
        .limpid("run small.toml --set source.parquet.train=*.parquet")
        .exits(65)
        .says("b.parquet would be in both splits: a model must not be tested on what it has seen");
    sandbox.limpid("run small.toml --set source.parquet.path=x").exits(2).says("needs either `path`");
}

#[test]
fn parquet_files_that_are_one_set_are_drawn_from() {
    // Five files whose names show no split, the last one shorter.
    let sandbox = sandbox("parquet = { path = \"data\", test-fraction = 0.25 }");
    let file = |index: u32, rows: u32| {
        let pictures: ArrayRef =
            Arc::new((0..rows).map(|row| Some(png(4, 4, index * 40 + row))).collect::<arrow_array::BinaryArray>());
        let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(i64::from)));
        table(&sandbox, &format!("data/{index}.parquet"), pictures, None, labels);
    };
    (0..4).for_each(|index| file(index, 40));
    file(4, 10);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let drawn = || [TRAIN, TEST].map(|path| images(&sandbox, path));
    let [train, test] = drawn();
    let mut all = [train.0.clone(), test.0.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..170).collect::<Vec<_>>());
    assert!((20..70).contains(&test.0.len()), "{}", test.0.len());
    for (ids, labels, pixels) in [&train, &test] {
        assert!(ids.is_sorted() && ids.iter().zip(labels).all(|(id, label)| *label == Some(id % 40)));
        let expected = ids.iter().flat_map(|id| picture(4, 4, *id as u32).into_bytes());
        assert!(*pixels == expected.collect::<Vec<_>>());
    }
    // Appended rows do not change the split of others; another seed does.
    file(4, 20);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(drawn()[1].0.iter().filter(|id| **id < 170).copied().collect::<Vec<_>>(), test.0);
    sandbox.limpid("plan small.toml --check --to ingest --set seed=2").exits(10).prints("source.parquet.seed: 1 → 2");
    let pattern = "--set source.parquet={train=\"data/*.parquet\",test-fraction=0.25}";
    sandbox.limpid(&format!("plan small.toml --to ingest {pattern}")).succeeds();
    sandbox.limpid(&format!("run small.toml --to ingest {pattern}")).succeeds();
    assert_eq!(drawn()[1].0.iter().filter(|id| **id < 170).copied().collect::<Vec<_>>(), test.0);
    // Bad pictures keep their positions.
    sandbox.write("data/0.parquet", b"");
    let broken: ArrayRef = Arc::new((0..40).map(|_| Some(b"x".to_vec())).collect::<arrow_array::BinaryArray>());
    table(&sandbox, "data/0.parquet", broken, None, Arc::new(Int64Array::from(vec![0; 40])));
    sandbox.limpid("run small.toml --to ingest --set source.parquet.on-error=skip").succeeds();
    let found = drawn()[1].0.clone();
    let whole = |ids: &[i64]| ids.iter().filter(|id| (40..170).contains(*id)).copied().collect::<Vec<_>>();
    assert!(found.iter().all(|id| *id >= 40));
    assert_eq!(whole(&found), whole(&test.0));
    sandbox
        .limpid("plan small.toml --set source.parquet.test=x --set source.parquet.train=y")
        .exits(2)
        .says("source.parquet.test: is given although `test-fraction` has the test images drawn")
        .says("needs either `path`, a folder, or `train`, with `test-fraction`");
}

#[test]
fn a_model_applies_to_tables_of_others() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let files: Vec<Vec<u8>> = (0..3).map(|seed| png(28, 28, seed)).collect();
    for (index, file) in files.iter().enumerate() {
        sandbox.write(&format!("scans/{index}.png"), file);
    }
    let pictures: ArrayRef =
        Arc::new(files.iter().map(|file| Some(file.as_slice())).collect::<arrow_array::BinaryArray>());
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("b")]));
    table(&sandbox, "pictures.parquet", pictures.clone(), None, names.clone());
    sandbox.limpid("denoise runs/small pictures.parquet scans -o out").succeeds();
    let (ids, labels, pixels) = images(&sandbox, "out/pictures.parquet");
    assert_eq!((ids, labels), (vec![0, 1, 2], vec![Some(1), None, Some(0)]));
    assert_eq!(classes(&sandbox, "out/pictures.parquet").as_deref(), Some("[\"b\",\"x\"]"));
    assert_eq!(pixels, images(&sandbox, "out/scans.parquet").2);
    // Lists without a shape have that of the model.
    let mut lists = ListBuilder::new(UInt8Builder::new());
    for file in &files {
        let colours = image::load_from_memory(file).expect("is a picture").into_rgb8();
        // ITU-R BT.601.
        let grey =
            |[red, green, blue]: [u8; 3]| 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
        colours.pixels().for_each(|pixel| lists.values().append_value(grey(pixel.0).round() as u8));
        lists.append(true);
    }
    let field = Field::new("photo", DataType::new_list(DataType::UInt8, true), true);
    table(&sandbox, "lists.parquet", Arc::new(lists.finish()), Some(field), names.clone());
    let apply = "denoise runs/small lists.parquet -o out";
    sandbox.limpid(apply).exits(65).says("has no column `image`; name it with --image; its columns: label, photo");
    sandbox.limpid(&format!("{apply} --image photo")).succeeds();
    let near = |left: &[u8], right: &[u8]| left.iter().zip(right).all(|(left, right)| left.abs_diff(*right) <= 1);
    assert!(near(&images(&sandbox, "out/lists.parquet").2, &pixels));
    // Integer ids are kept, and unusable labels are left out.
    let ids: ArrayRef = Arc::new(arrow_array::UInt16Array::from(vec![7, 5, 900]));
    let grades: ArrayRef = Arc::new(arrow_array::Float64Array::from(vec![0.5, 1.5, 2.5]));
    let batch = RecordBatch::try_from_iter([("label", grades), ("id", ids), ("img", pictures)]).expect("fits");
    crate::foreign::write(&sandbox, "numbered.parquet", &[batch], parquet::basic::Compression::SNAPPY);
    sandbox.limpid("denoise runs/small numbered.parquet -o out").succeeds();
    let (ids, labels, found) = images(&sandbox, "out/numbered.parquet");
    assert_eq!((ids, labels, found), (vec![7, 5, 900], vec![None; 3], pixels));
    assert!(read(&sandbox, "out/numbered.parquet").1.row_group(0).sorting_columns().is_none());
    // A list's own shape takes precedence over the model's.
    let floats: Vec<f32> = vec![0.5; 784];
    let mut tensors = FixedSizeListBuilder::new(Float32Builder::new(), 784);
    tensors.values().append_slice(&floats);
    tensors.append(true);
    let tensors: ArrayRef = Arc::new(tensors.finish());
    let said =
        [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", "{\"shape\":[14,56]}")];
    let said = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let fields = vec![
        Field::new("id", DataType::Int64, true),
        Field::new("split", DataType::Utf8, true),
        Field::new("label", DataType::Int64, true),
        Field::new("image", tensors.data_type().clone(), true).with_metadata(said.into()),
    ];
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let split: ArrayRef = Arc::new(StringArray::from(vec!["test"]));
    let batch =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![one.clone(), split, one, tensors]).expect("fits");
    crate::foreign::write(&sandbox, "tensors.parquet", &[batch], parquet::basic::Compression::SNAPPY);
    sandbox.limpid("encode runs/small tensors.parquet -o out").exits(65).says("tensors.parquet has images of 14×56");
    let small: ArrayRef = Arc::new([Some(png(20, 30, 1))].into_iter().collect::<arrow_array::BinaryArray>());
    table(&sandbox, "small.parquet", small, None, names.slice(0, 1));
    sandbox
        .limpid("encode runs/small small.parquet -o out")
        .exits(65)
        .says("small.parquet has images of 20×30, but the model takes images of 28×28; --resize or --crop makes");
    sandbox.limpid("encode runs/small small.parquet -o out --crop").succeeds();
    table(&sandbox, "broken.parquet", Arc::new(BinaryBuilder::new().finish()), None, names.slice(0, 0));
    sandbox.limpid("encode runs/small broken.parquet -o out").exits(65).says("broken.parquet holds no rows");
}

#[test]
fn texts_that_are_no_names_of_classes_are_refused() {
    let sandbox = sandbox("parquet = { train = \"a.parquet\", test-fraction = 0.5 }");
    let count = 66_000;
    let pictures: ArrayRef = Arc::new((0..count).map(|_| Some(b"")).collect::<arrow_array::BinaryArray>());
    let texts: ArrayRef = Arc::new((0..count).map(|index| Some(format!("about {index}"))).collect::<StringArray>());
    table(&sandbox, "a.parquet", pictures, None, texts);
    sandbox
        .limpid("run small.toml")
        .exits(65)
        .says("a.parquet: the column `label` has more than 65536 different texts")
        .says("name another column with source.parquet.label");
}
