use serde_json::{Value, json};

use super::documents;

fn one(text: &str) -> Value {
    let (documents, faults) = documents(text);
    assert_eq!(faults, []);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents[0].value.clone()
}

fn fault(text: &str) -> String {
    let (_, faults) = documents(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    format!("{}: {}: {}; {}", faults[0].line, faults[0].path, faults[0].wrong, faults[0].right)
}

#[test]
fn words_and_numbers_are_those_of_yaml_1_1() {
    let read = one(
        "a: no\nb: 0440\nc: 'no'\nd: 1e3\ne: 08\nf: 0x1F\ng: 1_000\nh: 12:30:45\ni: ~\nj: 2001-01-01\nk: .5\nl: 1.2.3\nm: -3\n",
    );
    let expected = json!({"a": false, "b": 288, "c": "no", "d": 1000.0, "e": 8.0, "f": 31, "g": 1000, "h": "12:30:45",
        "i": null, "j": "2001-01-01", "k": 0.5, "l": "1.2.3", "m": -3});
    assert_eq!(read, expected);
}

#[test]
fn brackets_may_hold_what_is_further_out() {
    assert_eq!(
        one("a:\n  - b: [\n\"c\",\n]\n    d: {\ne: f\n}\n"),
        json!({"a": [{"b": ["c"], "d": {"e": "f"}}]})
    );
    assert!(fault("a:\n  b: [c\n").starts_with("3: "), "{}", fault("a:\n  b: [c\n"));
}

#[test]
fn a_key_twice_and_a_missing_document_mark_are_told_apart() {
    assert!(fault("a:\n  b: 1\n  b: 2\n").starts_with("3: a.b: key `b` stands twice"));
    let missing = fault("apiVersion: v1\nkind: A\nspec: {}\napiVersion: v1\nkind: B\nspec: {}\n");
    assert!(
        missing.starts_with("4: apiVersion: a second `apiVersion`") && missing.contains("---"),
        "{missing}"
    );
}

#[test]
fn aliases_are_resolved_within_bounds() {
    assert_eq!(
        one("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n"),
        json!({"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}})
    );
    let laugh = |level: usize| {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        format!("a{level}: &a{level} [{before}]\n")
    };
    let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    let laughs: String = std::iter::once(first).chain((1..9).map(laugh)).collect();
    assert!(fault(&laughs).contains("too large"), "bounded");
}

#[test]
fn lines_are_kept_by_path() {
    let (documents, _) = documents("# head\na:\n  - b: 1\n    c.d/e: x\n---\nf: 1\n");
    assert_eq!(documents[0].lines["a"], 2);
    assert_eq!(documents[0].lines["a[0].b"], 3);
    assert_eq!(documents[0].lines["a[0][c.d/e]"], 4);
    assert_eq!(documents[1].lines["f"], 6);
}

#[test]
fn json_with_tabs_and_surrogates_is_read() {
    assert_eq!(
        one("{\n\t\"a\": [1, true, null],\n\t\"b\": \"\\ud83d\\ude00\"\n}\n"),
        json!({"a": [1, true, null], "b": "😀"})
    );
}

#[test]
fn tabs_and_templates_are_named() {
    assert!(fault("a:\n\tb: 1\n").contains("spaces"));
    assert!(fault("a: {{ .Values.x }}\n").contains("template"));
}
