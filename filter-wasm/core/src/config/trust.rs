//! Settings of who may share results, and what requests carry that forbids it.

use super::{ConfigError, Route, out_of_range};
use forebay_protocol::tenant;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Whether results are parted by tenant. It is part of every key: say the same to filter, gate and `serve`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenancy {
    /// One namespace for all.
    #[default]
    None,
    /// A request without a proven tenant passes uncached.
    Required,
}

/// Where a request's tenant comes from: a fixed name, or a property of the stream that an authenticated source fills.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a name, or {\"property\": [...]} and nothing beside it, is right"
)]
pub enum Tenant {
    /// The same tenant for all requests.
    Fixed(String),
    /// An Envoy attribute, for instance `["connection", "uri_san_peer_certificate"]`. A request without it passes uncached.
    Property {
        /// The attribute's path.
        property: Vec<String>,
    },
}

/// What a request's `Authorization` means for the cache (RFC 9111, 3.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authorization {
    /// Only answers that allow it (`public`, `s-maxage`, `must-revalidate`) are given to such requests, or kept of them.
    #[default]
    Forbids,
    /// It was checked in front of this filter: it changes nothing.
    CheckedBefore,
    /// The tenant comes from it: it changes nothing.
    NamesTenant,
}

/// What a request's `Cookie` means for the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cookie {
    /// Nothing.
    #[default]
    Ignored,
    /// The same as an `Authorization` that forbids.
    Forbids,
}

/// Tenants are named where, and only where, the tenancy requires them.
pub(super) fn check(
    tenancy: Tenancy,
    filters: Option<&Tenant>,
    routes: &BTreeMap<String, Route>,
    authorization: Authorization,
) -> Result<(), ConfigError> {
    tenant("tenant", tenancy, filters)?;
    for (route, settings) in routes {
        tenant(&format!("routes.{route}.tenant"), tenancy, settings.tenant.as_ref())?;
        if tenancy == Tenancy::Required && filters.is_none() && settings.tenant.is_none() {
            let expected = "said, here or for all routes: `tenancy` is `required`";
            return Err(out_of_range(&format!("routes.{route}.tenant"), "nothing", expected));
        }
    }
    if tenancy == Tenancy::Required && filters.is_none() && routes.is_empty() {
        return Err(out_of_range("tenant", "nothing", "said: `tenancy` is `required`"));
    }
    if authorization == Authorization::NamesTenant {
        if tenancy == Tenancy::None {
            let expected = "of use without tenants: it needs `\"tenancy\": \"required\"`";
            return Err(out_of_range("authorization", "names-tenant", expected));
        }
        let of_routes = routes.values().map(|route| route.tenant.as_ref());
        if of_routes.chain([filters]).flatten().any(|tenant| matches!(tenant, Tenant::Fixed(_))) {
            let expected = "true of a tenant that is fixed: it needs `{\"property\": [...]}`, filled by what read the credential";
            return Err(out_of_range("authorization", "names-tenant", expected));
        }
    }
    Ok(())
}

fn tenant(field: &str, tenancy: Tenancy, setting: Option<&Tenant>) -> Result<(), ConfigError> {
    match (tenancy, setting) {
        (Tenancy::None, Some(_)) => {
            Err(out_of_range(field, "a tenant", "of use without `\"tenancy\": \"required\"`"))
        }
        (Tenancy::Required, Some(Tenant::Fixed(name))) => match tenant::Tenant::parse(name) {
            Ok(_) => Ok(()),
            Err(_) => Err(out_of_range(field, &format!("{name:?}"), tenant::EXPECTED)),
        },
        (Tenancy::Required, Some(Tenant::Property { property }))
            if property.is_empty() || property.iter().any(String::is_empty) =>
        {
            Err(out_of_range(field, "a path with nothing in it", "the path of an Envoy attribute"))
        }
        (_, None) | (Tenancy::Required, Some(Tenant::Property { .. })) => Ok(()),
    }
}
