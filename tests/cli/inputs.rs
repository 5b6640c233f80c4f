//! Inputs as people have them: read as they are meant, refused, or passed over with a line.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, UInt8Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema};

use crate::applying::idx;
use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_arrays::{npy, npz};
use crate::own_images::{TEST, TRAIN, classes, images, png, sandbox};

/// Writes columns as Parquet.
fn table(sandbox: &Sandbox, path: &str, columns: &[(&str, ArrayRef)]) {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns.iter().map(|(_, column)| column.clone()).collect()).expect("fits");
    sandbox.write(path, b"");
    crate::foreign::write(sandbox, path, &[batch], parquet::basic::Compression::SNAPPY);
}

/// So many pictures of 4×4.
fn pictures(count: usize) -> ArrayRef {
    Arc::new((0..count).map(|seed| Some(png(4, 4, seed as u32))).collect::<BinaryArray>())
}

/// A list column of numbers of one type.
fn lists(numbers: ArrayRef, size: i32) -> ArrayRef {
    let item = Arc::new(Field::new("item", numbers.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(item, size, numbers, None))
}

/// Wraps each run of `size` values of a column in a list.
fn nested(column: ArrayRef, size: i32, fixed: bool) -> ArrayRef {
    let list = lists(column, size);
    if fixed {
        return list;
    }
    let item = Field::new("item", list.as_fixed_size_list().value_type(), true);
    arrow_cast::cast(&list, &DataType::List(Arc::new(item))).expect("is possible")
}

#[test]
fn a_shape_must_agree_with_the_nesting_of_lists() {
    let bytes = |count: usize| -> ArrayRef {
        Arc::new(arrow_array::UInt8Array::from_iter_values((0..count).map(|at| at as u8)))
    };
    for fixed in [true, false] {
        // Eight images of 3 channels of 5 rows of 6 columns.
        let first = nested(nested(nested(bytes(8 * 90), 6, fixed), 5, fixed), 3, fixed);
        let last = nested(nested(nested(bytes(8 * 90), 3, fixed), 6, fixed), 5, fixed);
        let sandbox = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4 }");
        table(&sandbox, "x.parquet", &[("image", first)]);
        let shaped = "run small.toml --to ingest --set source.parquet.shape=[5,6,3]";
        sandbox
            .limpid(shaped)
            .exits(65)
            .says("lists of 3 of 5 of 6, which are no images of 5×6×3")
            .says("numpy.moveaxis");
        sandbox.limpid("run small.toml --to ingest").exits(65).says("look like channels, rows and columns");
        table(&sandbox, "x.parquet", &[("image", last)]);
        for words in [shaped, "run small.toml --to ingest"] {
            sandbox.limpid(words).succeeds();
            assert_eq!(images(&sandbox, TRAIN).2.len() + images(&sandbox, TEST).2.len(), 8 * 90, "{words}");
        }
        sandbox.limpid("run small.toml --to ingest --set source.parquet.shape=[6,5,3]").exits(65).says("in this order");
    }
    // Rows of different lengths are no image, even if all numbers together are as many as one has.
    let sandbox = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4, shape = [2, 3] }");
    let mut ragged = ListBuilder::new(ListBuilder::new(UInt8Builder::new()));
    for _ in 0..8 {
        for length in [2, 4] {
            ragged.values().values().append_slice(&vec![1; length]);
            ragged.values().append(true);
        }
        ragged.append(true);
    }
    table(&sandbox, "x.parquet", &[("image", Arc::new(ragged.finish()))]);
    sandbox
        .limpid("run small.toml --to ingest")
        .exits(65)
        .says("its rows differ: lists of 2 and of 4 are side by side");
}

#[test]
fn the_metadata_of_a_tensor_count() {
    let sandbox = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4 }");
    let numbers: ArrayRef = Arc::new(arrow_array::UInt8Array::from(vec![7; 8 * 90]));
    let column = lists(numbers, 90);
    let write = |metadata: &str| {
        let field = Field::new("image", column.data_type().clone(), true).with_metadata(
            [("ARROW:extension:name", "arrow.fixed_shape_tensor"), ("ARROW:extension:metadata", metadata)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column.clone()]).expect("fits");
        sandbox.write("x.parquet", b"");
        crate::foreign::write(&sandbox, "x.parquet", &[batch], parquet::basic::Compression::SNAPPY);
    };
    write("{\"shape\":[3,5,6]}");
    let shaped = "run small.toml --to ingest --set source.parquet.shape=[5,6,3]";
    sandbox.limpid(shaped).exits(65).says("lists of 3 of 5 of 6").says("numpy.moveaxis");
    write("{\"shape\":[5,6,3],\"permutation\":[2,0,1]}");
    sandbox.limpid(shaped).exits(65).says("permuted axes");
    write("{\"shape\":[5,6,3],\"permutation\":[0,1,2]}");
    sandbox.limpid(shaped).succeeds();
    write("{\"shape\":[3,5,6]}");
    sandbox.limpid("run small.toml --to ingest").exits(65).says("their channels must come last");
    write("{\"shape\":[6,5,3]}");
    sandbox.limpid("run small.toml --to ingest").succeeds();
}

#[test]
fn a_volume_is_no_image_of_many_channels_unless_it_is_said() {
    let pixels = vec![9; 6 * 512];
    let sandbox = sandbox("npy = { train = \"x.npy\", test-fraction = 0.4 }");
    sandbox.write("x.npy", &npy("|u1", "(6, 8, 8, 8)", &pixels));
    let message = "x.npy has images of 8×8×8, which may be volumes; source.npy.channels = 8 takes them for";
    sandbox.limpid("run small.toml --to ingest").exits(65).says(message);
    sandbox.limpid("run small.toml --to ingest --set source.npy.channels=8").succeeds();
    sandbox
        .limpid("run small.toml --force --to ingest --set source.npy.channels=9")
        .exits(65)
        .says("images of 8 channels, but");
    let tables = "run small.toml --to ingest --set source.parquet={train=\"x.parquet\",test-fraction=0.4}";
    let bytes: ArrayRef = Arc::new(arrow_array::UInt8Array::from(pixels));
    table(&sandbox, "x.parquet", &[("image", nested(nested(nested(bytes, 8, true), 8, true), 8, true))]);
    sandbox
        .limpid(tables)
        .exits(65)
        .says("which may be volumes; source.parquet.shape = [8, 8, 8] takes them for images of 8");
    sandbox.limpid(&format!("{tables} --set source.parquet.shape=[8,8,8]")).succeeds();
}

#[test]
fn labels_of_every_kind_are_read_or_left_out_with_a_line() {
    let write = |sandbox: &Sandbox, labels: ArrayRef| {
        table(sandbox, "x.parquet", &[("image", pictures(12)), ("label", labels)])
    };
    let sandbox = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4 }");
    let all = |sandbox: &Sandbox| {
        let [train, test] = [TRAIN, TEST].map(|path| images(sandbox, path));
        let mut pairs: Vec<_> = train.0.into_iter().zip(train.1).chain(test.0.into_iter().zip(test.1)).collect();
        pairs.sort_unstable();
        pairs.into_iter().map(|(_, label)| label).collect::<Vec<_>>()
    };
    let gaps: Vec<Option<f64>> = (0..12).map(|at| (at % 5 > 0).then_some(f64::from(at % 3))).collect();
    let wanted: Vec<Option<i64>> = gaps.iter().map(|label| label.map(|label| label as i64)).collect();
    // pandas writes gaps as nulls or as NaN.
    for labels in [Float64Array::from(gaps.clone()), gaps.iter().map(|label| Some(label.unwrap_or(f64::NAN))).collect()]
    {
        write(&sandbox, Arc::new(labels));
        sandbox.limpid("run small.toml --to ingest").succeeds().never_says("no labels");
        assert_eq!(all(&sandbox), wanted);
    }
    write(&sandbox, Arc::new(BooleanArray::from_iter((0..12).map(|at| Some(at % 2 == 0)))));
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(all(&sandbox)[..2], [Some(1), Some(0)]);
    // What cannot be labels makes no table unreadable, unless it is asked for.
    let halves: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 12]));
    let nothing: ArrayRef = Arc::new(arrow_array::NullArray::new(12));
    let list = nested(Arc::new(Float64Array::from(vec![0.5; 24])), 2, false);
    let half = "of which one is 0.5, no whole number";
    for (labels, why) in [(halves, half), (list, half), (nothing, "are Null")] {
        write(&sandbox, labels);
        sandbox.limpid("run small.toml --to ingest").succeeds().says("no labels: the labels `label`").says(why);
        assert_eq!(all(&sandbox), vec![None; 12]);
        sandbox.limpid("run small.toml --to ingest --set source.parquet.label=none").succeeds().never_says("no labels");
        sandbox.limpid("run small.toml --to ingest --set source.parquet.label=label").exits(65).says(why);
    }
}

/// The lists of labels of a table, with their names.
fn label_lists(sandbox: &Sandbox, path: &str) -> (Vec<Vec<i64>>, Option<String>) {
    let (batch, _) = read(sandbox, path);
    let lists = batch.column_by_name("labels").expect("is there").as_list::<i32>().clone();
    let numbers = |list: ArrayRef| list.as_primitive::<Int64Type>().values().to_vec();
    let names = batch.schema().field_with_name("labels").expect("is there").metadata().get("limpid.classes").cloned();
    (lists.iter().map(|list| list.map(numbers).unwrap_or_default()).collect(), names)
}

#[test]
fn lists_of_labels_are_kept_through_to_the_features() {
    let sandbox = sandbox("parquet = { train = \"x.parquet\", test = \"y.parquet\" }");
    let mut texts = ListBuilder::new(StringBuilder::new());
    for row in 0..12 {
        (0..row % 3).for_each(|at| texts.values().append_value(["sea", "sun", "boat"][(row + at) % 3]));
        // The last image has no list.
        texts.append(row < 11);
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    let wanted: Vec<Vec<i64>> = (0..12)
        .map(|row| if row < 11 { (0..row % 3).map(|at| [1, 2, 0][(row + at) % 3]).collect() } else { Vec::new() })
        .collect();
    for file in ["x.parquet", "y.parquet"] {
        table(&sandbox, file, &[("image", pictures(12)), ("label", texts.clone())]);
    }
    sandbox
        .limpid("run small.toml --set corruption.gaussian={} --set output.profile=hf")
        .succeeds()
        .never_says("no labels");
    let names = Some("[\"boat\",\"sea\",\"sun\"]".to_owned());
    for stage in ["ingest", "corrupt", "encode", "denoise", "export/encode", "export/denoise"] {
        let path = format!("runs/small/{stage}/train-00000-of-00001.parquet");
        assert_eq!(label_lists(&sandbox, &path), (wanted.clone(), names.clone()), "{stage}");
    }
    assert_eq!(images(&sandbox, TRAIN).1, vec![None; 12]);
    let (_, footer) = read(&sandbox, "runs/small/export/encode/train-00000-of-00001.parquet");
    let entries = footer.file_metadata().key_value_metadata().expect("has some");
    let features = entries.iter().find(|entry| entry.key == "huggingface").and_then(|entry| entry.value.clone());
    let of_lists = "\"labels\":{\"_type\":\"Sequence\",\"feature\":{\"_type\":\"ClassLabel\",\"names\":[\"boat\"";
    assert!(features.as_ref().expect("is there").contains(of_lists), "{features:?}");
    // A command keeps those of any table, and so does a source that reads what limpid has written.
    sandbox.limpid("encode runs/small x.parquet runs/small/ingest/test-00000-of-00001.parquet -o out").succeeds();
    for name in ["x", "test-00000-of-00001"] {
        assert_eq!(label_lists(&sandbox, &format!("out/{name}.parquet")), (wanted.clone(), names.clone()), "{name}");
    }
    sandbox
        .limpid("run small.toml --to ingest --runs again --set source.parquet={path=\"runs/small/ingest\"}")
        .succeeds();
    let again = label_lists(&sandbox, "again/small/ingest/train-00000-of-00001.parquet");
    assert_eq!(again, (wanted.clone(), names));
    // Numbers of any kind, as many for each image as there are classes, beside a label.
    let hot: Vec<f32> =
        wanted.iter().flat_map(|list| (0..3).map(|at| f32::from(u8::from(list.contains(&at))))).collect();
    let hot: ArrayRef = Arc::new(arrow_array::Float32Array::from(hot));
    let one: ArrayRef = Arc::new(Int64Array::from_iter_values(0..12));
    let columns = [("image", pictures(12)), ("label", one), ("labels", nested(hot, 3, true))];
    ["x.parquet", "y.parquet"].iter().for_each(|file| table(&sandbox, file, &columns));
    sandbox.limpid("run small.toml --to ingest").succeeds().never_says("no labels");
    let (lists, names) = label_lists(&sandbox, TRAIN);
    assert!(names.is_none() && lists[2] == [1, 1, 0] && lists[11] == [0, 0, 0], "{lists:?}");
    assert_eq!(images(&sandbox, TRAIN).1[11], Some(11));
    for (label, lists) in [("none", false), ("label", false), ("labels", true)] {
        sandbox.limpid(&format!("run small.toml --to ingest --set source.parquet.label={label}")).succeeds();
        assert_eq!(read(&sandbox, TRAIN).0.column_by_name("labels").is_some(), lists, "{label}");
    }
}

#[test]
fn labels_under_another_name_are_said() {
    let sandbox = sandbox("parquet = { path = \"data\", test-fraction = 0.4 }");
    let fine: ArrayRef = Arc::new(Int64Array::from_iter_values((0..12).map(|at| at % 4)));
    table(&sandbox, "data/x.parquet", &[("img", pictures(12)), ("fine_label", fine.clone()), ("coarse_label", fine)]);
    let message = "no labels: no column is called label or labels; of fine_label, coarse_label, source.parquet.label = \"fine_label\"";
    sandbox.limpid("run small.toml --to ingest").succeeds().says(message);
    sandbox
        .limpid("run small.toml --to ingest --set source.parquet.label=fine_label")
        .succeeds()
        .never_says("no labels");
    sandbox.limpid("run small.toml --to ingest --set source.parquet.label=none").succeeds().never_says("no labels");
    // The folders of a partitioned table say them.
    std::fs::remove_file(sandbox.path("data/x.parquet")).expect("removed");
    for label in ["cat", "dog"] {
        table(&sandbox, &format!("data/label={label}/part-0.parquet"), &[("image", pictures(12))]);
    }
    sandbox.limpid("run small.toml --to ingest").succeeds().never_says("no labels");
    assert_eq!(classes(&sandbox, TRAIN).as_deref(), Some("[\"cat\",\"dog\"]"));
    let (ids, labels, _) = images(&sandbox, TRAIN);
    assert!(ids.iter().zip(labels).all(|(id, label)| label == Some(id / 12)));
    // Arrays of an archive.
    let images = npy("|u1", "(9, 4, 4)", &[1; 144]);
    let labels = npy("<f8", "(9, 1)", &(0..9).flat_map(|at| f64::from(at).to_le_bytes()).collect::<Vec<_>>());
    let arrays = [("train_images", images.clone()), ("more_images", images.clone()), ("train_labels", labels)];
    sandbox.write("m.npz", &npz(&arrays, zip::CompressionMethod::Stored));
    let archive =
        "run small.toml --to ingest --set source.npz={path=\"m.npz\",train=\"train_images\",test-fraction=0.4}";
    sandbox.limpid(archive).succeeds().says(
        "passed over: 2 arrays of m.npz, more_images, train_labels; no labels are read, source.npz.train-labels = \"train_labels\"",
    );
    sandbox
        .limpid(&format!("{archive} --set source.npz.train-labels=train_labels"))
        .succeeds()
        .says("passed over: 1 arrays of m.npz, more_images; source.npz.train, as in");
}

#[test]
fn labels_in_a_file_beside_the_images_are_said() {
    let sandbox = sandbox("idx = { train = \"train-images-idx3-ubyte\", test-fraction = 0.4 }");
    sandbox.write("train-images-idx3-ubyte", &idx(&[9, 4, 4]));
    sandbox.limpid("run small.toml --to ingest").succeeds().never_says("no labels");
    sandbox.write("train-labels-idx1-ubyte", &idx(&[9]));
    let message = "no labels: none are named, but there is train-labels-idx1-ubyte; source.idx.train-labels = ";
    sandbox.limpid("run small.toml --force --to ingest").succeeds().says(message);
    sandbox
        .limpid("run small.toml --to ingest --set source.idx.train-labels=train-labels-idx1-ubyte")
        .succeeds()
        .never_says("no labels");
}

#[test]
fn files_of_no_split_are_counted() {
    let sandbox = sandbox("parquet = { path = \"data\" }");
    for name in ["train-0", "validation-0", "test-0", "extra"] {
        table(&sandbox, &format!("data/{name}.parquet"), &[("image", pictures(4))]);
    }
    let message = "passed over: 4 rows in 1 files of no split, such as data/extra.parquet; source.parquet.train";
    sandbox.limpid("run small.toml --to ingest").succeeds().says(message);
    let drawn = "run small.toml --to ingest --set source.parquet.test-fraction=0.4";
    sandbox.limpid(drawn).succeeds().says("although names say splits, as data/test-0.parquet");
}

#[test]
fn numbers_of_every_width_are_pixels_where_they_fit() {
    let bytes: ArrayRef = Arc::new(arrow_array::UInt8Array::from_iter_values((0..192).map(|at| at as u8)));
    let unit: ArrayRef =
        Arc::new(arrow_array::Float32Array::from_iter_values((0..192_u8).map(|at| f32::from(at) / 255.0)));
    let sandbox = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4, shape = [4, 4] }");
    let mut found = Vec::new();
    let integers = [
        DataType::UInt8,
        DataType::Int16,
        DataType::UInt16,
        DataType::Int32,
        DataType::UInt32,
        DataType::Int64,
        DataType::UInt64,
    ];
    let floats = [DataType::Float32, DataType::Float64];
    for kind in integers.iter().chain(&floats) {
        let numbers = if kind.is_integer() { &bytes } else { &unit };
        table(&sandbox, "x.parquet", &[("image", lists(arrow_cast::cast(numbers, kind).expect("fits"), 16))]);
        sandbox.limpid("run small.toml --to ingest").succeeds();
        found.push(images(&sandbox, TRAIN).2);
    }
    assert!(found.iter().all(|pixels| *pixels == found[0]));
    for (kind, number) in [(DataType::Int16, -1), (DataType::UInt64, 256), (DataType::Int32, 70_000)] {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![number; 192]));
        let numbers = if number < 0 { numbers } else { arrow_cast::cast(&numbers, &kind).expect("fits") };
        table(&sandbox, "x.parquet", &[("image", lists(numbers, 16))]);
        let message = format!("it holds {number}; integers must lie between 0 and 255");
        sandbox.limpid("run small.toml --to ingest").exits(65).says(&message);
    }
    // So it is in limpid's own tables after Spark, which has no bytes, and only doubles where it has made them.
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to encode").succeeds();
    let (batch, _) = read(&sandbox, "runs/small/corrupt/test-00000-of-00001.parquet");
    let item = Arc::new(Field::new("item", DataType::Int16, true));
    let wide = arrow_cast::cast(batch.column_by_name("image").expect("is there"), &DataType::List(item)).expect("fits");
    let known = batch.schema();
    let fields = known.fields().iter().map(|field| match field.name().as_str() {
        "image" => Field::new("image", wide.data_type().clone(), true).with_metadata(field.metadata().clone()),
        _ => field.as_ref().clone(),
    });
    let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), batch.schema().metadata().clone()));
    let columns = known.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| if field.name() == "image" { wide.clone() } else { column.clone() });
    let rewritten = RecordBatch::try_new(schema, columns.collect()).expect("fits");
    sandbox.write("spark.parquet", b"");
    crate::foreign::write(&sandbox, "spark.parquet", &[rewritten], parquet::basic::Compression::SNAPPY);
    sandbox.limpid("encode runs/small spark.parquet runs/small/corrupt/test-00000-of-00001.parquet -o out").succeeds();
    let codes = |path: &str| {
        let (batch, _) = read(&sandbox, path);
        let codes = batch.column_by_name("code").expect("has codes").as_fixed_size_list().values().clone();
        codes.as_primitive::<Float32Type>().values().to_vec()
    };
    assert_eq!(codes("out/spark.parquet"), codes("out/test-00000-of-00001.parquet"));
}

#[test]
fn what_a_file_is_is_said_everywhere() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    tar[0] = b'a';
    let files: [(&str, &[u8], &str); 6] = [
        ("a.jxl", b"\xff\x0a\0\0\0\0\0\0\0\0", "a JPEG XL picture"),
        ("a.avif", b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
        ("a.heic", b"\0\0\0\x1cftypheic\0\0\0\0", "a HEIC picture"),
        ("a.tar", &tar, "a tar archive"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        ("a.pdf", b"%PDF-1.7", "a PDF file"),
    ];
    for (name, bytes, what) in files {
        sandbox.write(name, bytes);
        for words in [
            format!("inspect {name}"),
            format!("denoise runs/small {name} -o out"),
            format!("encode runs/small {name} -o out"),
            format!("init {name}"),
        ] {
            if words.starts_with("init") && name == "a.tar" {
                continue;
            }
            sandbox.limpid(&words).exits(65).says(&format!("{name} is {what}; "));
        }
        for kind in ["idx", "npy"] {
            let source = format!("--set source.{kind}={{train=\"{name}\",test-fraction=0.5}}");
            let words = format!("run small.toml --to ingest {source} --runs {kind}");
            sandbox.limpid(&words).exits(65).says(&format!("{name} is not ")).says(&format!(", but {what}; "));
        }
        ["train", "test"].iter().for_each(|split| _ = sandbox.write(&format!("scans/{split}/1.png"), bytes));
        let folder = "--set source.folder={path=\"scans\",labels=\"none\"}";
        let words = format!("run small.toml --to ingest {folder} --runs folder");
        sandbox
            .limpid(&words)
            .exits(65)
            .says(&format!("it is not a PNG, JPEG, WebP, GIF, BMP or TIFF picture, but {what}; "));
    }
    sandbox
        .limpid("denoise runs/small ftp://example.org/a.png -o out")
        .exits(2)
        .says("is a URL of a kind that limpid does not read");
    sandbox.limpid("denoise runs/small small.toml -o out").exits(65).says("small.toml is a TOML file; ");
    sandbox
        .limpid("run scans")
        .exits(2)
        .says("scans is a folder: a pipeline is a TOML file, and limpid init scans writes one");
    sandbox.limpid("run a.pdf").exits(2).says("a.pdf");
    sandbox.limpid("rnu small.toml").exits(2).says("a similar subcommand exists: 'run'");
    sandbox.limpid("plam small.toml").exits(2).says("a similar subcommand exists: 'plan'");
    let missing = "run small.toml --set source.folder={path=\"nowhere\"}";
    sandbox
        .limpid(missing)
        .exits(65)
        .says("limpid: --set source.folder={path=\"nowhere\"}")
        .says(": source.folder.path: nowhere does not exist");
    sandbox.write("f.toml", b"name = \"f\"\n[source]\nfolder = { path = \"nowhere\" }\n[model]\ndense = {}\n");
    sandbox.limpid("run f.toml").exits(65).says("f.toml:3:12: source.folder.path: nowhere does not exist");
    let deep = "plan small.toml --set model.conv={channels=[1,1,1,1,1,1]}";
    sandbox.limpid(deep).exits(2).says(": model.conv.channels has 6 entries").never_says("model.conv: model.conv");
}

#[test]
fn a_column_for_each_pixel_is_read() {
    let pixels = |row: usize| (0..16).map(move |at| (row * 16 + at) as u8);
    let head: Vec<_> = (0..16).map(|at| format!("pixel{at}")).collect();
    let line = |row: usize| pixels(row).map(|pixel| pixel.to_string()).collect::<Vec<_>>().join(",");
    let lines = |labelled: bool| {
        (0..8)
            .map(|row| if labelled { format!("{},{}\n", row % 3, line(row)) } else { format!("{}\n", line(row)) })
            .collect::<String>()
    };
    let wanted: Vec<u8> = (0..8).flat_map(pixels).collect();
    let sandbox = sandbox("columns = { train = \"a.csv\", test = \"b.csv\" }");
    sandbox.write("a.csv", format!("label,{}\n{}", head.join(","), lines(true)).as_bytes());
    sandbox.write("b.csv", format!("{}\n{}", head.join(","), lines(false)).as_bytes());
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let labels: Vec<_> = (0..8).map(|row| Some(row % 3)).collect();
    assert_eq!(images(&sandbox, TRAIN), ((0..8).collect(), labels.clone(), wanted.clone()));
    assert_eq!(images(&sandbox, TEST), ((0..8).collect(), vec![None; 8], wanted.clone()));
    sandbox.limpid("plan small.toml --to ingest --check").succeeds();
    // Without a line of names, compressed, drawn from.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(lines(true).as_bytes()).expect("memory");
    sandbox.write("c.csv.gz", &packed.finish().expect("memory"));
    let drawn =
        |file: &str| format!("run small.toml --to ingest --set source.columns={{train=\"{file}\",test-fraction=0.4}}");
    sandbox.limpid(&drawn("c.csv.gz")).succeeds();
    let (ids, found, bytes) = images(&sandbox, TRAIN);
    assert!(ids.len() < 8 && ids.iter().zip(&found).all(|(id, label)| *label == Some(id % 3)));
    assert_eq!(bytes, ids.iter().flat_map(|id| pixels(*id as usize)).collect::<Vec<_>>());
    // Parquet with the columns in the order of text, of floats.
    let mut sorted: Vec<usize> = (0..16).collect();
    sorted.sort_by_key(|at| head[*at].clone());
    let column = |at: usize| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..8).map(|row| f64::from((row * 16 + at) as u8) / 255.0)))
    };
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..8).map(|row| ["a", "b", "c"][row % 3])));
    let columns: Vec<_> =
        std::iter::once(("class", names)).chain(sorted.iter().map(|at| (head[*at].as_str(), column(*at)))).collect();
    table(&sandbox, "d.parquet", &columns);
    sandbox.limpid(&drawn("d.parquet")).succeeds();
    assert_eq!(images(&sandbox, TRAIN), (ids, found, bytes));
    assert_eq!(classes(&sandbox, TRAIN).as_deref(), Some("[\"a\",\"b\",\"c\"]"));
    for (text, expected) in [
        ("label,pixel0,pixel1,pixel3,pixel4\n1,1,1,1,1\n", "none between pixel1 and pixel3"),
        ("pixel0,pixel1,pixel2\n1,1,1\n", "has 3 columns of pixels, which are no square"),
        ("pixel0,pixel1,pixel2,pixel3\n1,1,1,256\n", "its pixels are as 256; whole numbers must lie between 0 and 255"),
        ("pixel0,pixel1,pixel2,pixel3\n1,0.5,1,2\n", "its pixels are as 2; floats must lie in [0, 1]"),
        ("pixel0,pixel1,pixel2,pixel3\n1,x,1,2\n", "row 0 has \"x\" in column 2"),
        ("pixel0,pixel1,pixel2,pixel3\n1,1,1\n", "e.csv"),
        ("pixel0,pixel1,pixel2,pixel3\n", "holds no rows"),
        ("file,kind\na.png,1\n", "has no columns of pixels"),
        ("", "has no columns of pixels"),
    ] {
        sandbox.write("e.csv", text.as_bytes());
        sandbox.limpid(&drawn("e.csv")).exits(65).says(expected);
    }
    // Another column is passed over with a line.
    sandbox.write("e.csv", format!("kind,{}\n{}", head.join(","), lines(true)).as_bytes());
    sandbox.limpid(&drawn("e.csv")).succeeds().says("passed over: 1 columns of e.csv, kind; no labels are read");
}

/// A tar archive of these files.
pub fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes.as_slice()).expect("memory");
    }
    archive.into_inner().expect("memory")
}

#[test]
fn pictures_in_tar_archives_are_read() {
    let sandbox = sandbox("tar = { train = \"shards/s-{000..001}.tar\", test = \"shards/s-002.tar\" }");
    for shard in 0..3 {
        let files = (0..4).flat_map(|index| {
            let (number, key) = (shard * 4 + index, format!("{:04}", shard * 4 + index));
            let label = if index == 3 { Vec::new() } else { format!("{}\n", index + 7).into_bytes() };
            [
                (format!("{key}.jpg.png"), png(4, 5, number)),
                (format!("{key}.cls"), label),
                (format!("{key}.json"), b"{}".to_vec()),
            ]
        });
        sandbox.write(&format!("shards/s-{shard:03}.tar"), &tar(&files.collect::<Vec<_>>()));
    }
    sandbox
        .limpid("run small.toml --to ingest")
        .succeeds()
        .says("passed over: 12 files in the archives, which end in json");
    let (ids, labels, pixels) = images(&sandbox, TRAIN);
    assert_eq!(ids, (0..8).collect::<Vec<_>>());
    assert_eq!(labels, [Some(7), Some(8), Some(9), None].repeat(2));
    assert_eq!(pixels, (0..8).flat_map(|seed| crate::own_images::picture(4, 5, seed).into_bytes()).collect::<Vec<_>>());
    assert_eq!(images(&sandbox, TEST).0.len(), 4);
    let (files, _) = read(&sandbox, "runs/small/ingest/files.parquet");
    let paths = files.column_by_name("path").expect("is there").as_string::<i32>();
    assert_eq!(paths.value(0), "s-000.tar/0000.jpg.png");
    sandbox.limpid("plan small.toml --to ingest --check").succeeds();
    for threads in [1, 3] {
        let drawn = "--set source.tar={train=\"shards/*.tar\",test-fraction=0.4,label=\"none\"}";
        sandbox.limpid(&format!("run small.toml --force --to ingest {drawn} --threads {threads}")).succeeds();
        assert_eq!(images(&sandbox, TRAIN).0.len() + images(&sandbox, TEST).0.len(), 12);
        assert!(images(&sandbox, TRAIN).1.iter().all(Option::is_none));
    }
    let one = |name: &str, expected: &str| {
        let words = format!("run small.toml --to ingest --set source.tar={{train=\"{name}\",test-fraction=0.4}}");
        sandbox.limpid(&words).exits(65).says(expected);
    };
    let whole = sandbox.read("shards/s-000.tar");
    sandbox.write("cut.tar", &whole[..700]);
    one("cut.tar", "cut.tar");
    sandbox.write("bad.tar", &tar(&[("a.png".to_owned(), b"no picture".to_vec())]));
    sandbox.write("text.tar", b"hello, world");
    one("text.tar", "text.tar");
    sandbox.write("packed.tar.gz", &{
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&whole).expect("memory");
        packed.finish().expect("memory")
    });
    one("packed.tar.gz", "it is compressed; unpack it with gunzip");
    let split = ["train/a.png", "train/b.png", "test/c.png"].map(|name| (name.to_owned(), png(4, 4, 1)));
    sandbox.write("split.tar", &tar(&split));
    one("split.tar", "say splits");
    let backwards = "run small.toml --to ingest --set source.tar={train=\"s-{3..1}.tar\",test-fraction=0.4}";
    sandbox.limpid(backwards).exits(2).says("does not count up");
}

#[test]
fn idx_as_qmnist_and_emnist_have_it() {
    let sandbox = sandbox("idx = { train = \"a.idx\", train-labels = \"l.idx\", test-fraction = 0.4 }");
    let mut bytes = idx(&[9, 3, 4]);
    bytes.truncate(16);
    bytes.extend((0..9 * 12).map(|at| at as u8));
    sandbox.write("a.idx", &bytes);
    // Eight numbers for each image, of which the first is the label.
    let mut labels = [&[0, 0, 0x0c, 2][..], &9_u32.to_be_bytes(), &8_u32.to_be_bytes()].concat();
    labels.extend((0..9_u32).flat_map(|row| [row, 99, 1, 0, 5, 6, 7, 70_000]).flat_map(u32::to_be_bytes));
    sandbox.write("l.idx", &labels);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let (ids, found, plain) = images(&sandbox, TRAIN);
    assert!(ids.iter().zip(found).all(|(id, label)| label == Some(*id)));
    sandbox.limpid("run small.toml --to ingest --set source.idx.transpose=true").succeeds();
    let turned = images(&sandbox, TRAIN).2;
    let first: Vec<u8> =
        (0..4).flat_map(|column| (0..3).map(move |row| row * 4 + column)).map(|at| plain[at]).collect();
    assert_eq!(turned[..12], first);
    labels[12 + 3] = 0;
    labels[12 + 2] = 1;
    sandbox.write("l.idx", &labels);
    sandbox.limpid("run small.toml --to ingest").exits(65).says("has a label 0 that is not between 0 and 255");
}

#[test]
fn values_in_a_small_part_of_their_range_are_said() {
    let sandbox = sandbox("npy = { train = \"x.npy\", test-fraction = 0.4 }");
    for (most, said) in [(16, true), (64, true), (65, false)] {
        sandbox.write("x.npy", &npy("|u1", "(8, 4, 4)", &(0..128).map(|at| at % (most + 1)).collect::<Vec<_>>()));
        let done = sandbox.limpid("run small.toml --to ingest").succeeds();
        assert_eq!(done.stderr().contains(&format!("the largest of all pixels is {most} of 255")), said, "{done}");
    }
}

#[test]
fn an_archive_of_one_array_is_one() {
    let sandbox = sandbox("npy = { train = \"a.npz\", train-labels = \"l.npz\", test-fraction = 0.4 }");
    let pixels: Vec<u8> = (0..9 * 16).map(|at| at as u8).collect();
    let archive = |name: &str, array: Vec<u8>| npz(&[(name, array)], zip::CompressionMethod::Deflated);
    sandbox.write("a.npz", &archive("arr_0", npy("|u1", "(9, 4, 4)", &pixels)));
    sandbox.write("l.npz", &archive("arr_0", npy("|u1", "(9,)", &[3; 9])));
    sandbox.limpid("run small.toml --to train").succeeds();
    assert!(images(&sandbox, TRAIN).1.iter().all(|label| *label == Some(3)));
    sandbox.limpid("encode runs/small a.npz -o out").succeeds();
    let two = [("a", npy("|u1", "(9, 4, 4)", &pixels)), ("b", npy("|u1", "(9, 4, 4)", &pixels))];
    sandbox.write("a.npz", &npz(&two, zip::CompressionMethod::Stored));
    sandbox.limpid("run small.toml").exits(65).says("a.npz is an archive of 2 arrays, a, b: read it with source.npz");
}

#[test]
fn a_table_of_many_columns_is_answered_on_one_screen() {
    let sandbox = Sandbox::new();
    let names: Vec<_> = (0..784).map(|at| format!("pixel{at}")).collect();
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    table(&sandbox, "wide.parquet", &names.iter().map(|name| (name.as_str(), column.clone())).collect::<Vec<_>>());
    let shown = sandbox.limpid("inspect wide.parquet").succeeds().prints("and 778 more: pixel6 … pixel783");
    assert!(shown.stdout().lines().count() < 60, "{shown}");
    let source = "--set source.parquet={train=\"wide.parquet\",test-fraction=0.5}";
    let done = sandbox.limpid(&format!("run small.toml --to ingest {source}")).exits(65).says("source.columns");
    assert!(done.stderr().len() < 1000, "{done}");
}

#[test]
fn numbers_with_leading_zeros_are_names() {
    let sandbox = sandbox("folder = { path = \"photos\", csv = \"list.csv\" }");
    (0..6).for_each(|index| _ = sandbox.write(&format!("photos/{index}.png"), &png(4, 4, index)));
    let list = |labels: [&str; 6]| {
        let line = |(index, label): (usize, &&str)| {
            format!("{index}.png,{label},{}\n", if index < 4 { "train" } else { "test" })
        };
        let lines: String = labels.iter().enumerate().map(line).collect();
        sandbox.write("list.csv", format!("file,label,split\n{lines}").as_bytes());
        sandbox.limpid("run small.toml --to ingest").succeeds();
        (images(&sandbox, TRAIN).1, classes(&sandbox, TRAIN))
    };
    assert_eq!(list(["007", "7", "010", "10", "7", "10"]).1.as_deref(), Some("[\"007\",\"010\",\"10\",\"7\"]"));
    assert_eq!(list(["3.0", "7.0", "", "10.0", "3.0", "7"]), (vec![Some(3), Some(7), None, Some(10)], None));
    assert_eq!(list(["1.5", "2.0", "2.0", "1.5", "2.0", "2.0"]).1.as_deref(), Some("[\"1.5\",\"2.0\"]"));
    // A table of Hugging Face's in Parquet.
    let sandbox = crate::own_images::sandbox("folder = { path = \"photos\", test-fraction = 0.4 }");
    (0..6).for_each(|index| _ = sandbox.write(&format!("photos/{index}.png"), &png(4, 4, index)));
    let files: ArrayRef = Arc::new(StringArray::from_iter_values((0..6).map(|index| format!("{index}.png"))));
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![5, 6, 5, 6, 5, 6]));
    table(&sandbox, "photos/metadata.parquet", &[("file_name", files), ("image", pictures(6)), ("label", labels)]);
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert!(images(&sandbox, TRAIN).1.iter().all(|label| matches!(label, Some(5 | 6))));
}
