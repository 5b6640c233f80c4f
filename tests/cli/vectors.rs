//! Rows of numbers in place of images: tables whose columns have units of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow_schema::{Field, Schema};
use serde_json::Value;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::random::Random;

const PIPELINE: &str = r#"
name = "small"
[source]
vectors = { train = "table.csv", test-fraction = 0.25 }
[model]
dense = { hidden = [32], code = 3, code-activation = "linear" }
loss = "mse"
[training]
epochs = 40
batch-size = 20
learning-rate = 3e-3
"#;
const COLUMNS: usize = 20;

/// Rows of 20 columns in different units, each a mixture of the same three factors with a little noise.
fn rows(count: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random(1);
    let uniform = |random: &mut Random| random.below(1 << 20) as f64 / (1 << 19) as f64 - 1.0;
    let mixture: Vec<[f64; 3]> = (0..COLUMNS).map(|_| [(); 3].map(|()| uniform(&mut random))).collect();
    let mut random = Random(seed);
    let row = |_| {
        let factors = [(); 3].map(|()| uniform(&mut random));
        let mixed = |(at, weights): (usize, &[f64; 3])| {
            let sum: f64 = weights.iter().zip(factors).map(|(weight, factor)| weight * factor).sum();
            let (unit, offset) = (10_f64.powi(at as i32 % 7 - 3), at as f64 * 5.0);
            ((sum + 0.01 * uniform(&mut random)) * unit + offset * unit * 1e3).round_ties_even_at(unit)
        };
        mixture.iter().enumerate().map(mixed).collect()
    };
    (0..count).map(row).collect()
}

/// Rounding that keeps numbers short in text, relative to their unit.
trait Short {
    fn round_ties_even_at(self, unit: f64) -> f64;
}

impl Short for f64 {
    fn round_ties_even_at(self, unit: f64) -> f64 {
        (self / unit * 1e6).round_ties_even() / 1e6 * unit
    }
}

/// The name of a column.
fn name(at: usize) -> String {
    format!("c{at} ({})", ["g", "kg", "s", "m", "V", "A", "K"][at % 7])
}

/// A table of these columns as CSV.
fn csv(rows: &[Vec<f64>], order: &[usize]) -> String {
    let line = |cells: Vec<String>| cells.join(",") + "\n";
    let head = line(order.iter().map(|at| name(*at)).collect());
    rows.iter().fold(head, |text, row| text + &line(order.iter().map(|at| row[*at].to_string()).collect()))
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with(PIPELINE);
    let order: Vec<_> = (0..COLUMNS).collect();
    sandbox.write("table.csv", csv(&rows(800, 7), &order).as_bytes());
    sandbox.write("new.csv", csv(&rows(100, 8), &order).as_bytes());
    sandbox
}

fn table(sandbox: &Sandbox, path: &str, columns: &[(&str, ArrayRef)]) {
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns.iter().map(|(_, column)| column.clone()).collect()).expect("fits");
    sandbox.write(path, b"");
    crate::foreign::write(sandbox, path, &[batch], parquet::basic::Compression::SNAPPY);
}

fn codes(sandbox: &Sandbox, path: &str) -> BTreeMap<i64, Vec<f32>> {
    let (batch, _) = read(sandbox, path);
    let ids = batch["id"].as_primitive::<Int64Type>().values().to_vec();
    let codes = batch["code"].as_fixed_size_list();
    let code = |row: usize| codes.value(row).as_primitive::<Float32Type>().values().to_vec();
    ids.into_iter().enumerate().map(|(row, id)| (id, code(row))).collect()
}

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&sandbox.read(path)).expect("is JSON")
}

const TRAIN: &str = "train-00000-of-00001.parquet";
const TEST: &str = "test-00000-of-00001.parquet";

#[test]
fn a_table_is_compressed_and_comes_back_in_its_units() {
    let sandbox = sandbox();
    sandbox.limpid("run small.toml").succeeds();
    let metrics = json(&sandbox, "runs/small/evaluate/metrics.json");
    let [made, means, pca] = [0, 1, 2].map(|at| &metrics["scores"][at]);
    assert_eq!((&means["what"], &pca["what"]), (&"column means".into(), &"PCA 3".into()));
    let mse = |scores: &Value| scores["mse"].as_f64().expect("is scored");
    assert!(10.0 * mse(made) < mse(means), "{} is not far below {}", mse(made), mse(means));
    let omitted = metrics["omitted"].as_array().expect("is a list").iter().find(|omitted| omitted["what"] == "ssim");
    assert_eq!(omitted.expect("is left out")["reason"], "rows of numbers are no pictures");
    assert!(metrics["definitions"]["vectors"].is_string());
    let columns = metrics["columns"].as_array().expect("is a list");
    assert_eq!((columns.len(), &columns[19]["column"]), (COLUMNS, &name(19).into()));
    assert!(columns.iter().all(|column| column["r2"].as_f64().is_some_and(|r2| r2 > 0.5 && r2 < 1.0)), "{columns:?}");
    sandbox.limpid("show runs/small").succeeds().prints("columns explained least, R²: c");
    let report = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(report.contains("Column by column") && !report.contains("The first images of the test split"));
    sandbox.limpid(&format!("inspect runs/small/ingest/{TEST}")).succeeds().prints("  [0.");
    sandbox.limpid("inspect runs/small/ingest/columns.parquet").succeeds().prints("c0 (g)");
    sandbox.limpid("plan small.toml --check").succeeds();
    // The columns of another order, with others between them, are found by their names.
    let order: Vec<_> = (0..COLUMNS).rev().collect();
    let shuffled = csv(&rows(800, 7), &order)
        .lines()
        .enumerate()
        .fold(String::new(), |text, (line, rest)| text + if line == 0 { "note," } else { "x," } + rest + "\n");
    sandbox.write("moved.csv", shuffled.as_bytes());
    sandbox.limpid("encode runs/small table.csv moved.csv -o out").succeeds();
    let all = codes(&sandbox, "out/table.parquet");
    assert_eq!(all, codes(&sandbox, "out/moved.parquet"));
    let mut run = codes(&sandbox, &format!("runs/small/encode/{TRAIN}"));
    run.extend(codes(&sandbox, &format!("runs/small/encode/{TEST}")));
    assert_eq!((all.len(), &all), (800, &run));
    // limpid's own table of these rows is scaled already.
    sandbox.limpid(&format!("encode runs/small runs/small/ingest/{TEST} -o own")).succeeds();
    let [own, of_stage] = ["own", "runs/small/encode"].map(|folder| read(&sandbox, &format!("{folder}/{TEST}")).0);
    assert_eq!(own.columns(), of_stage.columns());
    sandbox.limpid("denoise runs/small new.csv -o out").succeeds().prints("out/new.parquet");
    let ((made, _), wanted) = (read(&sandbox, "out/new.parquet"), rows(100, 8));
    let names: Vec<_> = made.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = ["id", "split", "label"].map(str::to_owned).into_iter().chain((0..COLUMNS).map(name));
    assert_eq!(names, expected.chain(["error".to_owned()]).collect::<Vec<_>>());
    for at in 0..COLUMNS {
        let column = made[name(at).as_str()].as_primitive::<Float32Type>();
        let numbers: Vec<_> = wanted.iter().map(|row| row[at]).collect();
        let mean = numbers.iter().sum::<f64>() / 100.0;
        let spread: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        let missed: f64 =
            numbers.iter().zip(column.values()).map(|(number, made)| (number - f64::from(*made)).powi(2)).sum();
        assert!(missed < 0.5 * spread, "{}: {missed} of {spread}", name(at));
    }
    // A result is a table like any other.
    sandbox.limpid("encode runs/small out/new.parquet -o again").succeeds();
}

#[test]
fn tables_that_lack_what_the_model_takes_say_what() {
    let sandbox = Sandbox::with(&PIPELINE.replace("epochs = 40", "epochs = 1"));
    sandbox.write("table.csv", b"a,b,kind,c\n1,10,x,0.5\n2,20,y,0.25\n3,30,x,0\n4,40,y,1\n5,50,x,1\n6,60,y,0\n");
    sandbox.limpid("run small.toml --set seed=3").succeeds().says("passed over: 1 columns of table.csv, kind");
    for (content, expected) in [
        ("a,c\n1,2\n", "new.csv has no column b, which the model takes; its columns: a, c"),
        ("x,c\n1,2\n", "new.csv has no column a, nor b, which the model takes"),
        ("a,b,c\n1,one,2\n", "has no numbers in its column b, which the model takes"),
        ("a,b,c\n1,2,2\n1,,2\n", "row 1 has no number in its column b; training with source.vectors.missing"),
        ("a,b,c\n1,2,2\n1,NaN,2\n", "row 1 has no number in its column b"),
        ("a,b,c\n1,-inf,2\n", "row 0 has an infinite number in its column b"),
        ("a,b,c,b\n1,1,1,1\n", "has two columns called b"),
        ("a,b,c\n", "new.csv holds no rows"),
        ("1.5,2,3\n4,5,6\n", "has numbers in its first line (1.5, 2, 3); columns are told by their names"),
        ("\u{89}PNG", "has no column a"),
    ] {
        sandbox.write("new.csv", content.as_bytes());
        sandbox.limpid("encode runs/small new.csv -o out").exits(65).says(expected);
        assert!(!sandbox.path("out").exists(), "{expected}");
    }
    let late = (0..1200)
        .fold("a,b,c\n".to_owned(), |text, at| text + &format!("{at},1,{}\n", if at == 1100 { "x" } else { "2" }));
    sandbox.write("new.csv", late.as_bytes());
    sandbox.limpid("encode runs/small new.csv -o out").exits(65).says("row 1100 has \"x\" in column 3 (c)");
    sandbox.limpid("encode runs/small new.csv -o out --resize").exits(2).says("are for images");
    sandbox.write("folder/new.csv", b"a,b,c\n1,2,3\n");
    sandbox.limpid("encode runs/small folder -o out").exits(2).says("folder is a folder: name the tables in it");
    sandbox.limpid("denoise runs/small folder/new.csv -o out --ensemble").exits(2).says("cannot be turned");
    // Settings that are about pictures are refused, all at once.
    let pictures = "run small.toml --set training.patch=8 --set training.augment=[\"flip\"] --set denoise.ensemble=true \
                    --set output.profile=hf --set output.pictures=u8 --set corruption={blur={std=1.0}}";
    let refused = sandbox.limpid(pictures).exits(2);
    for key in [
        "training.patch",
        "training.augment",
        "denoise.ensemble",
        "output.profile",
        "output.pictures",
        "corruption.blur",
    ] {
        assert!(refused.stderr().contains(key), "{key}\n{refused}");
    }
    sandbox.write(
        "conv.toml",
        PIPELINE.replace("dense = { hidden = [32], code = 3, code-activation = \"linear\" }", "conv = {}").as_bytes(),
    );
    sandbox.limpid("run conv.toml").exits(2).says("model.conv: is for pictures: take `dense`");
    for (settings, expected) in [
        ("columns=[\"a\",\"d\"]", "has no column d, as source.vectors.columns says"),
        ("columns=[\"kind\"]", "has no numbers in its column kind"),
        ("train=\"nowhere.csv\"", "nowhere.csv does not exist"),
    ] {
        sandbox.limpid(&format!("run small.toml --set source.vectors.{settings}")).exits(65).says(expected);
    }
}

#[test]
fn constant_and_missing_numbers_and_labels_are_handled() {
    let pipeline = PIPELINE
        .replace("epochs = 40", "epochs = 2")
        .replace("test-fraction = 0.25 }", "test = \"test.csv\", missing = \"mean\", exclude = [\"ex*\"] }\n");
    let sandbox = Sandbox::with(&pipeline);
    let line = |at: usize| {
        let (gap, flag) = (if at % 10 == 3 { "NA".to_owned() } else { (at % 10).to_string() }, at.is_multiple_of(2));
        format!("{at};{gap};7.25;{flag};{};9\n", ["cat", "dog"][at % 2])
    };
    let text = |range: std::ops::Range<usize>| {
        range.fold("id;x;same;flag;label;extra\n".to_owned(), |text, at| text + &line(at))
    };
    sandbox.write("table.csv", text(0..40).as_bytes());
    sandbox.write("test.csv", (text(50..60) + "60;99;8;true;dog;1\n").as_bytes());
    sandbox
        .limpid("run small.toml")
        .succeeds()
        .says("constant in the training rows: the columns same; they tell nothing")
        .says("clipped: 2 numbers lie outside of the range that the training rows give their columns, x, same");
    let model = json(&sandbox, "runs/small/train/model.json");
    // The mean of the digits but 3.
    let x = &model["columns"][0];
    assert_eq!((&x["column"], &x["zero"], &x["one"]), (&"x".into(), &0.0.into(), &9.0.into()));
    assert!((x["missing"].as_f64().expect("is kept") - 42.0 / 9.0).abs() < 1e-12, "{x}");
    assert_eq!(
        model["columns"][1],
        serde_json::json!({ "column": "same", "zero": 7.25, "one": 7.25, "missing": 7.25 })
    );
    let (batch, _) = read(&sandbox, &format!("runs/small/ingest/{TRAIN}"));
    let rows = batch["image"].as_fixed_size_list();
    let row = |at: usize| rows.value(at).as_primitive::<Float32Type>().values().to_vec();
    assert_eq!(
        (row(0), row(9), row(3)),
        (vec![0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0], vec![(42.0_f64 / 81.0) as f32, 0.0, 0.0])
    );
    assert_eq!(batch["label"].as_primitive::<Int64Type>().values()[..2], [0, 1]);
    sandbox
        .limpid(&format!("inspect runs/small/ingest/{TRAIN}"))
        .succeeds()
        .prints("limpid.classes = [\"cat\",\"dog\"]");
    // Ids are kept, and so are constants; a gap is filled as in training.
    sandbox.limpid("denoise runs/small test.csv -o out").succeeds().says("clipped: 2 numbers");
    let (made, _) = read(&sandbox, "out/test.parquet");
    assert_eq!(made["id"].as_primitive::<Int64Type>().values()[..3], [50, 51, 52]);
    assert!(made["same"].as_primitive::<Float32Type>().values().iter().all(|number| *number == 7.25));
    let standard = "run small.toml --runs wide --to ingest --set source.vectors.scale=standard";
    sandbox.limpid(standard).succeeds();
    let (columns, _) = read(&sandbox, "wide/small/ingest/columns.parquet");
    let zero = columns["zero"].as_primitive::<arrow_array::types::Float64Type>().value(0);
    assert!((-8.0..-6.0).contains(&zero), "{zero}");
}

#[test]
fn parquet_columns_of_any_type_and_lists_are_rows() {
    let pipeline = PIPELINE.replace("epochs = 40", "epochs = 2").replace("table.csv", "part-*.parquet");
    let sandbox = Sandbox::with(&pipeline);
    let part = |path: &str, start: i32| {
        let range = || start..start + 30;
        let columns: [(&str, ArrayRef); 5] = [
            ("whole", Arc::new(Int32Array::from_iter_values(range()))),
            ("real", Arc::new(Float32Array::from_iter_values(range().map(|at| at as f32 / 4.0)))),
            ("flag", Arc::new(range().map(|at| Some(at % 3 == 0)).collect::<BooleanArray>())),
            ("text", Arc::new(StringArray::from_iter_values(range().map(|at| at.to_string())))),
            ("class", Arc::new(Int64Array::from_iter_values(range().map(|at| i64::from(at % 2))))),
        ];
        table(&sandbox, path, &columns);
    };
    part("part-0.parquet", 0);
    part("part-1.parquet", 30);
    sandbox.limpid("run small.toml").succeeds().says("passed over: 1 columns of part-0.parquet, text");
    let model = json(&sandbox, "runs/small/train/model.json");
    let names: Vec<_> =
        model["columns"].as_array().expect("is a list").iter().map(|column| &column["column"]).collect();
    assert_eq!(names, ["whole", "real", "flag"]);
    let ids: Vec<i64> = [TRAIN, TEST]
        .iter()
        .flat_map(|name| codes(&sandbox, &format!("runs/small/encode/{name}")).into_keys())
        .collect();
    assert_eq!(ids.iter().sum::<i64>(), (0..60).sum::<i64>());
    // CSV of the same rows has the same codes.
    let lines = (0..60).map(|at| format!("{},{},{at}\n", at % 3 == 0, f64::from(at) / 4.0)).collect::<String>();
    sandbox.write("rows.csv", format!("flag,real,whole\n{lines}").as_bytes());
    sandbox.limpid("encode runs/small rows.csv part-1.parquet -o out").succeeds();
    let (rows, second) = (codes(&sandbox, "out/rows.parquet"), codes(&sandbox, "out/part-1.parquet"));
    assert!(second.iter().all(|(id, code)| rows[&(id + 30)] == *code));
    // A list in each row, as embeddings.
    let lists = |count: usize, size: i32| -> ArrayRef {
        let numbers = (0..count * size as usize).map(|at| (at * 37 % 101) as f64 - 50.0);
        let item = Arc::new(Field::new("item", arrow_schema::DataType::Float64, true));
        Arc::new(FixedSizeListArray::new(item, size, Arc::new(Float64Array::from_iter_values(numbers)), None))
    };
    table(
        &sandbox,
        "part-0.parquet",
        &[("score", Arc::new(Int32Array::from_iter_values(0..40))), ("embedding", lists(40, 6))],
    );
    std::fs::remove_file(sandbox.path("part-1.parquet")).expect("removed");
    sandbox.limpid("run small.toml --runs lists").succeeds().says("passed over: 1 columns of part-0.parquet, score");
    sandbox.limpid("denoise lists/small part-0.parquet -o lists-out").succeeds();
    let (made, _) = read(&sandbox, "lists-out/part-0.parquet");
    assert_eq!(made["embedding"].as_fixed_size_list().value_length(), 6);
    assert_eq!(json(&sandbox, "lists/small/train/model.json")["columns"][2]["place"], 2);
    table(&sandbox, "short.parquet", &[("embedding", lists(4, 5))]);
    let refused = "row 0 has a list of 5 numbers in its column embedding, expected 6";
    sandbox.limpid("encode lists/small short.parquet -o lists-out").exits(65).says(refused);
    table(&sandbox, "flat.parquet", &[("embedding", Arc::new(Int32Array::from_iter_values(0..4)))]);
    sandbox
        .limpid("encode lists/small flat.parquet -o lists-out")
        .exits(65)
        .says("has no lists of numbers in its column");
}

#[test]
fn a_training_on_rows_that_is_killed_ends_with_the_same_bytes() {
    let sandbox = sandbox();
    let settings = "--set training.epochs=4 --set training.checkpoint-seconds=0 --set corruption={gaussian={std=0.1}} \
                    --set training.input=noisy";
    sandbox.limpid(&format!("run small.toml --runs whole {settings}")).succeeds();
    sandbox.limpid(&format!("run small.toml {settings} --to corrupt")).succeeds();
    let run = sandbox.limpid(&format!("run small.toml {settings}")).env("LIMPID_FAILPOINT", ":60:kill").ends();
    assert!(!run.status().success() && !sandbox.path("runs/small/train").exists(), "{run}");
    sandbox.limpid(&format!("run small.toml {settings}")).succeeds().says("train");
    for stage in ["ingest", "corrupt", "train", "encode", "denoise", "evaluate"] {
        let [made, whole] = ["runs", "whole"].map(|runs| sandbox.files(&format!("{runs}/small/{stage}")));
        assert!(made == whole, "{stage} differs");
    }
}

#[test]
fn a_pipeline_is_proposed_for_a_table_of_numbers() {
    let sandbox = sandbox();
    sandbox.limpid("init table.csv").succeeds();
    let text = String::from_utf8(sandbox.read("table.toml")).expect("is text");
    assert!(text.contains("vectors = { train = \"table.csv\", test-fraction = 0.1 }"), "{text}");
    assert!(text.contains("rows of 20 numbers") && text.contains("dense = { hidden = [40], code = 5"), "{text}");
    sandbox.limpid("run table.toml --set training.epochs=1").succeeds();
    let column = |unit: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values((0..50).map(|at| f64::from(at % 7) * unit)))
    };
    table(&sandbox, "numbers.parquet", &[("a", column(1.0)), ("b", column(2.0)), ("c", column(0.1))]);
    sandbox.limpid("init numbers.parquet").succeeds();
    let text = String::from_utf8(sandbox.read("numbers.toml")).expect("is text");
    assert!(text.contains("vectors = { train = \"numbers.parquet\""), "{text}");
}
