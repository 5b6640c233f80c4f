//! One test for each malformation: the message names the file, what was found and what was expected.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// An IDX file of `sizes` with `payload` bytes of content.
fn idx(sizes: &[u32], payload: usize) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend((0..payload).map(|index| index as u8));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Reads all of a file with this content: chunks of two images, or the error.
fn read(content: &[u8]) -> Result<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("images");
    std::fs::write(&path, content).expect("written");
    ImageReader::open(&path)?.chunks(2).collect()
}

fn message(content: &[u8]) -> String {
    let error = read(content).expect_err("is malformed");
    assert_eq!(error::kind(&error), error::Kind::Data, "{error}");
    error.to_string()
}

#[test]
fn raw_and_gzip_give_the_same_images() {
    let raw = idx(&[3, 2, 2], 12);
    let expected = vec![(0..8).collect::<Vec<u8>>(), (8..12).collect()];
    assert_eq!(read(&raw).expect("is whole"), expected);
    assert_eq!(read(&gzip(&raw)).expect("is whole"), expected);
    assert_eq!(read(&idx(&[1, 2, 2, 3], 12)).expect("is whole")[0].len(), 12);
}

#[test]
fn a_wrong_magic_is_shown() {
    assert!(message(b"\x89QNG....").contains("is not IDX: it starts with 89 51 4e 47"));
    assert!(message(&[0, 0, 0x0d, 1, 0, 0, 0, 1]).contains("elements of type f32; limpid reads u8"));
    assert!(message(&[0, 0, 7, 1, 0, 0, 0, 1]).contains("elements of the unknown type 0x07"));
}

#[test]
fn a_truncated_file_says_where_it_ends() {
    for short in [0, 3, 7] {
        assert!(message(&idx(&[3, 2, 2], 12)[..short]).contains("is truncated"), "{short}");
    }
    assert!(message(&idx(&[3, 2, 2], 11)).contains("end after 11 bytes, expected 3 images of 2×2"));
    assert!(message(&gzip(&idx(&[3, 2, 2], 11))).contains("end after 11 bytes"));
}

#[test]
fn trailing_bytes_are_refused() {
    assert!(message(&idx(&[3, 2, 2], 13)).contains("goes on after the 3 images of 2×2"));
    assert!(message(&gzip(&idx(&[3, 2, 2], 13))).contains("goes on after"));
    let garbage = [gzip(&idx(&[3, 2, 2], 12)).as_slice(), b"garbage"].concat();
    assert!(message(&garbage).contains("is damaged"));
}

#[test]
fn zeros_after_gzip_are_padding() {
    let padded = [gzip(&idx(&[3, 2, 2], 12)), vec![0; 500]].concat();
    assert_eq!(read(&padded).expect("is whole").concat().len(), 12);
}

#[test]
fn damaged_gzip_is_told_from_a_truncated_payload() {
    let mut bytes = gzip(&idx(&[200, 28, 28], 200 * 784));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    bytes[middle + 1] ^= 0xff;
    assert!(message(&bytes).contains("is damaged"), "{}", message(&bytes));
    let whole = gzip(&idx(&[200, 28, 28], 200 * 784));
    assert!(message(&whole[..whole.len() - 40]).contains("damaged"), "{}", message(&whole[..whole.len() - 40]));
}

#[test]
fn impossible_sizes_are_refused_before_anything_is_allocated() {
    assert!(message(&idx(&[5], 5)).contains("holds labels, not images"));
    assert!(message(&idx(&[5, 2], 10)).contains("2 dimensions"));
    assert!(message(&idx(&[0, 2, 2], 0)).contains("holds no images"));
    assert!(message(&idx(&[1, 0, 2], 0)).contains("images of 0×2"));
    assert!(message(&idx(&[1, u32::MAX, u32::MAX], 0)).contains("4294967295×4294967295"));
    assert!(message(&idx(&[u32::MAX, 28, 28], 10)).contains("truncated"));
}

#[test]
fn labels_must_match_the_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("written");
        path
    };
    let images = write("images", &idx(&[3, 2, 2], 12));
    let wide = write("wide", &idx(&[3, 2, 3], 18));
    let open = |labels: &Path, test: &Path| {
        let (train, train_labels, test) = (images.clone(), Some(labels.to_owned()), Some(test.to_owned()));
        let files = Arrays { train, train_labels, test, ..Arrays::default() };
        Idx::open(&files, 1).err().map(|error| error.to_string())
    };
    assert_eq!(open(&write("good", &idx(&[3], 3)), &images), None);
    assert!(open(&write("few", &idx(&[2], 2)), &images).expect("fails").contains("has 2 labels, but"));
    assert!(open(&write("short", &idx(&[3], 2)), &images).expect("fails").contains("truncated"));
    assert!(open(&images, &images).expect("fails").contains("labels have 1"));
    assert!(open(&write("good", &idx(&[3], 3)), &wide).expect("fails").contains("has images of 2×3, but"));
}
