//! `forebay infer`: one request, and the answer so that people can read it.

mod show;

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

use bytes::Bytes;
use forebay_protocol::response;
use forebay_protocol::wants::{Form, Wants};

use super::connection::Server;
use super::request::Request;
use super::{AskError, asked};
use crate::settings::{Encoding, InferSettings};

/// Runs `forebay infer`.
///
/// # Errors
/// No server, no such model, inputs that can't be made, and what the server says is wrong.
pub(crate) fn run(settings: &InferSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(infer(settings))?;
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    if text.last() != Some(&b'\n') && (!settings.json || out.is_terminal()) {
        out.write_all(b"\n")?;
    }
    Ok(())
}

async fn infer(settings: &InferSettings) -> anyhow::Result<Vec<u8>> {
    let encoding = settings.encoding;
    let server = Server::of(&settings.server, encoding).map_err(AskError::from)?;
    let begin = Instant::now();
    let mut connection = server.connect().await.map_err(AskError::from)?;
    let connected = begin.elapsed();
    let asked = asked(&server, &mut connection, &settings.model, &settings.inputs, settings.seed).await?;
    let mut request = Request::infer(&server, encoding, &asked, false).map_err(AskError::from)?;
    let begin = Instant::now();
    let answer = connection.ask(&mut request, server.timeout).await.map_err(AskError::from)?;
    let took = begin.elapsed();
    if !answer.status.is_good() {
        return Err(AskError::Refused { status: answer.status.to_string(), said: answer.error() }.into());
    }
    let body = Bytes::copy_from_slice(answer.body);
    if settings.json && encoding == Encoding::Json {
        return Ok(body.into());
    }
    let read = show::read(encoding, answer.header_length, &body)?;
    if settings.json {
        let wants = Wants { default: Form::Json, outputs: Vec::new() };
        return Ok(response::encode(&read, &wants, &read.id)?.body);
    }
    let told =
        show::Told { encoding, answer: &answer, connected, took, sent: request.len(), received: body.len() };
    Ok(show::text(&told, &read).into_bytes())
}
