//! Chromium without a window, spoken to through two pipes: the DevTools protocol, as JSON texts that end with a zero.

use core::cell::RefCell;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::net::Net;
use crate::support::{PATIENCE, wait_for};

/// The program looks for its pipes at 3 and 4. The first name leads to this machine, for a page that has
/// its own name lead here.
const START: &str = "exec chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --hide-scrollbars --no-first-run --host-resolver-rules='MAP evil.example 127.0.0.1' \
    --user-data-dir=\"$1\" --remote-debugging-pipe about:blank 3<&0 4>&1 >/dev/null 2>&1";

/// A browser with one tab; dropped, it ends.
pub struct Browser {
    child: Child,
    talk: RefCell<Talk>,
}

struct Talk {
    input: ChildStdin,
    output: Receiver<Value>,
    last: u64,
    session: Option<String>,
    /// What was told of errors, and not yet asked for.
    errors: Vec<String>,
}

impl Browser {
    /// Whether there is a browser here. `BROWSER` in the environment makes it a duty.
    pub fn is_there() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = std::env::split_paths(&path).any(|dir| dir.join("chromium").exists());
        assert!(there || std::env::var_os("BROWSER").is_none(), "this test needs chromium");
        if !there {
            eprintln!("not run: this test needs chromium");
        }
        there
    }

    /// A browser on that host, with its files in `dir`.
    pub fn start(net: &Net, dir: &Path) -> Self {
        let mut command = net.command("bash");
        command.args(["-c", START, "bash"]).arg(dir.join("browser"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("bash starts");
        let input = child.stdin.take().expect("it is piped");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut text = Vec::new();
            while matches!(said.read_until(0, &mut text), Ok(1..)) {
                let message = serde_json::from_slice(&text[..text.len() - 1]);
                text.clear();
                let Ok(message) = message else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let talk = Talk { input, output, last: 0, session: None, errors: Vec::new() };
        let browser = Self { child, talk: RefCell::new(talk) };
        let tabs = browser.call("Target.getTargets", json!({}));
        let tabs = tabs["targetInfos"].as_array().expect("a list").iter();
        let tab =
            tabs.clone().find(|tab| tab["type"] == "page").expect("a tab")["targetId"].clone();
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": tab, "flatten": true}));
        browser.talk.borrow_mut().session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// One command and its answer.
    #[track_caller]
    fn call(&self, method: &str, params: Value) -> Value {
        let mut talk = self.talk.borrow_mut();
        talk.last += 1;
        let id = talk.last;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &talk.session {
            message["sessionId"] = session.as_str().into();
        }
        talk.input.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let answer = talk.output.recv_timeout(PATIENCE);
            let mut answer = answer.unwrap_or_else(|_| panic!("the browser is silent on {method}"));
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            let told = match answer["method"].as_str() {
                Some("Runtime.exceptionThrown") => Some(&answer["params"]["exceptionDetails"]),
                Some("Log.entryAdded") => Some(&answer["params"]["entry"])
                    .filter(|it| matches!(it["level"].as_str(), Some("error" | "warning"))),
                Some("Runtime.consoleAPICalled") => Some(&answer["params"]),
                _ => None,
            };
            if let Some(told) = told {
                let told = told.to_string();
                talk.errors.push(told);
            }
        }
    }

    /// Goes to a page.
    #[track_caller]
    pub fn open(&self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url }));
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// Has a script run in every page before its own.
    #[track_caller]
    pub fn prepare(&self, script: &str) {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// The value of an expression in the page.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let mut answer = self.call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        );
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The text of the element with that name, as a person sees it.
    #[track_caller]
    pub fn text(&self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById({id:?})?.innerText ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub fn wait(&self, expression: &str) {
        wait_for(expression, || (self.value(expression) == true).then_some(()));
    }

    /// The errors and warnings of the console since the last time.
    pub fn errors(&self) -> Vec<String> {
        // An answer comes after whatever was told before it.
        self.value("0");
        core::mem::take(&mut self.talk.borrow_mut().errors)
    }

    /// Has the page shown so wide, light or dark.
    pub fn look(&self, width: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": scheme }));
        // Twice drawn, so that everything has its place and colour.
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))");
    }

    /// Writes a picture of the whole page as PNG.
    pub fn picture(&self, path: &Path) {
        let shot = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true}),
        );
        let bytes = base64_of(shot["data"].as_str().expect("a picture"));
        std::fs::write(path, bytes).expect("a file");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children end with it, and with their namespace at the latest.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The bytes of a text in base 64.
fn base64_of(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base 64")
}
