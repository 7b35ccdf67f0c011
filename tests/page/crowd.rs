//! The page of a node that knows hundreds of others, and of one that follows over HTTP.

use std::sync::Arc;

use crate::browser::Browser;
use crate::support::NAMES;
use crate::support::process::{Process, program};
use crate::{ALL, can_be_read, five, leads, open};

/// Has the node tell of observers that are not there, and of nothing else that is not so.
const CROWD: &str = r#"(() => {
  const plain = window.fetch, many = 250;
  const state = at => at === 77 ? "suspect" : at === 101 || at === 102 ? "dead" : "alive";
  const name = at => `gpu-node-${String(at).padStart(3, "0")}`;
  window.fetch = async (path, options) => {
    const answer = await plain(path, options);
    if (path !== "/members" && path !== "/status") return answer;
    const body = await answer.json();
    for (let at = 0; at < many; at += 1) {
      if (path === "/members") {
        const like = body.members.find(it => !it.is_self && it.state === "alive");
        if (like) body.members.push({ ...like, node_id: name(at), state: state(at), rtt_ms: 1 + at / 7, suspicion: null });
      } else {
        body.all_peers[name(at)] = { ...Object.values(body.all_peers)[0], host: `10.0.${at >> 8}.${at & 255}` };
      }
    }
    if (path === "/status") { body.total_peers += many; body.alive_peers += many - 3; body.suspect_peers += 1; body.dead_peers += 2; }
    return { ok: answer.ok, status: answer.status, json: async () => body };
  };
})()"#;

/// The names of the observers that are shown, in order.
const SHOWN: &str =
    "[...document.querySelectorAll('#others tr')].map(it => it.querySelector('th').innerText)";

fn shown(browser: &Browser) -> Vec<String> {
    let names = browser.value(SHOWN);
    let names = names.as_array().expect("a list").iter();
    names.filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

#[test]
fn of_hundreds_of_observers_those_that_need_a_look_are_shown_and_each_can_be_found() {
    let Some((cluster, browser)) = five(|_| {}) else { return };
    browser.prepare(CROWD);
    open(&cluster, &browser, 0);
    browser.wait("document.querySelectorAll('#others tr').length === 12");
    assert_eq!(
        shown(&browser)[..4],
        ["gpu-node-077", "gpu-node-101", "gpu-node-102", "gpu-node-000"]
    );
    assert!(browser.text("others-about").contains("1 suspect, 2 dead, 247 alive"));
    assert!(browser.text("alive").starts_with("252 of 255"), "{}", browser.text("alive"));
    can_be_read(&browser, "crowd");
    let find = |text: &str| {
        browser.value(&format!(
            "(() => {{ const field = document.getElementById('find'); field.value = '{text}'; \
             field.dispatchEvent(new Event('input')); }})()"
        ));
    };
    find("NODE-24");
    assert_eq!(shown(&browser).len(), 10);
    assert_eq!(browser.text("found"), "10 of 250");
    find("nobody");
    assert_eq!(shown(&browser), [""; 0]);
    find("");
    browser.value("document.getElementById('all').click()");
    assert_eq!(shown(&browser).len(), 200);
    assert_eq!(browser.text("more"), "and 50 more: /members");
    assert_eq!(browser.text("all"), "Show fewer");
    can_be_read(&browser, "crowd-all");
    // What was chosen stays when the page asks again.
    browser.value("window.before = document.getElementById('heard').innerText");
    browser.wait("document.getElementById('heard').innerText !== window.before");
    assert_eq!(shown(&browser).len(), 200);
    assert!(browser.errors().is_empty(), "{:?}", browser.errors());
}

#[test]
fn the_page_of_a_follower_says_whom_it_follows_and_names_no_leader_when_nobody_answers() {
    let Some((mut cluster, browser)) = five(|_| {}) else { return };
    let (leader, _) = cluster.wait_agreed(&ALL);
    let net = Arc::clone(cluster.net(0));
    let urls = [0, 1].map(|node| format!("http://{}", cluster.http(node))).join(",");
    let mut command = program(&net);
    command.args(["run", "--node", "watcher", "--address", "127.0.0.77:8770", "--follow", &urls]);
    command.current_dir(cluster.dir.path());
    let _follower = Process::start(command, cluster.dir.path(), "watcher");
    let reached = || net.command("curl").args(["-sf", "http://127.0.0.77:8770/health"]).output();
    crate::support::wait_for("the follower", || {
        reached().is_ok_and(|it| it.status.success()).then_some(())
    });
    browser.open("http://127.0.0.77:8770/");
    browser.wait("document.getElementById('state')?.innerText === 'Live'");
    browser.wait(&leads(leader));
    browser.wait("document.getElementById('this').innerText.includes('no gossip here')");
    let own = browser.text("this");
    assert!(own.contains(NAMES[0]) || own.contains(NAMES[1]), "{own}");
    assert_eq!(browser.value("document.querySelectorAll('#buttons button').length"), 0);
    assert!(browser.text("because").contains("which this node follows over HTTP"));
    assert!(browser.text("no-matrix").contains("Look at the page of "));
    assert_eq!(browser.value("document.getElementById('hearing').checkVisibility()"), false);
    can_be_read(&browser, "follower");
    for node in ALL {
        cluster.kill(node);
    }
    browser.wait("document.getElementById('leader').innerText === 'No leader'");
    browser.wait(
        "document.getElementById('because').textContent.includes('no followed node answers')",
    );
    assert_eq!(browser.text("alive-note"), "5 unknown");
    assert_eq!(browser.text("warnings"), "Nothing is known of the voters.");
    can_be_read(&browser, "follower-alone");
    assert!(browser.errors().is_empty(), "{:?}", browser.errors());
}
