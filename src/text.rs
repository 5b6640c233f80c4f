//! Escapes untrusted text before it is printed: names of files, columns and classes, metadata, values, messages.
//!
//! A terminal interprets control characters: a name that holds some could clear the screen, overwrite a line, or fill the
//! clipboard (OSC 52). Everything that limpid prints to stdout or stderr passes [`escaped`], except its own drawings.
//! This module decides which characters are escaped: control characters, and invisible ones that change the direction of text or
//! break lines. They become `\u001b`, with four digits, which is also their form in a JSON string. It also bounds the widths of
//! columns, which depend on such texts: Rust panics where a text is to be padded beyond 65,535. Passwords in URLs are hidden
//! ([`without_secrets`]).

mod secrets;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Write as _;

pub use secrets::{has_password, is_signature, without_secrets};

/// Most characters of a text in a cell of a table, and most that a column is padded to.
const LONGEST_CELL: usize = 60;

/// A text of one or more lines with what a terminal interprets escaped, except ends of lines and tabs.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_hidden(character) && !matches!(character, '\n' | '\t'))
}

/// A text with what a terminal interprets escaped, ends of lines and tabs included.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    escape(text, is_hidden)
}

/// A text for a cell of a table: on one line, and cut with `…` if it is long.
pub fn cell(text: &str) -> String {
    shortened(text, LONGEST_CELL)
}

/// A text on one line of at most so many characters, the last of them `…` if it was cut.
pub fn shortened(text: &str, most: usize) -> String {
    // The text may be megabytes long; its start is enough.
    let start: String = text.chars().take(most + 1).collect();
    let shown = on_one_line(&start);
    if shown.chars().count() <= most {
        return shown.into_owned();
    }
    shown.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The cells of a column, padded to the width of the widest of them and at least to `least`.
pub fn column<'a>(texts: impl IntoIterator<Item = &'a str>, least: usize) -> Vec<String> {
    let cells: Vec<_> = texts.into_iter().map(cell).collect();
    let width = width(cells.iter().map(String::as_str)).max(least);
    cells.into_iter().map(|cell| format!("{cell:width$}")).collect()
}

/// Most names that a list in a message has.
const MOST_NAMES: usize = 12;

/// A list of names for a message of a line: those that differ only in a number that counts up become `pixel0 … pixel783`, and of
/// what is then still a long list the first are named.
pub fn few<T: AsRef<str>>(names: &[T]) -> String {
    let mut shown = Vec::new();
    let mut at = 0;
    while at < names.len() {
        let first = counted(names[at].as_ref());
        let goes_on = |step: &usize| {
            let next = names.get(at + step).and_then(|name| counted(name.as_ref()));
            first
                .zip(next)
                .is_some_and(|(first, next)| first.0 == next.0 && first.1.checked_add(*step as u64) == Some(next.1))
        };
        let run = 1 + (1..).take_while(goes_on).count();
        if run > 3 {
            shown.push(format!("{} … {}", names[at].as_ref(), names[at + run - 1].as_ref()));
        } else {
            shown.extend(names[at..at + run].iter().map(|name| name.as_ref().to_owned()));
        }
        at += run;
    }
    if shown.len() > MOST_NAMES {
        let more = shown.len() - MOST_NAMES + 1;
        shown.truncate(MOST_NAMES - 1);
        shown.push(format!("and {more} more"));
    }
    shown.iter().map(|name| cell(name)).collect::<Vec<_>>().join(", ")
}

/// A name in two parts: the text before the number at its end, and the number.
fn counted(name: &str) -> Option<(&str, u64)> {
    let start = name.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((start, name[start.len()..].parse().ok()?))
}

/// The width to pad the texts of a column to. Texts longer than a cell exceed it.
pub fn width<'a>(texts: impl IntoIterator<Item = &'a str>) -> usize {
    texts.into_iter().map(|text| text.chars().count()).max().unwrap_or(0).min(LONGEST_CELL)
}

/// Writes lines to stderr. Errors are ignored, since stderr may be closed.
pub fn say(lines: &str) {
    _ = writeln!(std::io::stderr(), "{}", escaped(lines));
}

/// Whether a terminal interprets a character, or it changes how the text around it is shown.
fn is_hidden(character: char) -> bool {
    let direction =
        matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || direction || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn escape(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    let text = without_secrets(text);
    if !text.contains(&hidden) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if hidden(character) {
            _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_json_stays_json() {
        assert!(matches!(escaped("Grüße,\tein ▒ und\nzwei 🦀"), Cow::Borrowed(_)));
        assert_eq!(escaped("\x1b]52;c;aGk=\x07\r\x7f\u{9b}2J"), "\\u001b]52;c;aGk=\\u0007\\u000d\\u007f\\u009b2J");
        assert_eq!(escaped("a\u{202e}b\u{2066}\u{61c}\u{feff}"), "a\\u202eb\\u2066\\u061c\\ufeff");
        assert_eq!(on_one_line("a\nb\tc\u{2028}"), "a\\u000ab\\u0009c\\u2028");
        let all: String = ('\0'..='\u{ffff}').filter(|character| is_hidden(*character)).collect();
        let text = serde_json::json!({ "name": all }).to_string();
        let back: serde_json::Value = serde_json::from_str(&escaped(&text)).expect("is JSON");
        assert_eq!(back["name"], all.as_str());
        assert!(!escaped(&text).contains(is_hidden));
    }

    #[test]
    fn long_lists_are_shortened() {
        let pixels: Vec<_> = (0..784).map(|at| format!("pixel{at}")).collect();
        let names = [&["label".to_owned()][..], &pixels, &["a2".to_owned(), "a3".to_owned()]].concat();
        assert_eq!(few(&names), "label, pixel0 … pixel783, a2, a3");
        let letters: Vec<_> = ('a'..='z').map(String::from).collect();
        assert!(few(&letters).ends_with("j, k, and 15 more"), "{}", few(&letters));
        assert_eq!(few::<&str>(&[]), "");
    }

    #[test]
    fn cells_are_short_and_widths_bounded() {
        let long = "x".repeat(70_000);
        assert_eq!(cell(&long).chars().count(), LONGEST_CELL);
        assert!(cell(&long).ends_with("x…"));
        assert_eq!(shortened("twelve chars", 12), "twelve chars");
        assert_eq!(shortened("thirteen char", 12), "thirteen ch…");
        assert_eq!(shortened("\x1b\x1b\x1b", 12), "\\u001b\\u001…");
        assert_eq!(width([long.as_str(), "y"]), LONGEST_CELL);
        assert_eq!(column(["a", "b\nc"], 3), ["a       ", "b\\u000ac"]);
        assert_eq!(column(["ü"], 3), ["ü  "]);
    }
}
