//! `--busy-poll-us`.

use std::time::Duration;

use rig::process::until;

use crate::client::fp32;
use crate::process::Forebay;

#[test]
fn a_worker_stays_awake_after_an_answer_for_as_long_as_it_is_told_and_then_sleeps() {
    // A second awake is told from a millisecond or two of work even where many processes share the processors.
    let forebay = Forebay::serve(&["--worker-threads", "1", "--busy-poll-us", "1000000"]);
    let before = forebay.cpu_time();
    assert_eq!(forebay.infer("identity_fp32", &[], &fp32(&[1.0])).status, 200);
    until("a tenth of a second of CPU time without a request", || {
        (forebay.cpu_time() >= before + Duration::from_millis(100)).then_some(())
    });
    until("all threads sleep", || forebay.is_asleep().then_some(()));
}
