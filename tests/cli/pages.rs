//! TIFF of several pages: each an image or a row, or an error, never the first alone without a word.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray8;
use tiff::tags::Tag;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_images::{TEST, TRAIN, images};

/// The pixels of a page.
fn pixels(rows: usize, columns: usize, seed: usize) -> Vec<u8> {
    (0..rows * columns).map(|at| (at * 7 + at / columns * 11 + 50 * seed) as u8).collect()
}

/// A TIFF with pages of these rows and columns, and a smaller copy of the first.
pub fn tiff(pages: &[(usize, usize)], big: bool) -> Vec<u8> {
    fn pages_of<K: tiff::encoder::TiffKind>(
        encoder: &mut TiffEncoder<&mut Cursor<Vec<u8>>, K>,
        pages: &[(usize, usize)],
    ) {
        for (seed, &(rows, columns)) in pages.iter().enumerate() {
            let pixels = pixels(rows, columns, seed);
            encoder.write_image::<Gray8>(columns as u32, rows as u32, &pixels).expect("memory");
        }
        let mut copy = encoder.new_image::<Gray8>(1, 1).expect("memory");
        copy.encoder().write_tag(Tag::NewSubfileType, 1_u32).expect("memory");
        copy.write_data(&[0]).expect("memory");
    }
    let mut file = Cursor::new(Vec::new());
    if big {
        pages_of(&mut TiffEncoder::new_big(&mut file).expect("memory"), pages);
    } else {
        pages_of(&mut TiffEncoder::new(&mut file).expect("memory"), pages);
    }
    file.into_inner()
}

#[test]
fn pages_in_a_folder_are_rows_or_an_error() {
    for big in [false, true] {
        let sandbox = Sandbox::with(
            "[source]\nfolder = { path = \"pics\", test-fraction = 0.4 }\n[model]\ndense = { code = 2 }\n[training]\nepochs = 1\n",
        );
        for index in 0..6 {
            sandbox.write(&format!("pics/{index}.tif"), &tiff(&[(9, 12); 5], big));
        }
        sandbox
            .limpid("run small.toml --to ingest")
            .exits(65)
            .says("cannot use 6 pictures")
            .says("pics/0.tif: it has 5 pages; source.folder.pages = \"all\" makes each an image, \"first\" leaves");
        let rows = || {
            let [train, test] = [TRAIN, TEST].map(|path| images(&sandbox, path));
            (train.0.len() + test.0.len(), [train.2, test.2].concat())
        };
        sandbox.limpid("run small.toml --to ingest --set source.folder.pages=first").succeeds();
        let (count, found) = rows();
        assert_eq!((count, &found[..108]), (6, &pixels(9, 12, 0)[..]));
        sandbox.limpid("run small.toml --to ingest --set source.folder.pages=all").succeeds();
        let (count, found) = rows();
        assert_eq!(count, 30);
        // The pages of a file follow each other, in the same split.
        let expected: Vec<u8> = (0..5).flat_map(|seed| pixels(9, 12, seed)).collect();
        assert!(found.chunks(5 * 108).all(|file| file == expected), "{big}");
        let (files, _) = read(&sandbox, "runs/small/ingest/files.parquet");
        let pages = files.column_by_name("page").expect("is there").as_primitive::<Int64Type>();
        assert!(pages.values().chunks(5).all(|pages| pages == [0, 1, 2, 3, 4]));
        // A page that is damaged is one row that is left out.
        let bytes = tiff(&[(9, 12); 5], big);
        let at = bytes.windows(108).position(|window| window == pixels(9, 12, 4)).expect("is there");
        let offset = (at as u64).to_le_bytes();
        let width = if big { 8 } else { 4 };
        let place = bytes.windows(width).position(|window| window == &offset[..width]).expect("is there");
        let mut bytes = bytes;
        bytes[place..place + width].fill(0x7f);
        sandbox.write("pics/0.tif", &bytes);
        sandbox
            .limpid("run small.toml --to ingest --set source.folder.pages=all --set source.folder.on-error=skip")
            .succeeds();
        let (rejected, _) = read(&sandbox, "runs/small/ingest/rejected.parquet");
        assert_eq!(rejected.column_by_name("path").expect("is there").as_string::<i32>().value(0), "0.tif#4");
        assert_eq!(rejected.num_rows(), 1);
    }
}

#[test]
fn pages_of_other_sources_are_no_silent_loss_either() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let pages = tiff(&[(28, 28); 3], false);
    sandbox.write("x.tif", &pages);
    sandbox
        .limpid("encode runs/small x.tif -o out")
        .exits(65)
        .says("cannot use x.tif: it has 3 pages; --pages all makes each an image, --pages first leaves the others out");
    sandbox.limpid("denoise runs/small x.tif -o out --pages first").succeeds();
    assert_eq!(images(&sandbox, "out/x.parquet").0, [0]);
    sandbox.limpid("denoise runs/small x.tif -o out --pages all").succeeds();
    assert_eq!(images(&sandbox, "out/x.parquet").0, [0, 1, 2]);
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values([&pages[..]; 4]));
    let batch = RecordBatch::try_from_iter([("image", column)]).expect("fits");
    sandbox.write("data/x.parquet", b"");
    crate::foreign::write(&sandbox, "data/x.parquet", &[batch], parquet::basic::Compression::SNAPPY);
    let line = "encode runs/small data/x.parquet -o out";
    sandbox.limpid(line).exits(65).says("it has 3 pages; --pages");
    sandbox.limpid(&format!("{line} --pages first")).succeeds();
    let source = "[source]\nparquet = { path = \"data\", test-fraction = 0.5 }\n[model]\ndense = { code = 2 }\n";
    sandbox.write("own.toml", source.as_bytes());
    let run = "run own.toml --to ingest --set source.parquet.pages";
    sandbox.limpid(&format!("{run}=error")).exits(65).says("it has 3 pages; source.parquet.pages = \"first\" leaves");
    sandbox.limpid(&format!("{run}=first")).succeeds();
    sandbox.limpid(&format!("{run}=all")).exits(2).says("source.parquet.pages: cannot be \"all\"");
}

#[test]
fn pages_in_are_pages_out() {
    let sandbox = Sandbox::with(
        "[source]\nstrokes = { train = 60, test = 20 }\n[corruption]\ngaussian = { std = 0.3 }\n\
         [model]\nunet = { channels = [3, 4] }\n[training]\ninput = \"noisy\"\nepochs = 1\n",
    );
    sandbox.limpid("run small.toml --to train").succeeds();
    let sizes = [(40, 31), (1, 1), (90, 60)];
    sandbox.write("pages.tif", &tiff(&sizes, false));
    sandbox.limpid("denoise runs/small pages.tif -o clean.tif").succeeds().prints("clean.tif");
    let clean = |name: &str| {
        let mut decoder = tiff::decoder::Decoder::new(Cursor::new(sandbox.read(name))).expect("is one");
        let mut pages = Vec::new();
        loop {
            let (width, height) = decoder.dimensions().expect("has one");
            let tiff::decoder::DecodingResult::U8(pixels) = decoder.read_image().expect("is whole") else {
                panic!("other numbers")
            };
            pages.push(((height as usize, width as usize), pixels));
            if !decoder.more_images() {
                return pages;
            }
            decoder.next_image().expect("is whole");
        }
    };
    let pages = clean("clean.tif");
    // Without the smaller copy, which is no page.
    assert_eq!(pages.len(), 3);
    for (seed, (&(rows, columns), page)) in sizes.iter().zip(&pages).enumerate() {
        let picture =
            image::GrayImage::from_raw(columns as u32, rows as u32, pixels(rows, columns, seed)).expect("fits");
        sandbox.write("one.png", &crate::own_images::encoded(&picture.into(), image::ImageFormat::Png));
        sandbox.limpid("denoise runs/small one.png -o one.tif").succeeds();
        assert_eq!([page], clean("one.tif").iter().collect::<Vec<_>>()[..], "page {seed}");
    }
    sandbox
        .limpid("denoise runs/small pages.tif -o x.png")
        .exits(2)
        .says("it has several pages, which a PNG file cannot hold");
    sandbox.limpid("denoise runs/small pages.tif -o x.png --pages first").succeeds();
    sandbox.write("one.tif", &tiff(&sizes[..1], true));
    sandbox.limpid("denoise runs/small one.tif -o y.png").succeeds();
    sandbox
        .limpid("denoise runs/small pages.tif -o x.tif --pages error")
        .exits(65)
        .says("it has several pages; --pages");
    sandbox.limpid("denoise runs/small pages.tif -o x.tif --pages first").succeeds();
    assert_eq!(clean("x.tif").len(), 1);
}
