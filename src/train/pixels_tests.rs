//! Every operation beside torchvision's on Pillow images, byte for byte.

use super::super::vary::Op;
use super::*;

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    image: String,
    size: [u32; 2],
    op: String,
    magnitude: f64,
    sha256: String,
    first: Vec<u8>,
}

/// The same bytes as the images of tests/golden/vary.py.
fn drawn(name: &str, [width, height]: [u32; 2]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match name {
        "photo" => {
            let green = if x * 2 > y * 3 { 220 } else { 30 };
            Rgb([((x * x * 3 + y * 7) % 256) as u8, green, (((x * 13) ^ (y * 29)) % 256) as u8])
        }
        "soft" => Rgb([40 + ((x * 2 + y) % 97) as u8, 90 + ((x + y * 3) % 31) as u8, 10 + ((x * y) % 200) as u8]),
        _ => Rgb([y, x / 52, x % 52].map(|i| (i * 5) as u8)),
    })
}

/// SHA-256 (FIPS 180-4), of which the project has no other use.
fn sha256(bytes: &[u8]) -> String {
    let primes = || (2u64..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0));
    let fraction = |root: f64| ((root - root.floor()) * 4294967296.0) as u32;
    let k: Vec<u32> = primes().take(64).map(|p| fraction(libm::cbrt(p as f64))).collect();
    let mut state: Vec<u32> = primes().take(8).map(|p| fraction((p as f64).sqrt())).collect();
    let mut message = bytes.to_vec();
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(64) - 8, 0);
    message.extend((bytes.len() as u64 * 8).to_be_bytes());
    for block in message.chunks_exact(64) {
        let mut w: Vec<u32> = block.chunks_exact(4).map(|b| u32::from_be_bytes(b.try_into().unwrap())).collect();
        for i in 16..64 {
            let a = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
            let b = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
            w.push(w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b));
        }
        let mut v = state.clone();
        for i in 0..64 {
            let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let one = v[7].wrapping_add(s1).wrapping_add(choice).wrapping_add(k[i]).wrapping_add(w[i]);
            let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let two = s0.wrapping_add((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            v.rotate_right(1);
            v[4] = v[4].wrapping_add(one);
            v[0] = one.wrapping_add(two);
        }
        state.iter_mut().zip(v).for_each(|(s, v)| *s = s.wrapping_add(v));
    }
    state.iter().map(|word| format!("{word:08x}")).collect()
}

#[test]
fn every_operation_equals_torchvisions_on_pillow_images() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/vary.json")).unwrap();
    assert_eq!(golden.cases.len(), 3 * 45 + 1);
    let mut wrong = Vec::new();
    for case in golden.cases {
        let image = drawn(&case.image, case.size);
        let found = match Op::ALL.iter().find(|op| format!("{op:?}") == case.op) {
            Some(op) => op.apply(&image, case.magnitude),
            None => hue(&image, case.magnitude),
        };
        if sha256(found.as_raw()) != case.sha256 {
            let first = &found.as_raw()[..24];
            wrong.push(format!(
                "{} {:?} {} {}:\n{first:?}\n{:?}",
                case.image, case.size, case.op, case.magnitude, case.first
            ));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
