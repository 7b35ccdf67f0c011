//! The codec in nanoseconds: encoding and decoding of each kind beside the checksum alone and a copy of
//! the same bytes, and refusals per second by class.
//!
//! The figures of one kind come from one run, in turns, so that they can be compared on a busy machine.

mod report;
#[path = "../wire/tests/samples/mod.rs"]
mod samples;

use core::hint::black_box;
use core::time::Duration;
use report::{Report, Spread, asked_for, setting};
use ringrift_wire::{DecodeError, Envelope, Key, MAX_DATAGRAM, decode, encode, open, seal};
use samples::{CLUSTER, samples};
use serde_json::json;
use std::time::Instant;

/// How long one timed stretch takes.
const STRETCH: Duration = Duration::from_micros(500);

/// Bytes before the payload.
const HEADER: usize = 22;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("to be run with cargo bench");
        return;
    }
    let columns = ["kind", "bytes", "encode ns", "decode ns", "crc ns", "copy ns"];
    let mut report = Report::new("codec", &columns);
    let (mut slowest, mut kinds) = (0.0_f64, 0);
    for (name, envelope) in samples().into_iter().filter(|(name, _)| asked_for(name)) {
        let decoded = kind(&mut report, name, &envelope);
        slowest = slowest.max(decoded);
        kinds += 1;
    }
    println!("decoding the slowest of {kinds} samples: {slowest:.0} ns in the median");
    for (error, datagram) in wrong().into_iter().filter(|(error, _)| asked_for(error)) {
        assert_eq!(decode(&datagram, CLUSTER).map_err(|error| error.as_str()), Err(error));
        let spread = in_turns(vec![Box::new(|| {
            let _refused = black_box(decode(black_box(&datagram), CLUSTER));
        })])
        .remove(0);
        let per_second = 1e9 / spread.median();
        report.line(json!({
            "what": "reject", "class": error, "bytes": datagram.len(), "ns_min": spread.min(),
            "ns_median": spread.median(), "ns_max": spread.max(), "per_second": per_second,
        }));
        report.row([
            format!("refusal: {error}"),
            datagram.len().to_string(),
            String::new(),
            format!("{:.0} ({:.1} M/s)", spread.median(), per_second / 1e6),
            String::new(),
            String::new(),
        ]);
    }
    sealing(&mut report);
    report.hand_over();
}

/// What a key adds to a heartbeat, and what a datagram under a wrong key costs.
fn sealing(report: &mut Report) {
    let [right, wrong] = [1, 2].map(|byte| Key::new([byte; Key::LEN]));
    let mut plain = [0; MAX_DATAGRAM];
    let length = encode(&samples()[0].1, CLUSTER, &mut plain).expect("a sample has bytes");
    let mut sealed = plain;
    let whole = seal(&right, 1, &mut sealed, length).expect("there is room");
    let open_with = |key: &Key| {
        let mut datagram = sealed;
        black_box(open([key], CLUSTER, &mut datagram[..whole])).is_ok()
    };
    assert!(open_with(&right) && !open_with(&wrong));
    let spreads = in_turns(vec![
        Box::new(|| {
            let mut datagram = plain;
            let _sealed = black_box(seal(&right, 1, &mut datagram, length));
        }),
        Box::new(|| assert!(open_with(&right))),
        Box::new(|| assert!(!open_with(&wrong))),
    ]);
    for (what, spread) in ["seal", "open", "refusal: seal"].into_iter().zip(spreads) {
        report.line(json!({
            "what": what, "bytes": whole, "ns_min": spread.min(), "ns_median": spread.median(),
            "ns_max": spread.max(),
        }));
        let shown = format!("{:.0} ({:.1} M/s)", spread.median(), 1e3 / spread.median());
        let empty = String::new;
        report.row([what.to_owned(), whole.to_string(), empty(), shown, empty(), empty()]);
    }
}

/// Measures one kind; the median of decoding, in nanoseconds.
fn kind(report: &mut Report, name: &str, envelope: &Envelope) -> f64 {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(envelope, CLUSTER, &mut buffer).expect("a sample has bytes");
    let datagram = buffer[..length].to_vec();
    let (mut scratch, mut copy) = ([0; MAX_DATAGRAM], vec![0; length]);
    let spreads = in_turns(vec![
        Box::new(move || {
            let _length = black_box(encode(black_box(envelope), CLUSTER, black_box(&mut scratch)));
        }),
        Box::new(|| {
            let _envelope = black_box(decode(black_box(&datagram), CLUSTER));
        }),
        Box::new(|| {
            black_box(crc32fast::hash(black_box(&datagram)));
        }),
        Box::new(|| {
            black_box(&mut copy).copy_from_slice(black_box(&datagram));
        }),
    ]);
    let mut cells = vec![name.to_owned(), length.to_string()];
    for (what, spread) in ["encode", "decode", "crc", "copy"].iter().zip(&spreads) {
        report.line(json!({
            "what": what, "kind": name, "bytes": length, "ns_min": spread.min(),
            "ns_median": spread.median(), "ns_max": spread.max(), "count": spread.values().len(),
        }));
        cells.push(format!("{:.0}", spread.median()));
    }
    report.row(cells);
    spreads[1].median()
}

/// Nanoseconds of one call of each of these, over `BENCH_RUNS` stretches of each, in turns.
fn in_turns(mut all: Vec<Box<dyn FnMut() + '_>>) -> Vec<Spread> {
    let calls: Vec<u32> = all.iter_mut().map(|call| calls_of_a_stretch(call)).collect();
    let mut taken = vec![Vec::new(); all.len()];
    for _ in 0..setting("BENCH_RUNS", 50) {
        for ((call, &calls), taken) in all.iter_mut().zip(&calls).zip(&mut taken) {
            taken.push(stretch(call, calls).as_secs_f64() * 1e9 / f64::from(calls));
        }
    }
    taken.into_iter().map(|taken| Spread::of(taken).expect("at least one run")).collect()
}

/// How many calls take about [`STRETCH`].
fn calls_of_a_stretch(call: &mut dyn FnMut()) -> u32 {
    let mut calls = 1;
    while stretch(call, calls) < STRETCH && calls < 1 << 20 {
        calls *= 2;
    }
    calls
}

fn stretch(call: &mut dyn FnMut(), calls: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        call();
    }
    began.elapsed()
}

/// A datagram for each class of refusal.
fn wrong() -> Vec<(&'static str, Vec<u8>)> {
    let mut buffer = [0; MAX_DATAGRAM];
    let length = encode(&samples()[0].1, CLUSTER, &mut buffer).expect("a sample has bytes");
    let good = &buffer[..length];
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut datagram = good.to_vec();
        change(&mut datagram);
        datagram
    };
    // From the node `n` in its boot 1.
    let body = |kind: u8, body: &[u8]| {
        let mut datagram = [&good[..HEADER], &[1, b'n', 1, kind], body].concat();
        let length = u16::try_from(datagram.len()).expect("a datagram is short");
        datagram[8..10].copy_from_slice(&length.to_le_bytes());
        datagram[10..14].fill(0);
        let checksum = crc32fast::hash(&datagram);
        datagram[10..14].copy_from_slice(&checksum.to_le_bytes());
        datagram
    };
    DecodeError::ALL
        .into_iter()
        .filter_map(|error| {
            let datagram = match error {
                // What opening finds is measured beside it.
                DecodeError::Unsealed | DecodeError::Seal | DecodeError::Replayed => return None,
                DecodeError::TooShort => good[..HEADER - 1].to_vec(),
                DecodeError::TooLong => vec![0; MAX_DATAGRAM + 1],
                DecodeError::Magic => changed(&|it| it[0] = 0),
                DecodeError::Version(_) => changed(&|it| it[2] = 2),
                DecodeError::Flags(_) => changed(&|it| it[3] = 128),
                DecodeError::Sealed => changed(&|it| it[3] = 1),
                DecodeError::Cluster => changed(&|it| it[4] ^= 1),
                DecodeError::Length => changed(&|it| it.push(0)),
                DecodeError::Checksum => changed(&|it| it[30] ^= 1),
                DecodeError::Name => body(4, &[7, 1, b'/']),
                DecodeError::UnknownKind(_) => body(255, &[0; 40]),
                DecodeError::Truncated => body(1, &[7, 0, 0, 0, 0]),
                DecodeError::Choice => body(7, &[2]),
                DecodeError::Number => body(4, &[255, 1, b'm', 0, 0]),
                DecodeError::TooManyUpdates => body(1, &[7, 0, 0, 0, 0, 33]),
                DecodeError::Trailing => body(1, &[7, 0, 0, 0, 0, 0, 0]),
                DecodeError::NotMinimal => body(4, &[0xfb, 7, 0, 1, b'm']),
            };
            Some((error.as_str(), datagram))
        })
        .collect()
}
