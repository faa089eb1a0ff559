//! What reads bytes from outside, for the fuzz targets (`tests/fuzz`). Any bytes enter; what panics is a finding.

// To panic is how they answer.
#![allow(clippy::missing_panics_doc)]

use std::path::Path;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::body::Bodies;
use crate::body::budget::Budget;
use crate::body::pace::Least;
use crate::cache::live::{self, Record};
use crate::cache::pool::memcached::wire;
use crate::models::variant::Variant;
use crate::{config, gate, grpc, proto, record};

/// A `config.pbtxt`, or the same as JSON: what is served can be told, and means the same when it is told back.
pub fn model_config(data: &[u8]) {
    let read = |text: &str| {
        config::parse(Path::new("config.pbtxt"), text.as_bytes(), "m")
            .or_else(|_| config::from_json(text, "m").map(|written| written.config))
    };
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(config) = read(text) else { return };
    let json = proto::to_json("ModelConfig", &config).to_string();
    let again = config::from_json(&json, "m").expect("what is served can be told").config;
    assert_eq!(proto::to_json("ModelConfig", &again).to_string(), json);
}

/// A `variant.json`: what is read can be written, and read again.
pub fn variant(data: &[u8]) {
    if let Ok(variant) = Variant::read(data) {
        let written = variant.write().expect("what was read can be written");
        assert!(Variant::read(&written).is_ok());
    }
}

/// What an operator asks to purge: what is read has a name by which the registry knows it again.
pub fn purge(data: &[u8]) {
    gate::purge_again(data);
}

/// A `grpc-timeout`: one that is read is no longer than what its eight digits can say.
pub fn grpc_timeout(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let metadata = HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), value)]);
    if let Ok(Some(timeout)) = grpc::timeout(&metadata) {
        assert!(timeout.as_secs() <= 99_999_999 * 3600);
    }
}

/// An encoded body: what is inflated is within the limit.
pub fn encoded_body(data: &[u8]) {
    const LIMIT: usize = 1 << 20;
    let Some((coding, body)) = data.split_first() else { return };
    let coding = ["gzip", "deflate", "zstd", "identity"][usize::from(coding % 4)];
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(coding))]);
    let least = Least { time: std::time::Duration::from_hours(1), rate: 0 };
    let bodies = Bodies { bytes: LIMIT, least, budget: Budget::new(LIMIT) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let read = bodies.read(&headers, Body::from(Bytes::copy_from_slice(body)));
    if let Ok(inflated) = runtime.block_on(read) {
        assert!(inflated.held().len() <= LIMIT);
    }
}

/// An ONNX model for TensorRT to compile: each range that is made of its inputs is one, and of free dimensions.
#[cfg(feature = "tensorrt")]
pub fn onnx_model(data: &[u8]) {
    use crate::config::Platform;
    use crate::engine::ModelFiles;
    use crate::engine::entries::Entries;
    use crate::engine::tensorrt::build_options;

    const FILE: &str = "model.onnx";
    let files = ModelFiles {
        platform: Platform::TensorRt,
        model_file: FILE.to_owned(),
        files: [(FILE.to_owned(), data.into())].into(),
        entries: Entries::default(),
    };
    let config = config::ModelConfig { max_batch_size: 4, ..Default::default() };
    let Ok(options) = build_options(&files, &config) else { return };
    for range in options.profiles.iter().flat_map(|profile| &profile.inputs) {
        let sizes = range.min.iter().zip(&range.opt).zip(&range.max);
        assert!(sizes.clone().all(|((min, opt), max)| 0 <= *min && min <= opt && opt <= max), "{range:?}");
        assert!(sizes.clone().any(|((min, _), max)| min < max), "{range:?}");
    }
}

/// The same in a build without TensorRT: nothing compiles it.
#[cfg(not(feature = "tensorrt"))]
pub fn onnx_model(_: &[u8]) {}

/// What a Memcached sends, cut in two: it is read alike, and no value is longer than its bound.
pub fn memcached_replies(data: &[u8]) {
    const MOST: usize = 4096;
    let Some((cut, sent)) = data.split_first() else { return };
    let read = |pieces: &[&[u8]]| {
        let (mut came, mut replies) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            came.extend_from_slice(piece);
            loop {
                match wire::reply(&mut came, MOST) {
                    Ok(Some(reply)) => replies.push(reply),
                    Ok(None) => break,
                    Err(_) => return replies,
                }
            }
        }
        replies
    };
    let (first, second) = sent.split_at(usize::from(*cut).min(sent.len()));
    let replies = read(&[sent]);
    assert_eq!(replies, read(&[first, second]));
    let lengths = replies.iter().map(|reply| match reply {
        wire::Reply::Value { bytes, .. } => bytes.len(),
        _ => 0,
    });
    assert!(lengths.into_iter().all(|length| length <= MOST));
}

/// What a Memcached has of what is live: read again as it is written.
pub fn live_board(data: &[u8]) {
    live::board_again(data);
}

/// What another instance says that it serves: read again as it is written.
pub fn live_record(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else { return };
    let text = serde_json::to_string(&record).expect("it is plain data");
    assert_eq!(serde_json::from_str::<Record>(&text).expect("our own is readable"), record);
}

/// A segment of records, under a key of sevens.
pub fn record_segment(data: &[u8]) {
    record::fuzz(data);
}
