//! Parts of the protocol that only those may use who know a word, as Triton restricts them: `<apis>:<key>=<value>` enters at start.
//! Next: `http` and `grpc` refuse a request that lacks the header `<key>: <value>`, before its body is read.

use http::{HeaderMap, HeaderName};

use super::{Hidden, SettingsError, wrong};

/// The flags.
pub(crate) const HTTP: &str = "--http-restricted-api";
pub(crate) const GRPC: &str = "--grpc-restricted-protocol";
/// What a key over gRPC begins with.
const GRPC_PREFIX: &str = "triton-grpc-protocol-";

/// A part that can be restricted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Health,
    Metadata,
    Inference,
    SharedMemory,
    ModelConfig,
    ModelRepository,
    Statistics,
    Trace,
    Logging,
}

/// By Triton's names.
const APIS: [(&str, Api); 9] = [
    ("health", Api::Health),
    ("metadata", Api::Metadata),
    ("inference", Api::Inference),
    ("shared-memory", Api::SharedMemory),
    ("model-config", Api::ModelConfig),
    ("model-repository", Api::ModelRepository),
    ("statistics", Api::Statistics),
    ("trace", Api::Trace),
    ("logging", Api::Logging),
];

/// Who may use which parts of one port.
#[derive(Clone, Default)]
pub(crate) struct Restrictions(Vec<Restriction>);

#[derive(Clone)]
struct Restriction {
    api: Api,
    header: HeaderName,
    /// Hashes compare in constant time, whatever was sent.
    value: blake3::Hash,
}

impl Restrictions {
    /// The restrictions that `flag` gives. What is wrong with them is said without what they hold.
    ///
    /// # Errors
    /// When one isn't of that form, names no part, or a part that has one.
    pub(crate) fn parse(flag: &'static str, groups: &[Hidden]) -> Result<Self, SettingsError> {
        let prefix = if flag == GRPC { GRPC_PREFIX } else { "" };
        let mut restrictions = Vec::new();
        for group in groups {
            let form = || wrong(flag, "must be <api>,<api>:<key>=<value>");
            let (apis, word) = group.0.split_once(':').ok_or_else(form)?;
            let (key, value) = word.split_once('=').ok_or_else(form)?;
            if apis.is_empty() || key.is_empty() || value.is_empty() {
                return Err(form());
            }
            let header = HeaderName::try_from(format!("{prefix}{key}"));
            let header = header.map_err(|_| wrong(flag, "a key is no name of a header"))?;
            for name in apis.split(',') {
                let Some((name, api)) = APIS.into_iter().find(|(known, _)| *known == name) else {
                    let known = APIS.map(|(name, _)| name).join(", ");
                    return Err(wrong(flag, format!("an api is not known: known are {known}")));
                };
                if restrictions.iter().any(|other: &Restriction| other.api == api) {
                    return Err(wrong(flag, format!("{name} can't be in more than one group")));
                }
                let value = blake3::hash(value.as_bytes());
                restrictions.push(Restriction { api, header: header.clone(), value });
            }
        }
        Ok(Self(restrictions))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The header that is missing or has another value.
    pub(crate) fn lacks(&self, api: Option<Api>, headers: &HeaderMap) -> Option<HeaderName> {
        let restriction = self.0.iter().find(|restriction| Some(restriction.api) == api)?;
        let shown = headers.get(&restriction.header).map(|value| blake3::hash(value.as_bytes()));
        (shown != Some(restriction.value)).then(|| restriction.header.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(groups: &[&str]) -> Result<Restrictions, String> {
        let groups: Vec<Hidden> = groups.iter().map(|group| group.parse().unwrap()).collect();
        Restrictions::parse(GRPC, &groups).map_err(|error| error.to_string())
    }

    #[test]
    fn groups_restrict_their_apis_and_a_value_may_hold_anything() {
        let restrictions = parse(&["model-repository,trace:Admin-Key=a:b=c", "health:k=v"]).unwrap();
        let mut headers = HeaderMap::new();
        let lacks = |api: Api, headers: &HeaderMap| {
            restrictions.lacks(Some(api), headers).map(|name| name.to_string())
        };
        let admin = "triton-grpc-protocol-admin-key";
        assert_eq!(lacks(Api::Trace, &headers).as_deref(), Some(admin));
        assert_eq!(lacks(Api::Health, &headers).as_deref(), Some("triton-grpc-protocol-k"));
        assert_eq!(lacks(Api::Inference, &headers), None);
        for (value, missing) in [("a:b=", Some(admin)), ("a:b=c", None), ("a:b=cc", Some(admin))] {
            headers.insert(admin, value.parse().unwrap());
            assert_eq!(lacks(Api::ModelRepository, &headers).as_deref(), missing, "{value}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (groups, expected) in [
            (&["secret"][..], "<api>,<api>:<key>=<value>"),
            (&["health:secret"], "<api>,<api>:<key>=<value>"),
            (&["health:k="], "<api>,<api>:<key>=<value>"),
            (&["health:=secret"], "<api>,<api>:<key>=<value>"),
            (&[":k=secret"], "<api>,<api>:<key>=<value>"),
            (&["health:secret key=secret"], "no name of a header"),
            (&["health,secret:k=secret"], "known are health, metadata"),
            (&["health,trace:k=secret", "trace:k=secret"], "trace can't be in more than one group"),
            (&["health,health:k=secret"], "health can't be in more than one group"),
        ] {
            let error = parse(groups).map(drop).unwrap_err();
            assert!(error.contains(expected) && error.starts_with(GRPC), "{groups:?}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
