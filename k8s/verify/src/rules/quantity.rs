//! Amounts as Kubernetes writes them: `100m`, `1.5`, `2Gi`, `1e3`. A text enters, an exact amount in billionths leaves.

/// An amount, in billionths of one: the smallest that Kubernetes can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// One.
    pub(crate) const ONE: Self = Self(NANO);
    /// Nothing.
    pub(crate) const ZERO: Self = Self(0);

    /// # Errors
    ///
    /// What would be an amount.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no amount: write a number with one of the suffixes m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or none"
            )
        };
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let digits = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(wrong());
        }
        let (multiplier, divisor) = scale(suffix).ok_or_else(wrong)?;
        let too_large = || format!("\"{text}\" is too large for an amount");
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
        let places = u32::try_from(fraction.len().min(18)).unwrap_or(18);
        let parts: i128 = if fraction.is_empty() {
            0
        } else {
            fraction[..places as usize].parse().map_err(|_| too_large())?
        };
        let unit = multiplier.checked_mul(NANO).ok_or_else(too_large)?;
        let amount = whole
            .checked_mul(unit)
            .and_then(|amount| parts.checked_mul(unit).map(|parts| amount + parts / 10_i128.pow(places)))
            .ok_or_else(too_large)?
            / divisor;
        Ok(Self(if text.starts_with('-') { -amount } else { amount }))
    }

    /// A whole number.
    pub(crate) fn is_whole(self) -> bool {
        self.0 % NANO == 0
    }

    /// So many times this.
    pub(crate) fn times(self, count: i64) -> Self {
        Self(self.0.saturating_mul(i128::from(count)))
    }

    /// This and another.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Without a remainder by another.
    pub(crate) fn is_multiple_of(self, other: Self) -> bool {
        other.0 != 0 && self.0 % other.0 == 0
    }

    /// The whole part.
    pub(crate) fn whole(self) -> i64 {
        i64::try_from(self.0 / NANO).unwrap_or(i64::MAX)
    }

    /// As cores are said: in thousandths where it is not whole.
    pub(crate) fn as_cores(self) -> String {
        if self.is_whole() { self.whole().to_string() } else { format!("{}m", self.0 / (NANO / 1000)) }
    }

    /// As memory is said: in Mi where it is whole in them.
    pub(crate) fn as_bytes(self) -> String {
        let mebi = NANO << 20;
        if self.0 % mebi == 0 { format!("{}Mi", self.0 / mebi) } else { self.whole().to_string() }
    }
}

/// By what a suffix multiplies and divides.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANO, 1),
        "T" => (1000 * NANO, 1),
        "P" => (1_000_000 * NANO, 1),
        "E" => (NANO * NANO, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|power| *power <= NANO * NANO)?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_as_kubernetes_reads_them() {
        let read = |text| Quantity::parse(text).unwrap();
        assert_eq!(read("1000m"), Quantity::ONE);
        assert_eq!(read("1.5Gi"), read("1536Mi"));
        assert_eq!(read("1e3"), read("1k"));
        assert_eq!(read("0.1"), read("100m"));
        assert_eq!(read("1E"), read("1000P"));
        assert!(read("-1") < Quantity::ZERO);
        for wrong in ["", "1 Gi", "1GB", "Gi", "1gi", "1K", "1.2.3", "0x10", "1,5", "128MB"] {
            assert!(Quantity::parse(wrong).is_err(), "{wrong}");
        }
    }
}
