//! Requests, facts and presents, for tests.

use hyper::http::request::Parts;
use hyper::{Method, Request};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answer::Present;
use super::facts::Facts;
use super::machine::Reading;
use crate::node::Status;
use crate::telemetry::View;
use crate::telemetry::fixtures::{NOW, config};
use crate::time::Instant;

/// The wall clock of every fixture: 2025-12-06T05:50:00.25Z.
pub(super) fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_765_000_200_250)
}

/// The facts of a node of the fixtures' cluster.
pub(super) fn facts_of(status: &Status) -> Facts {
    let config = config();
    let host = config.hosts.get(&status.node).expect("the fixture's node is configured");
    let crate::config::Address::Ip(address) = host.address else { panic!("a literal address") };
    Facts {
        node: status.node,
        address: (address, host.port).into(),
        http_port: host.http_port,
        config: Arc::new(config),
        data_dir: PathBuf::from("/"),
        work: Arc::default(),
        guardian_pid: Some(41),
        warnings: vec!["gossip is not sealed".to_owned()],
        keys: Arc::default(),
        token: None,
        source: None,
    }
}

/// The facts of the first voter.
pub(super) fn facts() -> Facts {
    facts_of(&crate::telemetry::fixtures::leader())
}

/// A status asked at a moment.
pub(super) fn present_at<'a>(status: &'a Status, facts: &'a Facts, now: Instant) -> Present<'a> {
    let machine = Reading { disk: Some(12.5), memory: Some(50.0), cpu: None };
    Present { view: View::new(status, now), wall: wall(), facts, machine }
}

/// A status asked at the moment of the fixtures.
pub(super) fn present<'a>(status: &'a Status, facts: &'a Facts) -> Present<'a> {
    present_at(status, facts, NOW)
}

/// The head of a request.
pub(super) fn head(method: Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("the fixture's request is valid").into_parts().0
}

/// The head of a POST.
pub(super) fn post(uri: &str, headers: &[(&str, &str)]) -> Parts {
    head(Method::POST, uri, headers)
}
