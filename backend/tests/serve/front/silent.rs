//! Connections to the server that fall silent, as those to a machine that is gone.

use std::time::{Duration, Instant};

use rig::link::Link;
use rig::process::until;

use super::{MODEL, ask_for, by_files, front_command, upstream};
use crate::client::fp32;
use crate::process::{Forebay, test_repository};

#[test]
fn a_connection_to_the_server_that_falls_silent_costs_seconds_and_not_the_timeout() {
    let repository = test_repository();
    let upstream = upstream(&repository);
    let links = [upstream.http_port, upstream.grpc_port].map(Link::start);
    let front = Forebay::start(front_command((links[0].port, links[1].port), &by_files(&repository)));
    ask_for(&front, 1.0);
    links.iter().for_each(Link::silence);
    let began = Instant::now();
    let lost = front.infer(MODEL, &[], &fp32(&[2.0]));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}, of 60 s: {lost:?}", began.elapsed());
    assert!(lost.status == 200 || !lost.error().is_empty(), "{lost:?}");
    until("it is asked on another connection", || {
        (front.infer(MODEL, &[], &fp32(&[3.0])).status == 200).then_some(())
    });
}
