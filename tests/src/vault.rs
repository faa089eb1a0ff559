//! Vault, which is `bao` here: a server of a test's own with Kubernetes' way to prove who one is, and agents of it. Who has which token
//! enters, as the API server would say it; files with secrets leave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rig::authority::Authority;
use rig::installed::{checkout, installed};
use rig::process::{Process, free_port, printed, until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tokens of service accounts, and whose they are.
type Accounts = BTreeMap<String, String>;

/// A server that runs, and what it needs.
pub struct Vault {
    _process: Process,
    folder: TempDir,
    address: String,
    root: String,
    accounts: Arc<Accounts>,
    /// A port where token reviews are answered.
    reviews: u16,
}

impl Vault {
    /// Starts one, which `k8s/secrets/vault/configure` sets up for that environment and namespace. `accounts` of that namespace get a token
    /// each.
    ///
    /// # Panics
    /// It does not start: `bao` is missing, perhaps.
    pub fn start(environment: &str, namespace: &str, accounts: &[&str]) -> Self {
        let (folder, port) = (TempDir::new().expect("a folder"), free_port());
        let authority = Authority::new();
        authority.write(folder.path());
        authority.sign(None).write(folder.path(), "vault");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n address = \"127.0.0.1:{port}\"\n tls_cert_file = \"{}\"\n \
             tls_key_file = \"{}\"\n}}\napi_addr = \"https://localhost:{port}\"\n",
            path("vault.pem"),
            path("vault.key"),
        );
        fs::write(path("vault.hcl"), config).expect("its configuration");
        let mut command = Command::new(installed("bin/bao"));
        command.args(["server", "-config"]).arg(path("vault.hcl"));
        let mut process = Process::start("vault", command);
        process.until_line(|line| line.contains("server started!").then_some(()));
        let tokens: Accounts =
            accounts.iter().map(|account| (token(namespace, account), (*account).to_owned())).collect();
        let accounts = Arc::new(tokens);
        let reviews = review(namespace, accounts.clone());
        let mut vault = Self {
            _process: process,
            address: format!("https://localhost:{port}"),
            root: String::new(),
            accounts,
            reviews,
            folder,
        };
        let begun: Value = serde_json::from_str(&vault.told(&[
            "operator",
            "init",
            "-key-shares=1",
            "-key-threshold=1",
            "-format=json",
        ]))
        .expect("what init prints");
        vault.told(&["operator", "unseal", begun["unseal_keys_b64"][0].as_str().expect("a key")]);
        begun["root_token"].as_str().expect("a token").clone_into(&mut vault.root);
        until("it is unsealed", || vault.ask(&vault.root, &["status"]).status.success().then_some(()));
        vault.configure(environment, namespace);
        vault
    }

    fn configure(&self, environment: &str, namespace: &str) {
        let mut configure = self.command(&self.root, checkout().join("k8s/secrets/vault/configure"));
        configure.args([environment, namespace]).env("VAULT", installed("bin/bao"));
        configure.env("KUBERNETES_HOST", format!("http://127.0.0.1:{}", self.reviews));
        let reviewer = self.folder.path().join("reviewer");
        fs::write(&reviewer, token("vault", "vault")).expect("the reviewer's token");
        printed(
            configure.env("REVIEWER_TOKEN", reviewer).env("KUBERNETES_CA", self.folder.path().join("ca.pem")),
        );
    }

    fn command(&self, token: &str, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.env("BAO_ADDR", &self.address).env("BAO_CACERT", self.folder.path().join("ca.pem"));
        command.env("BAO_TOKEN", token).env("HOME", self.folder.path());
        command
    }

    /// Runs `bao` as the holder of that token.
    ///
    /// # Panics
    /// It can't be started.
    pub fn ask(&self, token: &str, arguments: &[&str]) -> Output {
        self.command(token, installed("bin/bao")).args(arguments).output().expect("bao runs")
    }

    /// Runs `bao` as who may do all; what it printed.
    pub fn told(&self, arguments: &[&str]) -> String {
        printed(self.command(&self.root, installed("bin/bao")).args(arguments))
    }

    /// Keeps values in the engine's place of that name.
    ///
    /// # Panics
    /// They can't be kept.
    pub fn put(&self, place: &str, values: &Value) {
        let file = self.folder.path().join("values.json");
        fs::write(&file, values.to_string()).expect("the values");
        self.told(&["kv", "put", "-mount=secret", place, &format!("@{}", file.display())]);
    }

    /// The token of a service account, as Kubernetes would mount it.
    ///
    /// # Panics
    /// There is no such account.
    pub fn account(&self, name: &str) -> &str {
        self.accounts
            .iter()
            .find(|(_, account)| *account == name)
            .map(|(token, _)| token.as_str())
            .expect("an account")
    }

    /// What Vault gives that account in that role: a token, or why not.
    ///
    /// # Errors
    /// Vault's reason.
    pub fn login(&self, role: &str, account: &str) -> Result<String, String> {
        let jwt = format!("jwt={}", self.account(account));
        let done =
            self.ask("", &["write", "-field=token", "auth/kubernetes/login", &format!("role={role}"), &jwt]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// An agent of that account, which keeps these files (a name and a template each) in a folder.
    ///
    /// # Panics
    /// It does not bring them.
    pub fn agent(&self, role: &str, account: &str, files: &[(String, String)], folder: &Path) -> Process {
        fs::create_dir_all(folder).expect("a folder");
        let (jwt, config) = (folder.join(".account"), folder.join(".agent.hcl"));
        fs::write(&jwt, self.account(account)).expect("its token");
        let mut text = format!(
            "vault {{ address = \"{}\" }}\nauto_auth {{ method \"kubernetes\" {{ mount_path = \"auth/kubernetes\"\n config = {{ role = \"{role}\"\n \
             token_path = \"{}\" }} }} }}\ntemplate_config {{ static_secret_render_interval = \"1s\" }}\n",
            self.address,
            jwt.display()
        );
        for (name, template) in files {
            let to = folder.join(name);
            let stanza = format!(
                "template {{\n contents = <<EOT\n{template}\nEOT\n destination = \"{}\"\n perms = \"0440\"\n error_on_missing_key = true\n}}\n",
                to.display()
            );
            text.push_str(&stanza);
        }
        fs::write(&config, text).expect("its configuration");
        let mut command = self.command("", installed("bin/bao"));
        command.args(["agent", "-config"]).arg(config);
        let mut process = Process::start("agent", command);
        process.until("the agent brings the files", || {
            files.iter().all(|(name, _)| folder.join(name).exists()).then_some(())
        });
        process
    }
}

/// A token as Kubernetes makes one, but for its signature: who reviews it says whether it is right.
fn token(namespace: &str, account: &str) -> String {
    let claims = json!({
        "iss": "https://kubernetes.default.svc",
        "aud": ["vault"],
        "iat": 1_700_000_000,
        "nbf": 1_700_000_000,
        "exp": 4_000_000_000_u64,
        "sub": format!("system:serviceaccount:{namespace}:{account}"),
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": account, "uid": account}},
    });
    let part = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    [part(br#"{"alg":"RS256","typ":"JWT"}"#), part(claims.to_string().as_bytes()), part(&[7; 256])].join(".")
}

/// Answers token reviews as the API server does; its port.
fn review(namespace: &str, accounts: Arc<Accounts>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a bound port").port();
    let namespace = namespace.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One that closes early wanted no answer.
            let _ = answer(&stream, &namespace, &accounts);
        }
    });
    port
}

fn answer(mut stream: &TcpStream, namespace: &str, accounts: &Accounts) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let status =
        match review.pointer("/spec/token").and_then(Value::as_str).and_then(|token| accounts.get(token)) {
            None => json!({"authenticated": false, "error": "no such token"}),
            Some(account) => json!({
                "authenticated": true,
                "audiences": ["vault"],
                "user": {
                    "username": format!("system:serviceaccount:{namespace}:{account}"),
                    "uid": account,
                    "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{namespace}")],
                },
            }),
        };
    let text = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
        .to_string();
    write!(
        stream,
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}
