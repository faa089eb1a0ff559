//! Envoy's own rate limiter before the filter, as the page shows it.

use e2e::stack::Stack;
use rig::http::{Answer, post};
use rig::installed::checkout;
use rig::v2::{JSON, request};

/// The page's example, where the filter stands.
fn limited() -> String {
    let page = std::fs::read_to_string(checkout().join("envoy/README.md")).expect("the page");
    let (_, rates) = page.split_once("## Rates").expect("what it says of rates");
    let (_, block) = rates.split_once("```yaml\n").expect("an example");
    let (block, _) = block.split_once("```").expect("its end");
    let filters = " ".repeat(18);
    let lines: Vec<String> = block.lines().map(|line| format!("{filters}{line}")).collect();
    format!("http_filters:\n{}\n{filters}- name: forebay\n", lines.join("\n"))
}

#[test]
fn a_rate_limiter_before_the_filter_bounds_hits_too() {
    let filter = format!("http_filters:\n{}- name: forebay\n", " ".repeat(18));
    let stack = Stack::new().with(&filter, &limited()).start();
    let bytes = post("/v2/models/identity_fp32/infer", &JSON, request(&[1.0]).to_string().as_bytes());
    let answers: Vec<Answer> = (0..1000).map(|_| stack.send(&bytes)).collect();
    let hits = answers.iter().filter(|answer| answer.is_filters_hit()).count();
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(
        hits >= 199 && refused > 0 && hits + refused + 1 >= answers.len(),
        "{hits} hits, {refused} refused"
    );
    stack.sound();
}
