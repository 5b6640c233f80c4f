//! GIF, and animated pictures of any format, of which the first frame is read and the others are counted.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use image::codecs::gif::GifEncoder;
use image::{Frame, ImageFormat};

use crate::foreign::{read, write};
use crate::harness::Sandbox;
use crate::inputs::tar;
use crate::own_images::{TEST, TRAIN, encoded, images, picture, png, sandbox};

/// A GIF of frames of 4×5, of which the first is the picture of this seed.
pub fn gif(seed: u32, frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frames = (0..frames).map(|frame| Frame::new(picture(4, 5, seed + 50 * frame).into_rgba8()));
    GifEncoder::new(&mut bytes).encode_frames(frames).expect("memory");
    bytes
}

/// Ten pictures, of which the third and the eighth have four frames.
fn all() -> Vec<Vec<u8>> {
    (0..10).map(|seed| gif(seed, if seed % 5 == 2 { 4 } else { 1 })).collect()
}

/// Expects that the pictures of [`all`] were ingested.
fn expect_all(sandbox: &Sandbox) {
    let pixels = [TRAIN, TEST].map(|path| images(sandbox, path));
    let mut found: Vec<_> = pixels.iter().flat_map(|(_, _, pixels)| pixels.chunks(60)).collect();
    let wanted: Vec<_> = (0..10).map(|seed| picture(4, 5, seed).into_bytes()).collect();
    found.sort_unstable();
    let mut wanted: Vec<_> = wanted.iter().map(Vec::as_slice).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}

#[test]
fn the_first_frame_is_read_and_the_others_are_counted_by_every_source() {
    let said =
        |example: &str| format!("passed over: 6 frames of 2 animated pictures, such as {example}, of which the first");
    let files = sandbox("folder = { path = \"pics\", test-fraction = 0.4 }");
    all().iter().enumerate().for_each(|(index, bytes)| _ = files.write(&format!("pics/{index}.gif"), bytes));
    files.limpid("run small.toml --to ingest").succeeds().says(&said("pics/2.gif"));
    expect_all(&files);
    files.limpid("inspect pics/7.gif").succeeds().prints("a picture of 4×5×3 (GIF, the first of 4 frames)");
    files.limpid("init pics").succeeds();
    let columns = sandbox("parquet = { train = \"x.parquet\", test-fraction = 0.4 }");
    let column: ArrayRef = Arc::new(all().into_iter().map(Some).collect::<BinaryArray>());
    let schema = Arc::new(Schema::new(vec![Field::new("image", DataType::Binary, true)]));
    write(
        &columns,
        "x.parquet",
        &[RecordBatch::try_new(schema, vec![column]).expect("fits")],
        parquet::basic::Compression::SNAPPY,
    );
    columns.limpid("run small.toml --to ingest").succeeds().says(&said("row 2 of x.parquet"));
    expect_all(&columns);
    let shards = sandbox("tar = { train = \"x.tar\", test-fraction = 0.4 }");
    let members: Vec<_> = (0..).zip(all()).map(|(index, bytes): (usize, _)| (format!("{index}.gif"), bytes)).collect();
    shards.write("x.tar", &tar(&members));
    shards.limpid("run small.toml --to ingest").succeeds().says(&said("x.tar/2.gif"));
    expect_all(&shards);
    // A still picture is passed over by nobody, and a damaged one is no picture.
    let still = sandbox("folder = { path = \"pics\", test-fraction = 0.4 }");
    (0..10).for_each(|seed| _ = still.write(&format!("pics/{seed}.gif"), &gif(seed, 1)));
    still.limpid("run small.toml --to ingest").succeeds().never_says("passed over");
    still.write("pics/3.gif", &gif(3, 1)[..40]);
    still.limpid("run small.toml --to ingest").exits(65).says("cannot use pics/3.gif: ");
}

#[test]
fn animated_pictures_of_other_formats_are_counted_too() {
    let sandbox = sandbox("folder = { path = \"pics\", test-fraction = 0.4 }");
    (0..9).for_each(|seed| _ = sandbox.write(&format!("pics/{seed}.png"), &png(4, 5, seed)));
    sandbox.limpid("run small.toml --to ingest").succeeds().never_says("passed over");
    // A PNG says how many frames it has before its pixels.
    let still = png(4, 5, 3);
    let chunk = [&b"acTL"[..], &3_u32.to_be_bytes(), &[0; 4]].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&chunk);
    let chunk = [&8_u32.to_be_bytes()[..], &chunk, &crc.sum().to_be_bytes()].concat();
    sandbox.write("pics/3.png", &[&still[..33], &chunk, &still[33..]].concat());
    sandbox
        .limpid("run small.toml --to ingest")
        .succeeds()
        .says("passed over: 3 frames of 1 animated pictures, such as pics/3.png");
    // A WebP holds a still one for each frame.
    let still = encoded(&picture(4, 5, 3).into_rgba8().into(), ImageFormat::WebP);
    let number = |number: u32| number.to_le_bytes()[..3].to_vec();
    // Not blended with what is below.
    let frame = [number(0), number(0), number(4), number(3), number(9), vec![2], still[12..].to_vec()].concat();
    let chunk = |name: &[u8], data: &[u8]| [name, &(data.len() as u32).to_le_bytes(), data].concat();
    let head = [vec![2, 0, 0, 0], number(4), number(3)].concat();
    let parts =
        [chunk(b"VP8X", &head), chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame), chunk(b"ANMF", &frame)].concat();
    sandbox.write("pics/3.png", &chunk(b"RIFF", &[b"WEBP", &parts[..]].concat()));
    sandbox
        .limpid("run small.toml --to ingest")
        .succeeds()
        .says("passed over: 1 frames of 1 animated pictures, such as pics/3.png");
    let pixels = [TRAIN, TEST].map(|path| images(&sandbox, path).2).concat();
    assert!(pixels.chunks(60).any(|found| found == picture(4, 5, 3).as_bytes()));
}

#[test]
fn commands_take_gifs_and_write_pictures_as_png() {
    let sandbox = Sandbox::with(crate::pictures::PIPELINE);
    sandbox.limpid("run small.toml --to train").succeeds();
    sandbox.write("scans/a.gif", &gif(1, 3));
    sandbox.write("scans/inner/b.GIF", &gif(2, 1));
    sandbox.write("scans/c.png", &png(4, 5, 1));
    sandbox.write("scans/d.heic", b"ftypheic");
    let over = "passed over: 2 frames of 1 animated pictures, such as scans/a.gif";
    let formats = "passed over: 1 images of formats that are not read (1 HEIC), such as scans/d.heic";
    sandbox
        .limpid("denoise runs/small scans -o out --pictures")
        .succeeds()
        .says(over)
        .says(formats)
        .prints("out/a.png\nout/c.png\nout/inner/b.png\n");
    let made = |name: &str| image::load_from_memory(&sandbox.read(name)).expect("is a picture").into_rgb8();
    assert_eq!(made("out/a.png"), made("out/c.png"));
    sandbox.limpid("denoise runs/small scans -o tables --resize").succeeds().says(over).says(formats);
    assert_eq!(read(&sandbox, "tables/scans.parquet").0.num_rows(), 3);
    sandbox.limpid("denoise runs/small scans/a.gif -o one.png").succeeds().says(over);
    assert_eq!(made("one.png"), made("out/c.png"));
    sandbox.limpid("denoise runs/small scans/a.gif -o one.gif").exits(2).says("not written: name a .png");
    sandbox
        .limpid("denoise runs/small scans/a.gif -o one.JP2")
        .exits(2)
        .says("one.JP2 names a picture of a format that is not");
    ["a.avif", "b.heic", "c.HEIC"].iter().for_each(|name| _ = sandbox.write(&format!("phone/{name}"), b"ftyp"));
    for (words, expected) in [
        ("denoise runs/small phone -o out", "phone holds no images that are read, but 1 AVIF, 2 HEIC: convert"),
        ("denoise runs/small phone -o out --pictures", "formats that are not read (1 AVIF, 2 HEIC), such as"),
    ] {
        sandbox.limpid(words).exits(65).says(expected);
    }
    sandbox.write("scans/a.png", &png(4, 5, 1));
    sandbox
        .limpid("denoise runs/small scans -o out --pictures")
        .exits(2)
        .says("scans/a.gif and scans/a.png would both be written to out/a.png");
}
