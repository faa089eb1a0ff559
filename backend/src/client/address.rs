//! A URL -> where to connect, how, and what each request's path begins with.

use http::Uri;

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) is_encrypted: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Before the protocol's own path; "" or begins with a slash and doesn't end with one.
    pub(super) prefix: String,
}

/// A URL that names no server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address of a server: expected {1}://HOST:PORT")]
pub(crate) struct WrongUrl(String, &'static str);

impl Address {
    /// Of V2 over HTTP.
    ///
    /// # Errors
    /// [`WrongUrl`].
    pub(super) fn http(url: &str) -> Result<Self, WrongUrl> {
        Self::parse(url, [("http", false, 80), ("https", true, 443)])
    }

    /// Of V2 over gRPC.
    ///
    /// # Errors
    /// [`WrongUrl`].
    pub(super) fn grpc(url: &str) -> Result<Self, WrongUrl> {
        Self::parse(url, [("grpc", false, 8001), ("grpcs", true, 8001)])
    }

    fn parse(url: &str, schemes: [(&'static str, bool, u16); 2]) -> Result<Self, WrongUrl> {
        let parsed = || {
            let uri: Uri = url.parse().ok()?;
            let scheme = uri.scheme_str()?;
            let (_, is_encrypted, port) = *schemes.iter().find(|(name, ..)| *name == scheme)?;
            let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
            let prefix = uri.path().trim_end_matches('/').to_owned();
            let named = !host.is_empty() && uri.query().is_none();
            named.then(|| Self { is_encrypted, host, port: uri.port_u16().unwrap_or(port), prefix })
        };
        parsed().ok_or_else(|| WrongUrl(url.to_owned(), schemes[0].0))
    }

    /// As `Host` and `:authority` say it.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_have_a_prefix_and_an_address_in_brackets() {
        let address = Address::http("http://[::1]:8080/a/").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.prefix.as_str()), ("::1", 8080, "/a"));
        assert_eq!(address.authority(), "[::1]:8080");
        let address = Address::grpc("grpcs://models").unwrap();
        assert_eq!((address.is_encrypted, address.authority()), (true, "models:8001".to_owned()));
    }

    #[test]
    fn a_url_of_another_protocol_is_told_what_is_expected() {
        for wrong in ["localhost:8000", "grpc://localhost", "http://", "http://h/?a", "8000"] {
            let said = Address::http(wrong).unwrap_err().to_string();
            assert!(said.contains("expected http://HOST:PORT"), "{said}");
        }
    }
}
