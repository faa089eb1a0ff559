//! What every Containerfile keeps to: its text and its arguments enter; the text with arguments filled in, or all that is wrong with
//! it, leaves. Next a builder reads the file.

use anyhow::{Result, bail};

/// Who runs in an image, as the chart has it.
const USER: &str = "65532:65532";

/// Fills the arguments in and checks what comes out. `runs`: is there a program in it?
///
/// # Errors
/// All that is wrong, a line each.
pub(super) fn rendered(text: &str, arguments: &[(&str, &str)], runs: bool) -> Result<String> {
    let mut text = text.to_owned();
    for (name, value) in arguments {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    let wrong = wrong(&text, runs);
    if wrong.is_empty() { Ok(text) } else { bail!("{}", wrong.join("\n")) }
}

fn wrong(text: &str, runs: bool) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let steps: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(' ')).map(|(word, rest)| (word, rest.trim())).collect();
    let mut wrong = Vec::new();
    let mut said = |what: String| wrong.push(what);
    for (word, rest) in &steps {
        match *word {
            "FROM" if *rest != "scratch" && !is_pinned(rest) => {
                said(format!("FROM {rest}: a base is scratch, or named by digest as in NAME:TAG@sha256:…"));
            }
            "ADD" => said(format!("ADD {rest}: it may fetch or unpack; COPY does neither")),
            "RUN" => said(format!(
                "RUN {rest}: what it makes differs from day to day; files are laid out beforehand"
            )),
            "ENTRYPOINT" | "CMD" if !rest.starts_with('[') => {
                said(format!(
                    "{word} {rest}: that is run by a shell, of which there is none; write it as [\"…\"]"
                ));
            }
            "ENV" if rest.to_lowercase().contains("password") => {
                said(format!("ENV {rest}: no secrets in images"));
            }
            "FROM" | "ENTRYPOINT" | "CMD" | "ENV" | "COPY" | "USER" | "EXPOSE" | "ARG" => {}
            _ => said(format!("{word}: no image of ours needs it")),
        }
    }
    let last = |wanted: &str| steps.iter().rev().find(|(word, _)| *word == wanted).map(|(_, rest)| *rest);
    if last("FROM").is_none() {
        wrong.push("there is no FROM".to_owned());
    }
    if runs && last("USER") != Some(USER) {
        wrong.push(format!("the last USER is {}, not {USER}", last("USER").unwrap_or("root")));
    }
    if runs && last("ENTRYPOINT").is_none() {
        wrong.push("there is no ENTRYPOINT".to_owned());
    }
    wrong
}

/// Is it an image's name with a digest?
pub(super) fn is_pinned(image: &str) -> bool {
    let digest = image.split_once("@sha256:").map(|(name, digest)| (!name.is_empty(), digest));
    digest.is_some_and(|(named, hex)| {
        named && hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# why\nFROM scratch\nCOPY root/ /\nUSER 65532:65532\nENTRYPOINT [\"/usr/bin/x\"]\n";

    #[test]
    fn what_may_differ_or_is_unsafe_is_refused_with_what_would_be_right() {
        assert_eq!(rendered(GOOD, &[], true).unwrap(), GOOD);
        let cases = [
            ("FROM scratch", "FROM debian:12", "by digest"),
            ("FROM scratch", "FROM debian@sha256:12", "by digest"),
            ("FROM scratch\n", "", "no FROM"),
            ("COPY root/ /", "ADD https://x /", "COPY"),
            ("COPY root/ /", "RUN apt-get update", "laid out"),
            ("USER 65532:65532\n", "", "root"),
            ("USER 65532:65532", "USER 0", "not 65532:65532"),
            ("ENTRYPOINT [\"/usr/bin/x\"]", "ENTRYPOINT /usr/bin/x", "shell"),
            ("ENTRYPOINT [\"/usr/bin/x\"]\n", "", "no ENTRYPOINT"),
            ("COPY root/ /", "ENV REDIS_PASSWORD=x", "secrets"),
            ("COPY root/ /", "VOLUME /models", "VOLUME"),
        ];
        for (good, bad, right) in cases {
            let error = rendered(&GOOD.replace(good, bad), &[], true).unwrap_err().to_string();
            assert!(error.contains(right), "{bad}: {error}");
        }
    }

    #[test]
    fn the_gpu_images_base_is_named_by_digest() {
        let file = crate::layout::Layout::find().unwrap().root.join("k8s/images/serve-gpu.Containerfile");
        let text = std::fs::read_to_string(file).unwrap();
        let base = format!("nvcr.io/nvidia/tensorrt:1@sha256:{}", "ab".repeat(32));
        let filled = rendered(&text, &[("TENSORRT_BASE", &base)], true).unwrap();
        assert!(filled.contains(&format!("\nFROM {base}\n")), "{filled}");
        let error = rendered(&text, &[("TENSORRT_BASE", "nvcr.io/nvidia/tensorrt:1")], true).unwrap_err();
        assert!(error.to_string().contains("by digest"), "{error}");
    }
}
