//! `keygen`: a new key of sealed gossip.

use super::exit::{Exit, Failure};
use crate::driver::entropy;
use ringrift_wire::Key;

/// A key ring of one new key, to be written to a file of mode 0600.
///
/// # Errors
/// 69: the system gives no randomness.
pub fn run() -> Result<String, Failure> {
    let fail = |error: std::io::Error| Failure::new(Exit::Unavailable, error.to_string());
    let mut bytes = [0; Key::LEN];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&entropy::random_u64().map_err(fail)?.to_le_bytes());
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "# key {} of ringrift-p2p; keep it secret, mode 0600\n{digits}\n",
        Key::new(bytes).id()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_one_each_time() {
        let keys = [run().unwrap(), run().unwrap()].map(|text| {
            let line = text.lines().last().unwrap().to_owned();
            assert!(text.contains(&line.parse::<Key>().unwrap().id().to_string()));
            line
        });
        assert_ne!(keys[0], keys[1]);
    }
}
