//! What a processor can do, as far as it changes what ONNX Runtime computes: the same 8-bit model gives other results where the
//! kernels that multiply bytes add up in 16 bits (measured: it agreed with its original in .833 of cases instead of .950). This
//! machine enters, a class leaves. Next: `models::variant` holds it against the class that a variant was judged on, and `live` says
//! it of each server.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// One thing that a processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flag {
    Avx,
    Avx2,
    Fma,
    Avx512f,
    Avx512Vnni,
    AvxVnni,
    Avx512Bf16,
    AmxInt8,
    AmxBf16,
    Asimddp,
    I8mm,
    Sve,
}

/// The flags of one processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cpu(pub(crate) BTreeSet<Flag>);

/// How products of bytes are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Integers {
    /// In 32 bits.
    Exact,
    /// On x86 without VNNI: two products in 16 bits, which saturate (VPMADDUBSW).
    Saturating,
}

/// Why what was judged on one processor is not known to hold on another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Difference {
    #[error("this one has no {lacking}")]
    Lacks { lacking: Cpu },
    #[error("its kernels add up products of bytes in {judged}, those of this one in {here}")]
    Integers { judged: Integers, here: Integers },
}

impl fmt::Display for Integers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "32 bits (VNNI)",
            Self::Saturating => "16 bits that saturate (no VNNI)",
        })
    }
}

impl Flag {
    const ALL: [Self; 12] = [
        Self::Avx,
        Self::Avx2,
        Self::Fma,
        Self::Avx512f,
        Self::Avx512Vnni,
        Self::AvxVnni,
        Self::Avx512Bf16,
        Self::AmxInt8,
        Self::AmxBf16,
        Self::Asimddp,
        Self::I8mm,
        Self::Sve,
    ];

    /// As `variant.json` and Linux have it.
    fn name(self) -> &'static str {
        match self {
            Self::Avx => "avx",
            Self::Avx2 => "avx2",
            Self::Fma => "fma",
            Self::Avx512f => "avx512f",
            Self::Avx512Vnni => "avx512_vnni",
            Self::AvxVnni => "avx_vnni",
            Self::Avx512Bf16 => "avx512_bf16",
            Self::AmxInt8 => "amx_int8",
            Self::AmxBf16 => "amx_bf16",
            Self::Asimddp => "asimddp",
            Self::I8mm => "i8mm",
            Self::Sve => "sve",
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.write_str(if names.is_empty() { "none of those known" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

static HERE: LazyLock<Cpu> = LazyLock::new(|| Cpu(detected()));

impl Cpu {
    /// Of the flags that are known here among those names.
    pub(crate) fn named<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self(names.filter_map(|name| Flag::ALL.into_iter().find(|flag| flag.name() == name)).collect())
    }

    /// The names of its flags.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|flag| flag.name())
    }

    /// This machine's.
    pub(crate) fn here() -> &'static Self {
        &HERE
    }

    /// By which kernels products of bytes are added up: what has one of the instructions for it has ONNX Runtime use it.
    pub(crate) fn integers(&self) -> Integers {
        const EXACT: [Flag; 6] =
            [Flag::Avx512Vnni, Flag::AvxVnni, Flag::AmxInt8, Flag::Asimddp, Flag::I8mm, Flag::Sve];
        if EXACT.iter().any(|flag| self.0.contains(flag)) { Integers::Exact } else { Integers::Saturating }
    }

    /// Why what was judged on this processor says nothing of `here`: it lacks something, or multiplies bytes in another way, be it a
    /// better one. That it has more otherwise changes the last bits of floats alone.
    pub(crate) fn differs_from(&self, here: &Self) -> Option<Difference> {
        let lacking = Self(self.0.difference(&here.0).copied().collect());
        let (judged, integers) = (self.integers(), here.integers());
        if judged != integers {
            return Some(Difference::Integers { judged, here: integers });
        }
        (!lacking.0.is_empty()).then_some(Difference::Lacks { lacking })
    }
}

#[cfg(target_arch = "x86_64")]
fn detected() -> BTreeSet<Flag> {
    use std::arch::is_x86_feature_detected as has;

    let found = [
        (Flag::Avx, has!("avx")),
        (Flag::Avx2, has!("avx2")),
        (Flag::Fma, has!("fma")),
        (Flag::Avx512f, has!("avx512f")),
        (Flag::Avx512Vnni, has!("avx512vnni")),
        (Flag::AvxVnni, has!("avxvnni")),
        (Flag::Avx512Bf16, has!("avx512bf16")),
        // The standard library tells these only to unstable programs; Linux does it by the same names as we.
        (Flag::AmxInt8, told_by_linux("amx_int8")),
        (Flag::AmxBf16, told_by_linux("amx_bf16")),
    ];
    found.into_iter().filter(|(_, has)| *has).map(|(flag, _)| flag).collect()
}

#[cfg(target_arch = "x86_64")]
fn told_by_linux(name: &str) -> bool {
    let all = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = all.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_ascii_whitespace().any(|flag| flag == name))
}

#[cfg(target_arch = "aarch64")]
fn detected() -> BTreeSet<Flag> {
    use std::arch::is_aarch64_feature_detected as has;

    let found = [(Flag::Asimddp, has!("dotprod")), (Flag::I8mm, has!("i8mm")), (Flag::Sve, has!("sve"))];
    found.into_iter().filter(|(_, has)| *has).map(|(flag, _)| flag).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> BTreeSet<Flag> {
    BTreeSet::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(names: &str) -> Cpu {
        let names: Vec<&str> = names.split_whitespace().collect();
        serde_json::from_value(serde_json::json!(names)).unwrap()
    }

    #[test]
    fn flags_are_named_as_linux_names_them() {
        let all = "avx avx2 fma avx512f avx512_vnni avx_vnni avx512_bf16 amx_int8 amx_bf16 asimddp i8mm sve";
        let known = cpu(all);
        assert_eq!(known.0.len(), 12);
        assert_eq!(known.to_string(), all.replace(' ', ", "));
        assert_eq!(Cpu::named(all.split(' ').chain(["mmx"])), known);
        assert!(serde_json::from_str::<Cpu>(r#"["mmx"]"#).is_err());
    }

    #[test]
    fn another_way_to_add_up_bytes_is_another_class_in_either_direction() {
        let (avx2, vnni) = (cpu("avx avx2 fma"), cpu("avx avx2 fma avx512f avx512_vnni"));
        for (judged, here) in [(&avx2, &vnni), (&vnni, &avx2)] {
            let difference = judged.differs_from(here).unwrap();
            assert!(matches!(difference, Difference::Integers { .. }), "{difference}");
        }
        assert_eq!(vnni.differs_from(&cpu("avx avx2 fma avx512f avx512_vnni amx_int8")), None);
    }

    #[test]
    fn what_is_lacking_is_named_and_what_is_more_is_no_matter() {
        let (avx2, avx512) = (cpu("avx avx2 fma"), cpu("avx avx2 fma avx512f"));
        assert_eq!(avx2.differs_from(&avx512), None);
        let said = avx512.differs_from(&avx2).unwrap().to_string();
        assert_eq!(said, "this one has no avx512f");
        assert!(cpu("asimddp").differs_from(&avx512).is_some(), "another architecture");
    }

    #[test]
    fn this_machine_is_of_its_own_class() {
        assert_eq!(Cpu::here().differs_from(Cpu::here()), None);
    }
}
