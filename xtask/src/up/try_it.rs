//! What a user can try: a running backend enters; for each of its models a command line that works, or why there is none, leaves.
//!
//! Whether a line works is seen, not guessed: each request is sent to the backend before, in other values and with
//! `Cache-Control: no-store`, so that a user's first one is still a miss.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rig::http::Answer;
use serde_json::Value;

use super::sample::{Body, Encoding, SIZES, Sample};
use crate::http::Client;
use crate::layout::Layout;

/// A model of the repository, and how it is asked.
pub(crate) struct Try {
    pub(crate) model: String,
    /// Or why it can't be asked.
    pub(crate) sample: Result<Sample>,
}

/// The models that the backend knows, each with a request that it answers.
///
/// # Errors
/// The backend gives no index.
pub(crate) fn all(backend: &str) -> Result<Vec<Try>> {
    let client = Client::default();
    let index = client.post(&format!("{backend}/v2/repository/index"), &[], b"")?;
    let index: Value = json(&index).context("the repository's index")?;
    let models = index.as_array().context("the repository's index is no list")?;
    let mut tries: Vec<Try> = Vec::new();
    for entry in models {
        let model = entry["name"].as_str().unwrap_or_default().to_owned();
        // A model with several versions is in the index for each.
        if tries.iter().any(|known| known.model == model && known.sample.is_ok()) {
            continue;
        }
        tries.retain(|known| known.model != model);
        let ready = entry["state"] == "READY";
        let reason = entry["reason"].as_str().unwrap_or("it isn't loaded");
        let sample = if ready { sample(&client, backend, &model) } else { Err(anyhow::anyhow!("{reason}")) };
        tries.push(Try { model, sample });
    }
    Ok(tries)
}

/// A request that the model answers, of the smallest sizes that do.
fn sample(client: &Client, backend: &str, model: &str) -> Result<Sample> {
    let url = url(backend, model);
    let sample =
        Sample::of(model, &json(&client.get(&url)?)?, &json(&client.get(&format!("{url}/config"))?)?)?;
    let mut refused = None;
    for sizes in SIZES {
        let sized = sample.sized(sizes);
        let encoding = sized.encodings()[0];
        let answer = send(client, backend, &sized, encoding, &sized.request(encoding, 2), true)?;
        if answer.status == 200 {
            return Ok(sized);
        }
        refused.get_or_insert(answer);
        if sized == sample {
            break;
        }
    }
    let refused = refused.context("no sizes were tried")?;
    json(&refused)?;
    Ok(sample)
}

/// Sends a request to a model behind that address.
///
/// # Errors
/// Nothing answers there.
pub(crate) fn send(
    client: &Client,
    base: &str,
    sample: &Sample,
    encoding: Encoding,
    body: &Body,
    unseen: bool,
) -> Result<Answer> {
    let length = body.json_length.map(|length| length.to_string());
    let mut headers = vec![("content-type", content_type(encoding))];
    headers.extend(length.iter().map(|length| (JSON_LENGTH, length.as_str())));
    headers.extend(unseen.then_some(("cache-control", "no-store")));
    client.post(&format!("{}/infer", url(base, &sample.model)), &headers, &body.bytes)
}

/// Prints how to ask each model; bodies go into files of the folder.
///
/// # Errors
/// A file can't be written.
pub(crate) fn print(tries: &[Try], envoy: &str, folder: &Path) -> Result<()> {
    println!("Try these twice, and look at Cache-Status:");
    for Try { model, sample } in tries {
        match sample {
            Err(error) => println!("  # {model} can't be asked: {error:#}"),
            Ok(sample) => {
                if !sample.cached {
                    println!(
                        "  # {model} is not cached: its config.pbtxt has no `response_cache {{ enable: true }}`"
                    );
                }
                println!("  {}", line(sample, envoy, folder)?);
            }
        }
    }
    Ok(())
}

/// The command that asks a model.
fn line(sample: &Sample, envoy: &str, folder: &Path) -> Result<String> {
    let encoding = sample.encodings()[0];
    let body = sample.request(encoding, 0);
    let suffix = if encoding == Encoding::Json { "json" } else { "bin" };
    let file = folder.join(format!("{}.{suffix}", escaped(&sample.model)));
    fs::write(&file, &body.bytes).with_context(|| format!("can't write {}", file.display()))?;
    let length = body.json_length.map(|length| format!(" -H '{JSON_LENGTH}: {length}'")).unwrap_or_default();
    // A terminal shows no bytes.
    let show = if sample.raw_outputs() { "-sS -D - -o /dev/null" } else { "-i" };
    Ok(format!(
        "curl {show} -H 'content-type: {}'{length} --data-binary {} {}/infer",
        content_type(encoding),
        quoted(&format!("@{}", Layout::shown(&file))),
        url(envoy, &sample.model)
    ))
}

const JSON_LENGTH: &str = "inference-header-content-length";

fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "application/json",
        Encoding::Binary => "application/octet-stream",
    }
}

fn url(base: &str, model: &str) -> String {
    format!("{base}/v2/models/{}", escaped(model))
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A name as it stands in a path: all but RFC 3986's unreserved characters by their numbers.
fn escaped(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The JSON of an answer that is one.
fn json(answer: &Answer) -> Result<Value> {
    let text = String::from_utf8_lossy(&answer.body);
    let said = serde_json::from_str::<Value>(&text).ok();
    let error = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or(&text);
    ensure!(answer.status == 200, "{} {error}", answer.status);
    said.context("an answer that is no JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_name_is_one_word() {
        assert_eq!(quoted("@run/a.json"), "@run/a.json");
        assert_eq!(quoted("@it's here"), r"'@it'\''s here'");
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(escaped("a-b_c.1"), "a-b_c.1");
        assert_eq!(escaped("a b/ü"), "a%20b%2F%C3%BC");
    }
}
