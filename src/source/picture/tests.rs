//! Formats, sizes, grey, damage and orientation of pictures.

use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("memory");
    bytes.into_inner()
}

fn fit(size: Size, grey: Option<bool>) -> Fit {
    Fit { size, grey, ..Fit::default() }
}

#[test]
fn every_format_gives_its_pixels() {
    let picture = RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8 * 40, y as u8 * 90, 7]));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Gif] {
        let decoded = decode(&encoded(picture.clone(), format), &Fit::default()).expect("decodes");
        assert_eq!((decoded.shape.height, decoded.shape.width, decoded.shape.channels), (3, 5, 3));
        assert_eq!(decoded.samples, Samples::from(picture.as_raw().clone()), "{format:?}");
    }
    let decoded = decode(&encoded(picture, ImageFormat::Jpeg), &Fit::default()).expect("decodes");
    assert_eq!(decoded.shape.len(), 45);
    assert!(decode(b"GIF89a", &Fit::default()).is_err() && decode(b"", &Fit::default()).is_err());
}

#[test]
fn a_file_that_breaks_off_is_said_to() {
    let picture = RgbImage::from_fn(50, 30, |x, y| Rgb([x as u8, y as u8, 7]));
    for format in [ImageFormat::Bmp, ImageFormat::Tiff] {
        let whole = encoded(picture.clone(), format);
        for len in [20, whole.len() * 2 / 3] {
            let reason = decode(&whole[..len], &Fit::default()).err().unwrap_or_default();
            assert!(reason.contains("its end is missing"), "{format:?} of {len} bytes: {reason}");
        }
    }
}

#[test]
fn pictures_whose_pixels_would_fill_the_memory_are_refused() {
    let picture = || RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
    let side = 20_000_u32;
    // The size is in the first chunk, with its checksum.
    let mut png = encoded(picture(), ImageFormat::Png);
    png[16..20].copy_from_slice(&side.to_be_bytes());
    png[20..24].copy_from_slice(&side.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    // The size is in the frame header.
    let mut jpeg = encoded(picture(), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("is there");
    for at in [frame + 5, frame + 7] {
        jpeg[at..at + 2].copy_from_slice(&(side as u16).to_be_bytes());
    }
    for bytes in [png, jpeg] {
        let reason = decode(&bytes, &Fit::default()).err();
        assert_eq!(reason.as_deref(), Some("it has pixels of 1144 MiB; at most 512 MiB work"));
    }
}

#[test]
fn a_gif_takes_the_memory_that_its_size_says() {
    let whole = encoded(RgbImage::from_pixel(20, 10, Rgb([1, 2, 3])), ImageFormat::Gif);
    let with = |at: usize, sides: [u16; 2]| {
        let mut bytes = whole.clone();
        bytes[at..at + 2].copy_from_slice(&sides[0].to_le_bytes());
        bytes[at + 2..at + 4].copy_from_slice(&sides[1].to_le_bytes());
        decode(&bytes, &Fit::default()).map(|picture| picture.shape)
    };
    // The size of the picture, then that of its first frame.
    let frame = whole.windows(5).position(|start| start == [0x2c, 0, 0, 0, 0]).expect("is there") + 5;
    assert!(with(6, [u16::MAX; 2]).is_err() && with(6, [30_000; 2]).is_err() && with(6, [0; 2]).is_err());
    assert!(with(frame, [u16::MAX; 2]).is_err() && with(frame, [u16::MAX, 1]).is_err());
    // A frame that is smaller than the picture leaves the rest transparent, which shows white.
    assert_eq!(with(6, [21, 10]).map(|shape| (shape.height, shape.width)), Ok((10, 21)));
    // All but the end of the data and that of the file, after which no pixels come.
    for end in 0..whole.len() - 2 {
        assert!(decode(&whole[..end], &Fit::default()).is_err(), "{end} of {}", whole.len());
    }
}

#[test]
fn grey_has_the_usual_weights_and_transparency_shows_white() {
    let picture = RgbImage::from_pixel(2, 2, Rgb([200, 100, 50]));
    let decoded = decode(&encoded(picture, ImageFormat::Png), &fit(Size::Same, Some(true))).expect("decodes");
    // 0.299 · 200 + 0.587 · 100 + 0.114 · 50 = 124.2
    assert_eq!((decoded.shape.channels, decoded.samples.into_bytes()), (1, vec![124; 4]));
    let picture = RgbaImage::from_fn(2, 1, |x, _| if x == 0 { Rgba([9, 9, 9, 0]) } else { Rgba([9, 8, 7, 255]) });
    let decoded = decode(&encoded(picture, ImageFormat::Png), &Fit::default()).expect("decodes");
    assert_eq!(decoded.samples.into_bytes(), [255, 255, 255, 9, 8, 7]);
}

#[test]
fn a_crop_keeps_the_middle_and_the_ratio() {
    let picture = RgbImage::from_fn(8, 4, |x, _| if (2..6).contains(&x) { Rgb([255; 3]) } else { Rgb([0; 3]) });
    let decoded = decode(&encoded(picture, ImageFormat::Png), &fit(Size::Crop([2, 2]), None)).expect("decodes");
    assert_eq!((decoded.shape.height, decoded.shape.width, decoded.samples.into_bytes()), (2, 2, vec![255; 12]));
    let picture = RgbImage::from_fn(8, 4, |x, _| if x < 4 { Rgb([255; 3]) } else { Rgb([0; 3]) });
    let decoded = decode(&encoded(picture, ImageFormat::Png), &fit(Size::Resize([1, 2]), Some(true)));
    let decoded = decoded.expect("decodes").samples.into_bytes();
    assert!(decoded[0] > 200 && decoded[1] < 55, "{decoded:?}");
}

#[test]
fn numbers_are_made_to_fit_as_pictures_are() {
    let pixels: Vec<u8> = (0..6 * 4 * 3).map(|index| (index * 3) as u8).collect();
    let picture = RgbImage::from_raw(4, 6, pixels.clone()).expect("fits");
    let bytes = encoded(picture, ImageFormat::Png);
    let shape = ImageShape { height: 6, width: 4, channels: 3 };
    for fit in [
        fit(Size::Same, None),
        fit(Size::Same, Some(true)),
        fit(Size::Resize([3, 2]), None),
        fit(Size::Crop([2, 2]), Some(true)),
    ] {
        let (made, decoded) = (of_pixels(shape, pixels.clone().into(), &fit), decode(&bytes, &fit));
        let (made, decoded) = (made.expect("fits"), decoded.expect("decodes"));
        assert_eq!((made.shape, made.samples), (decoded.shape, decoded.samples), "{fit:?}");
    }
    let five = ImageShape { height: 1, width: 1, channels: 5 };
    assert_eq!(
        of_pixels(five, vec![1_u8; 5].into(), &Fit::default()).expect("is as it is").samples,
        vec![1_u8; 5].into()
    );
    assert!(of_pixels(five, vec![1_u8; 5].into(), &fit(Size::Resize([2, 2]), None)).is_err());
}

#[test]
fn a_size_that_no_image_has_is_not_scaled_to() {
    let bytes = encoded(RgbImage::from_pixel(1, 1, Rgb([1, 2, 3])), ImageFormat::Png);
    let reason = decode(&bytes, &fit(Size::Resize([1 << 14, 1 << 14]), None)).err().expect("is too large");
    assert!(reason.contains("16384×16384 pixels of 3 numbers"), "{reason}");
}

#[test]
fn cut_files_are_errors() {
    let picture = RgbImage::from_fn(40, 40, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Jpeg] {
        let bytes = encoded(picture.clone(), format);
        assert!(decode(&bytes, &Fit::default()).is_ok(), "{format:?}");
        for tenths in 0..10 {
            let cut = &bytes[..bytes.len() * tenths / 10];
            assert!(decode(cut, &Fit::default()).is_err(), "{format:?} cut at {tenths}/10");
        }
    }
}

#[test]
fn a_jpeg_is_turned_as_its_exif_says() {
    let picture = RgbImage::from_fn(16, 8, |x, _| if x < 8 { Rgb([255; 3]) } else { Rgb([0; 3]) });
    let mut bytes = encoded(picture, ImageFormat::Jpeg);
    // An APP1 segment with one entry: orientation (0x0112) 6, to be turned a quarter clockwise.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut segment = vec![0xff, 0xe1, 0, exif.len() as u8 + 2];
    segment.extend(exif);
    bytes.splice(2..2, segment);
    let decoded = decode(&bytes, &fit(Size::Same, Some(true))).expect("decodes");
    assert_eq!((decoded.shape.height, decoded.shape.width), (16, 8));
    let pixels = decoded.samples.into_bytes();
    assert!(pixels[..8].iter().all(|&byte| byte > 200) && pixels[120..].iter().all(|&byte| byte < 50));
}
