//! Flags -> whom to believe.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ipnet::IpNet;

use super::{SettingsError, wrong};
use crate::trust::{Authorization, Cookie, Credentials, Operators, Tenancy, Trust, TrustedProxies};

const CREDENTIALS_FILE: &str = "--credentials-file";

/// Who may share results, and who may speak for whom: the same in filter, gate and `serve`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct TrustSettings {
    /// Whether results are parted by tenant. It is part of every key: say the same to filter, gate and serve
    #[arg(long, env = "FOREBAY_TENANCY", value_enum, default_value = "none")]
    pub(crate) tenancy: Tenancy,
    /// JSON file that says by which token or certificate a caller proves itself, and for which service and tenants it may
    /// speak. Read again when it changes
    #[arg(long, env = "FOREBAY_CREDENTIALS_FILE")]
    pub(crate) credentials_file: Option<PathBuf>,
    /// Addresses or networks of proxies whose x-forwarded-client-cert is believed, such as 127.0.0.1 for a sidecar;
    /// commas between them
    #[arg(long, env = "FOREBAY_TRUSTED_PROXIES", value_delimiter = ',', value_parser = parse_network)]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// Who may purge, and look at what is kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct OperatorSettings {
    /// File with the tokens of who may purge, and look at what is kept, at the gate's port: one a line. Read again when it changes
    /// [default: nobody may]
    #[arg(long, env = "FOREBAY_OPERATORS_FILE")]
    pub(super) operators_file: Option<PathBuf>,
}

impl OperatorSettings {
    /// Who may, if anybody.
    ///
    /// # Errors
    /// The file can't be used.
    pub(crate) fn operators(&self) -> Result<Option<Arc<Operators>>, SettingsError> {
        let read = |path: &PathBuf| {
            Operators::read(path).map(Arc::new).map_err(|error| wrong("--operators-file", error.to_string()))
        };
        self.operators_file.as_ref().map(read).transpose()
    }
}

/// What requests carry besides their tensors.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub(crate) struct PrivacySettings {
    /// What a request's Authorization means for the cache
    #[arg(long, env = "FOREBAY_AUTHORIZATION", value_enum, default_value = "forbids")]
    pub(crate) authorization: Authorization,
    /// What a request's Cookie means for the cache
    #[arg(long, env = "FOREBAY_COOKIE", value_enum, default_value = "ignored")]
    pub(crate) cookie: Cookie,
}

/// The gate's: what requests carry is the filter's to look at.
impl Default for PrivacySettings {
    fn default() -> Self {
        Self { authorization: Authorization::Forbids, cookie: Cookie::Ignored }
    }
}

impl TrustSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if self.tenancy == Tenancy::Required && self.credentials_file.is_none() {
            return Err(wrong(
                CREDENTIALS_FILE,
                "is missing: with --tenancy required it says who may name tenants",
            ));
        }
        Ok(())
    }

    /// Reads the file of credentials.
    ///
    /// # Errors
    /// When it can't be read or used.
    pub(crate) fn trust(&self, privacy: &PrivacySettings) -> Result<Trust, SettingsError> {
        let credentials = self.credentials_file.as_ref().map(|path| {
            Credentials::read(path)
                .map_err(|error| wrong(CREDENTIALS_FILE, format!("{}: {error}", path.display())))
        });
        Ok(Trust {
            tenancy: self.tenancy,
            credentials: credentials.transpose()?.map(Arc::new),
            proxies: Arc::new(TrustedProxies::new(self.trusted_proxies.clone())),
            authorization: privacy.authorization,
            cookie: privacy.cookie,
        })
    }
}

impl PrivacySettings {
    pub(super) fn check(&self, trust: &TrustSettings) -> Result<(), SettingsError> {
        if self.authorization == Authorization::NamesTenant && trust.tenancy != Tenancy::Required {
            return Err(wrong("--authorization", "names-tenant needs --tenancy required"));
        }
        Ok(())
    }
}

/// An address, or a network as in 10.0.0.0/8.
fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(IpNet::from);
    text.parse()
        .ok()
        .or_else(address)
        .ok_or_else(|| "expected an address or a network, such as 10.0.0.0/8".to_owned())
}
