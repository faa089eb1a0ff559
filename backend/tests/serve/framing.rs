//! Where a message over HTTP/1.1 ends: what says it in two ways that differ, or in a way that is none, is refused and ends the
//! connection, so that nothing which follows is ever taken for a request.

use rig::http::Connection;

use crate::client::fp32;
use crate::process::Forebay;

/// The status of each answer on a connection on which that is sent, until the server closes it.
fn statuses(forebay: &Forebay, sent: &[u8]) -> Vec<u16> {
    let mut connection = Connection::open(forebay.http_port).unwrap();
    connection.write(sent).unwrap();
    std::iter::from_fn(|| connection.read().ok()).map(|answer| answer.status).collect()
}

/// An inference with these lines in its head and that behind it, and a request that may be hidden in it.
fn with(lines: &str, behind: &str) -> Vec<u8> {
    format!(
        "POST /v2/models/identity_fp32/infer HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n{behind}GET /v2/health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn what_ends_in_two_ways_or_in_none_is_refused_and_nothing_behind_it_is_a_request() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let json = fp32(&[1.0]).to_string();
    let length = json.len();
    let chunked = format!("{length:x}\r\n{json}\r\n0\r\n\r\n");
    for lines in [
        format!("content-length: {length}\r\ncontent-length: 3"),
        format!("content-length: {length}, 3"),
        format!("content-length: +{length}"),
        format!("content-length: {length}a"),
        "content-length: -1".to_owned(),
        "content-length: 99999999999999999999999".to_owned(),
        "content-length: 0x10".to_owned(),
        "content-length:".to_owned(),
        format!("content-length : {length}"),
        format!("x: y\r\n content-length: {length}"),
    ] {
        let answered = statuses(&forebay, &with(&lines, &json));
        assert_eq!(answered, [400], "{lines:?}");
    }
    for lines in [
        "transfer-encoding: chunked, identity",
        "transfer-encoding: gzip",
        "transfer-encoding: chunkedx",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
    ] {
        let answered = statuses(&forebay, &with(lines, &chunked));
        assert_eq!(answered, [400], "{lines:?}");
    }
    for chunks in [
        "g\r\nx\r\n0\r\n\r\n",
        "-1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nx",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
    ] {
        let answered = statuses(&forebay, &with("transfer-encoding: chunked", chunks));
        assert_eq!(answered, [400], "{chunks:?}");
    }
}

#[test]
fn what_ends_in_one_way_is_answered_and_so_is_what_follows() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let json = fp32(&[1.0]).to_string();
    let length = json.len();
    for lines in
        [format!("content-length: {length}"), format!("content-length: {length}\r\ncontent-length: {length}")]
    {
        assert_eq!(statuses(&forebay, &with(&lines, &json)), [200, 200], "{lines:?}");
    }
    let halves =
        format!("{:X};x=y\r\n{}\r\n{:x}\r\n{}\r\n0\r\nx: y\r\n\r\n", 9, &json[..9], length - 9, &json[9..]);
    for lines in ["transfer-encoding: chunked", "Transfer-Encoding: CHUNKED"] {
        assert_eq!(statuses(&forebay, &with(lines, &halves)), [200, 200], "{lines:?}");
    }
}

#[test]
fn chunks_go_before_a_length_and_then_nothing_follows() {
    let forebay = Forebay::serve(&["--instances", "1"]);
    let json = fp32(&[1.0]).to_string();
    let chunked = format!("{:x}\r\n{json}\r\n0\r\n\r\n", json.len());
    for lines in [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 99999999999",
    ] {
        let answered = statuses(&forebay, &with(lines, &chunked));
        assert!([&[200][..], &[400]].contains(&&*answered), "{lines:?}: {answered:?}");
    }
    let old = format!(
        "POST /v2/models/identity_fp32/infer HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"
    );
    assert_eq!(statuses(&forebay, old.as_bytes()), [400]);
}
