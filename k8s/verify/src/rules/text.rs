//! The forms that Kubernetes asks of names and other texts. A text enters; what would be right leaves where it is not.

/// What is wrong with a text, and what would be right.
pub(crate) type Wrong = Option<(String, &'static str)>;

const LABEL: &str = "lower-case letters, digits and '-', with a letter or digit first and last, at most 63";
const SUBDOMAIN: &str = "lower-case letters, digits, '-' and '.', with a letter or digit first and last in each part, at most 253";

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// A label of DNS, as containers, volumes, Services and namespaces are called.
pub(crate) fn label(text: &str) -> Wrong {
    (!is_label(text)).then(|| (format!("\"{text}\" is no DNS label"), LABEL))
}

/// As [`label`], and beginning with a letter: what Services were until Kubernetes 1.36.
pub(crate) fn old_label(text: &str) -> Wrong {
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    label(text).or_else(|| {
        digit.then(|| {
            (format!("\"{text}\" begins with a digit"), "a letter first: API servers before 1.36 ask for one")
        })
    })
}

/// A name of DNS, as most objects are called.
pub(crate) fn subdomain(text: &str) -> Wrong {
    (!is_subdomain(text)).then(|| (format!("\"{text}\" is no DNS name"), SUBDOMAIN))
}

/// As [`subdomain`], with `*.` before it or not.
pub(crate) fn host(text: &str) -> Wrong {
    subdomain(text.strip_prefix("*.").unwrap_or(text))
}

/// What can be one part of a URL's path, as roles are called.
pub(crate) fn segment(text: &str) -> Wrong {
    let wrong = text == "." || text == ".." || text.contains(['/', '%']);
    wrong.then(|| (format!("\"{text}\" can't be part of a path"), "no '/' and no '%', and not '.' or '..'"))
}

fn is_short_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| end(c) || matches!(c, '-' | '_' | '.');
    !text.is_empty()
        && text.len() <= 63
        && text.chars().all(inner)
        && text.starts_with(end)
        && text.ends_with(end)
}

/// A label's or annotation's key: a name with a prefix that is a DNS name, or without.
pub(crate) fn key(text: &str) -> Wrong {
    let right = match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_short_name(name),
        None => is_short_name(text),
    };
    (!right).then(|| {
        let right = "[prefix/]name, the name of letters, digits, '-', '_' and '.', a letter or digit first and last, at most \
                     63, the prefix a DNS name";
        (format!("\"{text}\" is no key of a label"), right)
    })
}

/// A label's value.
pub(crate) fn label_value(text: &str) -> Wrong {
    (!text.is_empty() && !is_short_name(text)).then(|| {
        let right = "letters, digits, '-', '_' and '.', a letter or digit first and last, at most 63";
        (format!("\"{text}\" is no label value"), right)
    })
}

/// A key of a Secret or a `ConfigMap`.
pub(crate) fn file_key(text: &str) -> Wrong {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let right = !text.is_empty()
        && text.len() <= 253
        && text.chars().all(inner)
        && text != "."
        && !text.starts_with("..");
    (!right)
        .then(|| (format!("\"{text}\" is no key of data"), "letters, digits, '-', '_' and '.', at most 253"))
}

/// A variable's name: what may be in one since Kubernetes 1.34.
pub(crate) fn variable(text: &str) -> Wrong {
    let right = !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != '=');
    (!right).then(|| (format!("\"{text}\" is no name of a variable"), "printable ASCII without '='"))
}

/// A port's name.
pub(crate) fn port_name(text: &str) -> Wrong {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let right = !text.is_empty()
        && text.len() <= 15
        && text.chars().all(inner)
        && text.chars().any(|c| c.is_ascii_lowercase())
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-');
    (!right).then(|| {
        let right = "at most 15 lower-case letters, digits and single '-', one letter at least";
        (format!("\"{text}\" is no name of a port"), right)
    })
}

/// A path inside a volume: relative, without steps upwards.
pub(crate) fn inner_path(text: &str) -> Wrong {
    if text.starts_with('/') {
        Some((format!("\"{text}\" is an absolute path"), "a relative one"))
    } else {
        text.split('/')
            .any(|part| part == "..")
            .then(|| (format!("\"{text}\" steps upwards"), "a path without '..'"))
    }
}

/// A file of a volume: as [`inner_path`], and not beginning with `..`.
pub(crate) fn inner_file(text: &str) -> Wrong {
    inner_path(text)
        .or_else(|| text.starts_with("..").then(|| (format!("\"{text}\" begins with '..'"), "another name")))
}

/// An IP address without leading zeros.
pub(crate) fn address(text: &str) -> Wrong {
    text.parse::<std::net::IpAddr>()
        .is_err()
        .then(|| (format!("\"{text}\" is no IP address"), "as 10.0.0.1 or fd00::1"))
}

/// A header's name.
pub(crate) fn header(text: &str) -> Wrong {
    let right = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (!right).then(|| (format!("\"{text}\" is no name of a header"), "letters, digits and '-'"))
}

/// A network, as 10.0.0.0/8.
pub(crate) fn network(text: &str) -> Wrong {
    Network::parse(text)
        .is_none()
        .then(|| (format!("\"{text}\" is no network"), "an address and a prefix, as 10.0.0.0/8"))
}

/// A network: an address and the length of its prefix.
pub(crate) struct Network {
    bits: u128,
    prefix: u32,
    width: u32,
}

impl Network {
    /// An address and a prefix, if a text is that.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: std::net::IpAddr = address.parse().ok()?;
        let (bits, width) = match address {
            std::net::IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            std::net::IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= width)?;
        Some(Self { bits, prefix, width })
    }

    /// Whether all of another lies in this, and it is smaller.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        let shift = self.width - self.prefix;
        let above = |bits: u128| bits.checked_shr(shift).unwrap_or(0);
        self.width == other.width && self.prefix < other.prefix && above(self.bits) == above(other.bits)
    }
}

/// A number of pods, or a percentage of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// So many.
    Count(i64),
    /// So many of a hundred.
    Percent(i64),
}

impl Share {
    /// A number that is not negative, or a percentage, if a value is that.
    pub(crate) fn read(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Number(number) => {
                number.as_i64().filter(|count| (0..=i64::from(i32::MAX)).contains(count)).map(Self::Count)
            }
            serde_json::Value::String(text) => {
                let digits =
                    text.strip_suffix('%').filter(|digits| digits.chars().all(|c| c.is_ascii_digit()));
                digits.and_then(|digits| digits.parse().ok()).map(Self::Percent)
            }
            _ => None,
        }
    }

    /// Zero, in either form.
    pub(crate) fn is_zero(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }

    /// So many of a number of replicas, rounded up.
    pub(crate) fn of_rounded_up(self, replicas: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (replicas * percent + 99) / 100,
        }
    }

    /// So many of a number of replicas, rounded down.
    pub(crate) fn of_rounded_down(self, replicas: i64) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => replicas * percent / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_as_an_api_server_checks_them() {
        assert!(
            label("a-b1").is_none()
                && label("A").is_some()
                && label("a.b").is_some()
                && label(&"a".repeat(64)).is_some()
        );
        assert!(subdomain("a.b-c").is_none() && subdomain("a..b").is_some() && subdomain("a_b").is_some());
        assert!(
            key("app.kubernetes.io/name").is_none()
                && key("a/b/c").is_some()
                && key("-a").is_some()
                && key("/a").is_some()
        );
        assert!(label_value("").is_none() && label_value("a b").is_some());
        assert!(
            port_name("http2-x").is_none()
                && port_name("8080").is_some()
                && port_name("averyverylongname").is_some()
        );
        assert!(file_key("a.b_c").is_none() && file_key("a/b").is_some() && file_key("..a").is_some());
        let network = |text| Network::parse(text).unwrap();
        assert!(network("10.0.0.0/8").holds(&network("10.1.0.0/16")));
        assert!(
            !network("10.0.0.0/8").holds(&network("11.0.0.0/16"))
                && !network("0.0.0.0/0").holds(&network("::/64"))
        );
        assert!(
            network("0.0.0.0/0").holds(&network("169.254.169.254/32"))
                && network("::/0").holds(&network("fd00::/8"))
        );
    }
}
