//! Colours digits: each digit has its own ink and ground colour, with a small variation between images.
//!
//! Colours therefore follow from the shape, and a model that sees only the brightness can learn them. All of them keep away from
//! black and white, so that moderate noise is hardly ever clipped: its mean is then zero, which training on noisy targets
//! needs.

/// Ink and ground of each digit from 0 to 9, in bytes of red, green and blue: bright on dark, of ten hues.
const PALETTE: [[[u8; 3]; 2]; 10] = [
    [[205, 92, 80], [56, 84, 96]],
    [[206, 142, 66], [58, 66, 108]],
    [[200, 186, 78], [84, 60, 110]],
    [[140, 192, 84], [100, 56, 92]],
    [[80, 196, 122], [106, 60, 62]],
    [[76, 190, 184], [104, 76, 54]],
    [[86, 158, 206], [90, 88, 50]],
    [[122, 128, 208], [60, 94, 56]],
    [[176, 112, 200], [50, 96, 78]],
    [[208, 100, 160], [52, 92, 98]],
];

/// Greatest difference of a channel from its colour in the palette.
const VARIATION: f32 = 12.0;

/// Paints the `ink` (0 none, 255 full) of a digit; `uniform` gives numbers in [0, 1). Three bytes for each pixel.
pub fn paint(ink: &[u8], digit: u8, uniform: &mut impl FnMut() -> f32) -> Vec<u8> {
    let [full, none] = PALETTE[usize::from(digit) % 10]
        .map(|colour| colour.map(|channel| (f32::from(channel) + VARIATION * (2.0 * uniform() - 1.0)) as u8));
    let mix = |ink: u8, full: u8, none: u8| {
        let (ink, full, none) = (u32::from(ink), u32::from(full), u32::from(none));
        ((ink * full + (255 - ink) * none + 127) / 255) as u8
    };
    ink.iter().flat_map(|&ink| [0, 1, 2].map(|channel| mix(ink, full[channel], none[channel]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::luma;

    #[test]
    fn ink_is_brighter_than_ground_and_both_keep_away_from_the_ends() {
        for digit in 0..10 {
            for uniform in [0.0, 0.5, 0.999] {
                let painted = paint(&[255, 0], digit, &mut || uniform);
                let brightness: Vec<_> = painted.chunks_exact(3).map(|rgb| luma([rgb[0], rgb[1], rgb[2]])).collect();
                assert!(brightness[0] > brightness[1] + 40, "{digit}: {brightness:?}");
                assert!(painted.iter().all(|channel| (36..=222).contains(channel)), "{digit}: {painted:?}");
            }
        }
    }
}
