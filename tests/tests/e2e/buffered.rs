//! The filter where nobody can allow it to hold a request at its headers: real Envoy without the flag, and a `buffer` behind the filter.

use super::HIT;
use super::is;
use e2e::stack::{Running, Stack};
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::json;

const MODEL: &str = "identity_fp32";
const FLAG: &str = "allow_on_headers_stop_iteration: true";
const FILTERS: &str = "                http_filters:\n";
const ROUTER: &str = "                  - name: envoy.filters.http.router\n";
/// What says that a buffer comes.
const SAYS: &str = r#"                  - name: buffered
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config
                      on_request_headers:
                        - object_key: forebay.buffered
                          factory_key: envoy.string
                          format_string: { text_format_source: { inline_string: "yes" } }
"#;
const BUFFER: &str = r#"                  - name: envoy.filters.http.buffer
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer
                      max_request_bytes: 8388608
"#;

fn stack() -> Stack {
    Stack::new().with(FLAG, "allow_on_headers_stop_iteration: false").filter(json!({"hold": "body"}))
}

fn twice(stack: &Running, value: f32) -> [String; 2] {
    [0, 1].map(|_| {
        let answer = stack.infer(MODEL, &JSON, &fp32(&[value]));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.cache_status()
    })
}

#[test]
fn with_a_buffer_repeats_are_hits_and_a_hit_never_reaches_the_backend() {
    let stack =
        stack().with(FILTERS, &[FILTERS, SAYS].concat()).with(ROUTER, &[BUFFER, ROUTER].concat()).start();
    assert_eq!(stack.infer(MODEL, &JSON, &fp32(&[1.0])).status, 200);
    for _ in 0..3 {
        is(&stack.infer(MODEL, &JSON, &fp32(&[1.0])), HIT);
    }
    let large = vec![2.0; 700_000];
    let (length, body) = fp32_binary(&large);
    for _ in 0..2 {
        let answer = stack.infer(MODEL, &binary(&length), &body);
        assert!(answer.status == 200 && answer.body.ends_with(&2.0_f32.to_le_bytes()), "{}", answer.status);
    }
    assert_eq!(stack.inferences(MODEL), 2);
    let asked = stack.stats("cluster.forebay-backend.upstream_rq_total");
    assert!(asked.iter().all(|(_, count)| *count <= 3), "{asked:?}");
    stack.sound();
}

#[test]
fn without_a_buffer_every_request_passes_uncached() {
    let stack = stack().start();
    for status in twice(&stack, 1.0) {
        assert!(status.contains("forebay; fwd=bypass; detail=not-buffered"), "{status}");
    }
    stack.sound();
}
