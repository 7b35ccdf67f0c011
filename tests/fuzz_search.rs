#[path = "../fuzz/bodies/mod.rs"]
#[allow(dead_code)]
mod bodies;
use std::collections::BTreeSet;
fn rng(s: &mut u64) -> u64 {
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    *s
}
#[test]
fn search() {
    let seconds: u64 = std::env::var("SECS").unwrap().parse().unwrap();
    let want = std::env::var("WANT").unwrap_or_default();
    let mut s: u64 = 0x1234_5678_9abc_def1 ^ std::process::id() as u64;
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for dir in ["fuzz/corpus/node", "/tmp/fz/node"] {
        if let Ok(d) = std::fs::read_dir(dir) {
            for e in d {
                corpus.push(std::fs::read(e.unwrap().path()).unwrap());
            }
        }
    }
    let mut sets: BTreeSet<BTreeSet<&'static str>> = BTreeSet::new();
    let begin = std::time::Instant::now();
    let mut n = 0u64;
    if let Ok(one) = std::env::var("ONE") {
        let _ = bodies::node::one_node_keeps_its_word(&std::fs::read(one).unwrap());
        return;
    }
    std::panic::set_hook(Box::new(|_| {}));
    while begin.elapsed().as_secs() < seconds {
        n += 1;
        let mut input = corpus[(rng(&mut s) % corpus.len() as u64) as usize].clone();
        let cut = 14 + (rng(&mut s) as usize) % input.len().max(1);
        input.truncate(cut);
        let more = 20 + rng(&mut s) % 400;
        for _ in 0..more {
            let b = match rng(&mut s) % 8 {
                0 => 15,
                1 => 248 + (rng(&mut s) % 8) as u8,
                2 => 6,
                3 => 0,
                _ => (rng(&mut s) >> 20) as u8,
            };
            input.push(b);
        }
        if rng(&mut s) % 3 == 0 {
            let at = (rng(&mut s) as usize) % input.len();
            input[at] = rng(&mut s) as u8;
        }
        if rng(&mut s) % 3 == 0 {
            input[2] |= 2;
        }
        let r = std::panic::catch_unwind(|| bodies::node::one_node_keeps_its_word(&input));
        match r {
            Ok(paths) => {
                if !sets.contains(&paths) && sets.len() < 400 {
                    let name: Vec<String> = paths.iter().map(|p| p.replace(' ', "-")).collect();
                    if !want.is_empty() && paths.iter().any(|p| want.contains(p)) {
                        std::fs::write(format!("/tmp/fz/found_{}", name.join("_")), &input)
                            .unwrap();
                        println!("found {name:?} {}", input.len());
                    }
                    corpus.push(input);
                    sets.insert(paths);
                }
            }
            Err(e) => {
                let m = e
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| e.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_default();
                let key = m.chars().take(24).collect::<String>().replace(' ', "_");
                let path = format!("/tmp/fz/panic_{key}");
                let old = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(u64::MAX);
                if (input.len() as u64) < old {
                    std::fs::write(&path, &input).unwrap();
                }
                println!("PANIC {m}");
                std::fs::write("/tmp/fz/panic_input", &input).unwrap();
                if want.is_empty() {
                    return;
                }
            }
        }
    }
    println!("{n} inputs");
}
