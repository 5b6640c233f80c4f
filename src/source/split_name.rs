//! Tells from the name of a folder or a file which split its images are for, however a data set spells it.
//!
//! A name is cut into words: `seg_train`, `TrainImages`, `train2017` and `trainset` all have the word `train`. A name that says
//! nothing else but its split ([`Name::is_plain`]) is one even without a counterpart, while `bullet_train` may well be a class: it is
//! a split only beside a name that differs from it in nothing but the split.

use std::collections::BTreeSet;

/// The use that the authors of a data set have for some images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To train on.
    Train,
    /// To test on.
    Test,
    /// To choose weights by; for testing where nothing else is.
    Validation,
}

/// Words that name a role, the longer first where one begins with another.
const ROLES: [(&str, Role); 17] = [
    ("trainval", Role::Train),
    ("training", Role::Train),
    ("train", Role::Train),
    ("trn", Role::Train),
    ("testing", Role::Test),
    ("test", Role::Test),
    ("tst", Role::Test),
    ("evaluation", Role::Test),
    ("eval", Role::Test),
    ("holdout", Role::Test),
    ("heldout", Role::Test),
    ("validation", Role::Validation),
    ("validate", Role::Validation),
    ("valid", Role::Validation),
    ("val", Role::Validation),
    ("development", Role::Validation),
    ("dev", Role::Validation),
];

/// Words that say nothing about the content, besides numbers and single letters.
const NEUTRAL: [&str; 35] = [
    "set", "sets", "data", "dataset", "images", "image", "imgs", "img", "pictures", "picture", "pics", "photos",
    "photo", "split", "subset", "part", "folder", "dir", "files", "samples", "sample", "hr", "rev", "new", "final",
    "full", "all", "small", "png", "jpg", "jpeg", "bmp", "raw", "cropped", "resized",
];

/// A name that says a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// What it says.
    pub role: Role,
    /// Its words besides that one and the neutral ones; the same in the names of all splits of a set.
    rest: Vec<String>,
    /// Its neutral words, numbers and letters, by which sets of the same `rest` differ, as A and B in `trainA` and `trainB`.
    neutral: Vec<String>,
}

impl Name {
    /// Reads a name; none if it says no split, or more than one.
    pub fn read(name: &str) -> Option<Self> {
        let (mut roles, mut rest, mut neutral) = (BTreeSet::new(), Vec::new(), Vec::new());
        for word in words(name) {
            match role(&word) {
                Some((role, other)) => {
                    roles.insert(role);
                    neutral.extend(other);
                }
                None if is_neutral(&word) => neutral.push(word),
                None => rest.push(word),
            }
        }
        let role = match roles.into_iter().collect::<Vec<_>>()[..] {
            // As in PASCAL VOC, what may be trained on and chosen by.
            [role] | [role @ Role::Train, Role::Validation] => role,
            _ => return None,
        };
        Some(Self { role, rest, neutral })
    }

    /// Whether it says nothing besides the split.
    pub fn is_plain(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether it names another split of the same set.
    pub fn is_counterpart(&self, other: &Self) -> bool {
        self.role != other.role && self.rest == other.rest
    }

    /// Whether it names another split of the same set in the same spelling.
    pub fn is_twin(&self, other: &Self) -> bool {
        self.is_counterpart(other) && self.neutral == other.neutral
    }
}

/// The split that a name says, if it says one.
pub fn role_of(name: &str) -> Option<Role> {
    Name::read(name).map(|name| name.role)
}

/// Those of some names that differ from this one in nothing but the split, and say this role.
pub fn twins<'a>(name: &str, role: Role, others: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let Some(name) = Name::read(name) else { return Vec::new() };
    others.filter(|other| Name::read(other).is_some_and(|other| other.role == role && name.is_twin(&other))).collect()
}

/// All splits that a path says.
pub fn roles(path: &str) -> BTreeSet<Role> {
    words(path).iter().filter_map(|word| Some(role(word)?.0)).collect()
}

/// Whether a name says nothing about what is inside, as `images` does.
pub fn is_generic(name: &str) -> bool {
    let words = words(name);
    !words.is_empty() && words.iter().all(|word| NEUTRAL.contains(&word.as_str()))
}

/// The role in a word, and what it is written together with, as `set` in `trainset`.
fn role(word: &str) -> Option<(Role, Option<String>)> {
    ROLES.iter().find_map(|(name, role)| {
        let other = word.strip_prefix(name).or_else(|| word.strip_suffix(name))?;
        // A single letter only after a word: `traina` and `testb`, but not `trains`.
        let joined = NEUTRAL.contains(&other) || matches!(other, "a" | "b");
        (other.is_empty() || joined).then(|| (*role, (!other.is_empty()).then(|| other.to_owned())))
    })
}

fn is_neutral(word: &str) -> bool {
    NEUTRAL.contains(&word) || word.chars().count() == 1 || word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The words of a name, in lower case: parted by anything but letters and digits, by a change of case, and between letters and digits.
fn words(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, &letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let begins = before.is_some_and(|before| {
            let after = letters.get(at + 1).is_some_and(|after| after.is_lowercase());
            let capital = letter.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && after));
            capital || before.is_numeric() != letter.is_numeric()
        });
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            words.last_mut().expect("has one").extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_told_in_any_spelling() {
        for (name, role, plain) in [
            ("train", Role::Train, true),
            ("Training", Role::Train, true),
            ("TRAINSet", Role::Train, true),
            ("trainA", Role::Train, true),
            ("testb", Role::Test, true),
            ("01_train", Role::Train, true),
            ("train2017", Role::Train, true),
            ("training_set", Role::Train, true),
            ("images-TrainVal", Role::Train, true),
            ("TestImages", Role::Test, true),
            ("imagestest", Role::Test, true),
            ("VALID", Role::Validation, true),
            ("seg_train", Role::Train, false),
            ("DIV2K_valid_HR", Role::Validation, false),
            ("bullet_train", Role::Train, false),
        ] {
            let found = Name::read(name).unwrap_or_else(|| panic!("{name} names a split"));
            assert_eq!((found.role, found.is_plain()), (role, plain), "{name}");
        }
        for name in ["trains", "cat", "valley", "contest", "restrain", "testy", "devil", "train_test_split", "", "_"] {
            assert_eq!(Name::read(name), None, "{name}");
        }
        let twins = |one: &str, other: &str| Name::read(one).zip(Name::read(other)).is_some_and(|(a, b)| a.is_twin(&b));
        assert!(
            twins("seg_train", "seg_test") && twins("trainA", "testA") && twins("DIV2K_train_HR", "DIV2K_valid_HR")
        );
        assert!(!twins("trainA", "testB") && !twins("bullet_train", "test_tube") && !twins("train", "training"));
        assert!(is_generic("Images") && is_generic("JPGImages") && !is_generic("cats") && !is_generic(""));
    }
}
