//! Draws splits: takes shares of a single set of images for testing and validation.
//!
//! The draw depends on the seed and on the key of an image, which comes from its name or, without one, is its position. An
//! image therefore stays in its split when other images are appended.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::image::{PerSplit, Split};
use crate::random::Stream;
use crate::{error, interrupt};

/// The key of an image in a draw, from its name, so that its split does not depend on other images.
pub fn key(name: &str) -> u64 {
    let digest = blake3::hash(name.as_bytes());
    digest.as_bytes()[..8].iter().fold(0, |key, &byte| key << 8 | u64::from(byte))
}

/// A draw of splits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    stream: Stream,
    test: f64,
    validation: f64,
}

impl Draw {
    /// A draw that takes these shares for testing and for validation.
    pub fn new(seed: u64, test: f64, validation: f64) -> Self {
        Self { stream: Stream::new(seed, "split", Split::Train), test, validation }
    }

    /// Whether it leaves or takes images for a split.
    pub fn takes(&self, split: Split) -> bool {
        match split {
            Split::Train => true,
            Split::Test => self.test > 0.0,
            Split::Validation => self.validation > 0.0,
        }
    }

    /// Whether it takes images for other splits than training.
    pub fn takes_any(&self) -> bool {
        self.takes(Split::Test) || self.takes(Split::Validation)
    }

    /// The split of the image with this key. Another share for validation changes the split of no test image.
    pub fn split(&self, key: u64) -> Split {
        let uniform = f64::from(self.stream.generator(key, 0).uniform());
        match uniform {
            _ if uniform < self.test => Split::Test,
            _ if uniform < self.test + self.validation => Split::Validation,
            _ => Split::Train,
        }
    }

    /// The error for a draw that leaves a split without any of `count` images.
    pub fn empty(&self, count: u64, split: Split) -> anyhow::Error {
        let of_validation = split == Split::Validation || !self.takes(Split::Test);
        let (key, fraction) =
            if of_validation { ("validation-fraction", self.validation) } else { ("test-fraction", self.test) };
        let message = format!("{key} = {fraction} of {count} images {NONE_LEFT} {}", split.name());
        error::data(format!("{message}; another `{key}` or another `seed` draws others"))
    }
}

/// What the error for a draw that leaves a split empty says, and no other.
const NONE_LEFT: &str = "leaves none for the split";

/// Whether this is the error for a draw that leaves a split empty.
pub fn left_none(cause: &anyhow::Error) -> bool {
    format!("{cause:#}").contains(NONE_LEFT)
}

/// The images of a set that belong to a split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Members {
    /// All images of the set.
    All,
    /// The images whose positions are drawn for the split, and their number.
    Drawn(Draw, Split, u64),
}

impl Members {
    /// The members of the splits that are drawn from a set of `count` images; all are for training if nothing is drawn.
    ///
    /// # Errors
    /// One of these splits would be empty, interruption.
    pub fn drawn(draw: Draw, count: u64) -> Result<PerSplit<Option<Self>>> {
        if !draw.takes_any() {
            return Ok(Split::ALL.map(|split| (split == Split::Train).then_some(Self::All)));
        }
        let mut counts = PerSplit::<u64>::default();
        for position in 0..count {
            counts[draw.split(position) as usize] += 1;
            if position % (1 << 16) == 0 {
                interrupt::check()?;
            }
        }
        if let Some(split) = Split::ALL.into_iter().find(|split| draw.takes(*split) && counts[*split as usize] == 0) {
            return Err(draw.empty(count, split));
        }
        let members = |split: Split| draw.takes(split).then(|| Self::Drawn(draw, split, counts[split as usize]));
        Ok(Split::ALL.map(members))
    }

    /// Whether the image at this position is a member.
    pub fn has(&self, position: u64) -> bool {
        match self {
            Self::All => true,
            Self::Drawn(draw, split, _) => draw.split(position) == *split,
        }
    }

    /// The number of members in a set of `count` images.
    pub fn count(&self, count: u64) -> u64 {
        match self {
            Self::All => count,
            Self::Drawn(_, _, members) => *members,
        }
    }
}

/// The positions and the bytes of images.
pub type Picked = (Vec<u64>, Vec<u8>);

/// The images of `size` bytes that belong to a split, picked from all images of a set, which come in `chunks`: at most `rows`
/// at a time. A chunk has at most `rows` images.
pub fn pick(
    mut chunks: impl Iterator<Item = Result<Vec<u8>>> + Send,
    size: usize,
    rows: usize,
    members: Members,
) -> impl Iterator<Item = Result<Picked>> + Send {
    let (mut ids, mut bytes, mut position) = (Vec::new(), Vec::new(), 0);
    std::iter::from_fn(move || {
        loop {
            if let Err(cause) = interrupt::check() {
                return Some(Err(cause));
            }
            let chunk = match chunks.next() {
                Some(Ok(chunk)) => chunk,
                Some(Err(cause)) => return Some(Err(cause)),
                None if ids.is_empty() => return None,
                None => return Some(Ok((std::mem::take(&mut ids), std::mem::take(&mut bytes)))),
            };
            let first = position;
            position += (chunk.len() / size) as u64;
            if let Members::All = members {
                return Some(Ok(((first..position).collect(), chunk)));
            }
            for (position, image) in (first..).zip(chunk.chunks_exact(size)) {
                if members.has(position) {
                    ids.push(position);
                    bytes.extend_from_slice(image);
                }
            }
            if ids.len() >= rows {
                let rest = (ids.split_off(rows), bytes.split_off(rows * size));
                return Some(Ok((std::mem::replace(&mut ids, rest.0), std::mem::replace(&mut bytes, rest.1))));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_takes_each_image_for_one_split() {
        let drawn = |test, validation| Members::drawn(Draw::new(7, test, validation), 1000).expect("has all");
        let [train, test, none] = drawn(0.25, 0.0);
        assert!(none.is_none());
        let all = drawn(0.25, 0.15).map(|members| members.expect("is drawn"));
        assert!((0..1000).all(|position| all.iter().filter(|members| members.has(position)).count() == 1));
        for members in all.into_iter().chain(train).chain(test) {
            assert_eq!(members.count(1000), (0..1000).filter(|position| members.has(*position)).count() as u64);
        }
        assert!((200..300).contains(&all[1].count(1000)) && (100..200).contains(&all[2].count(1000)), "{all:?}");
        // Those for validation are taken from those for training.
        let test = test.expect("is drawn");
        assert!((0..1000).all(|position| test.has(position) == all[1].has(position)));
        let [train, no_test, validation] = drawn(0.0, 0.15);
        assert!(train.is_some() && no_test.is_none() && validation.is_some());
        assert!(matches!(drawn(0.0, 0.0), [Some(Members::All), None, None]));
        for (test, validation, message) in [
            (0.0001, 0.0, "test-fraction = 0.0001 of 5 images leaves none for the split test; "),
            (0.5, 0.0001, "validation-fraction = 0.0001 of 5 images leaves none for the split validation; "),
            (0.0, 0.9999, "validation-fraction = 0.9999 of 5 images leaves none for the split train; "),
        ] {
            let error = Members::drawn(Draw::new(7, test, validation), 5).expect_err("is empty").to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn what_is_picked_does_not_depend_on_the_chunks() {
        let all: Vec<u8> = (0..100).flat_map(|position| [position, position]).collect();
        let drawn = Members::drawn(Draw::new(1, 0.4, 0.2), 100).expect("has all");
        for members in drawn.into_iter().flatten().chain([Members::All]) {
            for rows in [1, 7, 100] {
                let chunks = all.chunks(2 * rows).map(|chunk| Ok(chunk.to_vec()));
                let groups: Vec<Picked> = pick(chunks, 2, rows, members).collect::<Result<_>>().expect("has no errors");
                assert!(groups.iter().all(|(ids, _)| !ids.is_empty() && ids.len() <= rows));
                assert!(groups[..groups.len() - 1].iter().all(|(ids, _)| ids.len() == rows));
                let ids: Vec<u64> = groups.iter().flat_map(|(ids, _)| ids.clone()).collect();
                let bytes: Vec<u8> = groups.into_iter().flat_map(|(_, bytes)| bytes).collect();
                assert_eq!(ids, (0..100).filter(|position| members.has(*position)).collect::<Vec<_>>());
                assert_eq!(bytes, ids.iter().flat_map(|id| [*id as u8; 2]).collect::<Vec<_>>());
            }
        }
    }
}
