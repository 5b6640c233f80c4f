//! Pictures come back as they were, and what the `image` crate writes and reads is the same.

mod kept;

use std::io::Cursor;
use std::path::PathBuf;

use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader};

use super::*;
use crate::image::Levels;

fn header(channels: usize, depth: Depth) -> Header {
    let mut profile = vec![7; 200];
    profile[16..20].copy_from_slice(if channels < 3 { b"GRAY" } else { b"RGB " });
    Header { profile: Some(profile), ..Header::new(37, 29, channels, depth) }
}

fn pixels(header: &Header) -> Vec<u8> {
    let numbers = header.height * header.width * header.channels;
    match header.depth {
        Depth::U8 => (0..numbers).map(|at| (at * 7) as u8).collect(),
        Depth::U16 => (0..numbers).flat_map(|at| ((at * 77) as u16).to_ne_bytes()).collect(),
        Depth::F32 => (0..numbers).flat_map(|at| ((at % 91) as f32 / 90.0).to_ne_bytes()).collect(),
    }
}

fn kinds() -> Vec<(Format, Header)> {
    let all = |format: Format, depths: &'static [Depth]| {
        depths.iter().flat_map(move |&depth| (1..=4).map(move |channels| (format, header(channels, depth))))
    };
    let eight = &[Depth::U8];
    let all = all(Format::Png, &[Depth::U8, Depth::U16])
        .chain(all(Format::Tiff, &[Depth::U8, Depth::U16, Depth::F32]))
        .chain(all(Format::WebP, eight))
        .chain(all(Format::Bmp, eight))
        .chain(all(Format::Jpeg, eight));
    all.filter(|(format, header)| format.check(header).is_ok()).collect()
}

fn written(format: Format, header: &Header, pixels: &[u8]) -> Vec<u8> {
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let mut writer = Writer::new(Box::new(Shared(bytes.clone())), format, header, false).expect("is begun");
    for rows in pixels.chunks(3 * header.row_bytes()) {
        writer.write(rows).expect("is written");
    }
    writer.finish().expect("is written");
    bytes.take()
}

fn read(path: &Path) -> Result<(Header, Vec<u8>)> {
    let mut reader = Reader::open(path)?;
    let header = reader.header().clone();
    let mut pixels = vec![0; header.row_bytes() * header.height];
    pixels.chunks_mut(header.row_bytes()).try_for_each(|row| reader.read(row))?;
    Ok((header, pixels))
}

fn file(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("picture");
    std::fs::write(&path, bytes).expect("is written");
    path
}

fn failure(path: &Path) -> String {
    format!("{:#}", read(path).expect_err("is refused"))
}

#[test]
fn every_format_gives_back_what_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for (format, header) in kinds() {
        let pixels = pixels(&header);
        let (found, read) = read(&file(&folder, &written(format, &header, &pixels))).expect("is read");
        let what = format!("{format:?} of {} × {:?}", header.channels, header.depth);
        match format {
            Format::Jpeg => {
                assert_eq!(found, header, "{what}");
            }
            // WebP and BMP are decoded to RGB.
            Format::WebP | Format::Bmp if header.colours() == 1 => {
                let grey = |pixel: &[u8]| [&[pixel[0]; 3][..], &pixel[1..]].concat();
                let expected: Vec<u8> = pixels.chunks(header.channels).flat_map(grey).collect();
                let found = if found.channels < 3 { pixels.clone() } else { read.clone() };
                assert!(found == expected || read == pixels, "{what}");
            }
            Format::Bmp => assert!(found == Header { profile: None, ..header } && read == pixels, "{what}"),
            _ => assert!(found == header && read == pixels, "{what}: {found:?}"),
        }
    }
}

#[test]
fn the_image_crate_reads_the_same() {
    for (format, header) in kinds() {
        // Those that it knows.
        if !matches!(format, Format::Png | Format::Tiff) || header.depth == Depth::F32 && header.channels < 3 {
            continue;
        }
        if format == Format::Tiff && header.channels == 2 {
            continue;
        }
        let pixels = pixels(&header);
        let bytes = written(format, &header, &pixels);
        let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().expect("memory");
        let mut decoder = reader.into_decoder().expect("is known");
        let what = format!("{format:?} of {} × {:?}", header.channels, header.depth);
        // Of a small TIFF it reads none: the size of the pixels limits that of all values.
        if format == Format::Png {
            assert_eq!(decoder.icc_profile().expect("is read"), header.profile, "{what}");
        }
        let image = DynamicImage::from_decoder(decoder).expect("is whole");
        assert_eq!((image.width(), image.height()), (29, 37));
        assert!(image.as_bytes() == pixels, "{what}");
    }
}

#[test]
fn what_the_image_crate_writes_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (channels, depth, colour) in [
        (1, Depth::U8, ExtendedColorType::L8),
        (3, Depth::U16, ExtendedColorType::Rgb16),
        (4, Depth::U8, ExtendedColorType::Rgba8),
    ] {
        let header = header(channels, depth);
        let pixels = pixels(&header);
        let (mut png, mut tiff) = (Vec::new(), Cursor::new(Vec::new()));
        PngEncoder::new(&mut png).write_image(&pixels, 29, 37, colour).expect("is written");
        TiffEncoder::new(&mut tiff).write_image(&pixels, 29, 37, colour).expect("is written");
        for bytes in [png, tiff.into_inner()] {
            let (found, read) = read(&file(&folder, &bytes)).expect("is read");
            assert!(found == Header { profile: None, ..header.clone() } && read == pixels, "{colour:?}: {found:?}");
        }
    }
}

#[test]
fn pictures_are_turned_as_the_image_crate_turns_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let header = Header { profile: None, ..header(3, Depth::U16) };
    let pixels = pixels(&header);
    let plain = written(Format::Png, &header, &pixels);
    let whole = image::load_from_memory(&plain).expect("is whole");
    for exif in 1..=8_u8 {
        let orientation = Orientation::from_exif(exif).expect("is one");
        let mut expected = whole.clone();
        expected.apply_orientation(orientation);
        let mut chunk = b"eXIfMM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
        chunk[23] = exif;
        let mut crc = flate2::Crc::new();
        crc.update(&chunk);
        let mut bytes = plain.clone();
        let chunk = [&((chunk.len() - 4) as u32).to_be_bytes()[..], &chunk, &crc.sum().to_be_bytes()].concat();
        bytes.splice(33..33, chunk);
        let (found, read) = read(&file(&folder, &bytes)).expect("is read");
        assert_eq!((found.width, found.height), (expected.width() as usize, expected.height() as usize), "{exif}");
        assert!(read == expected.as_bytes(), "{exif}");
    }
}

#[test]
fn tiles_strips_and_interlacing_are_put_together() {
    let folder = tempfile::tempdir().expect("a folder");
    // From a TIFF of one strip to one of tiles of 16×16, by hand.
    let header = Header { profile: None, ..header(3, Depth::U8) };
    let pixels = pixels(&header);
    let (across, down) = (29_usize.div_ceil(16), 37_usize.div_ceil(16));
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    let count = (across * down) as u32;
    let values = 8 + 2 + 12 * 9 + 4;
    let data = values + 8 * count;
    let entries: [(u16, u16, u32, u32); 9] = [
        (256, 4, 1, 29),
        (257, 4, 1, 37),
        // Three times 8 bits do not fit: one value stands for all in this reader, so they are in their own place.
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (322, 4, 1, 16),
        (323, 4, 1, 16),
        (324, 4, count, values),
        (325, 4, count, values + 4 * count),
    ];
    bytes.extend(9_u16.to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend((0..count).flat_map(|tile| (data + 256 * tile).to_le_bytes()));
    bytes.extend((0..count).flat_map(|_| 256_u32.to_le_bytes()));
    let grey: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    for tile in 0..across * down {
        for at in 0..256 {
            let (row, column) = (tile / across * 16 + at / 16, tile % across * 16 + at % 16);
            bytes.push(if row < 37 && column < 29 { grey[row * 29 + column] } else { 99 });
        }
    }
    let (found, made) = read(&file(&folder, &bytes)).expect("is read");
    assert_eq!((found.height, found.width, found.channels), (37, 29, 1));
    assert!(made == grey);
}

#[test]
fn cut_files_and_unknown_kinds_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for (format, header) in kinds() {
        let bytes = written(format, &header, &pixels(&header));
        for tenths in 0..10 {
            read(&file(&folder, &bytes[..bytes.len() * tenths / 10])).expect_err("is cut");
        }
    }
    let grey = Header { profile: None, ..header(1, Depth::U8) };
    let tiff = written(Format::Tiff, &grey, &pixels(&grey));
    let with = |tag: u16, value: u16| {
        let mut bytes = tiff.clone();
        let at = (10..).step_by(12).find(|at| bytes[*at..*at + 2] == tag.to_ne_bytes()).expect("is there");
        bytes[at + 8..at + 10].copy_from_slice(&value.to_ne_bytes());
        file(&folder, &bytes)
    };
    assert!(failure(&with(339, 2)).contains("signed numbers of 8 bits; convert it to unsigned"));
    assert!(failure(&with(258, 4)).contains("unsigned numbers of 4 bits; convert it"));
    for (tag, value) in [(278, 0), (256, 0), (257, 0), (277, 0), (259, 99)] {
        read(&with(tag, value)).expect_err("is damaged");
    }
    assert!(failure(&file(&folder, b"nonsense")).contains("it is not a PNG, JPEG, WebP, GIF, BMP or TIFF picture"));
}

#[test]
fn a_format_says_what_it_cannot_hold() {
    let says = |format: Format, header: Header| format.check(&header).expect_err("is refused").to_string();
    assert_eq!(
        says(Format::Jpeg, header(1, Depth::U16)),
        "a JPEG file cannot hold numbers of 16 bits; name a .png or a .tif"
    );
    assert_eq!(
        says(Format::Png, header(3, Depth::F32)),
        "a PNG file cannot hold numbers of 32-bit floats; name a .tif"
    );
    assert!(says(Format::Jpeg, header(4, Depth::U8)).contains("cannot hold transparency"));
    assert!(says(Format::Jpeg, Header { width: 70_000, ..header(1, Depth::U8) }).contains("only up to 65535×65535"));
    let vast = Header { width: 1 << 17, height: 1 << 17, ..header(1, Depth::U8) };
    assert!(says(Format::Tiff, vast.clone()).contains("pixels of 4 GiB; name a .png"));
    Format::Png.check(&vast).expect("has no such limit");
    let premultiplied = Header { premultiplied: true, ..header(4, Depth::U8) };
    assert!(says(Format::Png, premultiplied.clone()).contains("multiplied by their transparency; name a .tif"));
    Format::Tiff.check(&premultiplied).expect("can say so");
}

#[test]
fn names_say_formats() {
    let of = |name: &str| Format::of_name(Path::new(name));
    assert_eq!(of("a/b.PNG"), Some(Format::Png));
    assert_eq!([of("x.tif"), of("x.jpeg"), of("x.webp"), of("x.bmp")].map(|format| format.is_some()), [true; 4]);
    assert_eq!([of("png"), of("out/"), of("x.parquet"), of("x.png.d")], [None; 4]);
}

#[test]
fn numbers_come_back_from_the_unit_interval() {
    for channels in 1..=4 {
        for depth in [Depth::U8, Depth::U16, Depth::F32] {
            let header = Header { height: 257, width: 256, ..header(channels, depth) };
            let pixels = pixels(&header);
            let mut numbers = vec![0.0; header.height * header.width * header.colours()];
            to_numbers(&header, None, &pixels, &mut numbers).expect("are in it");
            assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
            let (pixel, colours) = (channels * depth.bytes(), header.colours() * depth.bytes());
            let expected: Vec<u8> = pixels.chunks(pixel).flat_map(|pixel| pixel[..colours].to_vec()).collect();
            assert!(of_numbers(depth, None, &numbers) == expected, "{channels} × {depth:?}");
        }
    }
    for number in [1.5_f32, -0.1, f32::NAN] {
        for channels in 1..=4 {
            let float = Header { height: 1, width: 1, ..header(channels, Depth::F32) };
            for bad in 0..channels {
                let pixel = (0..channels).flat_map(|at| if at == bad { number } else { 0.5 }.to_ne_bytes());
                let found = to_numbers(&float, None, &pixel.collect::<Vec<_>>(), &mut vec![0.0; float.colours()]);
                let cause = found.expect_err("is not in it");
                assert!(cause.starts_with(&format!("it holds {number}; ")), "{bad} of {channels}: {cause}");
            }
        }
    }
}

#[test]
fn interlaced_pictures_are_held_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let header = Header { profile: None, ..header(3, Depth::U8) };
    let pixels = pixels(&header);
    // Seven passes, without a filter, in one stored stream.
    let passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)];
    let mut raw = Vec::new();
    for (top, down, left, across) in passes {
        for row in (top..header.height).step_by(down) {
            raw.push(0);
            for column in (left..header.width).step_by(across) {
                raw.extend_from_slice(&pixels[(row * header.width + column) * 3..][..3]);
            }
        }
    }
    let mut stream = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    stream.write_all(&raw).expect("memory");
    let data = stream.finish().expect("memory");
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let head = [&29_u32.to_be_bytes()[..], &37_u32.to_be_bytes(), &[8, 2, 0, 0, 1]].concat();
    for (name, content) in [(b"IHDR", head), (b"IDAT", data), (b"IEND", Vec::new())] {
        let mut crc = flate2::Crc::new();
        crc.update(name);
        crc.update(&content);
        bytes.extend((content.len() as u32).to_be_bytes());
        bytes.extend([&name[..], &content, &crc.sum().to_be_bytes()].concat());
    }
    let expected = image::load_from_memory_with_format(&bytes, ImageFormat::Png).expect("is whole");
    let (found, read) = read(&file(&folder, &bytes)).expect("is read");
    assert_eq!(found, header);
    assert!(read == pixels && read == expected.as_bytes());
}

#[test]
fn numbers_between_levels_come_back() {
    let levels = Some(Levels::Between([100.0, 4095.0]));
    let words: Vec<u8> = (100..=4095_u16).flat_map(u16::to_ne_bytes).collect();
    let header = Header { height: 1, width: words.len() / 2, ..header(1, Depth::U16) };
    let mut numbers = vec![0.0; header.width];
    to_numbers(&header, levels, &words, &mut numbers).expect("are between them");
    assert_eq!((numbers[0], numbers[3995]), (0.0, 1.0));
    assert!(of_numbers(Depth::U16, levels, &numbers) == words);
    // What a model makes may be brighter than white.
    assert_eq!(of_numbers(Depth::U8, Some(Levels::Between([0.0, 200.0])), &[-0.5, 0.5, 2.0]), [0, 100, 255]);
    let cause = to_numbers(&header, levels, &4096_u16.to_ne_bytes(), &mut [0.0]).expect_err("is beyond");
    assert_eq!(cause, "it holds 4096; `levels` says that numbers lie in [100, 4095]");
}

/// A TIFF with a tag more, and pages of this kind after it.
fn tagged(samples: usize, tags: &[(u16, u16)], copies: usize) -> Vec<u8> {
    use ::tiff::encoder::{TiffEncoder, colortype};
    use ::tiff::tags::Tag;
    let mut file = std::io::Cursor::new(Vec::new());
    let mut encoder = TiffEncoder::new(&mut file).expect("begins");
    let pixels: Vec<u8> = (0..6 * samples).map(|at| at as u8).collect();
    macro_rules! page {
        ($colour:ty) => {{
            let mut image = encoder.new_image::<$colour>(3, 2).expect("fits");
            for (tag, value) in tags {
                image.encoder().write_tag(Tag::from_u16_exhaustive(*tag), *value).expect("is written");
            }
            image.write_data(&pixels).expect("is written");
        }};
    }
    if samples == 4 {
        page!(colortype::RGBA8)
    } else {
        page!(colortype::Gray8)
    }
    for _ in 0..copies {
        let mut copy = encoder.new_image::<colortype::Gray8>(1, 1).expect("fits");
        copy.encoder().write_tag(Tag::NewSubfileType, 1_u32).expect("is written");
        copy.write_data(&[0]).expect("is written");
    }
    file.into_inner()
}

#[test]
fn channels_that_are_no_transparency_are_not_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(read(&file(&folder, &tagged(4, &[(338, 2)], 0))).expect("is RGBA").0.channels, 4);
    let cause = failure(&file(&folder, &tagged(4, &[(338, 0)], 0)));
    assert!(cause.contains("channels besides its colours that are no transparency"), "{cause}");
}

#[test]
fn smaller_copies_are_no_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    for copies in 0..3 {
        let reader = Reader::open(&file(&folder, &tagged(1, &[], copies))).expect("is read");
        assert!(!reader.has_more_pages());
        assert!(reader.next_page().expect("is read").is_none());
    }
}

#[test]
fn a_resolution_without_a_unit_stays_in_a_tiff() {
    let density = Density::of_tiff((4, 1), (4, 1), 1).expect("is one");
    assert_eq!(density.tiff(), ((4, 1), (4, 1), 1));
    assert!(density.png().is_none() && density.jpeg().is_none(), "it says only that pixels are square");
    assert!(Density::of_tiff((4, 1), (8, 1), 1).expect("is one").png().is_some());
}
