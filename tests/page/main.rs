//! The page at `/` in a browser: five real voters, and Chromium without a window.
//!
//! `BROWSER=1` makes the browser a duty; without it, where there is none, a test says so and passes.
//! `PICTURES=FOLDER` has pictures of the page written there, in both themes, wide and narrow, to be looked at.

mod browser;
mod crowd;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/mod.rs"]
mod support;

use browser::Browser;
use std::path::Path;
use support::NAMES;
use support::cluster::{Cluster, Timing, on_loopback};

/// Every node.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// Every text that a person cannot read well: its contrast is below 4.5 (WCAG 2.2, AA).
const TOO_FAINT: &str = r#"(() => {
  const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(it => it / 255)
    .map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4)
    .reduce((sum, it, at) => sum + it * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some(it => it.nodeType === 3 && it.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
    const [a, b] = [luminance(rgb(getComputedStyle(node).color)), luminance(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push(`${node.tagName} ${node.className} "${node.textContent.slice(0, 30)}" ${contrast.toFixed(2)}`);
  }
  return found;
})()"#;

/// A cluster with a lease that no busy machine costs, a leader, and a browser on its host.
fn five(extra: impl Fn(&mut std::process::Command)) -> Option<(Cluster, Browser)> {
    if !Browser::is_there() {
        return None;
    }
    let mut cluster = on_loopback(Timing { heartbeat_ms: 500, lease_ms: 4_000 })?;
    for node in ALL {
        let mut command = cluster.command(node);
        extra(&mut command);
        cluster.start_as(node, command);
    }
    cluster.wait_agreed(&ALL);
    cluster.wait_settled();
    let browser = Browser::start(cluster.net(0), cluster.dir.path());
    Some((cluster, browser))
}

fn open(cluster: &Cluster, browser: &Browser, node: usize) {
    browser.open(&format!("http://{}/", cluster.http(node)));
    browser.wait("document.getElementById('state')?.innerText === 'Live'");
    let twice = "[...document.querySelectorAll('[id]')].map(it => it.id).filter((id, at, all) => all.indexOf(id) !== at).join()";
    assert_eq!(browser.value(twice), "", "names of elements that are used twice");
}

fn leads(node: usize) -> String {
    format!("document.getElementById('leader').innerText.startsWith('{} leads')", NAMES[node])
}

#[track_caller]
fn can_be_read(browser: &Browser, what: &str) {
    for (width, name) in [(1280, "wide"), (800, "middle"), (360, "narrow")] {
        for scheme in ["light", "dark"] {
            browser.look(width, scheme);
            let overflow = "document.documentElement.scrollWidth - innerWidth";
            assert_eq!(browser.value(overflow), 0, "{what} {name}: wider than the screen");
            let faint = browser.value(TOO_FAINT);
            assert_eq!(faint.as_array().map(Vec::len), Some(0), "{what} {name} {scheme}: {faint}");
            if let Some(folder) = std::env::var_os("PICTURES") {
                browser.picture(&Path::new(&folder).join(format!("{what}-{name}-{scheme}.png")));
            }
        }
    }
}

#[test]
fn the_page_follows_the_lead_and_says_when_it_hears_nothing() {
    let Some((mut cluster, browser)) = five(|_| {}) else { return };
    let (leader, _) = cluster.wait_agreed(&ALL);
    let reader = (leader + 1) % 5;
    open(&cluster, &browser, reader);
    browser.wait(&leads(leader));
    browser.wait("document.querySelectorAll('#voters tr').length === 5");
    browser.wait("document.querySelectorAll('#matrix tbody td').length === 25");
    browser.wait("document.querySelectorAll('#elections tr').length >= 1");
    // Nobody loses anything, and the round trips are short.
    browser.wait(
        "document.querySelectorAll('#matrix tbody td:is(.lossy, .slow, .deaf)').length === 0",
    );
    assert!(browser.text("quorum").starts_with("5 of 5"), "{}", browser.text("quorum"));
    can_be_read(&browser, "whole");

    cluster.kill(leader);
    let rest: Vec<usize> = ALL.into_iter().filter(|&node| node != leader).collect();
    let (next, term) = cluster.wait_agreed(&rest);
    browser.wait(&leads(next));
    browser.wait(&format!("document.getElementById('since').innerText.includes('{term}')"));
    browser.wait("document.querySelectorAll('#voters .state.dead').length === 1");
    let told = format!(
        "document.getElementById('log').innerText.includes('{} leads in term')",
        NAMES[next]
    );
    browser.wait(&told);
    let errors = browser.errors();
    assert!(errors.is_empty(), "the console tells of {errors:#?}");
    can_be_read(&browser, "replaced");

    cluster.kill(reader);
    browser.wait(
        "document.getElementById('state').innerText.startsWith('Connection lost. Last heard ')",
    );
    browser.wait("/^It was last heard \\d\\d:\\d\\d:\\d\\d, \\d+ s ago\\.$/.test(document.getElementById('lost-when').innerText)");
    // What was left of a lease then is no longer told.
    assert!(browser.text("leader").ends_with(" led when last heard of"));
    assert_eq!(browser.text("lease"), "not known");
    can_be_read(&browser, "lost");
    // Connections that fail are told by the browser itself; nothing else may be wrong.
    let wrong = browser.errors().into_iter().filter(|it| !it.contains("net::ERR_"));
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
    cluster.start(reader);
    browser.wait("document.getElementById('state').innerText === 'Live' && document.getElementById('lost').hidden");
}

#[test]
fn orders_are_given_only_after_a_question_and_where_they_would_be_taken() {
    let Some((cluster, browser)) = five(|_| {}) else { return };
    let (leader, term) = cluster.wait_agreed(&ALL);
    // Not whom the page would offer first.
    let target = if leader == 4 { 3 } else { 4 };
    open(&cluster, &browser, leader);
    browser.wait("document.querySelectorAll('#buttons button').length === 3");
    let choose = format!(
        "document.getElementById('transfer-to').value = '{}', document.querySelector('[data-verb=transfer]').click()",
        NAMES[target]
    );
    browser.value(&choose);
    browser.wait("document.getElementById('ask').open && document.activeElement.id === 'ask-no'");
    assert_eq!(browser.text("ask-title"), format!("Hand the lead to {}?", NAMES[target]));
    can_be_read(&browser, "asked");
    browser.value("document.getElementById('ask-no').click()");
    browser.wait("!document.getElementById('ask').open");
    assert_eq!(
        cluster.wait_agreed(&ALL),
        (leader, term),
        "a question that was denied changes nothing"
    );
    // On a busy machine a voter may not be ready when it is asked.
    let mut tries = 0;
    let said = loop {
        browser.value(&choose);
        browser.value("document.getElementById('ask-yes').click()");
        browser.wait(
            "/leads in term|Refused|No answer/.test(document.getElementById('said').innerText)",
        );
        let said = browser.text("said");
        tries += 1;
        if tries == 8 || !said.starts_with("Refused") {
            break said;
        }
    };
    // Nor may it win in time: then the best of the others does, and the page says so.
    let winner =
        ALL.into_iter().find(|&it| said.starts_with(&format!("{} leads in term", NAMES[it])));
    let winner = winner.unwrap_or_else(|| panic!("{said}"));
    assert_ne!(winner, leader, "{said}");
    assert!(winner == target || said.contains("did not win in time"), "{said}");
    let target = winner;
    browser.wait(&leads(target));
    assert_eq!(cluster.wait_agreed(&ALL).0, target);
    // It leads no longer: what is left is its own drain, and the way to the leader.
    browser.wait("document.querySelectorAll('#buttons button').length === 1");
    let way = format!(
        "document.querySelector('#orders-about a').href === 'http://{}/'",
        cluster.http(target)
    );
    browser.wait(&way);
    assert!(browser.errors().is_empty(), "{:?}", browser.errors());
    // The same node under a name that is not its own.
    browser.open("http://evil.example:8770/");
    browser.wait("document.getElementById('state')?.innerText === 'Live'");
    browser.wait(
        "document.getElementById('orders-about').innerText.includes('takes no orders from here')",
    );
    assert_eq!(browser.value("document.querySelectorAll('#buttons button').length"), 0);
}

#[test]
fn with_a_token_the_page_asks_for_it_and_keeps_it_nowhere() {
    const TOKEN: &str = "a-token-of-this-test";
    let with = |command: &mut std::process::Command| {
        command.env("RINGRIFT_CLUSTER_AUTH_TOKEN", TOKEN);
    };
    let Some((cluster, browser)) = five(with) else { return };
    let (leader, _) = cluster.wait_agreed(&ALL);
    open(&cluster, &browser, leader);
    browser.wait("document.querySelectorAll('#buttons button:disabled').length === 3");
    can_be_read(&browser, "token");
    let enter = |text: &str| {
        browser.value(&format!(
            "(() => {{ const field = document.getElementById('token'); field.value = '{text}'; \
             field.dispatchEvent(new Event('input')); }})()"
        ));
        browser.value("document.querySelector('[data-verb=step_down]').click()");
        browser.value("document.getElementById('ask-yes').click()");
    };
    enter("another");
    browser.wait("document.getElementById('said').innerText === 'Refused: unauthorized'");
    assert_eq!(cluster.wait_agreed(&ALL).0, leader);
    enter(TOKEN);
    browser.wait(&format!("!({})", leads(leader)));
    assert_ne!(cluster.wait_agreed(&ALL).0, leader);
    let kept =
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])";
    assert!(!browser.value(kept).to_string().contains(TOKEN));
    browser.value("location.reload()");
    browser.wait("document.getElementById('token')?.value === '' && document.getElementById('state').innerText === 'Live'");
}
