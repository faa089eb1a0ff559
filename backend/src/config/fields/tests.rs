//! Each field that `config.pbtxt` can have, by the descriptor of its message, is in the table and on the page, and what is said of
//! it there is what becomes of it.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use prost_reflect::{Kind, MessageDescriptor};
use walkdir::WalkDir;

use super::*;
use crate::config::read::checked;

/// A field that holds no others.
struct Leaf {
    path: String,
    /// A file that sets it and nothing else.
    text: String,
    /// Where it stands there, and what it is part of.
    lines: BTreeMap<String, usize>,
}

impl Leaf {
    /// What the table says of it, and of which field: of itself, or of what it is part of.
    fn fate(&self) -> (&str, &'static Fate) {
        let said = self.lines.keys().filter_map(|path| Some((path.as_str(), fate(path)?)));
        let said: Vec<_> = said.collect();
        assert_eq!(said.len(), 1, "{} is to be in the table, once", self.path);
        let whole = said[0].0 != self.path;
        assert!(
            !whole || matches!(said[0].1, Fate::Refused(_) | Fate::Ignored(_)),
            "{} is in parts",
            said[0].0
        );
        said[0]
    }

    fn message(&self) -> DynamicMessage {
        let message = DynamicMessage::parse_text_format(proto::descriptor("ModelConfig"), &self.text);
        message.unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn places(&self) -> Places {
        Places::of(FilePath::new("m/config.pbtxt"), &self.text, &proto::descriptor("ModelConfig"))
    }
}

fn leaves() -> Vec<Leaf> {
    fn add(message: &MessageDescriptor, within: &Leaf, leaves: &mut Vec<Leaf>) {
        for field in message.fields() {
            let name = FieldDescriptor::name(&field);
            let path = join(&within.path, name);
            let before = within.text.clone();
            let mut lines = within.lines.clone();
            lines.insert(path.clone(), 1 + before.matches('\n').count());
            let mut kind = field.kind();
            let mut opening = format!("{name} {{\n");
            if let Kind::Message(entry) = field.kind()
                && field.is_map()
            {
                kind = entry.map_entry_value_field().kind();
                let key =
                    if matches!(entry.map_entry_key_field().kind(), Kind::String) { "\"k\"" } else { "1" };
                opening = format!("{name} {{ key: {key} value {{\n");
                if !matches!(kind, Kind::Message(_)) {
                    let text = format!("{before}{name} {{ key: {key} value: {} ", value(&kind));
                    leaves.push(Leaf { path, text, lines });
                    continue;
                }
            }
            match &kind {
                Kind::Message(inner) if inner.fields().len() > 0 => {
                    add(inner, &Leaf { path, text: before + &opening, lines }, leaves);
                }
                Kind::Message(_) => leaves.push(Leaf { path, text: format!("{before}{name} {{ "), lines }),
                kind => {
                    leaves.push(Leaf { path, text: format!("{before}{name}: {} ", value(kind)), lines });
                }
            }
        }
    }
    let mut leaves = Vec::new();
    let nothing = Leaf { path: String::new(), text: "# all but one line\n".into(), lines: BTreeMap::new() };
    add(&proto::descriptor("ModelConfig"), &nothing, &mut leaves);
    for leaf in &mut leaves {
        let open = leaf.text.matches('{').count() - leaf.text.matches('}').count();
        leaf.text.push_str(&"}".repeat(open));
    }
    leaves
}

/// One that is not the default.
fn value(kind: &Kind) -> String {
    match kind {
        Kind::String => "\"x\"".to_owned(),
        Kind::Bool => "true".to_owned(),
        Kind::Enum(kind) => {
            let other = kind.values().find(|value| value.number() != 0).or_else(|| kind.values().next());
            other.unwrap().name().to_owned()
        }
        _ => "1".to_owned(),
    }
}

#[test]
fn each_field_of_the_message_is_on_the_page() {
    let mut rows = Vec::new();
    let mut whole = "";
    let leaves = leaves();
    for leaf in &leaves {
        let (said, fate) = leaf.fate();
        let (word, how) = match fate {
            Fate::Served(how, _) => ("served".to_owned(), *how),
            Fate::ServedBy(platform, how, _) => (format!("served for `{}`", platform.name()), *how),
            Fate::Refused(why) => ("refused".to_owned(), *why),
            Fate::Ignored(why) => ("ignored with a warning".to_owned(), *why),
        };
        if said != leaf.path && said != whole {
            rows.push(format!("| `{said}` | {word} | {how} |"));
        }
        whole = said;
        let how = if said == leaf.path { how.to_owned() } else { format!("with `{said}`") };
        rows.push(format!("| `{}` | {word} | {how} |", leaf.path));
    }
    let (_, page) = include_str!("../../../CONFIG.md").split_once("## All fields").unwrap();
    let on_page: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let table = rows.join("\n");
    assert!(on_page == rows, "the table of backend/CONFIG.md is to be:\n{table}");
    for (path, _) in FIELDS {
        assert!(leaves.iter().any(|leaf| leaf.lines.contains_key(*path)), "{path} is no field");
    }
}

#[test]
fn what_the_table_says_of_a_field_is_what_becomes_of_it() {
    for leaf in leaves() {
        let (said, fate) = leaf.fate();
        let place = format!("m/config.pbtxt:{}: ", leaf.lines[said]);
        let ignored = |lines: &[String], why: &str| {
            assert!(
                lines.len() == 1 && lines[0].starts_with(&place) && lines[0].ends_with(why),
                "{lines:?} {}",
                leaf.text
            );
        };
        let judged = judge(&leaf.message(), &leaf.places());
        match fate {
            Fate::Refused(why) => {
                let name = said.rsplit('.').next().unwrap();
                let error = checked(&leaf.message(), leaf.places(), "m").unwrap_err().to_string();
                assert!(
                    error.starts_with(&place) && error.contains(name) && error.ends_with(why),
                    "{error} {}",
                    leaf.text
                );
            }
            Fate::Ignored(why) => ignored(&judged.unwrap(), why),
            Fate::Served(..) => assert!(judged.unwrap().is_empty(), "{}", leaf.text),
            Fate::ServedBy(only, ..) => {
                assert!(judged.unwrap().is_empty(), "{}", leaf.text);
                let (written, _) = checked(&leaf.message(), leaf.places(), "m").unwrap();
                for platform in [Platform::OnnxRuntime, Platform::TensorRt] {
                    let lines = said_to_another(&written, platform);
                    if platform == *only { assert!(lines.is_empty()) } else { ignored(&lines, only.name()) }
                }
            }
        }
    }
}

#[test]
fn what_is_served_has_a_test_of_that_name() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"].into_iter().flat_map(|part| WalkDir::new(folder.join(part)));
    let files =
        files.map(Result::unwrap).filter(|file| file.path().extension().is_some_and(|ext| ext == "rs"));
    let code: String = files.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    for (path, fate) in FIELDS {
        if let Fate::Served(_, shown) | Fate::ServedBy(_, _, shown) = fate {
            assert!(code.contains(&format!("fn {shown}()")), "{path}: there is no test {shown}");
        }
    }
}
