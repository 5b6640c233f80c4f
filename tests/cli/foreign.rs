//! limpid tables rewritten by another program, as pyarrow does: with other compression, and with columns moved, added and
//! nullable, and rows in another order.

use std::fs::File;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, UInt8Builder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, GzipLevel};
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataWriter};
use parquet::file::properties::WriterProperties;

use crate::applying::idx;
use crate::harness::Sandbox;

const INPUT: &str = "runs/small/ingest/test-00000-of-00001.parquet";

/// A table in one batch, and its footer.
pub fn read(sandbox: &Sandbox, path: &str) -> (RecordBatch, ParquetMetaData) {
    let file = File::open(sandbox.path(path)).expect("is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet").with_batch_size(1000);
    let footer = reader.metadata().as_ref().clone();
    let schema = reader.schema().clone();
    let batch = reader.build().expect("reads").next().expect("has rows").expect("reads");
    // The batches' schema lacks the metadata of the file.
    (RecordBatch::try_new(schema, batch.columns().to_vec()).expect("fits"), footer)
}

fn read_footer(sandbox: &Sandbox, path: &str) -> Arc<ParquetMetaData> {
    let file = File::open(sandbox.path(path)).expect("is there");
    Arc::clone(ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet").metadata())
}

pub fn write(sandbox: &Sandbox, path: &str, batches: &[RecordBatch], compression: Compression) {
    let file = File::create(sandbox.path(path)).expect("created");
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).expect("starts");
    batches.iter().for_each(|batch| writer.write(batch).expect("writes"));
    writer.close().expect("writes");
}

/// The batch with these columns, all of them nullable.
fn with_columns(batch: &RecordBatch, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| {
            let field = batch.schema().field_with_name(name).cloned();
            let field = field.unwrap_or(Field::new(*name, column.data_type().clone(), true)).with_nullable(true);
            field.with_data_type(column.data_type().clone())
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, batch.schema().metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect()).expect("fits")
}

fn codes(batch: &RecordBatch) -> (Vec<i64>, Vec<f32>) {
    let ids = batch.column_by_name("id").expect("has ids").as_primitive::<Int64Type>();
    let codes = batch.column_by_name("code").expect("has codes").as_fixed_size_list();
    (ids.values().to_vec(), codes.values().as_primitive::<Float32Type>().values().to_vec())
}

#[test]
fn a_rewritten_table_gives_the_same_features() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to encode").succeeds();
    let (batch, footer) = read(&sandbox, INPUT);
    assert!(footer.row_group(0).sorting_columns().is_some(), "limpid's own tables are in order and say so");
    let (features, _) = read(&sandbox, "runs/small/encode/test-00000-of-00001.parquet");
    let column = |name: &str| batch.column_by_name(name).expect("is there").clone();
    let note: ArrayRef = Arc::new(Int32Array::from(vec![7; batch.num_rows()]));
    let moved = ["note", "image", "label", "split", "id"]
        .map(|name| (name, if name == "note" { note.clone() } else { column(name) }));
    let moved = with_columns(&batch, moved.to_vec());
    // Most programs that rewrite a table drop the footer's metadata.
    let bare = Schema::new(
        moved
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_metadata(Default::default()))
            .collect::<Vec<_>>(),
    );
    let bare = RecordBatch::try_new(Arc::new(bare), moved.columns().to_vec()).expect("fits");
    for (name, batch, compression) in [
        ("bare", &bare, Compression::SNAPPY),
        ("plain", &batch, Compression::UNCOMPRESSED),
        ("snappy", &batch, Compression::SNAPPY),
        ("gzip", &batch, Compression::GZIP(GzipLevel::default())),
        ("lz4", &batch, Compression::LZ4_RAW),
        ("moved", &moved, Compression::SNAPPY),
    ] {
        write(&sandbox, &format!("{name}.parquet"), std::slice::from_ref(batch), compression);
        sandbox.limpid(&format!("encode runs/small {name}.parquet -o out")).succeeds();
        let (made, footer) = read(&sandbox, &format!("out/{name}.parquet"));
        assert_eq!(codes(&made), codes(&features), "{name}");
        if name == "bare" {
            // The class names are lost too.
            assert_eq!(made.columns()[..3], features.columns()[..3]);
        } else {
            assert_eq!(bare_schema(&made), bare_schema(&features), "{name}");
        }
        // The rewritten footer does not say that rows are sorted.
        assert!(footer.row_group(0).sorting_columns().is_none(), "{name}");
        let shown = sandbox.limpid(&format!("inspect {name}.parquet --images 1")).succeeds();
        assert!(name == "bare" || shown.stdout().contains("id 0, label"), "{name}");
    }
    // Lists of another length are not taken for images of the model's size, whatever the names of columns.
    let item = Arc::new(Field::new("item", DataType::UInt8, true));
    let long = FixedSizeListArray::new(item, 784 * 2, column("image").as_fixed_size_list().values().clone(), None);
    let long: ArrayRef = arrow_cast::cast(&long, &DataType::new_list(DataType::UInt8, true)).expect("is possible");
    let half = |name: &str| column(name).slice(0, long.len());
    let columns = [("id", half("id")), ("split", half("split")), ("label", half("label")), ("image", long.clone())];
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let twice = RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).expect("fits");
    write(&sandbox, "twice.parquet", &[twice], Compression::SNAPPY);
    sandbox
        .limpid("encode runs/small twice.parquet -o out")
        .exits(65)
        .says("it has 1568 numbers, expected 784 for 28×28");
    // As Polars and DuckDB store tables: lists without a fixed size, and text with another dictionary or none.
    let cast = |name: &str, wanted: &DataType| arrow_cast::cast(&column(name), wanted).expect("is possible");
    let item = Arc::new(Field::new("item", DataType::UInt8, true));
    let text = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::LargeUtf8));
    for (name, list, text, number) in [
        ("polars", DataType::FixedSizeList(item.clone(), 784), text, DataType::Int64),
        ("duckdb", DataType::List(item.clone()), DataType::Utf8, DataType::Int8),
        ("spark", DataType::LargeList(item), DataType::LargeUtf8, DataType::Int32),
    ] {
        let label = cast("label", &number);
        let columns =
            [("id", column("id")), ("split", cast("split", &text)), ("label", label), ("image", cast("image", &list))];
        write(&sandbox, &format!("{name}.parquet"), &[with_columns(&batch, columns.to_vec())], Compression::SNAPPY);
        sandbox.limpid(&format!("encode runs/small {name}.parquet -o out")).succeeds();
        let (made, _) = read(&sandbox, &format!("out/{name}.parquet"));
        assert_eq!((codes(&made), bare_schema(&made)), (codes(&features), bare_schema(&features)), "{name}");
    }
    let halves = [batch.slice(60, 60), batch.slice(0, 60)];
    write(&sandbox, "unsorted.parquet", &halves, Compression::SNAPPY);
    sandbox.limpid("denoise runs/small unsorted.parquet -o out").succeeds();
    let (made, footer) = read(&sandbox, "out/unsorted.parquet");
    assert_eq!(made.column_by_name("id").expect("has ids").as_primitive::<Int64Type>().value(0), 60);
    assert!(footer.row_group(0).sorting_columns().is_none());
}

#[test]
fn a_row_group_that_is_too_large_is_cut() {
    let sandbox = Sandbox::with(
        "[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n",
    );
    let mut images = idx(&[700, 160, 160]);
    images.iter_mut().enumerate().skip(16).for_each(|(at, byte)| *byte = (at / 1000) as u8);
    sandbox.write("a.idx", &images);
    sandbox.write("b.idx", &images);
    sandbox.limpid("run small.toml --to encode").succeeds();
    let (batch, footer) = read(&sandbox, INPUT);
    assert_eq!(footer.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(), [160, 160, 160, 160, 60]);
    write(&sandbox, "one.parquet", &[batch], Compression::SNAPPY);
    assert_eq!(read(&sandbox, "one.parquet").1.num_row_groups(), 1);
    for threads in [1, 3] {
        sandbox.limpid(&format!("encode runs/small one.parquet -o out --threads {threads}")).succeeds();
        let (made, footer) = read(&sandbox, "out/one.parquet");
        assert_eq!(codes(&made), codes(&read(&sandbox, "runs/small/encode/test-00000-of-00001.parquet").0));
        assert_eq!(
            footer.row_groups().iter().map(|group| group.num_rows()).collect::<Vec<_>>(),
            [160, 160, 160, 160, 60]
        );
    }
}

#[test]
fn a_table_without_rows_is_one() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    // An empty table of pyarrow: one row group, without rows and without pages.
    sandbox.write("none.parquet", include_bytes!("../fixtures/no_rows.parquet"));
    assert_eq!(read_footer(&sandbox, "none.parquet").row_group(0).num_rows(), 0);
    for command in ["encode", "denoise"] {
        sandbox.limpid(&format!("{command} runs/small none.parquet -o {command}")).succeeds();
        assert_eq!(read_footer(&sandbox, &format!("{command}/none.parquet")).file_metadata().num_rows(), 0);
    }
    sandbox.limpid("inspect none.parquet").succeeds().prints("0 rows");
    // An empty shard beside one with images.
    std::fs::copy(sandbox.path(INPUT), sandbox.path("some.parquet")).expect("copied");
    let source = "source={parquet={train=\"*e.parquet\",test-fraction=0.5}}";
    sandbox.limpid("run small.toml --to ingest --runs shards --set").arg(source).succeeds();
    let rows = ["train", "test"].map(|split| {
        read_footer(&sandbox, &format!("shards/small/ingest/{split}-00000-of-00001.parquet")).file_metadata().num_rows()
    });
    assert_eq!(rows.iter().sum::<i64>(), 120);
    // A link to one of them adds nothing, and is told.
    std::os::unix::fs::symlink("some.parquet", sandbox.path("same.parquet")).expect("linked");
    sandbox
        .limpid("run small.toml --to ingest --runs linked --set")
        .arg(source)
        .succeeds()
        .says("links to what is read anyway, which counts once: 1, such as same.parquet");
    assert!(sandbox.files("linked/small/ingest") == sandbox.files("shards/small/ingest"));
}

#[test]
fn numbers_that_are_no_pixels_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train --set output.pixels=f32").succeeds();
    let (batch, _) = read(&sandbox, "runs/small/corrupt/test-00000-of-00001.parquet");
    for bad in [f32::NAN, 1.5] {
        let list = batch.column_by_name("image").expect("is there").as_fixed_size_list();
        let mut numbers = list.values().as_primitive::<Float32Type>().values().to_vec();
        numbers[3 * 784 + 5] = bad;
        let DataType::FixedSizeList(element, _) = list.data_type() else { panic!("is a list") };
        let images = FixedSizeListArray::new(element.clone(), 784, Arc::new(Float32Array::from(numbers)), None);
        let mut columns = batch.columns().to_vec();
        columns[batch.schema().index_of("image").expect("is there")] = Arc::new(images);
        let batch = RecordBatch::try_new(batch.schema(), columns).expect("fits");
        write(&sandbox, "bad.parquet", &[batch], Compression::SNAPPY);
        for command in ["encode", "denoise"] {
            let run = sandbox.limpid(&format!("{command} runs/small bad.parquet -o out")).exits(65);
            run.says(&format!("image 3 holds {bad}; floats must lie in [0, 1]"));
        }
    }
}

#[test]
fn nulls_where_there_can_be_none_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let (batch, _) = read(&sandbox, INPUT);
    let rows = batch.num_rows();
    let second = |row: usize| row != 1;
    let ids: ArrayRef = Arc::new((0..rows).map(|row| second(row).then_some(row as i64)).collect::<Int64Array>());
    let keys = (0..rows).map(|row| second(row).then_some(0)).collect::<Int32Array>();
    let names = batch.column_by_name("split").expect("is there").as_dictionary::<Int32Type>().values().clone();
    let splits: ArrayRef = Arc::new(DictionaryArray::new(keys, names));
    let element = Arc::new(Field::new("element", DataType::UInt8, false));
    let mut images = FixedSizeListBuilder::new(UInt8Builder::new(), 784).with_field(element);
    for row in 0..rows {
        images.values().append_slice(&[0; 784]);
        images.append(second(row));
    }
    let images: ArrayRef = Arc::new(images.finish());
    for (name, holed) in [("id", ids), ("split", splits), ("image", images)] {
        let columns = ["id", "split", "label", "image"].map(|other| {
            let column = if other == name { &holed } else { batch.column_by_name(other).expect("is there") };
            (other, column.clone())
        });
        write(&sandbox, "holed.parquet", &[with_columns(&batch, columns.to_vec())], Compression::SNAPPY);
        for command in ["encode", "denoise"] {
            let run = sandbox.limpid(&format!("{command} runs/small holed.parquet -o out")).exits(65);
            run.says("holed.parquet: damaged near row 0: ").says(&format!("column `{name}` has nulls"));
        }
    }
}

#[test]
fn pictures_of_an_export_keep_their_splits_and_ids() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.limpid("export runs/small --to out --profile hf").succeeds();
    let input = "out/ingest/train-00000-of-00001.parquet";
    let keys = |path: &str| {
        let batch = read(&sandbox, path).0;
        let split =
            arrow_cast::cast(batch.column_by_name("split").expect("is there"), &DataType::Utf8).expect("is text");
        let splits: Vec<_> = split.as_string::<i32>().iter().map(|split| split.expect("is one").to_owned()).collect();
        (batch.column_by_name("id").expect("is there").as_primitive::<Int64Type>().values().to_vec(), splits)
    };
    let mut expected = keys(input);
    assert!(expected.1.iter().all(|split| split == "train"));
    sandbox.limpid(&format!("encode runs/small {input} -o made")).succeeds().never_says("not kept");
    assert_eq!(keys("made/train-00000-of-00001.parquet"), expected);

    // Rows of several splits, and other ids.
    let (batch, _) = read(&sandbox, input);
    let with = |name: &str, column: ArrayRef| {
        let columns = ["id", "split", "label", "image"].map(|other| {
            let own = batch.column_by_name(other).expect("is there").clone();
            (other, if other == name { column.clone() } else { own })
        });
        with_columns(&batch, columns.to_vec())
    };
    let splits = |odd: Option<&str>| -> ArrayRef {
        let name = |row: usize| if row == 300 { odd } else { Some(["train", "validation", "test"][row % 3]) };
        Arc::new((0..600).map(name).collect::<StringArray>())
    };
    write(&sandbox, "mixed.parquet", &[with("split", splits(Some("test")))], Compression::SNAPPY);
    sandbox.limpid("denoise runs/small mixed.parquet -o made").succeeds();
    expected.1 = keys("mixed.parquet").1;
    assert_eq!(keys("made/mixed.parquet"), expected);
    // What is no split or no id is found before anything is written, and said once.
    for (odd, what) in [(Some("late"), "is \"late\", and not train, test or validation"), (None, "is null")] {
        write(&sandbox, "odd.parquet", &[with("split", splits(odd))], Compression::SNAPPY);
        let line = format!(
            "the column split of odd.parquet is not kept: that of row 300 {what}; all images are in the split test"
        );
        sandbox.limpid("denoise runs/small odd.parquet -o made").succeeds().says(&line);
        assert!(keys("made/odd.parquet").1.iter().all(|split| split == "test"));
    }
    // Whole floats are ids, as data frames have them.
    let floats = |half: bool| -> ArrayRef {
        let id = |row: usize| (row * 3) as f64 + if half && row == 400 { 0.5 } else { 0.0 };
        Arc::new((0..600).map(|row| Some(id(row))).collect::<Float64Array>())
    };
    write(&sandbox, "whole.parquet", &[with("id", floats(false))], Compression::SNAPPY);
    sandbox.limpid("denoise runs/small whole.parquet -o made").succeeds().never_says("not kept");
    assert_eq!(keys("made/whole.parquet").0, (0..600).map(|row| row * 3).collect::<Vec<i64>>());
    write(&sandbox, "half.parquet", &[with("id", floats(true))], Compression::SNAPPY);
    let line = "the column id of half.parquet is not kept: that of row 400 is 1200.5, no whole number";
    sandbox.limpid("denoise runs/small half.parquet -o made").succeeds().says(line);
    let names: ArrayRef = Arc::new((0..600).map(|row| Some(format!("n{row}"))).collect::<StringArray>());
    write(&sandbox, "named.parquet", &[with("id", names)], Compression::SNAPPY);
    sandbox.limpid("denoise runs/small named.parquet -o made").succeeds().says("the column id of named.parquet is not");
    let ids: ArrayRef = Arc::new((0..600).map(|row| (row != 500).then_some(1000 - row)).collect::<Int64Array>());
    let lists = read(&sandbox, "runs/small/ingest/train-00000-of-00001.parquet").0;
    let lists = lists.column_by_name("image").expect("is there").clone();
    let bare = |batch: &RecordBatch| batch.schema().as_ref().clone().with_metadata(Default::default());
    let pictures = with("id", ids);
    let mut columns = pictures.columns().to_vec();
    columns[3] = lists.clone();
    let fields = pictures.schema().fields().iter().take(3).cloned().collect::<Vec<_>>();
    let fields = fields.into_iter().chain([Arc::new(Field::new("image", lists.data_type().clone(), true))]);
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let numbers = RecordBatch::try_new(Arc::new(schema), columns).expect("fits");
    let pictures = RecordBatch::try_new(Arc::new(bare(&pictures)), pictures.columns().to_vec()).expect("fits");
    for batch in [pictures, numbers] {
        write(&sandbox, "gap.parquet", &[batch], Compression::SNAPPY);
        let line =
            "the column id of gap.parquet is not kept: that of row 500 is null; the images are numbered by their rows";
        sandbox.limpid("denoise runs/small gap.parquet -o made").succeeds().says(line);
        assert_eq!(keys("made/gap.parquet"), ((0..600).collect(), vec!["train".to_owned(); 600]));
    }
}

/// The schema of a table without the digest of its footer, and without the model that made it.
fn bare_schema(table: &RecordBatch) -> Schema {
    let mut metadata = table.schema().metadata().clone();
    assert!(metadata.remove("limpid.footer-digest").is_some());
    metadata.retain(|key, _| !key.starts_with("limpid.model-"));
    Schema::new_with_metadata(table.schema().fields().clone(), metadata)
}

/// Writes a table with a footer that claims so many rows, for its only row group and for the file.
fn claim_rows(sandbox: &Sandbox, path: &str, rows: i64) {
    let footer = read_footer(sandbox, INPUT);
    let group = footer.row_group(0).clone().into_builder().set_num_rows(rows).build().expect("is one");
    let whole = sandbox.read(INPUT);
    let (length, _) = whole[whole.len() - 8..].split_first_chunk().expect("is long");
    let mut bytes = whole[..whole.len() - 8 - u32::from_le_bytes(*length) as usize].to_vec();
    let mut end = Vec::new();
    // The file of another program has no digest of its footer.
    let file = footer.file_metadata();
    let (entries, schema) = (file.key_value_metadata().cloned(), file.schema_descr_ptr());
    let file = FileMetaData::new(file.version(), file.num_rows(), Some("another".to_owned()), entries, schema, None);
    let claims = ParquetMetaData::new(file, vec![group]);
    ParquetMetaDataWriter::new(&mut end, &claims).finish().expect("memory");
    bytes.extend(end);
    sandbox.write(path, &bytes);
}

#[test]
fn rows_that_a_footer_claims_must_be_there() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let rows = read(&sandbox, INPUT).0.num_rows() as i64;
    let reads = ["denoise runs/small x.parquet -o out", "run own.toml --to ingest"];
    let own = "[source]\nparquet = { train = \"x.parquet\", test-fraction = 0.5 }\n[model]\ndense = { code = 2 }\n";
    sandbox.write("own.toml", own.as_bytes());
    claim_rows(&sandbox, "x.parquet", rows);
    reads.iter().for_each(|words| _ = sandbox.limpid(words).succeeds());
    for claimed in [rows + 1, rows - 1, i64::MAX, -1] {
        claim_rows(&sandbox, "x.parquet", claimed);
        for words in reads {
            sandbox.limpid(words).exits(65).says("x.parquet").says("differ in their number of rows");
        }
    }
}
