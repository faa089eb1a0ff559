//! A client of HTTP/2 without TLS, as gRPC stacks and service meshes speak it: many requests on one connection at once. An
//! answer's trailers are told with its headers.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rig::http::Answer;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// One connection.
pub struct Connection {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// Connects to a port of the loopback and begins with HTTP/2's preface.
    ///
    /// # Errors
    /// Nothing listens there, or it does not speak HTTP/2.
    pub fn open(port: u16) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).await?;
            let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            let (sender, driver) =
                client.handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
            tokio::spawn(driver);
            std::io::Result::Ok(sender)
        })?;
        Ok(Self { runtime, sender })
    }

    /// `POST`s all bodies at once, each in a stream of its own; the answers in the bodies' order.
    ///
    /// # Panics
    /// A stream is reset.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], bodies: Vec<Vec<u8>>) -> Vec<Answer> {
        let asked = |body| self.runtime.spawn(answer(self.sender.clone(), post(path, headers, body)));
        let streams: Vec<_> = bodies.into_iter().map(asked).collect();
        let answers = streams.into_iter().map(|stream| self.runtime.block_on(stream));
        answers.map(|answer| answer.expect("no panic").expect("an answer")).collect()
    }

    /// `POST`s one body.
    ///
    /// # Errors
    /// The stream is reset, or the connection ends.
    pub fn try_post(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> std::io::Result<Answer> {
        let asked = answer(self.sender.clone(), post(path, headers, body));
        self.runtime.block_on(asked).map_err(std::io::Error::other)
    }
}

fn post(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> hyper::Request<Full<Bytes>> {
    let mut request = hyper::Request::post(format!("http://test{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::from(body))).expect("a request")
}

async fn answer(
    mut sender: SendRequest<Full<Bytes>>,
    request: hyper::Request<Full<Bytes>>,
) -> hyper::Result<Answer> {
    let response = sender.send_request(request).await?;
    let (head, body) = response.into_parts();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let headers = head.headers.iter().chain(&trailers);
    let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Answer { status: head.status.as_u16(), headers, body: body.to_bytes().to_vec() })
}
