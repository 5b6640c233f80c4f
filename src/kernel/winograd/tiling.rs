//! Which pixels tiles are made of, and which are made of them.

use std::ops::Range;

use super::TILE;

/// What is convolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// The images.
    Same,
    /// The images after nearest upsampling to so many rows and columns: twice theirs or one less.
    Upsample([usize; 2]),
}

impl Scheme {
    /// Fewest channels, of input and output, for which the transforms pay.
    pub fn least_channels(self) -> usize {
        match self {
            Scheme::Same => 16,
            Scheme::Upsample(_) => 8,
        }
    }
}

/// Images and the tiles that they are cut into.
#[derive(Debug, Clone, Copy)]
pub struct Tiling {
    /// Images.
    pub count: usize,
    /// Rows that outputs are computed for.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Rows of the input before and after these, 0 or 1 each.
    pub around: [usize; 2],
    /// What is convolved.
    pub scheme: Scheme,
}

impl Tiling {
    /// The tiles.
    pub fn tiles(&self) -> Tiles {
        let sides = [self.height, self.width];
        let (sides, cut) = match self.scheme {
            Scheme::Same => (sides.map(|side| side.div_ceil(TILE)), [false; 2]),
            Scheme::Upsample(size) => (sides, size.map(|side| side % 2 == 1)),
        };
        Tiles { images: self.count, sides, cut }
    }

    /// The input, of which tiles see one pixel on each side.
    pub fn input(&self) -> Plane {
        let [above, below] = self.around;
        let step = if self.scheme == Scheme::Same { TILE } else { 1 };
        let first = [above as isize - 1, -1];
        Plane { images: self.count, height: above + self.height + below, width: self.width, step, first }
    }

    /// The outputs, each in one tile.
    pub fn output(&self) -> Plane {
        let ([height, width], step) = match self.scheme {
            Scheme::Same => ([self.height, self.width], TILE),
            Scheme::Upsample(size) => (size, 2),
        };
        Plane { images: self.count, height, width, step, first: [0, 0] }
    }

    /// The outputs that depend on each pixel: one before those of its tile, and one after.
    pub fn outputs_around(&self) -> Plane {
        Plane { first: [-1, -1], ..self.output() }
    }

    /// The pixels of the input, each in one tile.
    pub fn source(&self) -> Plane {
        Plane { first: [0, 0], ..self.input() }
    }
}

/// The tiles of images.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    images: usize,
    /// In a column and in a row of an image.
    sides: [usize; 2],
    /// Whether the last of a column, and of a row, is cut after the first row or column of what is made of it.
    cut: [bool; 2],
}

impl Tiles {
    /// Tiles of all images.
    pub fn count(&self) -> usize {
        self.images * self.sides[0] * self.sides[1]
    }

    /// Their numbers in groups of so many.
    pub fn groups(self, most: usize) -> impl Iterator<Item = Range<usize>> {
        let count = self.count();
        (0..count).step_by(most).map(move |first| first..count.min(first + most))
    }

    /// The image of a tile, and its row and column among those of the image.
    pub fn place(&self, tile: usize) -> [usize; 3] {
        let [high, wide] = self.sides;
        [tile / (high * wide), tile / wide % high, tile % wide]
    }

    /// Whether a tile in this row and column is cut, as the last of an odd size are.
    pub fn is_cut(&self, [row, column]: [usize; 2]) -> [bool; 2] {
        [self.cut[0] && row + 1 == self.sides[0], self.cut[1] && column + 1 == self.sides[1]]
    }
}

/// Images, and where the pixels of tiles lie in them.
#[derive(Debug, Clone, Copy)]
pub struct Plane {
    images: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// From the first pixel of a tile to that of the next.
    step: usize,
    /// The row and column of the first pixel of the first tile, outside of the image if negative.
    first: [isize; 2],
}

impl Plane {
    /// Numbers of all images.
    pub fn len(&self, channels: usize) -> usize {
        self.images * self.height * self.width * channels
    }

    /// The first row and column of a tile in this row and column; wrapped if they lie before the image.
    pub fn place(&self, [row, column]: [usize; 2]) -> [usize; 2] {
        let [top, left] = self.first;
        [(row * self.step).wrapping_add_signed(top), (column * self.step).wrapping_add_signed(left)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_of_several_images_are_cut_one_after_the_other() {
        let tiling = Tiling { count: 2, height: 5, width: 9, around: [0, 0], scheme: Scheme::Same };
        let (tiles, output) = (tiling.tiles(), tiling.output());
        let place = |tile| {
            let [image, row, column] = tiles.place(tile);
            let [top, left] = output.place([row, column]);
            [image, top, left]
        };
        let places: Vec<_> = (0..tiles.count()).map(place).collect();
        let one = [[0, 0], [0, 4], [0, 8], [4, 0], [4, 4], [4, 8]];
        let expected: Vec<_> = (0..2).flat_map(|image| one.map(|[row, column]| [image, row, column])).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn the_last_tiles_of_odd_sizes_are_cut() {
        let scheme = Scheme::Upsample([7, 10]);
        let tiles = Tiling { count: 1, height: 4, width: 5, around: [0, 0], scheme }.tiles();
        assert_eq!(tiles.count(), 20);
        assert_eq!([[2, 4], [3, 4]].map(|place| tiles.is_cut(place)), [[false, false], [true, false]]);
    }
}
