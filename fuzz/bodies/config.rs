//! Bytes as a configuration file.

use ringrift_p2p::config::{self, Config};

/// Any text is refused with reasons, or is a configuration whose own text loads as the same one and
/// whose numbers the protocol can work with.
pub(crate) fn text_is_refused_or_loads_again(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let loaded = match config::parse(text) {
        Ok(loaded) => loaded,
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "refused without a reason");
            assert!(!errors.to_string().is_empty());
            return;
        }
    };
    for warning in &loaded.warnings {
        assert!(!warning.to_string().is_empty());
    }
    let written = loaded.config.to_yaml().expect("a checked configuration can be written");
    let again =
        config::parse(&written).unwrap_or_else(|errors| panic!("{errors}\nof the text\n{written}"));
    assert_eq!(without_origin(again.config), without_origin(loaded.config.clone()), "{written}");
    let Config { election, voters, hosts, .. } = &loaded.config;
    assert!(voters.len() <= config::MAX_VOTERS && !voters.is_empty());
    assert!(voters.iter().all(|voter| hosts.contains_key(voter)), "{voters:?}");
    assert!(election.lease >= election.heartbeat_interval * 2, "{election:?}");
    assert!(election.lease.as_millis() <= u128::from(u32::MAX), "{election:?}");
    let derived = config::derived(&loaded.config);
    assert!(2 * derived.quorum > voters.len(), "{derived:?}");
    assert_eq!(config::places(&loaded.config).len(), voters.len());
}

fn without_origin(config: Config) -> Config {
    Config { path: None, hash: String::new(), ..config }
}
