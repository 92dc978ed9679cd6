//! Pictures as data URIs inside the page, within a budget that keeps the page a few megabytes. Knows no results.

use maud::{Markup, html};

use crate::report::data::Picture;

/// Hands out pictures until its part of the page is full.
pub struct Album {
    left: usize,
}

impl Album {
    /// Room for so many bytes of encoded pictures.
    pub fn new(bytes: usize) -> Album {
        Album { left: bytes }
    }

    /// Whether `pictures` together still fit.
    pub fn has_room<'a>(&self, pictures: impl IntoIterator<Item = &'a Picture>) -> bool {
        pictures.into_iter().map(|picture| encoded_len(&picture.0)).sum::<usize>() <= self.left
    }

    /// The picture, or an empty frame where it is not one or there is no room left.
    pub fn show(&mut self, picture: &Picture, alt: &str) -> Markup {
        let mime = mime(&picture.0).filter(|_| self.has_room([picture]));
        if mime.is_some() {
            self.left -= encoded_len(&picture.0);
        }
        html! {
            @match mime {
                Some(mime) => { img src={ "data:" (mime) ";base64," (base64(&picture.0)) } alt=(alt) width="96" height="96"; },
                None => { span.frame role="img" aria-label=(alt) { "no picture" } },
            }
        }
    }
}

fn mime(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        _ => None,
    }
}

fn encoded_len(bytes: &[u8]) -> usize {
    bytes.len().div_ceil(3) * 4
}

/// RFC 4648, section 4, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(encoded_len(bytes));
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let sextet = group >> (18 - 6 * i) & 63;
            out.push(if i <= chunk.len() { ALPHABET[sextet as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_vectors_of_rfc_4648() {
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, expected) in vectors.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), *expected);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn a_full_album_shows_an_empty_frame() {
        let picture = Picture(vec![0xff, 0xd8, 0xff, 0]);
        let mut album = Album::new(8);
        assert!(album.show(&picture, "a wren").into_string().contains("data:image/jpeg;base64,/9j/AA=="));
        assert!(album.show(&picture, "a wren").into_string().contains("no picture"));
        assert!(Album::new(1 << 20).show(&Picture(b"<svg>".to_vec()), "x").into_string().contains("no picture"));
    }
}
