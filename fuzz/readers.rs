//! The fuzz targets: a function for each reader of untrusted bytes. A finding is a panic, an allocation out of proportion to
//! the input, an endless loop, or an error that calls a bad file a bug of limpid.
//!
//! libFuzzer calls them with generated inputs, `tests/corpus.rs` with the inputs that are kept in `seeds/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, setrlimit};

use limpid::command::library::{self, Images, Model, Reading};
use limpid::config::{self};
use limpid::device::ComputeDevice;
use limpid::error::{self, Kind};
use limpid::image::{ImageShape, Levels, Split};
use limpid::model::predict::Predict;
use limpid::model::settings::CodeActivation;
use limpid::model::{Architecture, Dense, ModelDescription};
use limpid::progress::{LogMode, Progress};
use limpid::record::fingerprint::Parts;
use limpid::record::receipt::Receipt;
use limpid::record::workspace::Workspace;
use limpid::source::settings::{Arrays, Faults, Fit, OnError, Pages, Size};
use limpid::source::{
    self, ColumnsSettings, FolderLabels, FolderSettings, HeldArray, IdxHeader, IdxSettings, ImageReader, Missing,
    NpySettings, NpzSettings, ParquetSettings, Scale, SourceSettings, TarSettings, VectorsSettings,
};
use limpid::table::{self, TableFile, footer, row_group_rows};
use limpid::training::checkpoint::CheckpointFile;
use limpid::training::history::End;

/// Limit of the address space: an allocation beyond it aborts, even if it would never be touched.
const MEMORY: u64 = 2 << 30;

/// Limits the memory of this process; not under AddressSanitizer, which reserves terabytes and has a limit of its own.
pub fn limit_memory() {
    if std::env::var_os("ASAN_OPTIONS").is_some() {
        return;
    }
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    setrlimit(Resource::As, limit).expect("a lower limit is always allowed");
}

/// IDX: as an image file, and as the labels of three images.
pub fn idx(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.write("some.idx", bytes);
    _ = judge(IdxHeader::read(&path));
    if let Some(reader) = judge(ImageReader::open(&path)) {
        let rows = row_group_rows(source::bytes_of(reader.shape), reader.count);
        reader.chunks(rows).take(4).for_each(|chunk| _ = judge(chunk));
    }
    let images = folder.write("three.idx", &[0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6]);
    let (train_labels, test) = (Some(path), Some(images.clone()));
    let files = Arrays { train: images, train_labels, test, ..Arrays::default() };
    let settings = SourceSettings::Idx(IdxSettings(files));
    if let Some(source) = judge(settings.kind().open(1, Path::new("data"), &Progress::new(LogMode::Lines))) {
        for group in source.row_groups(Split::Train, 2).expect("the images are good") {
            group.and_then(|group| group(&mut |_| Ok(()))).expect("the images are good");
        }
    }
}

/// NumPy: as a file of one array, as its labels, and as an archive.
pub fn arrays(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.write("some.npy", bytes);
    _ = judge(source::describe_npy(&path));
    let mut three =
        b"\x93NUMPY\x01\x00\x3f\x00{'descr': '|u1', 'fortran_order': False, 'shape': (3, 1, 2), }\n".to_vec();
    three.extend([1, 2, 3, 4, 5, 6]);
    let good = folder.write("three.npy", &three);
    source::describe_npy(&good).expect("is good");
    let (images, labels) = (Some(path.clone()), Some(path.clone()));
    let files = |train: &PathBuf, train_labels: &Option<PathBuf>, test_fraction: Option<f64>| Arrays {
        train: train.clone(),
        train_labels: train_labels.clone(),
        test: test_fraction.is_none().then(|| good.clone()),
        test_fraction,
        ..Arrays::default()
    };
    for arrays in [files(&path, &None, None), files(&path, &images, Some(0.5)), files(&good, &labels, None)] {
        read(&SourceSettings::Npy(NpySettings { arrays, noisy: None }));
    }
    let path = folder.write("some.npz", bytes);
    _ = judge(source::names_in_npz(&path));
    let name = |name: &str| name.to_owned();
    let (train, test) = (name("x_train"), Some(name("x_test")));
    let arrays = Arrays { train, test, ..Arrays::default() };
    read(&SourceSettings::Npz(NpzSettings { path, arrays, noisy: None }));
}

/// A picture, unchanged and fitted.
pub fn picture(bytes: &[u8]) {
    let folder = Folder::new();
    folder.write("photos/train/a.png", bytes);
    folder.write("photos/test/b.png", bytes);
    for fit in [
        Fit { size: Size::Same, grey: None, pages: Pages::All, levels: None },
        Fit { size: Size::Crop([2, 3]), grey: Some(true), pages: Pages::First, levels: None },
        Fit {
            size: Size::Resize([3, 2]),
            grey: Some(false),
            pages: Pages::Error,
            levels: Some(Levels::Between([0.0, 4095.0])),
        },
    ] {
        read(&SourceSettings::Folder(photos(&folder, fit, None)));
    }
}

/// A picture as the noisy version of another, and as the clean one.
pub fn pairs(bytes: &[u8]) {
    let folder = Folder::new();
    for split in ["train", "test"] {
        folder.write(&format!("some/{split}/1.png"), bytes);
        folder.write(&format!("pixel/{split}/1.png"), PIXEL);
    }
    for (noisy, clean) in [("some", "pixel"), ("pixel", "some"), ("some", "some")] {
        let text = format!(
            "name = \"pairs\"\n[source]\nfolder = {{ noisy = {:?}, clean = {:?} }}\n[model]\nconv = {{ channels = [1] }}\n",
            folder.0.join(noisy),
            folder.0.join(clean)
        );
        let pipeline = config::parse("pairs.toml", &text, &[], "pairs", Path::new("")).expect("is a pipeline");
        read(&pipeline.source);
    }
}

/// A BMP of one pixel.
const PIXEL: &[u8] = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07\x07\x07\0";

/// A table of the files of a folder, CSV and JSON lines, and one of rows of numbers.
pub fn listing(bytes: &[u8]) {
    let folder = Folder::new();
    for name in ["photos/a/1.png", "photos/a/2.png"] {
        folder.write(name, PIXEL);
    }
    let csv = folder.write("some.csv", bytes);
    read(&SourceSettings::Folder(photos(&folder, Fit::default(), Some(csv.clone()))));
    vectors(csv);
    folder.write("photos/metadata.jsonl", bytes);
    read(&SourceSettings::Folder(photos(&folder, Fit::default(), None)));
}

/// A Parquet file of another program, as a source of images and one of rows of numbers.
pub fn foreign(bytes: &[u8]) {
    let folder = Folder::new();
    vectors(folder.write("data/some.parquet", bytes));
    for (shape, size) in [(None, Size::Same), (Some(vec![2, 3]), Size::Resize([2, 2]))] {
        read(&SourceSettings::Parquet(ParquetSettings {
            path: Some(folder.0.join("data")),
            train: None,
            test: None,
            validation: None,
            test_fraction: Some(0.5),
            validation_fraction: 0.0,
            image: None,
            noisy: None,
            label: None,
            shape,
            fit: Fit { size, grey: None, pages: Pages::Error, levels: None },
            faults: FAULTS,
        }));
    }
}

/// A table as rows of numbers.
fn vectors(table: PathBuf) {
    for (scale, missing) in [(Scale::MinMax, Missing::Error), (Scale::Standard, Missing::Mean)] {
        read(&SourceSettings::Vectors(VectorsSettings {
            train: table.clone(),
            test: None,
            validation: None,
            validation_fraction: 0.0,
            test_fraction: Some(0.5),
            columns: Vec::new(),
            exclude: Vec::new(),
            label: None,
            scale,
            missing,
        }));
    }
}

/// A table with a column for each pixel, in CSV, as its name says, in gzip, and in Parquet, as its first bytes say.
pub fn columns(bytes: &[u8]) {
    let folder = Folder::new();
    let train = folder.write("some.csv", bytes);
    for (label, shape) in [(None, None), (Some("none".to_owned()), Some(vec![1, 2]))] {
        let test_fraction = Some(0.5);
        read(&SourceSettings::Columns(ColumnsSettings {
            train: train.clone(),
            test: None,
            validation: None,
            validation_fraction: 0.0,
            test_fraction,
            label,
            shape,
        }));
    }
    read(&SourceSettings::Columns(ColumnsSettings {
        train: train.clone(),
        test: Some(train),
        validation: None,
        validation_fraction: 0.0,
        test_fraction: None,
        label: None,
        shape: None,
    }));
}

/// A tar archive of pictures and labels.
pub fn tar(bytes: &[u8]) {
    let folder = Folder::new();
    let train = folder.write("some.tar", bytes);
    for (label, fit) in [
        (Some("cls".to_owned()), Fit::default()),
        (None, Fit { size: Size::Resize([2, 3]), grey: Some(true), pages: Pages::First, levels: None }),
        (
            None,
            Fit {
                size: Size::Same,
                grey: Some(false),
                pages: Pages::First,
                levels: Some(Levels::Between([0.0, 4095.0])),
            },
        ),
    ] {
        read(&SourceSettings::Tar(TarSettings {
            train: train.clone(),
            test: None,
            validation: None,
            validation_fraction: 0.0,
            test_fraction: Some(0.5),
            label,
            fit,
            faults: FAULTS,
        }));
    }
}

/// Bad pictures are left out, so that those after them are read too.
const FAULTS: Faults = Faults { on_error: OnError::Skip, most: 100 };

fn photos(folder: &Folder, fit: Fit, csv: Option<PathBuf>) -> FolderSettings {
    FolderSettings {
        path: folder.0.join("photos"),
        pairs: None,
        labels: FolderLabels::Folders,
        csv,
        label: None,
        outside: false,
        train: "train".to_owned(),
        test: "test".to_owned(),
        validation: None,
        test_fraction: 0.5,
        validation_fraction: 0.0,
        fit,
        faults: FAULTS,
    }
}

/// The first images of a source.
fn read(settings: &SourceSettings) {
    let open = || settings.kind().open(1, Path::new("data"), &Progress::new(LogMode::Lines));
    let Some(source) = judge(open()) else { return };
    for split in Split::ALL {
        let groups = judge(source.row_groups(split, 2)).into_iter().flatten().map_while(judge);
        groups.take(8).map_while(|group| judge(group(&mut |_| Ok(())))).for_each(drop);
    }
    _ = judge(source.tables());
}

/// A pipeline file; lines after one that is `%%` are `--set` assignments.
pub fn pipeline(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (text, sets) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let sets: Vec<String> = sets.lines().map(str::to_owned).collect();
    match config::parse("some.toml", text, &sets, "some", Path::new("")) {
        Ok(pipeline) => {
            let written = serde_json::to_string(&pipeline).expect("is JSON");
            let back: config::Pipeline = serde_json::from_str(&written).expect("comes back");
            assert_eq!(back, pipeline);
        }
        Err(cause) => assert_eq!(error::kind(&cause), Kind::Settings, "{cause:#}"),
    }
}

/// A Parquet file, as a limpid table and as any Parquet file.
pub fn table(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.write("some.parquet", bytes);
    if let Some(footer) = judge(footer(&path)) {
        let all: Vec<usize> = (0..footer.schema().fields().len()).collect();
        judge(table::columns(&path, &footer, &all, 1 << 20, 3)).into_iter().flatten().take(2).for_each(drop);
    }
    let Some(table) = judge(TableFile::open(&path)) else { return };
    _ = (table.is_sorted(), table.rows(), judge(table.image_shape()));
    for group in 0..table.row_groups() {
        judge(table.row_group(group)).into_iter().flatten().map_while(judge).for_each(drop);
    }
    table.all().map_while(judge).for_each(drop);
}

/// A model: its description, a zero byte, its weights.
pub fn model(bytes: &[u8]) {
    let (description, weights) = halves(bytes);
    let folder = Folder::new();
    folder.write("model.json", description);
    folder.write("last.safetensors", weights);
    // The description may name any file of weights, even an impossible one.
    if let Err(cause) = ModelDescription::load(&folder.0, &ComputeDevice::default().inference()) {
        assert!(error::kind(&cause) != Kind::Bug, "{cause:#}");
    }
}

/// Images that the Python module is given, for a model of one size and one of any: an array, if the first byte is 255, or a table of
/// what a Parquet file holds.
pub fn given(bytes: &[u8]) {
    let silent = Progress::new(LogMode::Lines);
    let images = || if let [255, rest @ ..] = bytes { Some(Images::Array(array(rest))) } else { table_of(bytes) };
    // An array cannot be scaled.
    let resize = bytes.first() != Some(&255) && bytes.len() % 2 == 1;
    let reading = || Reading { resize, ..Reading::default() };
    for model in models() {
        let Some(first) = images() else { return };
        _ = judge(model.encode(first, &reading(), ("pooled", true), &silent));
        _ = images().and_then(|images| judge(model.denoise(images, &reading(), (false, true), &silent)));
    }
}

/// The array that some bytes describe: its type, the number of its sizes, these, and its numbers, which are repeated as often as it
/// takes, since those of an array in memory are never too few.
fn array(bytes: &[u8]) -> HeldArray {
    const TYPES: [(&str, usize); 12] = [
        ("|u1", 1),
        ("<f4", 4),
        (">f4", 4),
        ("<f8", 8),
        ("<u2", 2),
        (">u2", 2),
        ("|b1", 1),
        ("|i1", 1),
        ("<i8", 8),
        ("<f2", 2),
        ("<u8", 8),
        ("<Z9", 9),
    ];
    let mut next = bytes.iter().copied().chain([1; 8]);
    let mut next = || next.next().unwrap_or(1);
    let (description, width) = TYPES[usize::from(next()) % TYPES.len()];
    let sizes: Vec<u64> = (0..next() % 6).map(|_| u64::from(next() % 60)).collect();
    let count = sizes.iter().product::<u64>().min(1 << 18) as usize;
    let sizes = if sizes.iter().product::<u64>() as usize == count { sizes } else { vec![count as u64] };
    let numbers = bytes.iter().copied().cycle().take(if bytes.is_empty() { 0 } else { count * width });
    let mut numbers: Vec<u8> = numbers.collect();
    numbers.resize(count * width, 0);
    HeldArray { name: "images".to_owned(), description: description.to_owned(), sizes, numbers: numbers.into() }
}

/// A table in memory, of the first rows of a file.
fn table_of(bytes: &[u8]) -> Option<Images> {
    let folder = Folder::new();
    let path = folder.write("some.parquet", bytes);
    let footer = footer(&path).ok()?;
    let all: Vec<usize> = (0..footer.schema().fields().len()).collect();
    let batches = table::columns(&path, &footer, &all, 1 << 20, 3).ok()?.take(3).collect::<Result<Vec<_>, _>>().ok()?;
    let schema = batches.first()?.schema();
    Some(Images::Table { name: "the table".to_owned(), schema, batches })
}

/// A model of images of 28×28, and one of pictures of any size.
fn models() -> &'static [Model] {
    static MODELS: OnceLock<Vec<Model>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let folder = Folder::new();
        let silent = Progress::new(LogMode::Lines);
        let runs = folder.0.join("runs").display().to_string();
        ["dense = { hidden = [], code = 2 }", "conv = { channels = [2] }"]
            .iter()
            .map(|model| {
                let patch = if model.starts_with("conv") { "patch = 8\n" } else { "" };
                let text = format!(
                    "name = \"small\"\n[source]\nstrokes = {{ train = 20, test = 2 }}\n[model]\n{model}\n[training]\nepochs = 1\n{patch}"
                );
                let path = folder.write("small.toml", text.as_bytes()).display().to_string();
                let words = ["run", &path, "--to", "train", "--threads", "1", "--force", "--runs", &runs];
                let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
                library::run(&words, None, &silent).expect("trains");
                Model::load(&folder.0.join("runs/small"), "cpu", Some(1), &silent).expect("is a model")
            })
            .collect()
    })
}

/// Damaged files of limpid: a receipt, a checkpoint, the settings of a run.
pub fn receipt(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.write("run/pipeline.json", bytes);
    let workspace = Workspace::new(&folder.0, "run");
    _ = judge(workspace.settings::<config::Pipeline>());
    let checkpoint = CheckpointFile::new(path, parts(), End { epochs: 9, patience: Some(2) });
    _ = judge(checkpoint.standing());
    let (device, image) = (ComputeDevice::default(), ImageShape::new(1, 2, 1).expect("is a shape"));
    let dense = Architecture::Dense(Dense { hidden: vec![], code: 1, code_activation: CodeActivation::Relu });
    let initial = dense.init(image, Predict::Image, 1, &device.inference()).expect("is small");
    _ = judge(checkpoint.load(initial, &device.inference()));
    if let Some(receipt) = Receipt::parse(bytes) {
        _ = receipt.damage(&folder.0, false);
        let written = receipt.serialise().expect("is JSON");
        let back = Receipt::parse(&written).expect("comes back");
        assert_eq!(back.serialise().expect("is JSON"), written);
    }
}

/// The fingerprint parts of the checkpoints among the seeds.
fn parts() -> Parts {
    Parts { code: 1, settings: BTreeMap::new(), inputs: BTreeMap::new() }
}

/// The result; asserts that a failure is attributed to the data.
fn judge<T>(result: anyhow::Result<T>) -> Option<T> {
    let blame = |cause: &anyhow::Error| assert!(error::kind(cause) == Kind::Data, "{cause:#}");
    result.inspect_err(blame).ok()
}

fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let middle = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (&bytes[..middle], bytes.get(middle + 1..).unwrap_or_default())
}

/// A temporary folder, in memory where possible.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let name = format!("limpid-fuzz-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self(parent.join(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("created");
        std::fs::write(&path, bytes).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
