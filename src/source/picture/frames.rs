//! The frames of an animated picture, counted by the structure of its file alone. Only the first is decoded.

/// Frames of a GIF, WebP or PNG, as far as a damaged file shows them; 1 of a picture that is not animated.
pub fn frames(bytes: &[u8]) -> usize {
    let mut count = 0;
    // A file that breaks off ends the counting; decoding it fails, or not.
    _ = match bytes {
        [b'G', b'I', b'F', b'8', ..] => gif(bytes, &mut count),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', chunks @ ..] => webp(chunks, &mut count),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', chunks @ ..] => png(chunks, &mut count),
        _ => None,
    };
    count.max(1)
}

/// Counts the images between the blocks of a GIF.
fn gif(bytes: &[u8], count: &mut usize) -> Option<()> {
    let palette = |flags: u8| if flags & 0x80 == 0 { 0 } else { 6 << (flags & 7) };
    let mut rest = bytes.get(13 + palette(*bytes.get(10)?)..)?;
    loop {
        rest = match *rest.first()? {
            // An extension of any kind.
            0x21 => rest.get(2..)?,
            0x2c => {
                *count += 1;
                rest.get(11 + palette(*rest.get(9)?)..)?
            }
            _ => return None,
        };
        // Data, in parts with their lengths; an empty part ends them.
        while *rest.first()? > 0 {
            rest = rest.get(1 + usize::from(rest[0])..)?;
        }
        rest = rest.get(1..)?;
    }
}

/// Counts the chunks of frames of a WebP.
fn webp(mut chunks: &[u8], count: &mut usize) -> Option<()> {
    loop {
        *count += usize::from(chunks.starts_with(b"ANMF"));
        let length = u32::from_le_bytes(*chunks.get(4..)?.first_chunk()?) as usize;
        chunks = chunks.get(8 + length.checked_next_multiple_of(2)?..)?;
    }
}

/// Reads how many frames a PNG says that it has, besides its picture if that is none of them.
fn png(mut chunks: &[u8], count: &mut usize) -> Option<()> {
    let (mut said, mut begun) = (0, false);
    loop {
        let length = u32::from_be_bytes(*chunks.first_chunk()?) as usize;
        match chunks.get(4..8)? {
            b"acTL" => said = u32::from_be_bytes(*chunks.get(8..)?.first_chunk()?) as usize,
            b"fcTL" => begun = true,
            b"IDAT" => {
                *count = said.saturating_add(usize::from(!begun));
                return Some(());
            }
            _ => {}
        }
        chunks = chunks.get(length.checked_add(12)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::gif::GifEncoder;
    use image::{Frame, ImageFormat, RgbaImage};

    use super::*;

    fn animated(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frames = (0..count).map(|shade| Frame::new(RgbaImage::from_pixel(20, 9, [shade as u8, 9, 9, 255].into())));
        GifEncoder::new(&mut bytes).encode_frames(frames).expect("memory");
        bytes
    }

    fn still(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbaImage::new(5, 4).write_to(&mut bytes, format).expect("memory");
        bytes.into_inner()
    }

    #[test]
    fn frames_are_counted_in_each_format() {
        for count in [1, 2, 7] {
            assert_eq!(frames(&animated(count)), count);
        }
        for format in [ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Png, ImageFormat::Bmp] {
            assert_eq!(frames(&still(format)), 1, "{format:?}");
        }
        let webp = [still(ImageFormat::WebP), b"ANMF\x03\0\0\0abc\0ANMF\x01\0\0\0a\0".to_vec()].concat();
        assert_eq!(frames(&webp), 2);
        let png = still(ImageFormat::Png);
        let (head, rest) = png.split_at(33);
        let says = b"\0\0\0\x08acTL\0\0\0\x03\0\0\0\0????";
        assert_eq!(frames(&[head, says, rest].concat()), 4);
        assert_eq!(frames(&[head, says, b"\0\0\0\x02fcTLab????", rest].concat()), 3);
    }

    #[test]
    fn cut_files_end_the_counting() {
        let whole = animated(3);
        for end in 0..whole.len() {
            assert!((1..=3).contains(&frames(&whole[..end])));
        }
        for bytes in [still(ImageFormat::WebP), still(ImageFormat::Png)] {
            assert!((0..bytes.len()).all(|end| frames(&bytes[..end]) == 1));
        }
        assert_eq!(frames(b"RIFF????WEBPANMF\xff\xff\xff\xff"), 1);
        assert_eq!(frames(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfffcTL"), 1);
    }
}
