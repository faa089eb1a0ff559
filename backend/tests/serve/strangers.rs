//! What anybody may say at the gate's port, and what it comes to: nothing that others feel, and no error but a sentence.

use std::time::Duration;

use forebay_protocol::gate::{LOOKUP_PATH, POLL_PATH};
use rig::http::Answer;
use rig::process::until;
use serde_json::json;

use crate::client::send;
use crate::generations::{SOON, Served};
use crate::process::Forebay;
use crate::proxied::{NONE, claim, live, looked_up, poll, report, table};

#[test]
fn an_epoch_that_no_gate_gave_out_disturbs_nobody() {
    for served in [Served::in_memory(&SOON), Served::in_redis(&SOON), Served::in_memcached(&SOON)] {
        let gate = served.gate();
        let own = table(&poll(gate, "p", NONE, 0));
        assert_eq!(poll(gate, "p", Some(&own), 0).status, 204, "the table stands");
        for (epoch, proof) in
            [(u64::MAX, ""), (1 << 60, own.proof.as_str()), (own.epoch - 1, &own.proof), (5, "?"), (1, "")]
        {
            let told = table(&claim(gate, "stranger", (epoch, proof), 5000));
            assert_eq!(live(&told), [served.generation()], "{epoch} is answered at once, with the table");
            assert_eq!(told.epoch, own.epoch);
            assert_eq!(looked_up(gate, "m"), Some(served.generation()));
        }
        assert_eq!(poll(gate, "p", Some(&own), 0).status, 204, "nothing has changed");
    }
}

#[test]
fn who_proves_no_epoch_acknowledges_none() {
    for served in [Served::in_memory(&SOON), Served::in_redis(&SOON), Served::in_memcached(&SOON)] {
        let old = table(&poll(served.gate(), "silent", NONE, 0));
        claim(served.gate(), "silent", (old.epoch + 1_000_000_000_000, &old.proof), 0);
        let took = served.load_another();
        assert!(took >= Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn what_was_told_before_a_loss_makes_the_pool_forget_once() {
    for served in [Served::in_redis(&SOON), Served::in_memcached(&SOON)] {
        let gate = served.gate();
        let told: Vec<_> = (0..3)
            .map(|_| {
                let told = table(&poll(gate, "p", NONE, 0));
                served.load_another();
                served.until_known();
                told
            })
            .collect();
        served.mesh.as_ref().unwrap().forget();
        let first = until("it is noticed", || {
            let now = table(&poll(gate, "p", NONE, 0));
            (now.epoch > told[2].epoch && live(&now) == [served.generation()]).then_some(now)
        });
        for old in &told {
            let now = table(&poll(gate, "stranger", Some(old), 5000));
            assert_eq!((now.epoch, live(&now)), (first.epoch, live(&first)), "{}", old.epoch);
        }
    }
}

#[test]
fn polls_that_are_none_are_refused_by_a_sentence() {
    let served = Served::in_memory(&[]);
    let send = |body: &str| send(served.one.gate_port, "POST", POLL_PATH, &[], body.as_bytes());
    for (body, named) in [
        ("{}", "format"),
        (r#"{"format":3}"#, "format 3"),
        (r#"{"format":1}"#, "format 1"),
        (r#"{"format":2,"proxy":"p","vm":1,"epoch":0,"wait_ms":99999999,"seq":1}"#, "wait_ms"),
        (r#"{"format":2,"proxy":"a\nb","vm":1,"epoch":0,"wait_ms":0,"seq":1}"#, "name of the proxy"),
    ] {
        let answer = send(body);
        assert_eq!((answer.status, answer.error().contains(named)), (400, true), "{answer:?}");
        assert_eq!(answer.header("x-forebay-format"), "2");
    }
    assert_eq!(send(&" ".repeat(300 << 10)).status, 413);
    assert_eq!(served.one.get_of_gate(LOOKUP_PATH).header("x-forebay-format"), "2");
}

#[test]
fn a_filter_of_another_version_gets_a_plain_404_which_it_takes_for_a_miss() {
    for served in [Served::in_memory(&[]), Served::in_redis(&[]), Served::in_memcached(&[])] {
        let port = served.gate().gate_port;
        for (method, path) in [
            ("GET", "/forebay/v1/lookup"),
            ("GET", "/forebay/v1/generations"),
            ("GET", "/forebay/v3/lookup"),
            ("POST", "/forebay/v3/poll"),
        ] {
            let answer = send(port, method, path, &[], b"");
            assert_eq!((answer.status, answer.header("x-forebay-generation")), (404, ""), "{path}");
        }
    }
}

fn sums(gate: &Forebay) -> Vec<String> {
    let metrics: Answer = send(gate.metrics_port, "GET", "/metrics", &[], b"");
    let text = String::from_utf8(metrics.body).unwrap();
    let ours = |line: &&str| line.starts_with("forebay_proxy_");
    let mut lines: Vec<String> = text.lines().filter(ours).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_proxies_count_is_summed_up_and_counted_once() {
    let saved = json!({ "saved": [{ "service": "s", "model": "m", "hits": 3, "cost_us": 700 }] });
    for served in [Served::in_memory(&[]), Served::in_redis(&[]), Served::in_memcached(&[])] {
        for (proxy, seq) in [("a", 1), ("a", 1), ("b", 1), ("a", 2)] {
            assert_eq!(report(served.gate(), proxy, seq, &saved).status, 200);
        }
        let expected = [
            r#"forebay_proxy_hits{service="s",model="m"} 9"#,
            r#"forebay_proxy_saved_us{service="s",model="m"} 2100"#,
        ];
        assert_eq!(sums(served.gate()), expected);
    }
}

#[test]
fn a_report_that_is_sent_again_to_another_gate_is_counted_once() {
    for served in [Served::in_redis(&[]), Served::in_memcached(&[])] {
        let mesh = served.mesh.as_ref().unwrap();
        let other = mesh.gate();
        until("the other gate knows what is live", || looked_up(&other, "m").filter(|live| !live.is_empty()));
        let saved = json!({ "saved": [{ "service": "s", "model": "m", "hits": 3, "cost_us": 700 }] });
        for (gate, seq) in [(served.gate(), 1), (&other, 1), (&other, 2), (served.gate(), 2)] {
            assert_eq!(report(gate, "a", seq, &saved).status, 200);
        }
        let expected = [
            r#"forebay_proxy_hits{service="s",model="m"} 3"#,
            r#"forebay_proxy_saved_us{service="s",model="m"} 700"#,
        ];
        assert_eq!(
            (sums(served.gate()), sums(&other)),
            (expected.map(str::to_owned).into(), expected.map(str::to_owned).into())
        );
        // Where nobody can say whether it was counted, it is not, and the proxy keeps it.
        if !mesh.is_redis() {
            continue;
        }
        let redis = &mesh.servers[0];
        redis.tell("CONFIG SET maxmemory 1");
        let refused = report(&other, "a", 3, &saved);
        assert_eq!(
            (refused.status, refused.error().contains("what the poll reports can't be counted")),
            (503, true),
            "{refused:?}"
        );
        redis.tell("CONFIG SET maxmemory 0");
        until("it is counted", || (report(&other, "a", 3, &saved).status == 200).then_some(()));
        assert_eq!(sums(&other)[0], r#"forebay_proxy_hits{service="s",model="m"} 6"#);
    }
}
