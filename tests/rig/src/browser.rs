//! A headless Chromium, told what to do over pipes by its own protocol. A page's address enters; what a script finds in it, what it asked
//! for, what its console said, and pictures leave.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::installed::installed;
use crate::process::{PATIENCE, until};

/// The browser takes commands at its third file and answers at its fourth. They are this process's pipes; what it says else goes where
/// errors go.
const BY_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >&2"#;

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Of the window, in pixels.
    pub width: u32,
    /// Whether dark colours are wanted.
    pub is_dark: bool,
}

/// A running browser with one page.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    session: String,
    last: u64,
    asked: Vec<String>,
    said: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts it, with an empty page.
    ///
    /// # Panics
    /// It isn't there, or does not start.
    pub fn start() -> Self {
        let profile = TempDir::new().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", BY_PIPES]).arg(installed("bin/chromium-headless-shell"));
        // Its sandbox wants rights that a container has not; the pages are our own.
        command.args(["--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a shell");
        let (commands, answers) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let messages = BufReader::new(answers).split(0).map_while(Result::ok);
            let messages = messages.filter_map(|message| serde_json::from_slice::<Value>(&message).ok());
            // Who waits no more wants none.
            messages.for_each(|message| drop(tell.send(message)));
        });
        let (session, last, asked, said) = (String::new(), 0, Vec::new(), Vec::new());
        let mut browser =
            Self { child, commands, answers: told, session, last, asked, said, _profile: profile };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({"targetId": page, "flatten": true}));
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for part in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{part}.enable"), &json!({}));
        }
        browser
    }

    /// Has the window and the colours be so.
    pub fn view(&mut self, view: View) {
        let View { width, is_dark } = view;
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"name": "prefers-color-scheme", "value": if is_dark { "dark" } else { "light" }});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [scheme]}));
    }

    /// Goes to an address, and waits until the page is there.
    ///
    /// # Panics
    /// Nobody answers there.
    pub fn open(&mut self, url: &str) {
        let gone = self.call("Page.navigate", &json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
        let is_there = format!("document.readyState === 'complete' && location.href === {}", json!(url));
        self.until(url, &is_there);
    }

    /// What an expression is in the page.
    ///
    /// # Panics
    /// It throws.
    pub fn find(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let found = self.call("Runtime.evaluate", &asked);
        assert!(found.get("exceptionDetails").is_none(), "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page.
    ///
    /// # Panics
    /// It does not become true.
    pub fn until(&mut self, what: &str, expression: &str) {
        until(what, || (self.find(expression) == true).then_some(()));
    }

    /// The whole page as PNG.
    ///
    /// # Panics
    /// None can be made.
    pub fn picture(&mut self) -> Vec<u8> {
        let clip = self.whole();
        let asked = json!({"captureBeyondViewport": true, "clip": clip});
        let picture = self.call("Page.captureScreenshot", &asked);
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    fn whole(&mut self) -> Value {
        let size = self.call("Page.getLayoutMetrics", &json!({}))["cssContentSize"].clone();
        json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})
    }

    /// Addresses that pages have asked for so far.
    pub fn asked(&self) -> &[String] {
        &self.asked
    }

    /// What consoles said so far: lines of scripts, errors, and what the browser has against a page.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let message = [command.to_string().as_bytes(), &[0]].concat();
        self.commands.write_all(&message).expect("the browser runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(left);
            let answer = answer.unwrap_or_else(|why| panic!("{method}: the browser says nothing: {why}"));
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.hear(&answer);
        }
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                self.asked.extend(params["request"]["url"].as_str().map(str::to_owned));
            }
            "Runtime.consoleAPICalled" => self.said.push(params["args"].to_string()),
            "Runtime.exceptionThrown" => self.said.push(params["exceptionDetails"].to_string()),
            "Log.entryAdded" => self.said.push(params["entry"].to_string()),
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
