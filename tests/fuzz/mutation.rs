//! Changes bytes at random, by what breaks readers as a rule.

use fastrand::Rng;

/// Pieces that mean something to one of the readers.
const PIECES: &[&[u8]] = &[
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b":",
    b": ",
    b"- ",
    b"---\n",
    b"...\n",
    b"#",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!",
    b"!",
    b"|\n",
    b">-\n",
    b"%YAML 1.2\n",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc3\x28",
    b"\x1b[2J",
    "\u{202e}".as_bytes(),
    "\u{9b}31m".as_bytes(),
    "\u{2028}".as_bytes(),
    b"::error::x",
    b"##[error]x",
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"18446744073709551616",
    b"**/",
    b"/**",
    b"[a-",
    b"a*a*a*a*a*",
    b"ref: refs/heads/",
    b"../../",
    b"/etc/passwd",
    b"0000000000000000000000000000000000000000",
    b"gitdir: ",
    b"<<<<<<< HEAD\n",
    b"{{ x }}",
    b"\"data\":",
    b"\"error\":",
];

pub(crate) struct Mutator {
    rng: Rng,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed) }
    }

    pub(crate) fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.rng.usize(..of.len())]
    }

    /// The same bytes with some changes; of several seeds also with parts of another one.
    pub(crate) fn changed(&mut self, seed: &[u8], others: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.rng.usize(..4) {
            let at = self.rng.usize(..=bytes.len());
            let end = (at + self.rng.usize(..16)).min(bytes.len());
            match self.rng.u8(..8) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..at, self.one(PIECES).iter().copied())),
                2 => drop(bytes.splice(at..end, self.one(PIECES).iter().copied())),
                3 if at < bytes.len() => bytes[at] ^= 1 << self.rng.u8(..8),
                4 => bytes.truncate(at),
                5 => {
                    let piece = bytes[at..end].to_vec();
                    let times = 1 << self.rng.u8(..10);
                    bytes.splice(at..at, piece.repeat(times));
                }
                6 if !others.is_empty() => {
                    let other = self.one(others);
                    let from = self.rng.usize(..=other.len());
                    bytes.splice(at..end, other[from..].iter().copied());
                }
                _ => {
                    let piece = self.one(PIECES);
                    let times = self.rng.usize(..200);
                    bytes.splice(at..at, piece.repeat(times));
                }
            }
        }
        bytes
    }
}
