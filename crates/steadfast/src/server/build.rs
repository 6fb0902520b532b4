//! Which build this is. All nodes of a cluster must be the same: rows are spread by a hash that may change.

use std::fs::File;
use std::io::Read;

use crate::Failure;

/// How much of the program is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// The version, with a checksum of the program's file.
pub fn build_id() -> Result<String, Failure> {
    let mut file = File::open(std::env::current_exe()?)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut checksum = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(format!("{}+{checksum:08x}", env!("CARGO_PKG_VERSION"))),
            count => checksum = crc32c::crc32c_append(checksum, &chunk[..count]),
        }
    }
}
