use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;

use super::*;
use crate::client::connection::tests::at;
use crate::settings::{Arrival, Encoding, Repeats};

/// How long the server stalls, once.
const STALL: Duration = Duration::from_millis(300);
const DURATION: Duration = Duration::from_secs(1);

/// Answers at once, but for one time: a third of a second after its first request nobody is answered for a while.
fn stalling() -> u16 {
    let first: Arc<std::sync::OnceLock<Instant>> = Arc::default();
    rig::http::pretend(move |stream| {
        let stall = *first.get_or_init(Instant::now) + DURATION / 3;
        let now = Instant::now();
        if now > stall && now < stall + STALL {
            std::thread::sleep((stall + STALL).saturating_duration_since(now));
        }
        // Who has left is read no more.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    })
}

fn measured(port: u16, rate: Option<f64>, connections: u32) -> Measured {
    let server = at(Encoding::Json, port);
    let request = Request::get(&server, "/v2");
    let law = Law::new(Repeats::Same, 1, 1.0, 1);
    let plan = Plan {
        server: &server,
        request: &request,
        law: &law,
        has_ids: false,
        connections,
        threads: 1,
        rate: rate.map(|per_second| Rate { per_second, arrival: Arrival::Fixed }),
        warmup: Duration::ZERO,
        duration: DURATION,
    };
    measure(&plan, &Progress::new("", DURATION), &AtomicBool::new(false)).unwrap()
}

fn quantile(measured: &Measured, quantile: f64) -> Duration {
    Duration::from_nanos(measured.tally.latencies.value_at_quantile(quantile))
}

#[test]
fn a_stall_shows_in_an_open_loops_p99_and_not_in_a_closed_loops() {
    let closed = measured(stalling(), None, 1);
    assert!(
        closed.tally.latencies.max() >= u64::try_from(STALL.as_nanos()).unwrap() * 9 / 10,
        "it did stall"
    );
    let closed_p99 = quantile(&closed, 0.99);
    assert!(
        closed_p99 < STALL / 4,
        "one connection waits once for all that it would have sent: {closed_p99:?}"
    );
    let open = measured(stalling(), Some(200.0), 1);
    // Of 200 requests 60 were due while it stalled, and waited 150 ms in the mean.
    let (median, p90, p99) = (quantile(&open, 0.5), quantile(&open, 0.9), quantile(&open, 0.99));
    assert!(p99 > STALL * 8 / 10 && p90 > STALL / 3, "{p90:?}, {p99:?}");
    assert!(median < STALL / 2, "{median:?}");
    assert_eq!((open.tally.latencies.len(), open.tally.unsent), (200, 0), "none is left out");
    assert!(open.tally.late >= 50, "{} were sent late", open.tally.late);
}

#[test]
fn an_open_loop_sends_what_it_is_told_and_no_more() {
    let open = measured(stalling(), Some(50.0), 4);
    assert_eq!((open.tally.latencies.len(), open.tally.failures.len()), (50, 0));
}

#[test]
fn who_is_not_answered_is_counted_by_kind_and_what_could_not_be_sent_is_told() {
    // It accepts, by the kernel, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = at(Encoding::Json, listener.local_addr().unwrap().port());
    server.timeout = Duration::from_millis(250);
    let request = Request::get(&server, "/v2");
    let law = Law::new(Repeats::Same, 1, 1.0, 1);
    let plan = Plan {
        server: &server,
        request: &request,
        law: &law,
        has_ids: false,
        connections: 1,
        threads: 1,
        rate: Some(Rate { per_second: 100.0, arrival: Arrival::Fixed }),
        warmup: Duration::ZERO,
        duration: Duration::from_millis(500),
    };
    let measured = measure(&plan, &Progress::new("", DURATION), &AtomicBool::new(false)).unwrap();
    let timeouts = &measured.tally.failures["timeout"];
    assert_eq!(timeouts.first, "no answer within 250ms");
    assert_eq!(timeouts.count + measured.tally.unsent, 50, "each is accounted for");
    assert!(measured.tally.unsent >= 40 && timeouts.count >= 2);
}

#[test]
fn a_server_that_refuses_connections_is_an_error_and_not_a_measurement() {
    let server = at(Encoding::Json, rig::process::free_port());
    let request = Request::get(&server, "/v2");
    let law = Law::new(Repeats::Same, 1, 1.0, 1);
    let plan = Plan {
        server: &server,
        request: &request,
        law: &law,
        has_ids: false,
        connections: 3,
        threads: 2,
        rate: None,
        warmup: Duration::ZERO,
        duration: DURATION,
    };
    let Err(error) = measure(&plan, &Progress::new("", DURATION), &AtomicBool::new(false)) else {
        panic!("measured")
    };
    assert!(error.to_string().contains("can't connect"), "{error}");
}
