//! Files that hold or claim too much: reading any of them stays below the memory bound of docs/limits.md.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, Int32Array, ListArray, RecordBatch, StringArray, UInt8Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::harness::Sandbox;
use crate::own_images::{encoded, png, sandbox as of};

/// The bound that docs/limits.md states, in MB.
const BOUND: u64 = 2 * 1074;

/// Runs a command; expects this exit code, this text, and a peak of less than so many MB.
fn expect(sandbox: &Sandbox, words: &str, code: i32, text: &str, most: u64) {
    let (done, peak) = sandbox.limpid(words).peak();
    println!("{words}: {peak} MB");
    assert_eq!(done.status().code(), Some(code), "{words}\n{done}");
    assert!(format!("{done}").contains(text), "{words}: no {text:?}\n{done}");
    assert!(peak < most && most <= BOUND, "{words}: {peak} MB, expected less than {most}\n{done}");
}

/// A sparse file of eight gibibytes that begins with these bytes.
fn sparse(sandbox: &Sandbox, name: &str, start: &[u8]) {
    sandbox.write(name, start);
    let file = File::options().write(true).open(sandbox.path(name)).expect("is there");
    file.set_len(8 << 30).expect("grows");
}

/// Zeros, zlib-compressed.
fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(1));
    (0..mebibytes).for_each(|_| encoder.write_all(&[0; 1 << 20]).expect("memory"));
    encoder.finish().expect("memory")
}

/// A PNG with this chunk after the first.
fn png_with(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(&[kind, data].concat());
    let chunk = [&(data.len() as u32).to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat();
    let mut whole = png(4, 4, 1);
    whole.splice(33..33, chunk);
    whole
}

/// An RGB TIFF picture with one strip.
fn tiff(width: u32, height: u32, compression: u32, strip: &[u8]) -> Vec<u8> {
    let entries: [[u32; 4]; 9] = [
        [256, 4, 1, width],
        [257, 4, 1, height],
        // Three values of eight bits, stored after the entries.
        [258, 3, 3, 8 + 2 + 9 * 12 + 4],
        [259, 3, 1, compression],
        [262, 3, 1, 2],
        [273, 4, 1, 8 + 2 + 9 * 12 + 4 + 6],
        [277, 3, 1, 3],
        [278, 4, 1, height],
        [279, 4, 1, strip.len() as u32],
    ];
    let mut bytes = b"II\x2a\0\x08\0\0\0\x09\0".to_vec();
    for [tag, kind, count, value] in entries {
        bytes.extend([&(tag as u16).to_le_bytes()[..], &(kind as u16).to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0, 0, 0, 0, 8, 0, 8, 0, 8, 0]);
    [bytes, strip.to_vec()].concat()
}

#[test]
fn pictures_take_no_more_than_there_is_room_for() {
    let sandbox = Sandbox::new();
    let inspect = |name: &str, bytes: &[u8], code: i32, text: &str, most: u64| {
        sandbox.write(name, bytes);
        expect(&sandbox, &format!("inspect {name}"), code, text, most);
    };
    // Compressed profiles or texts that expand to 300 MiB are skipped.
    let bomb = zeros(300);
    for (name, kind, head) in
        [("iccp.png", b"iCCP", &b"x\0\0"[..]), ("ztxt.png", b"zTXt", b"x\0\0"), ("itxt.png", b"iTXt", b"x\0\x01\0\0\0")]
    {
        inspect(name, &png_with(kind, &[head, &bomb].concat()), 0, "a picture of 4×4×3", 120);
    }
    // Pixels that are in the file, and pixels that it only claims.
    inspect("bomb.tiff", &tiff(13_000, 13_000, 8, &zeros(484)), 65, "of memory; at most 1024 MiB work", 120);
    inspect("claim.tiff", &tiff(30_000, 30_000, 8, b""), 65, "it has pixels of 2574 MiB; at most 512 MiB work", 120);
    let large = RgbImage::from_pixel(600, 400, Rgb([1, 2, 3]));
    let mut jpeg = encoded(&large.into(), ImageFormat::Jpeg);
    inspect("large.tiff", &tiff(9_000, 8_000, 8, &zeros(207)), 65, "at most 67108864 numbers work", 700);
    // A JPEG that claims a huge frame, alone and inside of a TIFF of a single pixel.
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("is there");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x40, 0, 0x28, 0]);
    inspect("frame.jpg", &jpeg, 65, "cannot be decoded", 700);
    jpeg[frame + 1] = 0xc2;
    inspect("scans.jpg", &jpeg, 65, "of memory; at most 1024 MiB work", 120);
    inspect("inside.tiff", &tiff(1, 1, 7, &jpeg), 65, "of memory; at most 1024 MiB work", 120);
    let mut bmp = encoded(&RgbImage::new(2, 2).into(), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0xc0, 0x32, 0, 0, 0xc0, 0x32, 0, 0]);
    inspect("claim.bmp", &bmp, 65, "cannot be decoded", 700);
    let mut webp = encoded(&RgbImage::new(2, 2).into(), ImageFormat::WebP);
    webp[21..25].copy_from_slice(&[0xff, 0xff, 0xff, 0x0f]);
    inspect("claim.webp", &webp, 65, "cannot be decoded", 120);
    // Scaling in one direction first gives large intermediate images.
    let wide = encoded(&RgbImage::new(32_000, 8).into(), ImageFormat::Png);
    let folder = of("folder = { path = \"photos\", test-fraction = 0.5, resize = [16000, 20] }");
    (0..4).for_each(|index| _ = folder.write(&format!("photos/{index}.png"), &wide));
    expect(&folder, "run small.toml --to ingest", 65, "decoding and scaling it takes 7", 120);
}

#[test]
fn a_file_without_end_is_no_picture() {
    let sandbox = of("folder = { path = \"photos\", test-fraction = 0.5 }");
    (0..4).for_each(|index| _ = sandbox.write(&format!("photos/{index}.png"), &png(4, 4, index)));
    expect(&sandbox, "run small.toml", 0, "", 300);
    sparse(&sandbox, "photos/0.png", b"\x89PNG\r\n\x1a\n");
    let message = "photos/0.png: it is larger than 256 MiB";
    expect(&sandbox, "run small.toml --to ingest", 65, message, 120);
    expect(&sandbox, "encode runs/small photos/0.png -o out", 65, message, 120);
    expect(&sandbox, "inspect photos/0.png", 65, "it is larger than 256 MiB", 120);
    // Tables of pictures with a row without end: plain text, or a quoted value.
    sandbox.write("long.csv", &[b"file\n".to_vec(), vec![b'x'; 9 << 20]].concat());
    sandbox.write("quoted.csv", &[b"file\n\"".to_vec(), b"line\n".repeat(2 << 20)].concat());
    sandbox.write("long.jsonl", &[b"{\"file\": \"".to_vec(), vec![b'x'; 9 << 20]].concat());
    for name in ["long.csv", "quoted.csv", "long.jsonl"] {
        let words = format!("run small.toml --to ingest --set source.folder.csv={name}");
        expect(&sandbox, &words, 65, "it has a row of more than 4 MiB", 120);
    }
}

/// Writes a column whose rows all have the same value, by a dictionary.
fn fat(sandbox: &Sandbox, name: &str, column: &str, value: ArrayRef, rows: usize) {
    let keys = Int32Array::from(vec![0; rows]);
    let values: ArrayRef = Arc::new(DictionaryArray::new(keys, value));
    let batch = RecordBatch::try_from_iter([(column, values)]).expect("fits");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(1 << 30);
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let file = File::create(sandbox.path(name)).expect("created");
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).expect("starts");
    writer.write(&batch).and_then(|()| writer.close()).expect("writes");
}

#[test]
fn tables_take_no_more_than_a_few_of_their_largest_rows() {
    let sandbox = of("parquet = { train = \"train.parquet\", test = \"test.parquet\", resize = [8, 8] }");
    // A picture of 36 MB in every row is read, a few at a time.
    let picture = encoded(&RgbImage::from_pixel(4_000, 3_000, Rgb([9, 8, 7])).into(), ImageFormat::Bmp);
    let value = || -> ArrayRef { Arc::new(BinaryArray::from_vec(vec![&picture])) };
    fat(&sandbox, "train.parquet", "image", value(), 60);
    fat(&sandbox, "test.parquet", "image", value(), 2);
    expect(&sandbox, "run small.toml --threads 2", 0, "", 700);
    // Useless bytes in every row cost no more.
    let value: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&vec![0; 200 << 20]]));
    fat(&sandbox, "fat.parquet", "image", value, 30);
    assert!(sandbox.path("fat.parquet").metadata().expect("is there").len() < 1 << 16);
    expect(&sandbox, "inspect fat.parquet", 0, "30 rows", 1200);
    expect(&sandbox, "encode runs/small fat.parquet --resize -o out", 65, "it is not a PNG", 1200);
    let value: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100 << 20)]));
    fat(&sandbox, "text.parquet", "label", value, 30);
    expect(&sandbox, "inspect text.parquet", 0, "label: texts of more than 1024 bytes", 1200);
    // A hundred million numbers that compress to almost nothing.
    let numbers = UInt8Array::from(vec![0; 100 << 20]);
    let offsets = OffsetBuffer::from_lengths(vec![1 << 20; 100]);
    let item = Arc::new(Field::new_list_field(DataType::UInt8, false));
    let lists: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(numbers), None));
    let batch = RecordBatch::try_from_iter([("image", lists)]).expect("fits");
    crate::foreign::write(&sandbox, "lists.parquet", &[batch], Compression::UNCOMPRESSED);
    expect(&sandbox, "inspect lists.parquet", 0, "104857600", 120);
    // A footer of nearly two gibibytes, in a sparse file.
    sparse(&sandbox, "footer.parquet", b"PAR1");
    let mut file = File::options().append(true).open(sandbox.path("footer.parquet")).expect("is there");
    file.write_all(&[0, 0, 0, 0x70, b'P', b'A', b'R', b'1']).expect("written");
    expect(&sandbox, "inspect footer.parquet", 65, "its footer claims 1792 MiB; limpid reads up to 128", 120);
}

#[test]
fn settings_and_what_limpid_writes_have_an_end() {
    let sandbox = Sandbox::new();
    expect(&sandbox, "run small.toml", 0, "", 300);
    for (name, text) in
        [("/dev/zero", "it is not a file"), ("pipe", "it is not a file"), ("long.toml", "larger than 1 MiB")]
    {
        if name == "pipe" {
            let made = std::process::Command::new("mkfifo").arg(sandbox.path(name)).status().expect("is there");
            assert!(made.success());
        }
        sandbox.write("long.toml", &vec![b'#'; 2 << 20]);
        let message = format!("cannot read the pipeline file {name}: ");
        sandbox.limpid(&format!("plan {name}")).exits(2).says(&message).says(text);
    }
    sparse(&sandbox, "long.toml", b"");
    expect(&sandbox, "plan long.toml", 2, "it is larger than 1 MiB", 120);
    // JSON of many values, which take thirty times the memory of their text once parsed.
    let list = [b"[".to_vec(), b"[],".repeat(20 << 20), b"1]".to_vec()].concat();
    sandbox.write("list.json", &list);
    expect(&sandbox, "inspect list.json", 65, "is JSON; limpid reads tables", 120);
    let object = [b"{\"b\": [".to_vec(), b"1,".repeat(20 << 20), b"1], \"a\": {}}".to_vec()].concat();
    sandbox.write("object.json", &object);
    expect(&sandbox, "inspect object.json", 65, "is JSON with the keys a, b;", 120);
    sandbox.write("cut.json", &object[..object.len() - 1]);
    expect(&sandbox, "inspect cut.json", 65, "is JSON that breaks off", 120);
    sparse(&sandbox, "zeros.npz", b"PK\x03\x04");
    expect(&sandbox, "inspect zeros.npz", 65, "whose end is missing", 120);
    for (name, words, code) in [
        ("evaluate/metrics.json", "show runs/small", 65),
        ("pipeline.json", "show runs/small", 65),
        ("evaluate/_receipt.json", "plan small.toml", 0),
        ("train/_receipt.json", "export runs/small --onnx m.onnx", 65),
        ("train/last.safetensors", "encode runs/small runs/small/ingest/test-00000-of-00001.parquet -o out", 65),
        ("train/model.json", "encode runs/small runs/small/ingest/test-00000-of-00001.parquet -o out", 65),
    ] {
        let path = format!("runs/small/{name}");
        let before = sandbox.read(&path);
        // A model without a receipt is read without a check of its digest.
        let receipt = sandbox.read("runs/small/train/_receipt.json");
        if words.starts_with("encode") {
            std::fs::remove_file(sandbox.path("runs/small/train/_receipt.json")).expect("removed");
        }
        sparse(&sandbox, &path, b"{");
        expect(&sandbox, words, code, "", 120);
        sandbox.write(&path, &before);
        sandbox.write("runs/small/train/_receipt.json", &receipt);
    }
}
