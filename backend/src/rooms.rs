//! The house rule: lib.rs lists the rooms in the order of a request, and a room uses only those below it.

use std::path::Path;

use walkdir::WalkDir;

/// The first name of each `crate::` path.
fn used(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1)).map(|path| {
        let end = path.find(|letter: char| letter != '_' && !letter.is_alphanumeric());
        path.get(..end.unwrap_or(path.len())).unwrap_or_default()
    })
}

/// What is wrong with a file of `room`.
fn upward<'a>(rooms: &[&str], room: &str, text: &'a str) -> Vec<&'a str> {
    let floor = |name: &str| rooms.iter().position(|other| *other == name);
    used(text).filter(|name| *name != room && floor(name) <= floor(room)).collect()
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms: Vec<&str> = include_str!("lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|name| *name != "rooms")
        .collect();
    assert!(rooms.len() > 10 && rooms.first() == Some(&"run"), "{rooms:?}");
    let mut wrong = Vec::new();
    for room in &rooms {
        let own = [source.join(room), source.join(format!("{room}.rs"))];
        let files = own.iter().filter(|path| path.exists()).flat_map(WalkDir::new);
        for file in
            files.map(Result::unwrap).filter(|file| file.path().extension().is_some_and(|ext| ext == "rs"))
        {
            let text = std::fs::read_to_string(file.path()).unwrap();
            let names = upward(&rooms, room, &text);
            wrong.extend(names.iter().map(|name| format!("{} uses {name}", file.path().display())));
        }
    }
    assert!(wrong.is_empty(), "a room uses one that is not below it:\n{}", wrong.join("\n"));
}

#[test]
fn a_use_of_what_is_above_or_of_no_room_is_seen() {
    let rooms = ["run", "http", "infer"];
    assert_eq!(
        upward(&rooms, "http", "use crate::infer::Answer;\n// crate::run\nuse crate::http::tls;"),
        [""; 0]
    );
    assert_eq!(upward(&rooms, "infer", "use crate::http::single;\ncrate::infer::once()"), ["http"]);
    assert_eq!(upward(&rooms, "infer", "use crate::{http, run};\nuse crate::nowhere;"), ["", "nowhere"]);
}
