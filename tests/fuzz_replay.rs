//! The fuzz corpora, replayed without a fuzzer.
//!
//! `UPDATE=1 cargo test --test fuzz_replay` writes the corpus of `decode` anew from the samples of the
//! codec's own tests. Inputs that a fuzzer found are added beside them by hand and are replayed alike;
//! one that showed a fault has its name.

#![cfg(test)]

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;
#[path = "../wire/tests/samples/mod.rs"]
mod samples;

use bodies::decode as body;
use ringrift_wire::{DecodeError, Envelope, MAX_DATAGRAM, encode};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Runs every input of a target's corpus, in the order of their names.
fn replay(target: &str, mut body: impl FnMut(&[u8])) {
    let entries = std::fs::read_dir(corpus(target)).unwrap();
    let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!paths.is_empty(), "the corpus of {target} is empty");
    for path in paths {
        println!("{}", path.display());
        body(&std::fs::read(path).unwrap());
    }
}

#[test]
fn one_node_keeps_its_word_in_every_history_of_the_corpus() {
    let mut paths = BTreeSet::new();
    replay("node", |bytes| paths.extend(bodies::node::one_node_keeps_its_word(bytes)));
    assert!(paths.iter().eq(&bodies::node::PATHS), "only {paths:?}");
}

#[test]
fn every_file_of_the_corpus_is_refused_or_loads_again() {
    replay("config", bodies::config::text_is_refused_or_loads_again);
}

#[test]
fn every_conversation_of_the_corpus_is_answered_well() {
    replay("http", bodies::http::requests_are_answered_well);
}

fn bytes_of(envelope: &Envelope) -> Vec<u8> {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(envelope, body::CLUSTER, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

/// The datagrams that the fuzzer starts from, by file name: one of every kind, then the idle ping
/// broken in one way each.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds: BTreeMap<String, Vec<u8>> =
        samples::samples().iter().map(|(name, it)| ((*name).to_owned(), bytes_of(it))).collect();
    let ping = seeds["ping_idle"].clone();
    // 22 bytes of header, "hetzner" with its length, five of sequence, kind, number, digest, load.
    let (name, sequence, kind, last) = (22, 30, 35, 41);
    let mut add = |what: &str, mends: bool, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = ping.clone();
        change(&mut bytes);
        let bytes = if mends { body::mend(&bytes).unwrap() } else { bytes };
        seeds.insert(format!("bad_{what}"), bytes);
    };
    add("too_short", false, &|it| it.truncate(21));
    add("too_long", false, &|it| it.resize(MAX_DATAGRAM + 1, 0));
    add("magic", false, &|it| it[0] = 0);
    add("version", false, &|it| it[2] = 2);
    add("flags", false, &|it| it[3] = 2);
    add("sealed", false, &|it| it[3] = 1);
    add("cluster", false, &|it| it[7] = 0);
    add("length", false, &|it| it.push(0));
    add("checksum", false, &|it| it[last] = 1);
    add("name", true, &|it| it[name + 1] = b' ');
    add("unknown_kind", true, &|it| it[kind] = 200);
    add("truncated", true, &|it| it.truncate(last));
    add("choice", true, &|it| it.splice(kind.., [7, 2]).for_each(drop));
    add("number", true, &|it| it[sequence] = 0xff);
    add("too_many_updates", true, &|it| it[last] = 33);
    add("trailing", true, &|it| it.push(0));
    add("not_minimal", true, &|it| it.splice(kind + 1..=kind + 1, [0xfb, 200, 0]).for_each(drop));
    seeds
}

#[test]
fn the_corpus_holds_every_seed_and_every_input_passes() {
    assert_eq!(body::CLUSTER, samples::CLUSTER);
    for (name, seed) in seeds() {
        let path = corpus("decode").join(&name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &seed).unwrap();
        }
        assert!(std::fs::read(&path).ok() == Some(seed), "{name} is old: run this with UPDATE=1");
    }
    replay("decode", body::decode_is_canonical);
}

#[test]
fn the_seeds_are_valid_or_broken_in_every_way() {
    let mut found = BTreeSet::new();
    for (name, seed) in seeds() {
        match (name.strip_prefix("bad_"), body::checked(&seed)) {
            (None, Ok(_)) => {}
            (Some(class), Err(error)) => {
                assert_eq!(error.as_str(), class);
                found.insert(error.as_str());
            }
            (_, outcome) => panic!("{name}: {outcome:?}"),
        }
    }
    // These come of opening what is sealed, which `decode` never does.
    found.extend(["unsealed", "seal", "replayed"]);
    assert_eq!(found, DecodeError::ALL.iter().map(|error| error.as_str()).collect());
}
