//! The sources `npz`, `npy` and `idx`, with an array for each split or one for both.

use std::io::Cursor;

use crate::applying::idx;
use crate::harness::Sandbox;
use crate::own_images::{TEST, TRAIN, images, sandbox};

/// A NumPy array of format 1.
pub fn npy(description: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// An archive of arrays.
pub fn npz(arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        writer.start_file(format!("{name}.npy"), options).expect("memory");
        std::io::Write::write_all(&mut writer, bytes).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

#[test]
fn numbers_in_any_order_of_bytes_and_dimensions_are_the_same() {
    let sandbox = sandbox("npy = { train = \"x.npy\", train-labels = \"y.npy\", test-fraction = 0.4 }");
    let (images_of, labels_of) = (|at: usize| (at * 7 % 251) as u8, |at: usize| at as i64 - 3);
    let written = |array: Vec<u8>| {
        sandbox.write("x.npy", &array);
        sandbox.limpid("run small.toml --to ingest").succeeds();
        images(&sandbox, TRAIN)
    };
    sandbox
        .write("y.npy", &npy("<i8", "(12,)", &(0..12).flat_map(|at| labels_of(at).to_le_bytes()).collect::<Vec<_>>()));
    let wanted = written(npy("|u1", "(12, 5, 6, 3)", &(0..12 * 90).map(images_of).collect::<Vec<_>>()));
    sandbox
        .write("y.npy", &npy(">i8", "(12,)", &(0..12).flat_map(|at| labels_of(at).to_be_bytes()).collect::<Vec<_>>()));
    // The number at each place of an array whose first index counts up first.
    let fortran = |at: usize| images_of(at % 12 * 90 + at / 12 % 5 * 18 + at / 60 % 6 * 3 + at / 360);
    let orders: [(bool, &dyn Fn(usize) -> u8); 2] = [(false, &images_of), (true, &fortran)];
    for (is_fortran, number) in orders {
        let all = || (0..12 * 90).map(number);
        for (kind, bytes) in [
            (">u2", all().flat_map(|number| u16::from(number).to_be_bytes()).collect::<Vec<_>>()),
            (">f4", all().flat_map(|number| (f32::from(number) / 255.0).to_be_bytes()).collect()),
            ("<f8", all().flat_map(|number| (f64::from(number) / 255.0).to_le_bytes()).collect()),
            ("|u1", all().collect()),
        ] {
            let array = npy(kind, "(12, 5, 6, 3)", &bytes);
            let (from, to) = (b"'fortran_order': False", b"'fortran_order': True ");
            let at = array.windows(from.len()).position(|window| window == from).expect("is there");
            let mut turned = array.clone();
            turned[at..at + to.len()].copy_from_slice(to);
            assert_eq!(written(if is_fortran { turned.clone() } else { array }), wanted, "{kind} {is_fortran}");
            if is_fortran {
                sandbox.write("x.npy", &turned[..turned.len() - 1]);
                sandbox.limpid("run small.toml --to ingest").exits(65).says("x.npy is truncated");
                sandbox.write("x.npy", &[&turned[..], b"more"].concat());
                sandbox.limpid("run small.toml --to ingest").exits(65).says("goes on after the numbers");
            }
        }
    }
}

#[test]
fn numpy_arrays_are_read_from_archives_and_files() {
    let train: Vec<u8> = (0..30 * 12).map(|at| at as u8).collect();
    let arrays = [
        ("x_train", npy("|u1", "(30, 4, 3)", &train)),
        ("y_train", npy("<i8", "(30,)", &(0..30_i64).flat_map(|label| (-label).to_le_bytes()).collect::<Vec<_>>())),
        ("x_test", npy("<f4", "(2, 4, 3)", &[0.2_f32.to_le_bytes(); 24].concat())),
        ("y_test", npy("|u1", "(2,)", &[3, 4])),
    ];
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let sandbox = sandbox("npz = { path = \"data.npz\" }");
        let archive = npz(&arrays, method);
        sandbox.write("data.npz", &archive);
        sandbox.limpid("run small.toml").succeeds();
        let (ids, labels, pixels) = images(&sandbox, TRAIN);
        assert_eq!((ids.len(), labels[29], &pixels), (30, Some(-29), &train));
        assert_eq!((images(&sandbox, TEST).1, images(&sandbox, TEST).2), (vec![Some(3), Some(4)], vec![51; 24]));
        sandbox
            .limpid("run small.toml --set source.npz.train=x")
            .exits(65)
            .says("has no array x; it has x_train, y_train");
        sandbox
            .limpid("run small.toml --set source.npz.train-labels=y_test")
            .exits(65)
            .says("(y_test) has 2 labels, but data.npz (x_train) has 30 images");
        // The checksum detects damage that keeps the sizes.
        if method == zip::CompressionMethod::Stored {
            let mut damaged = archive.clone();
            damaged[300] ^= 0xff;
            sandbox.write("data.npz", &damaged);
            sandbox.limpid("run small.toml").exits(65).says("data.npz (x_train) is damaged: its checksum is wrong");
        }
    }
    let files = sandbox("npy = { train = \"a.npy\", test = \"b.npy\" }");
    files.write("a.npy", &arrays[0].1);
    files.write("b.npy", &arrays[2].1);
    files.limpid("run small.toml --to ingest").succeeds();
    assert_eq!((images(&files, TRAIN).1[0], images(&files, TRAIN).2), (None, train.clone()));
    for (bytes, expected) in [
        (npy("|u1", "(30, 4, 3)", &train[1..]), "a.npy is truncated"),
        (npy("|u1", "(4294967295, 4, 3)", &train), "a.npy is truncated"),
        (npy("|u1", "(9223372036854775807, 4, 3)", &train), "a.npy announces 9223372036854775807 images; at most"),
        (npy("|u1", "(29, 4, 3)", &train), "a.npy goes on after the numbers"),
        (npy("<i4", "(30, 4, 3)", &train), "a.npy is truncated"),
        (
            npy("<i2", "(1, 4, 3)", &[256_i16.to_le_bytes(); 12].concat()),
            "holds 256; integers must lie between 0 and 255",
        ),
        (npy("|i1", "(1, 4, 3)", &[255; 12]), "a.npy: image 0 holds -1; integers must lie between 0 and 255"),
        (npy("<c8", "(30, 4, 3)", &train), "a.npy has elements of type <c8"),
        (npy("|O", "(30,)", &train), "objects may be arrays of different sizes: write each as a picture"),
        (npy("|u1", "(30, 12)", &train), "a.npy has the sizes (30, 12)"),
        (npy("|u1", "(0, 4, 3)", &[]), "a.npy holds no images"),
        (b"PK".to_vec(), "a.npy is truncated"),
        (npy("<f4", "(1, 4, 3)", &[2.5_f32.to_le_bytes(); 12].concat()), "a.npy: image 0 holds 2.5"),
    ] {
        files.write("a.npy", &bytes);
        files.limpid("run small.toml --to ingest").exits(65).says(expected);
    }
}

#[test]
fn a_share_of_one_set_is_drawn_for_testing() {
    let (count, len) = (900_i64, 12);
    let pixels: Vec<u8> = (0..count).flat_map(|id| [id as u8, (id >> 8) as u8].repeat(len / 2)).collect();
    let array = npy("|u1", "(900, 4, 3)", &pixels);
    let labels = npy("<i2", "(900,)", &(0..count).flat_map(|id| (id as i16).to_le_bytes()).collect::<Vec<_>>());
    let idx = [&[0, 0, 8, 3][..], &900_u32.to_be_bytes(), &4_u32.to_be_bytes(), &3_u32.to_be_bytes(), &pixels];
    let archive = [("images", array.clone()), ("y_test", npy("|u1", "(1,)", &[1])), ("labels", labels.clone())];
    let mut drawn = Vec::new();
    for (source, labelled) in [
        ("npy = { train = \"a.npy\", train-labels = \"l.npy\", test-fraction = 0.2 }", true),
        ("npz = { path = \"a.npz\", train = \"images\", train-labels = \"labels\", test-fraction = 0.2 }", true),
        ("idx = { train = \"a.idx\", test-fraction = 0.2 }", false),
    ] {
        let sandbox = sandbox(source);
        sandbox.write("a.npy", &array);
        sandbox.write("l.npy", &labels);
        sandbox.write("a.npz", &npz(&archive, zip::CompressionMethod::Deflated));
        sandbox.write("a.idx", &idx.concat());
        for threads in [1, 3] {
            sandbox.limpid(&format!("run small.toml --force --to encode --threads {threads}")).succeeds();
            let splits = [TRAIN, TEST].map(|path| images(&sandbox, path));
            for (ids, labels, found) in &splits {
                assert!(ids.is_sorted());
                assert!(ids.iter().zip(labels).all(|(id, label)| *label == labelled.then_some(*id)), "{source}");
                let expected = ids.iter().flat_map(|id| [*id as u8, (*id >> 8) as u8].repeat(len / 2));
                assert!(*found == expected.collect::<Vec<_>>(), "{source}");
            }
            let [train, test] = splits.map(|(ids, ..)| ids);
            let mut all = [train, test.clone()].concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
            assert!((140..220).contains(&test.len()), "{}", test.len());
            drawn.push(test);
        }
        let kind = &source[..3];
        sandbox.limpid("plan small.toml --check --to encode").succeeds();
        sandbox
            .limpid(&format!("plan small.toml --check --to ingest --set source.{kind}.test-fraction=0.3"))
            .exits(10)
            .prints(&format!("source.{kind}.test-fraction: 0.2 → 0.3"));
        sandbox
            .limpid(&format!("plan small.toml --set source.{kind}.test=x --set source.{kind}.test-labels=y"))
            .exits(2)
            .says("the settings have 2 problems")
            .says(&format!("source.{kind}.test: is given although `test-fraction` has the test images drawn"));
        sandbox
            .limpid(&format!("run small.toml --to ingest --set source.{kind}.test-fraction=0.000001"))
            .exits(65)
            .says("test-fraction = 0.000001 of 900 images leaves none for the split test");
    }
    // The draw depends on the position, whatever the format.
    assert!(drawn.iter().all(|test| *test == drawn[0]));
}

#[test]
fn a_set_without_test_images_is_refused_with_what_would_draw_them() {
    let sandbox = sandbox("idx = { train = \"a.idx\" }");
    sandbox.write("a.idx", &idx(&[30, 4, 4]));
    sandbox
        .limpid("run small.toml")
        .exits(2)
        .says("source.idx.test: is missing: name the test images, or let them be drawn with `test-fraction = 0.1`");
    sandbox.limpid("run small.toml --to ingest --set source.idx.test-fraction=0.3").succeeds();
}

#[test]
fn channels_that_come_first_are_refused() {
    let sandbox = sandbox("npy = { train = \"x.npy\", test-fraction = 0.5 }");
    sandbox.write("x.npy", &npy("|u1", "(9, 3, 8, 8)", &[1; 9 * 192]));
    sandbox
        .limpid("run small.toml")
        .exits(65)
        .says("x.npy has images of 3×8×8, which look like channels, rows and columns; their channels must come last")
        .says(": numpy.moveaxis(images, 1, -1)");
    sandbox.write("x.npy", &npy("|u1", "(9, 3, 8, 4)", &[1; 9 * 96]));
    sandbox.limpid("run small.toml --to ingest").succeeds();
}

#[test]
fn a_model_applies_to_numpy_arrays() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml --to train").succeeds();
    let pixels: Vec<u8> = (0..5 * 784).map(|at| (at % 251) as u8).collect();
    sandbox.write("scans.npy", &npy("|u1", "(5, 28, 28)", &pixels));
    let mut same = idx(&[5, 28, 28]);
    same.truncate(16);
    same.extend(&pixels);
    sandbox.write("same.idx", &same);
    sandbox.limpid("encode runs/small scans.npy same.idx -o out").succeeds().prints("out/scans.parquet");
    assert_eq!(sandbox.read("out/scans.parquet"), sandbox.read("out/same.parquet"));
    sandbox.write("wide.npy", &npy("|u1", "(5, 28, 29)", &[0; 5 * 28 * 29]));
    sandbox
        .limpid("denoise runs/small wide.npy -o out")
        .exits(65)
        .says("wide.npy has images of 28×29, but the model takes images of 28×28\n");
}
