//! Which states were seen, each as 128 bits.
//!
//! Of ten million states two have one fingerprint with a probability below 10^-24; one of them would not be
//! explored.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A set of fingerprints, which are hashes already.
#[derive(Default)]
pub struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

/// The states that were seen.
pub type Seen = HashSet<u128, BuildHasherDefault<Identity>>;

/// Every order of so many voters: where each of them goes.
pub fn orders(count: u8) -> Vec<Vec<u8>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let insert = |order: Vec<u8>| {
        (0..=order.len()).map(move |at| {
            let mut longer = order.clone();
            longer.insert(at, count - 1);
            longer
        })
    };
    orders(count - 1).into_iter().flat_map(insert).collect()
}

/// Two words of a multiplicative hash, far enough apart to be two hashes.
pub fn fingerprint(state: &impl Hash) -> u128 {
    struct Words(u64, u64);
    impl Hasher for Words {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
        }
        fn write_u8(&mut self, number: u8) {
            self.write_u64(number.into());
        }
        fn write_u32(&mut self, number: u32) {
            self.write_u64(number.into());
        }
        fn write_usize(&mut self, number: usize) {
            self.write_u64(number as u64);
        }
        fn write_u64(&mut self, word: u64) {
            let mix = |state: u64, odd: u64| {
                let wide = u128::from(state ^ word) * u128::from(odd);
                (wide as u64) ^ (wide >> 64) as u64
            };
            self.0 = mix(self.0.rotate_left(5), 0x9e37_79b9_7f4a_7c15).wrapping_add(word);
            self.1 = mix(self.1.rotate_left(23), 0xd6e8_feb8_6659_fd93).wrapping_sub(word);
        }
    }
    let mut words = Words(0x51_7c_c1_b7_27_22_0a_95, 0x2545_f491_4f6c_dd1d);
    state.hash(&mut words);
    u128::from(words.0) << 64 | u128::from(words.1)
}
