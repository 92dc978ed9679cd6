//! BLAKE3 digests of bytes and files, and their hexadecimal form. Knows nothing of images.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::stat_index::Stat;
use crate::error::{Error, IoContext, Result};

/// BLAKE3 of a file's bytes.
pub type Digest = [u8; 32];

/// Files from this size on are hashed by all threads together, in pieces of this size.
const PIECE: u64 = 16 << 20;

/// The digest of bytes in memory.
pub fn of(bytes: &[u8]) -> Digest {
    *blake3::hash(bytes).as_bytes()
}

/// The digest of the file at `path`. Fails if the file cannot be read or keeps changing while it is read.
pub fn of_file(path: &Path) -> Result<Digest> {
    Ok(of_file_with(path, &mut Vec::new())?.0)
}

/// As [`of_file`], with the state that the file had before and after its bytes were read; `buffer` is reused.
pub(super) fn of_file_with(path: &Path, buffer: &mut Vec<u8>) -> Result<(Digest, Stat)> {
    for _ in 0..3 {
        let mut file = File::open(path).doing("read", path)?;
        let before = Stat::of(&file.metadata().doing("read", path)?);
        let digest = if before.size >= PIECE {
            pieces(&mut file, path, buffer)?
        } else {
            let length = read_whole(&mut file, before.size as usize, buffer).doing("read", path)?;
            of(&buffer[..length])
        };
        let after = Stat::of(&file.metadata().doing("read", path)?);
        if before == after {
            return Ok((digest, after));
        }
    }
    Err(Error::input_help(
        format!("`{}` changes while it is read", path.display()),
        "let the program that writes it finish, then run again",
    ))
}

/// Reads a file of about `size` bytes from its start; its bytes are the first of `buffer`, as many as the answer says.
/// Asks the system no more than it must: a short answer is a file's end.
fn read_whole(file: &mut File, size: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut length = 0;
    loop {
        // A byte more than expected, so that one answer tells the end.
        let room = size.max(length) + 1;
        if buffer.len() < room {
            buffer.resize(room, 0);
        }
        let asked = buffer.len() - length;
        match file.read(&mut buffer[length..]) {
            Ok(read) => {
                length += read;
                if read == 0 || (read < asked && length == size) {
                    return Ok(length);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn pieces(file: &mut File, path: &Path, buffer: &mut Vec<u8>) -> Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    loop {
        buffer.clear();
        if file.by_ref().take(PIECE).read_to_end(buffer).doing("read", path)? == 0 {
            return Ok(*hasher.finalize().as_bytes());
        }
        hasher.update_rayon(buffer);
    }
}

/// The 64 lower-case hexadecimal digits of a digest.
pub fn hex(digest: &Digest) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(64);
    for byte in digest {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
    out
}

/// The digest that 64 hexadecimal digits write; `None` for anything else.
pub fn from_hex(text: &str) -> Option<Digest> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| (digit as char).to_digit(16).map(|v| v as u8);
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_blake3_and_survives_its_hex_form() {
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(hex(&of(b"")), text);
        assert_eq!(from_hex(text), Some(of(b"")));
        assert_eq!(from_hex(&text[1..]), None);
        assert_eq!(from_hex(&text.replace('a', "g")), None);
    }

    #[test]
    fn a_file_hashed_in_pieces_has_the_digest_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..PIECE as usize + 12_345).map(|i| (i % 251) as u8).collect();
        std::fs::write(file.path(), &bytes).unwrap();
        assert_eq!(of_file(file.path()).unwrap(), of(&bytes));
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = of_file(Path::new("no/such/photo.jpg")).unwrap_err().to_string();
        assert_eq!(message, "could not read `no/such/photo.jpg`: No such file or directory (os error 2)");
    }
}
