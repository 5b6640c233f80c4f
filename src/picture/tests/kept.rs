//! What belongs to a picture besides its pixels, and the pages of a file.

use super::*;

/// EXIF of two entries: an orientation and a make.
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif =
        b"MM\0\x2a\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x03me\0\0\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
    exif[31] = orientation;
    exif
}

#[test]
fn how_large_it_is_and_what_the_camera_says_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |across: (u32, u32), down: (u32, u32), unit: u16| Density::of_tiff(across, down, unit);
    let texts =
        vec![(270, b"ImageJ=1.53\nimages=5".to_vec()), (306, b"2026:01:02 03:04:05".to_vec()), (315, "µm".into())];
    for density in [
        of((300, 1), (150, 1), 2),
        of((7_200_001, 100_000), (72, 1), 2),
        of((118, 1), (118, 1), 3),
        of((2, 1), (1, 1), 1),
    ] {
        for (format, header) in kinds() {
            let header = Header { density, exif: Some(exif(1)), texts: texts.clone(), ..header };
            let (found, _) = read(&file(&folder, &written(format, &header, &pixels(&header)))).expect("is read");
            let what = format!("{format:?} of {} × {:?} {density:?}: {found:?}", header.channels, header.depth);
            let near = |one: f64, other: f64| (one / other - 1.0).abs() < 0.02;
            match (format, density, found.density) {
                (Format::Tiff, density, found) => assert_eq!(density, found, "{what}"),
                (Format::Png | Format::Jpeg, Some(density), Some(found)) => {
                    let metres =
                        |density: Density| density.png().map_or([0.0; 2], |it| [it.xppu, it.yppu].map(f64::from));
                    let [one, other] = [metres(density), metres(found)];
                    assert!(near(one[0], other[0]) && near(one[1], other[1]), "{what}");
                    assert_eq!(density.png().map(|it| it.unit), found.png().map(|it| it.unit), "{what}");
                }
                (Format::WebP | Format::Bmp, _, found) => assert_eq!(found, None, "{what}"),
                _ => panic!("{what}"),
            }
            let has_exif = matches!(format, Format::Png | Format::Jpeg | Format::WebP);
            assert_eq!(found.exif, has_exif.then(|| exif(1)), "{what}");
            assert_eq!(found.texts, if format == Format::Tiff { texts.clone() } else { Vec::new() }, "{what}");
            // From a format to the same nothing changes any more.
            let (again, _) = read(&file(&folder, &written(format, &found, &pixels(&found)))).expect("is read");
            assert!(again.density == found.density && again.exif == found.exif && again.texts == found.texts, "{what}");
        }
    }
    // A picture that was turned says so no more, and its sides have changed places.
    let density = of((300, 1), (150, 1), 2);
    let header = Header { density, exif: Some(exif(6)), ..header(3, Depth::U8) };
    for format in [Format::Png, Format::Jpeg] {
        let (found, _) = read(&file(&folder, &written(format, &header, &pixels(&header)))).expect("is read");
        assert_eq!((found.height, found.width), (29, 37));
        assert_eq!(found.exif, Some(exif(1)), "{format:?}");
        let [across, down] = found.density.and_then(Density::png).map(|it| [it.xppu, it.yppu]).expect("is there");
        assert!(down > across, "{format:?}: {across} {down}");
    }
}

#[test]
fn pages_of_any_kind_follow_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let sizes = [(37, 29), (1, 1), (700, 3), (5, 1001)];
    let pages: Vec<_> =
        (1..=4).flat_map(|channels| [Depth::U8, Depth::U16, Depth::F32].map(|depth| (channels, depth))).collect();
    let pages: Vec<_> = pages
        .iter()
        .zip(sizes.iter().cycle())
        .map(|(&(channels, depth), &(height, width))| {
            let header = Header { height, width, ..header(channels, depth) };
            let pixels = pixels(&header);
            (header, pixels)
        })
        .collect();
    let bytes = Rc::new(RefCell::new(Vec::new()));
    let mut writer = Writer::new(Box::new(Shared(bytes.clone())), Format::Tiff, &pages[0].0, true).expect("is begun");
    writer.write(&pages[0].1).expect("is written");
    for (at, (header, pixels)) in pages.iter().enumerate().skip(1) {
        writer.next_page(header, at + 1 < pages.len()).expect("is begun");
        writer.write(pixels).expect("is written");
    }
    writer.finish().expect("is written");
    let path = file(&folder, &bytes.take());
    let mut reader = Reader::open(&path).expect("is read");
    for (at, (header, pixels)) in pages.iter().enumerate() {
        assert_eq!(reader.header(), header, "page {at}");
        let mut found = vec![0; pixels.len()];
        found.chunks_mut(header.row_bytes()).try_for_each(|row| reader.read(row)).expect("is whole");
        assert!(found == *pixels, "page {at}");
        assert_eq!(reader.has_more_pages(), at + 1 < pages.len());
        match reader.next_page().expect("is read") {
            Some(next) => reader = next,
            None => break,
        }
    }
    assert!(
        Format::Png
            .check_pages()
            .expect_err("has one")
            .to_string()
            .contains("several pages, which a PNG file cannot hold")
    );
}
