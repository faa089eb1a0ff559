//! The models of the table: how `forebay optimize` is asked of each, and what is to be reached of it on a processor with VNNI.

/// A model that tests/optimize-table/models makes.
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// What it is asked, for a reader.
    pub(super) data: &'static str,
    /// The array of the samples with each item's label.
    pub(super) labels: Option<&'static str>,
    /// The array that says which items belong together.
    pub(super) groups: Option<&'static str>,
    pub(super) metric: Metric,
    /// The rest of the command line.
    pub(super) flags: &'static [&'static str],
    /// Smaller, faster, and what may be lost.
    pub(super) mark: &'static str,
}

/// By what it is judged.
pub(super) enum Metric {
    /// One that `forebay optimize` has.
    Own(&'static str),
    /// A script of tests/optimize-table/metrics.
    Script(&'static str),
}

impl Metric {
    /// As the table has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Own(name) | Self::Script(name) => name,
        }
    }
}

/// All of them; those that take least first.
pub(crate) const MODELS: [Model; 10] = [
    Model {
        name: "mlp",
        data: "digits of scikit-learn",
        labels: Some("digit"),
        groups: None,
        metric: Metric::Own("top1"),
        flags: &["--max-loss=0.5", "--prefer=size"],
        mark: "3.8x, 1.35x",
    },
    Model {
        name: "rf",
        data: "digits of scikit-learn",
        labels: Some("digit"),
        groups: None,
        metric: Metric::Own("top1"),
        flags: &["--max-loss=1", "--prefer=throughput"],
        mark: "5x, 5x at batch 8",
    },
    Model {
        name: "gb",
        data: "digits of scikit-learn",
        labels: Some("digit"),
        groups: None,
        metric: Metric::Own("top1"),
        flags: &["--max-loss=1", "--prefer=throughput"],
        mark: "none",
    },
    Model {
        name: "magika",
        data: "files of locked packages, 29 types",
        labels: Some("type"),
        groups: None,
        metric: Metric::Own("top1"),
        flags: &["--max-loss=0.5"],
        mark: "3.5x, 2.8x, 0.5 points",
    },
    Model {
        name: "cls",
        data: "lines in Debian's fonts, half upside down",
        labels: Some("turned"),
        groups: None,
        metric: Metric::Own("top1"),
        flags: &["--max-loss=0.5", "--prefer=size"],
        mark: "INT8 refused; FP16 storage 1.8x, 1x",
    },
    Model {
        name: "vad",
        data: "frames of speech in noise, 22 recordings",
        labels: Some("speech"),
        groups: Some("track"),
        metric: Metric::Own("auc"),
        flags: &["--max-loss=0.1", "--output=output"],
        mark: "2.2x, 1.3x, 0.1 points",
    },
    Model {
        name: "rec",
        data: "lines in Debian's fonts",
        labels: Some("line"),
        groups: None,
        metric: Metric::Script("letters.py"),
        flags: &["--max-loss=0.1"],
        mark: "3.2x, 1.6x, not worse",
    },
    Model {
        name: "det",
        data: "pages in Debian's fonts",
        labels: Some("page"),
        groups: None,
        metric: Metric::Script("lines.py"),
        flags: &["--max-loss=0.35"],
        mark: "3.4x, 1.25x, the same",
    },
    Model {
        name: "nsfw",
        data: "parts of photos, 16 landscapes",
        labels: None,
        groups: Some("photo"),
        metric: Metric::Own("error"),
        flags: &["--max-loss=2"],
        mark: "3.7x, 2.8x",
    },
    Model {
        name: "minilm",
        data: "docstrings of packages",
        labels: Some("text"),
        groups: Some("pair"),
        metric: Metric::Script("first.py"),
        flags: &["--max-loss=0.5"],
        mark: "3.8x, 1.9x, 0.5 points",
    },
];
