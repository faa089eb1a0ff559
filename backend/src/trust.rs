//! Who speaks, and for whom. A request's headers and its connection enter; the scope of its cache leaves, or that it has none.
//! Next: `infer` and the gate's lookups take the scope.
//!
//! In the mode `none` all requests share one namespace. In `required` a request belongs to the tenant that a *caller* names for
//! it: a proxy, or a client, that proves itself by a credential which may speak for that service and tenant. Without one it is
//! neither looked up nor stored. What an unproven caller says of tenants is never believed.

mod credentials;
mod operators;
mod peer;
pub(crate) mod roots;
mod watched;

use std::sync::Arc;

use clap::ValueEnum;
use forebay_protocol::cache_control::RequestDirectives;
use forebay_protocol::digest::Scope;
use forebay_protocol::header::{X_FOREBAY_TENANCY, X_FOREBAY_TENANT, X_FOREBAY_TOKEN};
use forebay_protocol::tenant::Tenant;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE};
use tokio_util::sync::CancellationToken;

pub(crate) use credentials::{Credential, Credentials};
pub(crate) use operators::Operators;
pub(crate) use peer::{Peer, TrustedProxies};
pub(crate) use watched::Watched;

/// Whether results are parted by tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tenancy {
    /// One namespace for all
    None,
    /// A request without a proven tenant is neither looked up nor stored
    Required,
}

/// What a request's `Authorization` means for the cache (RFC 9111, 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Authorization {
    /// Only answers that allow it are given to such requests, or kept of them
    Forbids,
    /// It was checked in front of this server: it changes nothing
    CheckedBefore,
    /// The tenant comes from it: it changes nothing
    NamesTenant,
}

/// What a request's `Cookie` means for the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cookie {
    /// Nothing
    Ignored,
    /// The same as an `Authorization` that forbids
    Forbids,
}

/// Whose cache a request uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Everybody's: there are no tenants.
    Everybodys,
    /// This proven tenant's.
    Tenants(Tenant),
    /// Nobody's: it is neither looked up nor stored.
    Nobodys(Unproven),
}

/// Why a request uses no cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unproven {
    /// No caller that proved itself named a tenant that it may speak for.
    NoTenant,
    /// The proxy in front parts results by tenant, and this server doesn't.
    TenancyDiffers,
}

impl Whose {
    /// The scope of its keys, if it has any.
    pub(crate) fn scope<'a>(&'a self, service: &'a str) -> Result<Scope<'a>, Unproven> {
        match self {
            Self::Everybodys => Ok(Scope { service, tenant: None }),
            Self::Tenants(tenant) => Ok(Scope { service, tenant: Some(tenant) }),
            Self::Nobodys(why) => Err(*why),
        }
    }
}

/// Who has sent requests that came together.
pub(crate) struct Sender {
    /// The credentials that it has shown.
    callers: Vec<Credential>,
    /// It says that it parts results by tenant.
    parts: bool,
}

/// What decides who is believed.
#[derive(Clone)]
pub(crate) struct Trust {
    pub(crate) tenancy: Tenancy,
    pub(crate) credentials: Option<Arc<Credentials>>,
    pub(crate) proxies: Arc<TrustedProxies>,
    pub(crate) authorization: Authorization,
    pub(crate) cookie: Cookie,
}

impl Trust {
    /// Follows the file of credentials until `stop`. Must be called inside a runtime.
    pub(crate) fn follow(&self, stop: &CancellationToken) {
        if let Some(credentials) = &self.credentials {
            tokio::spawn(credentials.clone().follow(stop.clone()));
        }
    }

    /// Whose cache a request to `service` uses.
    pub(crate) fn whose(&self, service: &str, headers: &HeaderMap, peer: Option<&Peer>) -> Whose {
        if self.tenancy == Tenancy::None {
            return everybodys(headers.contains_key(X_FOREBAY_TENANT) || parts(headers));
        }
        proven(&self.callers(headers, peer), service, tenant(headers).as_ref())
    }

    /// The same of a request that came with others, whose sender has shown those credentials for all of them; "" names no tenant.
    pub(crate) fn whose_of(&self, service: &str, tenant: &str, sender: &Sender) -> Whose {
        if self.tenancy == Tenancy::None {
            return everybodys(!tenant.is_empty() || sender.parts);
        }
        proven(&sender.callers, service, Tenant::parse(tenant).ok().as_ref())
    }

    /// Who sent these headers.
    pub(crate) fn sender(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Sender {
        Sender { callers: self.callers(headers, peer), parts: parts(headers) }
    }

    /// May that one use the gate for `service`? Everybody may where no credentials are set.
    pub(crate) fn admits_sender(&self, service: &str, sender: &Sender) -> bool {
        self.credentials.is_none() || sender.callers.iter().any(|caller| caller.service == service)
    }

    /// Must no cache in front keep the answer? It belongs to a tenant, and only who says that results are parted by tenant keeps
    /// it for that one: anybody else, a filter in the mode `none` or any cache of HTTP's, would give it to all.
    pub(crate) fn is_private(whose: &Whose, headers: &HeaderMap) -> bool {
        let mut said = headers.get_all(X_FOREBAY_TENANCY).iter();
        let parts = said.next().is_some_and(|tenancy| tenancy == "required") && said.next().is_none();
        matches!(whose, Whose::Tenants(_)) && !parts
    }

    /// May whoever sent these headers use the gate for `service`? Everybody may where no credentials are set.
    pub(crate) fn admits(&self, service: Option<&str>, headers: &HeaderMap, peer: Option<&Peer>) -> bool {
        self.credentials.is_none()
            || self
                .callers(headers, peer)
                .iter()
                .any(|caller| service.is_none_or(|service| caller.service == service))
    }

    /// The credentials that the caller has shown: by a token, by the certificate of its connection, or by the certificate that a
    /// trusted proxy saw.
    fn callers(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Vec<Credential> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let tokens = headers.get_all(X_FOREBAY_TOKEN).iter().map(|token| blake3::hash(token.as_bytes()));
        let tokens: Vec<blake3::Hash> = tokens.collect();
        let sans = peer.map(|peer| self.proxies.sans(peer, headers)).unwrap_or_default();
        credentials.of(&tokens, &sans)
    }

    /// Does the request carry what forbids shared caching, unless the answer allows it?
    pub(crate) fn restricts(&self, headers: &HeaderMap) -> bool {
        (self.authorization == Authorization::Forbids && headers.contains_key(AUTHORIZATION))
            || (self.cookie == Cookie::Forbids && headers.contains_key(COOKIE))
    }
}

/// Does the sender say that it parts results by tenant?
fn parts(headers: &HeaderMap) -> bool {
    headers.get(X_FOREBAY_TENANCY).is_some_and(|tenancy| tenancy != "none")
}

/// Where there are no tenants: one who `parts` them is kept apart.
fn everybodys(parts: bool) -> Whose {
    if parts { Whose::Nobodys(Unproven::TenancyDiffers) } else { Whose::Everybodys }
}

/// The tenant that one of the callers may speak for.
fn proven(callers: &[Credential], service: &str, named: Option<&Tenant>) -> Whose {
    let mut callers = callers.iter().filter(|caller| caller.service == service);
    let proven = callers.find_map(|caller| caller.tenant(named));
    proven.map_or(Whose::Nobodys(Unproven::NoTenant), Whose::Tenants)
}

/// The tenant that the headers name: once, or not at all.
pub(crate) fn tenant(headers: &HeaderMap) -> Option<Tenant> {
    let mut named = headers.get_all(X_FOREBAY_TENANT).iter();
    let tenant = named.next()?;
    named.next().is_none().then(|| Tenant::parse(tenant.as_bytes()).ok()).flatten()
}

/// What the request says in `Cache-Control`.
pub(crate) fn directives(headers: &HeaderMap) -> RequestDirectives {
    RequestDirectives::parse(headers.get_all(CACHE_CONTROL).iter().map(http::HeaderValue::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = r#"{"credentials": [
        {"name": "gateway", "token": "gateway-token-0001", "service": "demo", "tenants": ["*"]},
        {"name": "shop", "token": "shop-token-00000001", "service": "demo", "tenants": ["shop"]},
        {"name": "two", "token": "two-token-000000001", "service": "demo", "tenants": ["a", "b"]},
        {"name": "other", "token": "other-token-0000001", "service": "other", "tenants": ["*"]},
        {"name": "mesh", "san": "spiffe://cluster.local/ns/shop/sa/web", "service": "demo", "tenants": ["web"]}
    ]}"#;

    fn trust(tenancy: Tenancy) -> Trust {
        Trust {
            tenancy,
            credentials: Some(Arc::new(Credentials::parse(CREDENTIALS.as_bytes()).unwrap())),
            proxies: Arc::new(TrustedProxies::new(vec!["127.0.0.1/32".parse().unwrap()])),
            authorization: Authorization::Forbids,
            cookie: Cookie::Ignored,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn whose(tenancy: Tenancy, pairs: &[(&'static str, &str)], peer: Option<&Peer>) -> Whose {
        trust(tenancy).whose("demo", &headers(pairs), peer)
    }

    fn tenants(name: &str) -> Whose {
        Whose::Tenants(Tenant::parse(name).unwrap())
    }

    const NOBODYS: Whose = Whose::Nobodys(Unproven::NoTenant);

    #[test]
    fn without_tenants_all_share_but_a_proxy_that_parts_them_is_kept_apart() {
        assert_eq!(whose(Tenancy::None, &[], None), Whose::Everybodys);
        assert_eq!(whose(Tenancy::None, &[("x-forebay-tenancy", "none")], None), Whose::Everybodys);
        for parted in [("x-forebay-tenant", "a"), ("x-forebay-tenancy", "required")] {
            let whose = whose(Tenancy::None, &[parted], None);
            assert_eq!(whose, Whose::Nobodys(Unproven::TenancyDiffers), "{parted:?}");
        }
    }

    #[test]
    fn a_tenant_is_believed_only_of_who_may_speak_for_it() {
        let of = |token: &'static str, tenant: &'static str| {
            whose(Tenancy::Required, &[("x-forebay-token", token), ("x-forebay-tenant", tenant)], None)
        };
        assert_eq!(of("gateway-token-0001", "any"), tenants("any"));
        assert_eq!(of("shop-token-00000001", "shop"), tenants("shop"));
        assert_eq!(of("shop-token-00000001", "any"), NOBODYS);
        assert_eq!(of("other-token-0000001", "any"), NOBODYS, "another service's");
        assert_eq!(of("wrong", "shop"), NOBODYS);
        assert_eq!(of("gateway-token-0001", "a,b"), NOBODYS, "no tenant's name");
        assert_eq!(whose(Tenancy::Required, &[("x-forebay-tenant", "shop")], None), NOBODYS);
    }

    #[test]
    fn who_may_speak_for_one_alone_need_not_name_it() {
        let of = |token| whose(Tenancy::Required, &[("x-forebay-token", token)], None);
        assert_eq!(of("shop-token-00000001"), tenants("shop"));
        assert_eq!(of("two-token-000000001"), NOBODYS);
        assert_eq!(of("gateway-token-0001"), NOBODYS);
    }

    #[test]
    fn a_tenants_answer_is_private_unless_who_asks_says_that_it_parts_tenants() {
        let private = |whose: &Whose, said: &[(&'static str, &str)]| Trust::is_private(whose, &headers(said));
        let required = ("x-forebay-tenancy", "required");
        assert!(private(&tenants("a"), &[]));
        assert!(private(&tenants("a"), &[("x-forebay-tenancy", "none")]));
        assert!(!private(&tenants("a"), &[required]));
        assert!(!private(&Whose::Everybodys, &[]) && !private(&NOBODYS, &[]));
        let mut twice = headers(&[required]);
        twice.append("x-forebay-tenancy", http::HeaderValue::from_static("none"));
        assert!(Trust::is_private(&tenants("a"), &twice));
    }

    #[test]
    fn a_certificate_proves_as_a_token_does_and_a_proxys_word_counts_where_it_is_trusted() {
        let san = "spiffe://cluster.local/ns/shop/sa/web";
        let peer = |address: &str, sans: &[&str]| {
            Peer::new(address.parse().unwrap(), sans.iter().map(|san| (*san).to_owned()).collect())
        };
        let forwarded = format!("By=x;URI=spiffe://else, By=y;Hash=1;URI={san}");
        let forwarded = [("x-forwarded-client-cert", forwarded.as_str())];
        assert_eq!(whose(Tenancy::Required, &[], Some(&peer("10.0.0.1", &[san]))), tenants("web"));
        assert_eq!(whose(Tenancy::Required, &forwarded, Some(&peer("127.0.0.1", &[]))), tenants("web"));
        assert_eq!(whose(Tenancy::Required, &forwarded, Some(&peer("10.0.0.1", &[]))), NOBODYS);
        assert_eq!(whose(Tenancy::Required, &forwarded, None), NOBODYS);
    }

    #[test]
    fn authorization_and_cookies_restrict_as_the_settings_say() {
        let authorized = headers(&[("authorization", "Bearer x")]);
        let with_cookie = headers(&[("cookie", "a=1")]);
        let trust = trust(Tenancy::None);
        assert!(trust.restricts(&authorized) && !trust.restricts(&with_cookie));
        let strict = Trust { cookie: Cookie::Forbids, authorization: Authorization::CheckedBefore, ..trust };
        assert!(!strict.restricts(&authorized) && strict.restricts(&with_cookie));
    }
}
