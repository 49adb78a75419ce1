//! A headless Chromium, driven through `chromedriver` by `WebDriver`: JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Under this key elements are handed out.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts `chromedriver` on a free port, and a browser by it.
    pub(crate) fn start() -> Self {
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromedriver is installed: scripts/setup --tests");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = lines
            .find_map(|line| {
                line.unwrap()
                    .rsplit_once("successfully on port ")?
                    .1
                    .trim_end_matches('.')
                    .parse()
                    .ok()
            })
            .expect("chromedriver tells its port");
        // It must not be stopped by a full pipe.
        std::thread::spawn(move || lines.count());
        // A container has neither the namespaces of the sandbox nor much shared memory.
        let arguments =
            ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let root = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, session: root.clone() };
        let made = browser.send("", &wanted);
        browser.session = format!("{root}/{}", made["sessionId"].as_str().unwrap());
        browser
    }

    #[track_caller]
    fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>, what: &str) -> Value {
        let mut response = result.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut answer: Value = response.body_mut().read_json().unwrap();
        assert!(response.status().is_success(), "{what}: {}", answer["value"]);
        answer["value"].take()
    }

    #[track_caller]
    fn send(&self, command: &str, body: &Value) -> Value {
        let request = ureq::post(format!("{}{command}", self.session));
        let request = request.config().http_status_as_error(false).build();
        Self::answer(request.send_json(body), command)
    }

    pub(crate) fn open(&self, url: &str) {
        self.send("/url", &json!({ "url": url }));
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        // Unlike a window, the device that this emulates can be as narrow as a telephone.
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false
        });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.send("/goog/cdp/execute", &command);
    }

    /// Lets pages ask for a light or a dark page, as the system would.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command =
            json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.send("/goog/cdp/execute", &command);
    }

    /// What a script's function body returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.send("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn element(&self, selector: &str) -> String {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.send("/element", &wanted);
        found[ELEMENT].as_str().unwrap().to_string()
    }

    /// Clicks in the middle of an element, as a person does; it must be there to be seen.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.send(&format!("/element/{element}/click"), &json!({}));
    }

    #[track_caller]
    pub(crate) fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.send(&format!("/element/{element}/clear"), &json!({}));
        self.send(&format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Drags with the mouse from a point of the window to another.
    pub(crate) fn drag(&self, from: (i64, i64), to: (i64, i64)) {
        let go =
            |(x, y): (i64, i64)| json!({ "type": "pointerMove", "duration": 100, "x": x, "y": y });
        let half_way = (i64::midpoint(from.0, to.0), i64::midpoint(from.1, to.1));
        let actions = json!([
            go(from), { "type": "pointerDown", "button": 0 }, go(half_way), go(to),
            { "type": "pointerUp", "button": 0 }
        ]);
        let mouse = json!({ "type": "pointer", "id": "mouse", "actions": actions });
        self.send("/actions", &json!({ "actions": [mouse] }));
    }

    /// What the page has said on its console since it was last asked.
    pub(crate) fn console(&self) -> Vec<String> {
        let log = self.send("/se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// A PNG of the window.
    pub(crate) fn screenshot(&self) -> Vec<u8> {
        use base64::Engine;
        let shot = Self::answer(ureq::get(format!("{}/screenshot", self.session)).call(), "shot");
        base64::prelude::BASE64_STANDARD.decode(shot.as_str().unwrap()).unwrap()
    }

    /// Waits until a script's function body returns this: pages draw when they get to it.
    #[track_caller]
    pub(crate) fn wait_for(&self, script: &str, expected: &Value) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.run(script);
            if found == *expected {
                return;
            }
            assert!(Instant::now() < until, "{script}: found {found}, expected {expected}");
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
