//! A signal to end loses nothing.

use rig::process::{Signal, until};

use crate::client::fp32;
use crate::process::Forebay;

#[test]
fn requests_in_flight_finish_and_the_end_is_clean() {
    loses_nothing(Signal::TERM);
}

#[test]
fn a_terminal_that_is_gone_ends_it_no_other_way() {
    loses_nothing(Signal::HUP);
}

fn loses_nothing(signal: Signal) {
    let forebay = Forebay::serve(&["--instances", "1", "--drain-secs", "0.3"]);
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..5)
            .map(|number| {
                let forebay = &forebay;
                scope.spawn(move || forebay.infer("slow", &[], &fp32(&[number as f32])))
            })
            .collect();
        until("all are pending", || {
            (forebay.metric("forebay_requests_in_progress", "slow") == 5).then_some(())
        });
        forebay.signal(signal);
        until("it is not ready", || (forebay.get("/v2/health/ready").status == 503).then_some(()));
        for ask in asks {
            assert_eq!(ask.join().unwrap().status, 200);
        }
    });
    assert_eq!(forebay.wait().code(), Some(0));
}
