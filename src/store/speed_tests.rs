//! Rates of the cache on this machine, printed: `cargo test --release --lib store::speed_tests -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

fn image(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(375)
}

/// A record of a candidate's size.
fn candidate(n: u32, image: Digest) -> Record {
    let mut inputs = vec![7; 320];
    inputs[..4].copy_from_slice(&n.to_le_bytes());
    Record::of(inputs).output("image", image).note("engine", "0.1.0").note("libtorch", "2.11.0").note("device", "cpu")
}

fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "prints rates; asserts none"]
fn rates_of_a_quarter_of_a_million_entries() {
    const N: u32 = 250_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let store = Store::open(&path).unwrap();
    let started = Instant::now();
    let mut keys = Vec::new();
    for first in (0..N).step_by(64) {
        let records: Vec<Record> =
            (first..(first + 64).min(N)).map(|n| candidate(n, store.put(&image(n)).unwrap())).collect();
        store.commit(&records).unwrap();
        keys.extend(records.iter().map(|record| record.key));
    }
    let rate = |what: &str, n: usize, started: Instant| {
        let seconds = started.elapsed().as_secs_f64();
        println!("{what}: {:.0} a second, {:.3} s", n as f64 / seconds, seconds);
    };
    rate("commit in batches of 64", keys.len(), started);
    drop(store);

    let before = resident();
    let started = Instant::now();
    let store = Store::open(&path).unwrap();
    println!("open: {:.6} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let fingerprint = store.fingerprint().unwrap();
    println!("fingerprint: {:.3} s ({:02x})", started.elapsed().as_secs_f64(), fingerprint[0]);
    let started = Instant::now();
    store.load().unwrap();
    println!("reading the log: {:.3} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    assert!(store.has_hit(&keys[0]));
    println!("listing the blobs: {:.3} s", started.elapsed().as_secs_f64());
    let log = fs::metadata(path.join("records.log")).unwrap().len() as f64 / 1_048_576.0;
    println!("memory: {:.1} MiB for a log of {log:.1} MiB", resident() - before);
    let started = Instant::now();
    let hits = keys.iter().filter(|key| store.hit(key).is_some()).count();
    rate("hit", hits, started);
    let started = Instant::now();
    let hits = keys.iter().filter(|key| store.has_hit(key)).count();
    rate("has_hit", hits, started);
    assert_eq!(hits, keys.len());
    let started = Instant::now();
    let again = store.fingerprint().unwrap();
    println!("fingerprint of unchanged folders: {:.4} s", started.elapsed().as_secs_f64());
    assert_eq!(again, fingerprint);
    let started = Instant::now();
    let checked = store.check().unwrap();
    rate("check", checked.blobs, started);
    assert_eq!((checked.blobs, checked.damage.len()), (keys.len(), 0));
}
