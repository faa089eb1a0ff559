//! The other end of a connection: its address, and the names in its certificate. Behind a proxy that is trusted the names are
//! those that the proxy saw, the last element of `x-forwarded-client-cert`.

use std::net::IpAddr;
use std::sync::Arc;

use forebay_protocol::field_value::members;
use http::HeaderMap;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Where Envoy says which client certificate it saw.
const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Who is connected. Every request of the connection carries it.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    address: IpAddr,
    /// Names of its certificate, which our own TLS has verified.
    sans: Arc<[String]>,
    /// The name of the subject of its certificate, if it has one; empty where that has none.
    subject: Option<Arc<str>>,
}

impl Peer {
    /// A peer whose certificate, if it has one, names it so.
    pub(crate) fn new(address: IpAddr, sans: Vec<String>) -> Self {
        Self { address: address.to_canonical(), sans: sans.into(), subject: None }
    }

    /// A peer with a certificate that was verified.
    pub(crate) fn certified(address: IpAddr, certificate: Option<&CertificateDer<'_>>) -> Self {
        let subject = certificate.map(|certificate| subject(certificate).into());
        Self { subject, ..Self::new(address, certificate.map(sans).unwrap_or_default()) }
    }

    /// The name of the subject of its certificate; `None`: it has shown none.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

/// The proxies whose word about their clients counts.
#[derive(Debug, Default)]
pub(crate) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(crate) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The names that a request is proven to come with.
    pub(super) fn sans(&self, peer: &Peer, headers: &HeaderMap) -> Vec<String> {
        let mut sans = peer.sans.to_vec();
        if self.0.iter().any(|network| network.contains(&peer.address)) {
            sans.extend(forwarded(headers));
        }
        sans
    }
}

/// The URIs and DNS names of the last element: the hop before the trusted proxy. Those before it are what that hop said.
fn forwarded(headers: &HeaderMap) -> Vec<String> {
    let last = headers.get_all(FORWARDED_CLIENT_CERT).iter().next_back();
    let Some(Ok(elements)) = last.map(|value| members(value.as_bytes())) else { return Vec::new() };
    let element = elements.last().copied().unwrap_or_default();
    let pairs = pairs(element);
    let names =
        pairs.iter().filter(|(key, _)| key.eq_ignore_ascii_case("uri") || key.eq_ignore_ascii_case("dns"));
    names.map(|(_, value)| value.clone()).collect()
}

/// `Key=value;Key="quoted; value"`, the values without quotes.
fn pairs(element: &[u8]) -> Vec<(String, String)> {
    let Ok(text) = std::str::from_utf8(element) else { return Vec::new() };
    let (mut pairs, mut pair, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for character in text.chars() {
        match character {
            _ if escaped => {
                escaped = false;
                pair.push(character);
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => pairs.push(std::mem::take(&mut pair)),
            _ => pair.push(character),
        }
    }
    pairs.push(pair);
    let split =
        |pair: String| pair.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.to_owned()));
    pairs.into_iter().filter_map(split).collect()
}

/// The common name of a certificate's subject.
fn subject(certificate: &CertificateDer<'_>) -> String {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return String::new() };
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.unwrap_or_default().to_owned()
}

/// The URIs and DNS names of a certificate.
fn sans(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded_of(values: &[&str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_CLIENT_CERT, value.parse().unwrap());
        }
        forwarded(&headers)
    }

    #[test]
    fn the_last_element_counts_whatever_came_before_it() {
        assert_eq!(
            forwarded_of(&["URI=spiffe://evil,By=b;Hash=h;Subject=\"CN=x, O=\\\"y\\\"\";URI=spiffe://a"]),
            ["spiffe://a"]
        );
        assert_eq!(forwarded_of(&["URI=spiffe://a", "By=b;URI=spiffe://c;DNS=d"]), ["spiffe://c", "d"]);
        assert_eq!(forwarded_of(&["URI=spiffe://a,By=b"]), [""; 0], "no name was seen");
    }

    #[test]
    fn what_a_quoted_value_holds_is_no_pair() {
        assert_eq!(forwarded_of(&["Subject=\"x;URI=spiffe://evil\";URI=spiffe://a"]), ["spiffe://a"]);
        assert_eq!(forwarded_of(&["URI=spiffe://a;Subject=\"x"]), [""; 0], "quotes that don't end");
    }

    #[test]
    fn a_certificates_names_are_its_uris_and_dns_names() {
        let uri = "spiffe://cluster.local/ns/a/sa/b";
        let certificate = rig::authority::Authority::new().sign(Some(uri)).certificate;
        assert_eq!(sans(&certificate), ["localhost", uri]);
        assert_eq!(sans(&CertificateDer::from(vec![1, 2, 3])), [""; 0]);
    }

    #[test]
    fn an_ipv4_proxy_is_the_same_over_ipv6() {
        let proxies = TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_CLIENT_CERT, "URI=spiffe://a".parse().unwrap());
        let peer = |address: &str| Peer::new(address.parse().unwrap(), Vec::new());
        assert_eq!(proxies.sans(&peer("::ffff:127.0.0.1"), &headers), ["spiffe://a"]);
        assert_eq!(proxies.sans(&peer("::1"), &headers), [""; 0]);
    }
}
