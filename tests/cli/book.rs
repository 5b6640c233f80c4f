//! The README and the book, docs/: their commands, pipelines and links are those of this limpid.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use limpid::command::Cli;
use limpid::config;

/// A page, and its path in the repository.
pub type Page = (PathBuf, String);

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README, the notes for contributors, and the pages of the book.
pub fn pages() -> Vec<Page> {
    let docs = std::fs::read_dir(root().join("docs")).expect("is there");
    let docs = docs.map(|entry| PathBuf::from("docs").join(entry.expect("is listed").file_name()));
    let pages = ["README.md", "CONTRIBUTING.md"].map(PathBuf::from).into_iter().chain(docs);
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), std::fs::read_to_string(root().join(path)).expect("is text"))).collect()
}

/// A block of code of a page.
pub struct Block {
    /// The number of its first line.
    pub at: usize,
    /// What follows the backticks.
    pub language: String,
    /// Its lines.
    pub code: String,
}

impl Block {
    /// The commands of a shell's block, one a line, without lines that are empty or comments.
    pub fn commands(&self) -> Vec<String> {
        let joined = self.code.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    }

    /// The pipeline of a TOML block, with what a part of one leaves out; none where the block includes another file.
    pub fn pipeline(&self) -> Option<toml::Table> {
        if self.code.starts_with("{{#include ") {
            return None;
        }
        let mut document: toml::Table = self.code.parse().unwrap_or_else(|cause| panic!("line {}: {cause}", self.at));
        // Noise only where there are no images, since these may be pairs.
        let noise = [("corruption", "gaussian = {}")].into_iter().filter(|_| !document.contains_key("source"));
        let rest = noise.chain([("source", "scenes = { size = [128, 128] }"), ("model", "conv = { code = 16 }")]);
        for (section, part) in rest.collect::<Vec<_>>() {
            let part: toml::Table = part.parse().expect("is TOML");
            document.entry(section).or_insert_with(|| part.into());
        }
        Some(document)
    }
}

/// The blocks of code of a page.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(name)) => {
                open = Some(Block { at: number + 1, language: name.trim().to_owned(), code: String::new() })
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.code.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block of code is not closed");
    found
}

/// The blocks of code in a language, of all pages, with the path of their page.
fn blocks_in(language: &str) -> Vec<(PathBuf, Block)> {
    let blocks =
        pages().into_iter().flat_map(|(path, text)| blocks(&text).into_iter().map(move |block| (path.clone(), block)));
    blocks.filter(|(_, block)| block.language == language).collect()
}

/// The text without its blocks of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The words of a command line as a shell has them, up to a redirection or the end of the command; variables are numbers.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), inside) => word.get_or_insert_default().push(inside),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, '|' | ';' | '>' | '&') => break,
            // The number of a stream that is redirected.
            (None, '2') if word.is_none() && characters.peek() == Some(&'>') => break,
            (None, '$') => {
                while characters.next_if(|next| next.is_alphanumeric() || *next == '_').is_some() {}
                word.get_or_insert_default().push('1');
            }
            (None, space) if space.is_whitespace() => words.extend(word.take()),
            (None, other) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

/// What a page links to: the text in the parentheses of each link.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that a forge and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<&Path, BTreeSet<String>> = pages
        .iter()
        .map(|(path, text)| {
            let prose = prose(text);
            let headings = prose.lines().filter(|line| line.starts_with('#'));
            (path.as_path(), headings.map(|line| anchor(line.trim_start_matches('#'))).collect())
        })
        .collect();
    let mut count = 0;
    for (path, text) in &pages {
        let text = prose(text);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let folder = path.parent().expect("lies in a folder");
            let target = if file.is_empty() { path.clone() } else { normal(&folder.join(file)) };
            assert!(root().join(&target).exists(), "{}: {link} is not there", path.display());
            if let Some(heading) = heading {
                let there = anchors.get(target.as_path()).is_some_and(|anchors| anchors.contains(heading));
                assert!(there, "{}: {link} has no such heading", path.display());
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count} links");
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |path, part| match part {
        std::path::Component::ParentDir => path.parent().unwrap_or(Path::new("")).to_owned(),
        part => path.join(part),
    })
}

#[test]
fn every_page_is_in_the_contents() {
    let pages = pages();
    let (_, summary) = pages.iter().find(|(path, _)| path.ends_with("SUMMARY.md")).expect("is there");
    let listed: BTreeSet<_> = links(summary).into_iter().collect();
    for (path, _) in pages.iter().filter(|(path, _)| path.starts_with("docs") && !path.ends_with("SUMMARY.md")) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("is text");
        assert!(listed.contains(name), "docs/SUMMARY.md does not name {name}");
    }
}

#[test]
fn every_command_is_one_that_limpid_knows() {
    let mut count = 0;
    for (path, block) in blocks_in("sh") {
        for line in block.commands() {
            let words = words(&line);
            let start = words.iter().position(|word| !word.contains('=') && word != "time").unwrap_or(0);
            let command = match &words[start.min(words.len())..] {
                [cargo, run, release, dashes, rest @ ..]
                    if [cargo, run, release, dashes] == ["cargo", "run", "--release", "--"] =>
                {
                    rest
                }
                [limpid, rest @ ..] if limpid == "limpid" || limpid == "./limpid" => rest,
                _ => continue,
            };
            let arguments = ["limpid".to_owned()].into_iter().chain(command.iter().cloned());
            let failed = Cli::try_parse_from(arguments).err().filter(clap::Error::use_stderr);
            let place = format!("{}, block of line {}", path.display(), block.at);
            assert!(failed.is_none(), "{place}: {line}\n{}", failed.expect("is"));
            count += 1;
        }
    }
    assert!(count > 60, "{count} commands");
}

#[test]
fn every_command_in_the_text_has_the_words_of_limpid() {
    let mut count = 0;
    for (path, text) in pages() {
        let text = prose(&text);
        let codes =
            text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("limpid ") && !code.contains('…'));
        for code in codes {
            // What such a command leaves out, or calls by a name in capital letters, is no mistake.
            let is_wrong = |kind| matches!(kind, ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument);
            let failed = Cli::try_parse_from(words(code)).err().filter(|error| is_wrong(error.kind()));
            assert!(failed.is_none(), "{}: {code}\n{}", path.display(), failed.expect("is"));
            count += 1;
        }
    }
    assert!(count > 40, "{count} commands");
}

#[test]
fn every_setting_in_the_text_is_one_that_limpid_knows() {
    let schema = config::schema();
    let definitions = schema["$defs"].as_object().expect("is a table").values();
    let tables = definitions.chain([&schema]).filter_map(|table| table["properties"].as_object());
    let names: BTreeSet<&str> = tables.flat_map(|properties| properties.keys()).map(String::as_str).collect();
    let mut count = 0;
    for (path, text) in pages() {
        for code in prose(&text).split('`').skip(1).step_by(2) {
            let key = code.split([' ', '=']).next().unwrap_or(code);
            let section = key.split_once('.').filter(|(section, _)| schema["properties"][section].is_object());
            // `model.json` is a file, `model.encode(images)` Python.
            let is_other = |rest: &str| ["json", "safetensors"].contains(&rest) || rest.contains('(');
            let Some((_, rest)) = section.filter(|(_, rest)| !is_other(rest)) else { continue };
            let unknown = rest.split('.').find(|name| !names.contains(name));
            assert!(unknown.is_none(), "{}: `{code}` is no setting", path.display());
            count += 1;
        }
    }
    assert!(count > 30, "{count} settings");
}

#[test]
fn every_pipeline_and_every_part_of_one_has_valid_settings() {
    let known: BTreeSet<String> = match &config::schema()["properties"] {
        serde_json::Value::Object(properties) => properties.keys().cloned().collect(),
        other => panic!("the schema has no properties: {other}"),
    };
    let mut count = 0;
    for (path, block) in blocks_in("toml") {
        let place = format!("{}, block of line {}", path.display(), block.at);
        let Some(document) = block.pipeline() else {
            let included = block.code.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}"));
            let included = normal(&path.parent().expect("lies in a folder").join(included.expect("ends there")));
            assert!(root().join(&included).exists(), "{place}: {} is not there", included.display());
            continue;
        };
        let unknown: Vec<_> = document.keys().filter(|key| !known.contains(*key)).collect();
        assert!(unknown.is_empty(), "{place}: {unknown:?}");
        let text = document.to_string();
        if let Err(cause) = config::parse(&place, &text, &[], "part", Path::new("")) {
            panic!("{place}: {cause:#}\n{text}");
        }
        count += 1;
    }
    assert!(count > 8, "{count} pipelines");
}
