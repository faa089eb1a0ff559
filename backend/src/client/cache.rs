//! `forebay cache`: a gate is asked to purge, what it knows, and what is kept of a request. Settings enter, lines for people leave.

mod get;
mod purge;
mod told;

use serde::de::DeserializeOwned;

use super::connection::{Connection, ConnectionError, Server, ServerError, Status};
use super::request::Request;
use crate::settings::{AskedGate, CacheSettings, Header, SettingsError};
use forebay_protocol::header::X_FOREBAY_TOKEN;

/// Why a gate doesn't say what it is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GateError {
    #[error("--gate: {0}")]
    Server(#[from] ServerError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("--token-file: its first line is no token: visible ASCII is expected")]
    Token,
    /// The gate's own words.
    #[error("{status}: {said}")]
    Refused { status: String, said: String },
    #[error("the answer is not what a gate of this release says: {0}")]
    Strange(String),
    #[error("--data: {0}")]
    Data(String),
    #[error("nothing is kept of it")]
    Nothing,
}

/// Runs `forebay cache`.
///
/// # Errors
/// No gate, no leave to ask it, and what it says is wrong.
pub(crate) fn run(settings: &CacheSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match settings {
            CacheSettings::Purge(settings) => purge::purge(settings).await?,
            CacheSettings::Stats(settings) => println!("{}", told::stats(settings).await?),
            CacheSettings::Top(settings) => println!("{}", told::top(settings).await?),
            CacheSettings::Get(settings) => println!("{}", get::get(settings).await?),
        }
        Ok(())
    })
}

/// A gate, and the connection to it.
struct Gate {
    server: Server,
    connection: Connection,
}

impl Gate {
    async fn open(asked: &AskedGate, mut headers: Vec<Header>) -> Result<Self, GateError> {
        if let Some(token) = asked.token()? {
            let token = format!("{X_FOREBAY_TOKEN}: {token}");
            headers.push(token.parse().map_err(|_| GateError::Token)?);
        }
        let server = Server::gate(asked, headers)?;
        let connection = server.connect().await?;
        Ok(Self { server, connection })
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, GateError> {
        let request = Request::get(&self.server, path);
        self.said(request).await
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        said: &impl serde::Serialize,
    ) -> Result<T, GateError> {
        let json = serde_json::to_vec(said).map_err(|error| GateError::Strange(error.to_string()))?;
        let request = Request::post(&self.server, path, &json);
        self.said(request).await
    }

    async fn said<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, GateError> {
        let (status, body) = self.ask(request).await?;
        if !status.is_good() {
            return Err(GateError::Refused { status: status.to_string(), said: error(&body) });
        }
        serde_json::from_slice(&body).map_err(|error| GateError::Strange(error.to_string()))
    }

    async fn ask(&mut self, mut request: Request) -> Result<(Status, Vec<u8>), GateError> {
        if !self.connection.is_open() {
            self.connection = self.server.connect().await?;
        }
        let answer = self.connection.ask(&mut request, self.server.timeout).await?;
        let body = if answer.status.is_good() { answer.body.to_vec() } else { answer.error().into_bytes() };
        Ok((answer.status, body))
    }
}

fn error(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
