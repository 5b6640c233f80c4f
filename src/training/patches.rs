//! What is cut out of pictures to train on: patches at drawn places, turned and mirrored.
//!
//! Each patch is a function of (seed, split, epoch, picture, index) alone. It has a key of its own ([`key`]) in place of the
//! picture's id, so that noise and batches are made of patches as they are of whole images.

use anyhow::Result;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image_table::ImageTable;
use super::pictures::{Picture, Pictures};
use crate::error;
use crate::image::{Extent, ImageShape, Split};
use crate::model::Architecture;
use crate::random::Stream;

/// The settings of what is cut out; by default whole pictures as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Patches {
    /// Rows and columns of a patch; none for whole pictures.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub patch: Option<usize>,
    /// Patches of a picture in an epoch; as many as cover its area unless given.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub patches_per_image: Option<u64>,
    /// What changes about them, each once, in order.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    pub augment: Vec<Augmentation>,
}

/// A change of a patch that is drawn anew for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Augmentation {
    /// Left and right change places in every second one.
    Flip,
    /// Turned by 0, 90, 180 or 270 degrees.
    Rotate,
}

impl Patches {
    /// The patches that losses are measured on: the same ones in every epoch, and as they are.
    pub fn of_test(&self) -> Self {
        Self { augment: Vec::new(), ..self.clone() }
    }

    /// The shape of what is cut out of a picture of this shape.
    ///
    /// # Errors
    /// The picture is too small, or cannot be turned.
    pub fn shape(&self, picture: ImageShape) -> Result<ImageShape> {
        let Some(side) = self.patch else {
            if self.augment.contains(&Augmentation::Rotate) && picture.height != picture.width {
                let advice = "set training.patch, or leave \"rotate\" out";
                return Err(error::settings(format!(
                    "images of {picture} cannot be turned: use square ones; {advice}"
                )));
            }
            return Ok(picture);
        };
        if side > picture.height.min(picture.width) {
            let advice = "use a smaller training.patch, or leave smaller pictures out";
            return Err(error::settings(format!("no patch of {side}×{side} fits into images of {picture}; {advice}")));
        }
        Ok(ImageShape { height: side, width: side, channels: picture.channels })
    }

    /// The shape of the images that a model of this architecture is trained on, if it is to be applied to such pictures.
    ///
    /// # Errors
    /// As [`Self::shape`]; pictures of different sizes without patches; a model that does not fit both shapes.
    pub fn model_image(&self, architecture: &Architecture, pictures: Extent) -> Result<ImageShape> {
        let image = match (pictures, self.patch) {
            (Extent::Fixed(picture), _) => self.shape(picture)?,
            (Extent::Mixed { channels }, Some(side)) => ImageShape { height: side, width: side, channels },
            (Extent::Mixed { .. }, None) => {
                let advice = "set training.patch to train on parts of pictures of different sizes, or give all of them one size \
                              with `resize` or `crop` of the source";
                return Err(error::settings(format!("whole images of different sizes cannot be trained on; {advice}")));
            }
        };
        architecture.check(image)?;
        let Some(picture) = pictures.fixed() else {
            return match architecture.family().reach() {
                Some(_) => Ok(image),
                None => Err(not_for_others(architecture, image, pictures)),
            };
        };
        architecture.check(picture)?;
        if image != picture && architecture.family().reach().is_none() {
            return Err(not_for_others(architecture, image, pictures));
        }
        Ok(image)
    }

    /// What a training sees, for messages.
    pub fn unit(&self) -> &'static str {
        if self.patch.is_some() { "patches" } else { "images" }
    }

    /// Patches of a picture of this shape in an epoch: unless set, its area through that of a patch, rounded up.
    pub fn count(&self, picture: ImageShape) -> u64 {
        let area = |side: usize| (picture.height * picture.width).div_ceil(side * side) as u64;
        self.patch.map_or(1, |side| self.patches_per_image.unwrap_or_else(|| area(side)))
    }
}

/// The error for a model of images of one size that is to be applied to others.
fn not_for_others(architecture: &Architecture, image: ImageShape, pictures: Extent) -> anyhow::Error {
    let name = architecture.family().name();
    let reason = format!("trained on patches of {image}, {name} with a dense code cannot be applied to {pictures}");
    error::settings(format!("{reason}; use model.unet, or model.conv without `code`"))
}

/// Draws patches and cuts them out.
pub struct Cutter {
    patches: Patches,
    stream: Stream,
}

/// One patch: the place of its picture, and its index among the picture's patches.
pub type Place = [u32; 2];

/// Patches, one after the other.
pub struct Cut {
    /// Their keys.
    pub keys: Vec<u64>,
    /// Row by row, channels last.
    pub bytes: Vec<u8>,
}

/// What is cut out of the pictures of a table in an epoch.
pub struct Counted {
    /// Patches.
    pub patches: u64,
    /// Numbers of one.
    pub pixels: usize,
}

/// The number that stands for a patch, as its id stands for a picture: ids are positions, of which there are fewer than 2^40.
fn key(id: u64, index: u32) -> u64 {
    id | u64::from(index) << 40
}

impl Cutter {
    /// The patches of a split; none if pictures are taken whole and as they are.
    pub fn new(patches: Patches, seed: u64, split: Split) -> Option<Self> {
        (patches != Patches::default()).then(|| Self { patches, stream: Stream::new(seed, "patches", split) })
    }

    /// Counts what is cut out of the pictures of a table in an epoch.
    ///
    /// # Errors
    /// As [`Patches::shape`]; a table that does not hold images, or is unreadable.
    pub fn counted(&self, table: &ImageTable) -> Result<Counted> {
        if let Some(shape) = table.extent()?.fixed() {
            let patches = table.rows().saturating_mul(self.patches.count(shape));
            return Ok(Counted { patches, pixels: self.patches.shape(shape)?.len() });
        }
        let mut counted = Counted { patches: 0, pixels: 1 };
        for group in 0..table.row_groups() {
            for shape in table.shapes(group)?.iter() {
                counted.pixels = self.patches.shape(shape)?.len();
                counted.patches = counted.patches.saturating_add(self.patches.count(shape));
            }
        }
        Ok(counted)
    }

    /// All patches of an epoch, picture by picture.
    pub fn places(&self, pictures: &Pictures) -> Vec<Place> {
        let of =
            |at: usize| (0..self.patches.count(pictures.get(at).shape) as u32).map(move |index| [at as u32, index]);
        (0..pictures.count()).flat_map(of).collect()
    }

    /// Cuts out some patches of an epoch, of `len` bytes each; all pictures must have passed [`Self::counted`].
    pub fn cut(&self, pictures: &Pictures, places: &[Place], epoch: u32, len: usize) -> Cut {
        let mut bytes = vec![0; places.len() * len];
        bytes.par_chunks_exact_mut(len).zip(places).for_each(|(out, &[at, index])| {
            self.cut_one(pictures.get(at as usize), index, epoch, out);
        });
        let keys = places.iter().map(|&[at, index]| key(pictures.get(at as usize).id, index)).collect();
        Cut { keys, bytes }
    }

    fn cut_one(&self, picture: Picture<'_>, index: u32, epoch: u32, out: &mut [u8]) {
        let ImageShape { height: rows, width: columns, .. } = picture.shape;
        let pixel_bytes = picture.bytes.len() / (rows * columns);
        let [height, width] = self.patches.patch.map_or([rows, columns], |side| [side; 2]);
        let mut random = self.stream.generator(key(picture.id, index), epoch);
        // All three are drawn in any case: what is turned has the place that it would have otherwise.
        let top = random.below((rows - height + 1) as u32) as usize;
        let left = random.below((columns - width + 1) as u32) as usize;
        let orientation = random.below(8);
        let drawn = |wanted| self.patches.augment.contains(&wanted);
        let turns = if drawn(Augmentation::Rotate) { orientation >> 1 } else { 0 };
        let mirrored = drawn(Augmentation::Flip) && orientation & 1 == 1;
        let pixel =
            |y: usize, x: usize| &picture.bytes[((top + y) * columns + left + x) * pixel_bytes..][..pixel_bytes];
        for (y, row) in out.chunks_exact_mut(width * pixel_bytes).enumerate() {
            if turns == 0 && !mirrored {
                row.copy_from_slice(
                    &picture.bytes[((top + y) * columns + left) * pixel_bytes..][..width * pixel_bytes],
                );
                continue;
            }
            for (x, out) in row.chunks_exact_mut(pixel_bytes).enumerate() {
                let x = if mirrored { width - 1 - x } else { x };
                // Only squares are turned by a quarter.
                out.copy_from_slice(match turns {
                    0 => pixel(y, x),
                    1 => pixel(x, width - 1 - y),
                    2 => pixel(height - 1 - y, width - 1 - x),
                    _ => pixel(height - 1 - x, y),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn patches(patch: Option<usize>, augment: &[Augmentation]) -> Patches {
        Patches { patch, patches_per_image: None, augment: augment.to_vec() }
    }

    /// Pictures of different sizes whose every byte tells where it is.
    fn pictures() -> Pictures {
        let mut pictures = Pictures::default();
        for (id, [height, width]) in [(7, [5, 9]), (3, [4, 4]), (1 << 33, [12, 6])] {
            let shape = ImageShape::new(height, width, 2).expect("is a shape");
            let bytes: Vec<u8> = (0..shape.len()).map(|at| at as u8).collect();
            pictures.add(Picture { id, shape, bytes: &bytes });
        }
        pictures
    }

    #[test]
    fn patches_cover_the_area_of_their_picture_and_lie_in_it() {
        let pictures = pictures();
        let cutter = Cutter::new(patches(Some(4), &[]), 1, Split::Train).expect("cuts");
        let places = cutter.places(&pictures);
        // 45, 16 and 72 pixels through 16, rounded up.
        let counts = [0, 1, 2].map(|picture| places.iter().filter(|[at, _]| *at == picture).count());
        assert_eq!(counts, [3, 1, 5]);
        let Cut { keys, bytes } = cutter.cut(&pictures, &places, 1, 32);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 9, "{keys:?}");
        for (bytes, &[at, _]) in bytes.chunks_exact(32).zip(&places) {
            let columns = pictures.get(at as usize).shape.width;
            for y in 0..4 {
                let expected: Vec<u8> = (0..8).map(|x| (usize::from(bytes[0]) + y * columns * 2 + x) as u8).collect();
                assert_eq!(&bytes[8 * y..8 * y + 8], expected);
            }
        }
    }

    #[test]
    fn a_patch_depends_on_its_key_and_on_no_other_patch() {
        let pictures = pictures();
        let cutter = |seed, split| Cutter::new(patches(Some(2), &[]), seed, split).expect("cuts");
        let places = cutter(1, Split::Train).places(&pictures);
        let all = |seed, split, epoch| cutter(seed, split).cut(&pictures, &places, epoch, 8).bytes;
        let expected = all(1, Split::Train, 4);
        for (place, expected) in places.iter().zip(expected.chunks_exact(8)) {
            let alone = cutter(1, Split::Train).cut(&pictures, &[*place], 4, 8);
            assert_eq!(alone.bytes, expected);
        }
        for other in [all(2, Split::Train, 4), all(1, Split::Test, 4), all(1, Split::Train, 5)] {
            assert_ne!(other, expected);
        }
    }

    #[test]
    fn there_are_eight_orientations_of_the_same_places() {
        let shape = ImageShape::new(3, 3, 1).expect("is a shape");
        let mut pictures = Pictures::default();
        for id in 0..400 {
            pictures.add(Picture { id, shape, bytes: &[0, 1, 2, 3, 4, 5, 6, 7, 8] });
        }
        let seen = |patch: Option<usize>, augment: &[Augmentation]| -> BTreeSet<Vec<u8>> {
            let cutter = Cutter::new(patches(patch, augment), 1, Split::Train).expect("cuts");
            let places = cutter.places(&pictures);
            cutter.cut(&pictures, &places, 1, 9).bytes.chunks_exact(9).map(<[u8]>::to_vec).collect()
        };
        let (flip, rotate) = (Augmentation::Flip, Augmentation::Rotate);
        assert_eq!(seen(Some(3), &[]).len(), 1);
        let flipped = BTreeSet::from([vec![0, 1, 2, 3, 4, 5, 6, 7, 8], vec![2, 1, 0, 5, 4, 3, 8, 7, 6]]);
        assert_eq!(seen(None, &[flip]), flipped);
        let turned = seen(Some(3), &[rotate]);
        assert!(turned.len() == 4 && turned.contains(&vec![2, 5, 8, 1, 4, 7, 0, 3, 6]), "{turned:?}");
        let all = seen(Some(3), &[flip, rotate]);
        assert!(all.len() == 8 && all.is_superset(&turned) && all.is_superset(&flipped), "{all:?}");
        assert!(patches(None, &[rotate]).shape(ImageShape { height: 3, width: 4, channels: 1 }).is_err());
    }
}
