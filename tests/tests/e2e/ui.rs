//! The gate's page in a real browser, of real traffic: its figures are those of `/metrics`, names are text, it asks nobody else, and it can
//! be read in light and dark, in a wide window and on a phone. `FOREBAY_PICTURES=FOLDER` keeps what it looked like.

use std::fs;
use std::path::PathBuf;

use crate::hold::is_direct;
use e2e::stack::{Pool, Running, Stack};
use forebay_protocol::gate::POLL_PATH;
use rig::browser::{Browser, View};
use rig::http::{Connection, post, send};
use rig::process::until;
use rig::v2::{JSON, binary, fp32, fp32_binary};
use serde_json::{Value, json};

const PATH: &str = "/v2/models/identity_fp32/infer";
/// A model's name that would be more than a name if it were not text.
const HOSTILE: &str =
    "</td><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
/// The same in a path.
const HOSTILE_PATH: &str = "/v2/models/%3C%2Ftd%3E%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D%27owned%27%22%3E%3Cscript%3Edocument.title%3D%27owned%27%3C%2Fscript%3E/infer";

/// The views that it is looked at in.
const VIEWS: [(u32, bool); 4] = [(1100, false), (1100, true), (390, false), (390, true)];

fn ask(port: u16, path: &str, value: f32) -> Connection {
    let mut connection = Connection::open(port).unwrap();
    connection.write(&post(path, &JSON, &fp32(&[value]))).unwrap();
    connection
}

/// A service that was asked, with hits of each kind; a proxy that reports a hostile name; and requests that wait, since its backend is gone.
fn busy() -> (Running, Vec<Connection>) {
    let mut stack = Stack::new().pool(Pool::Redis).holds().gate(&["--price", "3.6"]).start();
    is_direct(&stack);
    for value in [1.0, 1.0, 2.0, 2.0, 2.0] {
        assert_eq!(stack.infer("identity_fp32", &JSON, &fp32(&[value])).status, 200);
    }
    let (length, body) = fp32_binary(&[1.0]);
    assert_eq!(stack.infer("identity_fp32", &binary(&length), &body).status, 200);
    let spaced = [b"  ", &fp32(&[1.0])[..]].concat();
    assert_eq!(stack.infer("identity_fp32", &JSON, &spaced).status, 200);
    let no_store = [&JSON[..], &[("cache-control", "no-store")]].concat();
    assert_eq!(stack.infer("identity_fp32", &no_store, &fp32(&[1.0])).status, 200);
    let saved = json!([{"service": "demo", "model": HOSTILE, "hits": 2, "cost_us": 4_000_000_000_u64}]);
    let poll = json!({"format": 2, "proxy": "p", "vm": 1, "epoch": 0, "wait_ms": 0, "seq": 1, "report": {"saved": saved}});
    let token = [("x-forebay-token", stack.token())];
    let poll = post(POLL_PATH, &token, poll.to_string().as_bytes());
    assert_eq!(send(stack.gate_port().unwrap(), &poll).unwrap().status, 200);
    until("the filter has reported", || {
        let bypass = r#"forebay_proxy_requests{service="demo",result="bypass",reason="no-store"}"#;
        (stack.gate_metric(bypass) == 1).then_some(())
    });
    assert!(stack.backends[0].process.terminate().success());
    let port = stack.gate_hold_port().unwrap();
    let held = vec![ask(port, PATH, 10.0), ask(port, PATH, 11.0), ask(port, HOSTILE_PATH, 1.0)];
    until("they wait", || (stack.gate_metric("forebay_held_requests") == 3).then_some(()));
    (stack, held)
}

/// A cell of a table's row that begins with that text, as a number.
fn cell(browser: &mut Browser, table: &str, (row, column): (&str, usize)) -> Value {
    let rows = format!("[...document.querySelectorAll('#{table} tbody tr')]");
    let found = format!("{rows}.find((row) => row.textContent.startsWith({}))", json!(row));
    browser.find(&format!("{found}?.children[{column}]?.querySelector('data')?.value ?? null"))
}

/// Asserts that a figure of the page is that one of `/metrics`.
fn same(browser: &mut Browser, stack: &Running, shown: (&str, (&str, usize)), metric: &str) {
    let (table, at) = shown;
    let value = stack.gate_metric(metric);
    assert!(value > 0, "{metric}");
    // The gate looks at them every few seconds.
    until(&format!("{shown:?} is {metric}, {value}"), || {
        (cell(browser, table, at) == json!(value.to_string())).then_some(())
    });
}

fn figures_are_those_of_metrics(browser: &mut Browser, stack: &Running) {
    let requests = |result: &str, reason: &str| {
        format!("forebay_proxy_requests{{service=\"demo\",result=\"{result}\",reason=\"{reason}\"}}")
    };
    same(browser, stack, ("t-ends", ("hit in the proxy: an exact repeat", 2)), &requests("hit_raw", ""));
    same(browser, stack, ("t-ends", ("hit in the proxy: the same tensors", 2)), &requests("hit_vm", ""));
    same(browser, stack, ("t-ends", ("went to a backendnothing was kept", 2)), &requests("miss", "miss"));
    same(browser, stack, ("t-ends", ("passed by, not looked up", 2)), &requests("bypass", "no-store"));
    same(
        browser,
        stack,
        ("t-models", (HOSTILE, 5)),
        &format!("forebay_proxy_hits{{service=\"demo\",model=\"{}\"}}", HOSTILE.replace('"', "\\\"")),
    );
    assert_eq!(cell(browser, "t-models", (HOSTILE, 4)), "4000000000");
    // 4,000 of the 3,600 seconds of an hour, at 3.6 an hour, and what the real hits saved.
    let money = cell(browser, "t-saved", ("Saved by Forebay", 2)).as_str().unwrap().parse::<f64>().unwrap();
    assert!((4.0..4.1).contains(&money), "{money}");
    assert_eq!(cell(browser, "t-held", ("identity_fp32", 1)), "2");
    assert_eq!(cell(browser, "t-held", (HOSTILE, 1)), "1");
    until("one is wanted", || (stack.gate_metric("forebay_hold_wakes") == 1).then_some(()));
    let wakes = browser
        .find("[...document.querySelectorAll('#t-wakes tbody tr')].map((row) => row.lastChild.textContent)");
    assert_eq!(wakes, json!(["not yet"]));
}

/// What of its text is hard to read: less contrast than WCAG's 4.5 (AA).
const FAINT: &str = r"(() => {
  const channels = (color) => color.match(/[\d.]+/g).map(Number)
  const light = (color) => channels(color).slice(0, 3).map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0)
  const ground = (element) => {
    for (let of = element; of !== null; of = of.parentElement) {
      const color = getComputedStyle(of).backgroundColor
      if ((channels(color)[3] ?? 1) > 0) return color
    }
    return 'rgb(255, 255, 255)'
  }
  const texts = [...document.querySelectorAll('main *, header *')].filter((of) => of.checkVisibility() && [...of.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ''))
  const contrast = (of) => {
    const style = getComputedStyle(of)
    const pair = [light(of instanceof SVGElement ? style.fill : style.color), light(ground(of))].sort((a, b) => b - a)
    return (pair[0] + 0.05) / (pair[1] + 0.05)
  }
  return { texts: texts.length, faint: texts.filter((of) => contrast(of) < 4.5).map((of) => `${of.tagName} ${of.textContent.slice(0, 40)} ${contrast(of).toFixed(2)}`) }
})()";

/// What assistive technology goes by.
const NAMELESS: &str = r"[
  ...[...document.querySelectorAll('table')].filter((table) => !table.caption?.textContent.trim()).map((table) => `table ${table.id} has no caption`),
  ...[...document.querySelectorAll('thead th')].filter((head) => head.scope !== 'col').map((head) => `${head.textContent} has no scope`),
  ...[...document.querySelectorAll('svg')].filter((picture) => picture.getAttribute('role') !== 'img' || !picture.getAttribute('aria-label')).map(() => 'a picture has no text'),
  ...[...document.querySelectorAll('[aria-labelledby]')].filter((of) => !document.getElementById(of.getAttribute('aria-labelledby'))).map((of) => `${of.id} is named by nothing`),
  ...(document.querySelectorAll('h1').length === 1 ? [] : ['not one first heading']),
]";

fn can_be_read(browser: &mut Browser, view: View) {
    let wider = browser.find("document.documentElement.scrollWidth - document.documentElement.clientWidth");
    assert_eq!(wider, 0, "{view:?}: wider than the window");
    let read = browser.find(FAINT);
    assert!(read["texts"].as_u64().unwrap() > 100, "{view:?}: {read}");
    assert_eq!(read["faint"], json!([]), "{view:?}");
    assert_eq!(browser.find(NAMELESS), json!([]), "{view:?}");
}

#[test]
fn the_page_shows_what_metrics_say_and_asks_nobody_else_in_any_window_and_colours() {
    let (stack, held) = busy();
    let origin = format!("http://127.0.0.1:{}", stack.gate_metrics_port().unwrap());
    let mut browser = Browser::start();
    browser.open(&format!("{origin}/ui"));
    // Two looks of the gate's make a step of its charts.
    browser.until(
        "it shows all",
        "document.querySelectorAll('#t-held bdi').length === 4 && state.history.at_ms.length > 0",
    );
    let pictures = std::env::var_os("FOREBAY_PICTURES").map(PathBuf::from);
    for (width, is_dark) in VIEWS {
        let view = View { width, is_dark };
        browser.view(view);
        browser.until("it is drawn for that window", "(() => { draw(); return [...document.querySelectorAll('svg')].every((picture) => picture.viewBox.baseVal.width <= innerWidth) })()");
        figures_are_those_of_metrics(&mut browser, &stack);
        can_be_read(&mut browser, view);
        if let Some(folder) = &pictures {
            let colours = if is_dark { "dark" } else { "light" };
            fs::create_dir_all(folder).expect("the folder of pictures");
            fs::write(folder.join(format!("gate-{width}-{colours}.png")), browser.picture())
                .expect("a picture");
        }
    }
    let named = browser.find("[document.title, document.querySelectorAll('img, main script').length, document.querySelector('#t-models tbody').textContent]");
    assert_eq!((&named[0], &named[1]), (&json!("Forebay gate"), &json!(0)));
    assert!(named[2].as_str().unwrap().contains(HOSTILE), "{named}");
    let elsewhere: Vec<_> = browser
        .asked()
        .iter()
        .filter(|url| !url.starts_with(&origin) && !url.starts_with("data:") && *url != "about:blank")
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.asked().len() > 1, "it asks its gate: {:?}", browser.asked());
    assert_eq!(browser.said(), [""; 0], "consoles are silent");
    drop((held, stack));
}

#[test]
fn a_gate_that_goes_away_is_told_beside_what_was_known_last() {
    let mut stack = Stack::new().pool(Pool::Redis).start();
    let mut browser = Browser::start();
    browser.open(&format!("http://127.0.0.1:{}/ui", stack.gate_metrics_port().unwrap()));
    browser.until("it shows something", "state !== null && !document.getElementById('all').hidden");
    assert_eq!(
        browser.find("document.getElementById('n-held').textContent"),
        "This gate holds nothing (--hold-for)."
    );
    assert_eq!(
        browser.find("[...document.querySelectorAll('.money')].filter((of) => of.checkVisibility()).length"),
        0,
        "no price, no money"
    );
    stack.gate().unwrap().kill();
    browser.until("it says so", "document.getElementById('status').textContent.includes('does not answer')");
    assert_eq!(browser.find("document.getElementById('all').hidden"), false);
}
