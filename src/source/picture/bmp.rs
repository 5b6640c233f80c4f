//! Grey pictures in BMP, a format without grey: they have a palette of greys, which `image` makes RGB.

/// Bytes at the start of a file in which its palette lies, if it has one.
pub const START: u64 = 14 + 124 + 4 * 256;

/// Whether a BMP that starts like this has a palette, and that nothing but greys.
pub fn is_grey(start: &[u8]) -> bool {
    palette(start).is_some_and(|colours| colours.iter().all(|[blue, green, red]| blue == green && green == red))
}

/// The colours of a palette: as many as the header says, or as its bits can tell apart.
fn palette(start: &[u8]) -> Option<Vec<[u8; 3]>> {
    let word = |at: usize| Some(u32::from_le_bytes(*start.get(at..)?.first_chunk()?));
    let short = |at: usize| Some(u16::from_le_bytes(*start.get(at..)?.first_chunk()?));
    let header = word(14)? as usize;
    // That of OS/2 is shorter, and so are its colours.
    let (bits, said, colour) = if header == 12 { (short(24)?, 0, 3) } else { (short(28)?, word(46)? as usize, 4) };
    let most = 1 << (1..=8).contains(&bits).then_some(bits)?;
    let count = if said == 0 { most } else { said.min(most) };
    let colours = start.get(14 + header..)?.get(..count * colour)?;
    Some(colours.chunks_exact(colour).filter_map(|colour| colour.first_chunk().copied()).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::bmp::BmpEncoder;
    use image::{DynamicImage, ExtendedColorType, ImageBuffer, ImageFormat};

    use crate::image::Samples;
    use crate::source::picture::{decode, shape_of};
    use crate::source::settings::Fit;

    fn file(palette: Option<&[[u8; 3]]>) -> Vec<u8> {
        let mut file = Vec::new();
        let indices = [0, 1, 2, 2, 1, 0];
        BmpEncoder::new(&mut file)
            .encode_with_palette(&indices, 3, 2, ExtendedColorType::L8, palette)
            .expect("is written");
        file
    }

    #[test]
    fn a_palette_of_greys_is_grey_and_others_are_in_colour() {
        let fit = Fit::default();
        let greys = [[0; 3], [77; 3], [255; 3]];
        for (file, expected) in [
            (file(Some(&greys)), Some(vec![0, 77, 255, 255, 77, 0])),
            (file(None), Some(vec![0, 1, 2, 2, 1, 0])),
            (file(Some(&[[0; 3], [77, 77, 78], [255; 3]])), None),
        ] {
            let picture = decode(&file, &fit).expect("is read");
            assert_eq!(shape_of(Cursor::new(&file), &fit).map(|(shape, _)| shape), Some(picture.shape));
            assert_eq!(picture.shape.channels, if expected.is_some() { 1 } else { 3 });
            assert!(expected.is_none_or(|bytes| picture.samples == Samples::Bytes(bytes)));
        }
        // Without a palette a picture may be grey by chance.
        let mut colour = Cursor::new(Vec::new());
        let image = DynamicImage::ImageRgb8(ImageBuffer::from_pixel(2, 2, image::Rgb([9; 3])));
        image.write_to(&mut colour, ImageFormat::Bmp).expect("is written");
        assert_eq!(decode(colour.get_ref(), &fit).expect("is read").shape.channels, 3);
    }

    #[test]
    fn a_header_that_breaks_off_has_no_palette() {
        let whole = file(Some(&[[0; 3], [9; 3], [255; 3]]));
        assert!(super::is_grey(&whole));
        let pixels = whole.len() - 8;
        assert!((0..pixels).all(|len| !super::is_grey(&whole[..len])));
    }
}
