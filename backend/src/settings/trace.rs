//! `--trace-config`, as Triton has it -> what is traced at the start, and where spans go. Next: `observe::trace` traces by it.

use std::time::Duration;

use clap::Args;

use super::{SettingsError, wrong};

const FLAG: &str = "--trace-config";

/// Which requests are traced until a client says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// `TIMESTAMPS`; else `OFF`.
    pub(crate) is_on: bool,
    /// Each so many-th request; 0: only those that come with a trace of their client's.
    pub(crate) rate: u64,
    /// Traces that are left to be made; below 0 without end.
    pub(crate) count: i64,
}

/// As Triton has it (`docs/user_guide/trace.md`, "Global Settings").
impl Default for Sampling {
    fn default() -> Self {
        Self { is_on: false, rate: 1000, count: -1 }
    }
}

/// Where spans go, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Export {
    /// OTLP over HTTP; `None`: what `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` says, else the collector of
    /// this host.
    pub(crate) url: Option<String>,
    /// Attributes of the process; those of `OTEL_RESOURCE_ATTRIBUTES` are there too.
    pub(crate) resource: Vec<(String, String)>,
    /// Spans that may wait to be sent; past it they are lost.
    pub(crate) max_queue: usize,
    /// How long they wait at most.
    pub(crate) delay: Duration,
    /// Spans of one message.
    pub(crate) max_batch: usize,
}

/// As Triton has it (the same page, "OpenTelemetry trace APIs settings"), and OpenTelemetry's specification.
impl Default for Export {
    fn default() -> Self {
        Self {
            url: None,
            resource: Vec::new(),
            max_queue: 2048,
            delay: Duration::from_secs(5),
            max_batch: 512,
        }
    }
}

/// What is traced.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct TraceConfig {
    pub(crate) sampling: Sampling,
    /// `None`: nothing is ever traced.
    pub(crate) export: Option<Export>,
}

/// How requests are traced.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct TraceSettings {
    /// Triton's flag, repeated for each setting: mode=opentelemetry, level=TIMESTAMPS or OFF, rate=N (each N-th request [default:
    /// 1000]; 0 for those alone that come with a sampled traceparent, which are traced in any case), count=N (-1 for all), and
    /// opentelemetry,url=URL of a collector (OTLP over HTTP [default: <http://localhost:4318/v1/traces>]),
    /// opentelemetry,resource=KEY=VALUE, and `opentelemetry,bsp_...` (the variable takes lines)
    #[arg(
        long = "trace-config",
        env = "FOREBAY_TRACE_CONFIG",
        value_delimiter = '\n',
        value_name = "[MODE,]SETTING=VALUE"
    )]
    trace_config: Vec<String>,
}

impl TraceSettings {
    /// What is traced.
    ///
    /// # Errors
    /// `Wrong` for a setting that isn't served, or a value that it can't have.
    pub(crate) fn config(&self) -> Result<TraceConfig, SettingsError> {
        let settings = || self.trace_config.iter().map(|it| it.trim()).filter(|it| !it.is_empty());
        if settings().next().is_none() {
            return Ok(TraceConfig::default());
        }
        let mut said = Said::default();
        for setting in settings() {
            said.take(setting).map_err(|reason| wrong(FLAG, format!("{setting:?}: {reason}")))?;
        }
        let Said { is_opentelemetry, sampling, export } = said;
        if !is_opentelemetry {
            return Err(wrong(FLAG, "traces go to a collector alone: say mode=opentelemetry too"));
        }
        if export.max_batch > export.max_queue {
            return Err(wrong(FLAG, "bsp_max_export_batch_size must not be larger than bsp_max_queue_size"));
        }
        Ok(TraceConfig { sampling, export: Some(export) })
    }
}

/// What was said so far.
#[derive(Default)]
struct Said {
    is_opentelemetry: bool,
    sampling: Sampling,
    export: Export,
}

impl Said {
    fn take(&mut self, setting: &str) -> Result<(), String> {
        let (name, value) = setting.split_once('=').ok_or("SETTING=VALUE is expected")?;
        let Self { is_opentelemetry, sampling, export } = self;
        match name {
            "mode" => match value {
                "opentelemetry" => *is_opentelemetry = true,
                _ => return Err("opentelemetry is the only mode; no files of traces are written".into()),
            },
            "level" => sampling.is_on = level(value)?,
            "rate" => sampling.rate = number(value)?,
            "count" => sampling.count = value.parse().map_err(|_| "a whole number is expected")?,
            "opentelemetry,url" if is_url(value) => export.url = Some(value.to_owned()),
            "opentelemetry,url" => return Err("http://HOST:PORT/PATH is expected".into()),
            "opentelemetry,resource" => {
                let (key, value) = value.split_once('=').ok_or("resource=KEY=VALUE is expected")?;
                export.resource.push((key.to_owned(), value.to_owned()));
            }
            "opentelemetry,bsp_max_queue_size" => export.max_queue = positive(value)?,
            "opentelemetry,bsp_schedule_delay" => export.delay = Duration::from_millis(number(value)?),
            "opentelemetry,bsp_max_export_batch_size" => export.max_batch = positive(value)?,
            _ => return Err("there is no such setting; --help names them".into()),
        }
        Ok(())
    }
}

/// Whether that level traces.
pub(crate) fn level(value: &str) -> Result<bool, String> {
    match value {
        "TIMESTAMPS" => Ok(true),
        "OFF" => Ok(false),
        _ => Err("TIMESTAMPS or OFF is expected".into()),
    }
}

fn is_url(value: &str) -> bool {
    value.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn number(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| "a whole number from 0 on is expected".to_owned())
}

fn positive(value: &str) -> Result<usize, String> {
    value
        .parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "a whole number from 1 on is expected".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(said: &[&str]) -> Result<TraceConfig, String> {
        let trace_config = said.iter().map(ToString::to_string).collect();
        TraceSettings { trace_config }.config().map_err(|error| error.to_string())
    }

    #[test]
    fn what_triton_is_told_is_understood() {
        assert_eq!(config(&[]).unwrap(), TraceConfig::default());
        let told = config(&[
            "mode=opentelemetry",
            "level=TIMESTAMPS",
            "rate=0",
            "count=100",
            "opentelemetry,url=http://collector:4318/v1/traces",
            "opentelemetry,resource=service.name=shop",
            "opentelemetry,bsp_max_queue_size=4096",
            "opentelemetry,bsp_schedule_delay=250",
            "opentelemetry,bsp_max_export_batch_size=64",
        ]);
        let export = Export {
            url: Some("http://collector:4318/v1/traces".into()),
            resource: vec![("service.name".into(), "shop".into())],
            max_queue: 4096,
            delay: Duration::from_millis(250),
            max_batch: 64,
        };
        let sampling = Sampling { is_on: true, rate: 0, count: 100 };
        assert_eq!(told.unwrap(), TraceConfig { sampling, export: Some(export) });
    }

    #[test]
    fn what_is_not_served_is_refused_and_said() {
        for (said, reason) in [
            (vec!["mode=triton"], "no files of traces are written"),
            (vec!["level=TIMESTAMPS"], "say mode=opentelemetry too"),
            (vec!["mode=opentelemetry", "level=TENSORS"], "TIMESTAMPS or OFF"),
            (vec!["mode=opentelemetry", "rate=-1"], "a whole number from 0 on"),
            (vec!["mode=opentelemetry", "triton,file=/tmp/trace.json"], "no such setting"),
            (vec!["mode=opentelemetry", "opentelemetry,url=collector:4318"], "http://HOST:PORT/PATH"),
            (vec!["mode=opentelemetry", "opentelemetry,bsp_max_queue_size=0"], "from 1 on"),
            (vec!["mode=opentelemetry", "opentelemetry,bsp_max_queue_size=9"], "must not be larger"),
            (vec!["mode"], "SETTING=VALUE"),
        ] {
            let refused = config(&said).unwrap_err();
            assert!(refused.contains(reason), "{said:?}: {refused}");
        }
    }
}
