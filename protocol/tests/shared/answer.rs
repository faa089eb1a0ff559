//! The questions of `reference/forebay_digest.py`, answered by this crate.

use bytes::Bytes;
use forebay_protocol::digest::{Digest, Generation, Key, RawKeyParts, Scope, digest, raw_key};
use forebay_protocol::entry::{Entry, Secret};
use forebay_protocol::limits::Limits;
use forebay_protocol::path::InferPath;
use forebay_protocol::request;
use forebay_protocol::tenant::Tenant;
use serde_json::{Value, json};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

pub(crate) fn answer(question: &Value) -> Value {
    if let Some(number) = question["number"].as_u64() {
        if question.get("digest").is_some() {
            let digest: Digest = text(question, "digest").parse().unwrap();
            return json!({ "dropped": digest.purged(number) });
        }
        let generation: Generation = text(question, "generation").parse().unwrap();
        return json!({ "purged": generation.purged(number) });
    }
    if question.get("sealed_hex").is_some() { entry_answer(question) } else { request_answer(question) }
}

fn text<'a>(question: &'a Value, name: &str) -> &'a str {
    question[name].as_str().unwrap()
}

fn request_answer(question: &Value) -> Value {
    let tenant = question["tenant"].as_str().map(|name| Tenant::parse(name).unwrap());
    let scope = Scope { service: text(question, "service"), tenant: tenant.as_ref() };
    let body = Bytes::from(unhex(text(question, "body_hex")));
    let header_length = question["header_length"].as_u64().map(|length| usize::try_from(length).unwrap());
    let raw = raw_key(&RawKeyParts {
        scope,
        path: text(question, "path"),
        content_type: text(question, "content_type").as_bytes(),
        header_length: header_length.map_or(String::new(), |length| length.to_string()).as_bytes(),
        accept: text(question, "accept").as_bytes(),
        accept_encoding: text(question, "accept_encoding").as_bytes(),
        body: &body,
    });
    let path = InferPath { model: text(question, "model"), version: text(question, "version") };
    let request = match request::decode(&path, header_length, &body, &Limits::default()) {
        Ok(request) => request,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let generation: Generation = text(question, "generation").parse().unwrap();
    match digest(&scope, &request) {
        Ok(digest) => {
            let key = Key::derive(&generation, &scope, &digest);
            json!({ "raw_key": hex(&raw), "digest": digest, "key": key })
        }
        Err(reason) => {
            let reason = if reason.to_string().contains("sequence") { "sequence" } else { "shared memory" };
            json!({ "raw_key": hex(&raw), "uncacheable": reason })
        }
    }
}

fn entry_answer(question: &Value) -> Value {
    let key: Key = text(question, "key").parse().unwrap();
    let secret = Secret::from_bytes(&unhex(text(question, "secret_hex"))).unwrap();
    let sealed = unhex(text(question, "sealed_hex"));
    // What unpacking gives is in the question: the bytes that a compressor makes are no part of the format.
    let unpacked = question["unpacked_hex"].as_str().map(unhex);
    let entry = Entry::open(sealed.clone().into(), &key, &secret, |_, _| unpacked.map(Bytes::from)).unwrap();
    if sealed.starts_with(b"FBE2") {
        assert_eq!(entry.seal(&key, &secret, |_| None), sealed, "sealing again gives the same bytes");
    } else {
        let again = entry.seal(&key, &secret, |_| Some(sealed[40..].to_vec()));
        assert_eq!(again, sealed, "sealing what was packed again gives the same bytes");
    }
    let response = entry.response.as_ref().unwrap();
    let outputs: Vec<Value> = response
        .outputs
        .iter()
        .zip(&response.raw_output_contents)
        .map(|(output, raw)| {
            json!({ "name": output.name, "datatype": output.datatype, "shape": output.shape, "raw": hex(raw) })
        })
        .collect();
    json!({ "entry": {
        "generation": entry.generation().unwrap(),
        "cost_us": entry.cost_us,
        "created_ms": entry.created_ms,
        "max_age_s": entry.max_age_s,
        "stale_while_revalidate_s": entry.stale_while_revalidate_s,
        "stale_if_error_s": entry.stale_if_error_s,
        "model_name": response.model_name,
        "model_version": response.model_version,
        "outputs": outputs,
        "fields": entry.fields.iter().map(|field| json!([field.name, hex(&field.value)])).collect::<Vec<_>>(),
    }})
}
