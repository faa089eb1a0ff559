//! `--fleet`: the servers of a service that are alive, as they say it of themselves, and a variant that is judged here -> does what is
//! found here hold for them all? Next: nothing is installed where it does not, and `report` tells of each class.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cache::live::fleet::{Replica, replicas};
use crate::engine::cpu::{Cpu, Difference};
use crate::settings::FleetSettings;

/// How long the pool may take to say which servers there are.
const PATIENCE: Duration = Duration::from_secs(10);

/// The servers of one service.
pub(crate) struct Fleet {
    service: String,
    classes: Vec<Class>,
}

/// Those of one class of processor.
struct Class {
    /// `None`: they are of a release that doesn't say it.
    cpu: Option<Cpu>,
    instances: Vec<String>,
}

impl Fleet {
    /// Asks which servers are alive, if that is wanted.
    ///
    /// # Errors
    /// The pool can't be asked, or there is none.
    pub(crate) fn read(settings: &FleetSettings) -> anyhow::Result<Option<Self>> {
        if !settings.fleet {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, replicas(&settings.tier, &settings.service)).await
        });
        let replicas =
            asked.with_context(|| format!("--fleet: the pool took longer than {PATIENCE:?}"))??;
        let service = settings.service.clone();
        ensure!(
            !replicas.is_empty(),
            "--fleet: no server of service '{service}' is alive: is --service its name, and the pool its pool?"
        );
        Ok(Some(Self::of(service, replicas)))
    }

    fn of(service: String, replicas: Vec<Replica>) -> Self {
        let mut classes: BTreeMap<Option<Cpu>, Vec<String>> = BTreeMap::new();
        for replica in replicas {
            classes.entry(replica.cpu).or_default().push(replica.instance);
        }
        let classes = classes.into_iter().map(|(cpu, instances)| Class { cpu, instances }).collect();
        Self { service, classes }
    }

    /// Whether what is judged on this machine does not hold for all.
    pub(crate) fn is_unlike_here(&self) -> bool {
        !self.fits(Cpu::here())
    }

    /// Whether what is judged on that processor holds for all.
    fn fits(&self, judged: &Cpu) -> bool {
        self.classes.iter().all(|class| class.why_not(judged).is_none())
    }

    /// Each class, and where to judge if not here.
    pub(crate) fn text(&self) -> String {
        self.told(Cpu::here())
    }

    fn told(&self, judged: &Cpu) -> String {
        let count: usize = self.classes.iter().map(|class| class.instances.len()).sum();
        let mut text = format!("{count} servers of service '{}' are alive\n", self.service);
        for class in &self.classes {
            let _ = writeln!(text, "  {}", class.text(judged));
        }
        if !self.fits(judged) {
            let _ = writeln!(text, "{}", self.advice());
        }
        text
    }

    /// Where to judge so that it holds for all, or what to do about it.
    fn advice(&self) -> String {
        let fitting = self.classes.iter().find(|class| class.cpu.as_ref().is_some_and(|cpu| self.fits(cpu)));
        match fitting {
            Some(class) => format!(
                "what is judged where {} runs holds for all of them: run this there",
                class.instances.first().map_or("one of the first", String::as_str)
            ),
            None => {
                "what is judged on no one of them holds for all: give the servers of a service one class of \
                     processor, or leave --fleet out and see --variant-elsewhere of serve"
                    .to_owned()
            }
        }
    }

    /// As it stands in the report.
    pub(crate) fn data(&self) -> serde_json::Value {
        let judged = Cpu::here();
        let of_class = |class: &Class| serde_json::json!({"cpu": class.cpu, "instances": class.instances, "unlike": class.why_not(judged)});
        let classes: Vec<_> = self.classes.iter().map(of_class).collect();
        serde_json::json!({"service": self.service, "classes": classes})
    }
}

impl Class {
    /// Why what was judged on that processor is not known to hold here.
    fn why_not(&self, judged: &Cpu) -> Option<String> {
        match &self.cpu {
            Some(cpu) => judged.differs_from(cpu).as_ref().map(Difference::to_string),
            None => Some("it is of a release that does not say what its processor can do".to_owned()),
        }
    }

    fn text(&self, judged: &Cpu) -> String {
        let cpu = self.cpu.as_ref().map_or("unknown".to_owned(), Cpu::to_string);
        let said = format!("{} ({cpu})", self.instances.join(", "));
        match self.why_not(judged) {
            None => format!("{said}: what is judged here holds there"),
            Some(why) => format!("{said}: what is judged here does not hold there: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(names: &str) -> Cpu {
        Cpu::named(names.split(' '))
    }

    fn fleet(classes: &[(&str, Option<&str>)]) -> Fleet {
        let replica = |(instance, names): &(&str, Option<&str>)| Replica {
            instance: (*instance).to_owned(),
            cpu: names.map(cpu),
        };
        Fleet::of("shop".to_owned(), classes.iter().map(replica).collect())
    }

    const AVX2: &str = "avx avx2 fma";
    const AVX512: &str = "avx avx2 fma avx512f";
    const VNNI: &str = "avx avx2 fma avx512f avx512_vnni";

    #[test]
    fn what_is_judged_on_a_class_holds_for_it_and_for_what_has_more() {
        let fleet = fleet(&[("a", Some(AVX2)), ("b", Some(AVX2)), ("c", Some(AVX512))]);
        assert!(fleet.fits(&cpu(AVX2)));
        let told = fleet.told(&cpu(AVX2));
        assert!(
            told.starts_with("3 servers of service 'shop' are alive\n  a, b (avx, avx2, fma): "),
            "{told}"
        );
        assert!(!told.contains("not hold"), "{told}");
    }

    #[test]
    fn where_it_would_hold_for_all_is_told_if_there_is_such_a_place() {
        let told = |classes: &[(&str, Option<&str>)], judged: &str| {
            let fleet = fleet(classes);
            assert!(!fleet.fits(&cpu(judged)));
            fleet.told(&cpu(judged))
        };
        let lower = told(&[("a", Some(AVX2)), ("b", Some(AVX512))], AVX512);
        assert!(lower.contains("a (avx, avx2, fma): what is judged here does not hold there"), "{lower}");
        assert!(lower.contains("judged where a runs holds for all"), "{lower}");
        let mixed = told(&[("a", Some(AVX2)), ("b", Some(VNNI))], AVX2);
        assert!(mixed.contains("16 bits") && mixed.contains("on no one of them holds for all"), "{mixed}");
        let silent = told(&[("a", Some(AVX2)), ("b", None)], AVX2);
        assert!(silent.contains("b (unknown)") && silent.contains("on no one of them"), "{silent}");
    }
}
