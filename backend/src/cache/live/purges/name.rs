//! What can be purged by itself, as the registry and operators name it.

use forebay_protocol::digest::Digest;
use forebay_protocol::tenant::Tenant;

/// What is purged: the results of a service, or of one model, one tenant or both in it, "" being any; or that of one request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    service: String,
    model: String,
    pub(super) tenant: String,
}

/// What can't be purged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NameError {
    #[error("no service is named")]
    NoService,
    #[error("the name of a {0} has no control characters")]
    Control(&'static str),
}

impl Name {
    /// # Errors
    /// [`NameError`] for what no request can be of.
    pub(crate) fn new(service: &str, model: &str, tenant: Option<&Tenant>) -> Result<Self, NameError> {
        if service.is_empty() {
            return Err(NameError::NoService);
        }
        for (kind, name) in [("service", service), ("model", model)] {
            if name.chars().any(char::is_control) {
                return Err(NameError::Control(kind));
            }
        }
        let tenant = tenant.map_or("", Tenant::as_str);
        Ok(Self::of(service, model, tenant))
    }

    /// Of one request, whosever it is.
    pub(crate) fn request(digest: &Digest) -> Self {
        Self::of("", "", &digest.to_string())
    }

    /// The request, if it names one: nothing else has no service.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.service.is_empty().then(|| self.tenant.parse().ok()).flatten()
    }

    pub(super) fn of(service: &str, model: &str, tenant: &str) -> Self {
        Self { service: service.to_owned(), model: model.to_owned(), tenant: tenant.to_owned() }
    }

    /// As the registry has it.
    pub(in crate::cache::live) fn text(&self) -> String {
        [&*self.service, &*self.model, &*self.tenant].join("\n")
    }

    /// `None` for what another release may have written.
    pub(in crate::cache::live) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('\n');
        let name = Self::of(parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(name)
    }

    /// All that its service has; nothing is wider than a request.
    pub(in crate::cache::live) fn wider(&self) -> Self {
        if self.service.is_empty() { self.clone() } else { Self::of(&self.service, "", "") }
    }

    pub(super) fn covers(&self, other: &Self) -> bool {
        self.is_of(&other.service, &other.model, &other.tenant)
    }

    /// Whether it covers these; each request asks.
    pub(super) fn is_of(&self, service: &str, model: &str, tenant: &str) -> bool {
        let covers = |wide: &str, name: &str| wide.is_empty() || wide == name;
        self.service == service && covers(&self.model, model) && covers(&self.tenant, tenant)
    }
}
