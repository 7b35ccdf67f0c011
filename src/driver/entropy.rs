//! Random bits from the kernel: nonces of process starts and seeds of generators.
//!
//! The protocol itself draws nothing from here; it gets one seed at its start.

use std::io;

/// 64 random bits.
///
/// # Errors
/// The kernel has no source of randomness for this process.
pub fn random_u64() -> io::Result<u64> {
    let mut bytes = [0_u8; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(target_os = "linux")]
fn fill(bytes: &mut [u8; 8]) -> io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    // Up to 256 bytes come whole once the kernel's pool is initialised.
    let got = getrandom(bytes.as_mut_slice(), GetRandomFlags::empty())?;
    if got == bytes.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8; 8]) -> io::Result<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(random_u64().unwrap(), random_u64().unwrap());
    }
}
