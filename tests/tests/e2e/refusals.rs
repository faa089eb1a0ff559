//! A refusal of the backend's arrives through Envoy, while the client still sends: none is lost and becomes a 503.

use e2e::stack::Stack;
use rig::http::post;
use rig::v2::JSON;

const INFER: &str = "/v2/models/identity_fp32/infer";
/// Each is sent so often: what is lost by chance is lost now and then.
const TIMES: usize = 10;

#[test]
fn of_a_large_body_arrives_whether_the_filter_holds_it_or_lets_it_stream() {
    let stack = Stack::new().serve(&["--max-body-bytes", "1000000"]).start();
    let lengths = "inference-header-content-length";
    // The filter reads up to 4 MiB before it lets a request go; what is larger, or not for it, streams through.
    for bytes in [1 << 20, 3 << 20, 6 << 20] {
        let body = vec![b' '; bytes];
        for (path, headers, status) in [
            (INFER, &JSON[..], 413),
            ("/v2/models/nothing/infer", &JSON, 413),
            (INFER, &[("content-encoding", "br")], 415),
            (INFER, &[(lengths, "1"), (lengths, "2")], 400),
            ("/v1/models/identity_fp32:predict", &JSON, 413),
        ] {
            for _ in 0..TIMES {
                let answer = stack.send(&post(path, headers, &body));
                let what = format!("{bytes} bytes for {path}: {}", answer.error());
                assert_eq!(answer.status, status, "{what}");
                assert!(!answer.error().is_empty(), "no error in V2's form: {what}");
            }
        }
    }
    stack.sound();
}
