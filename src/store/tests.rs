use std::fs;

use super::*;

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    (dir, store)
}

fn record(n: u8) -> Record {
    Record::of(vec![n; 40]).output("image", [n; 32]).inline(vec![1, 2, n]).note("device", "cpu")
}

fn log_path(store: &Store) -> PathBuf {
    store.dir().join("records.log")
}

#[test]
fn a_blob_comes_back_by_its_digest() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    assert_eq!(digest, *blake3::hash(b"bird").as_bytes());
    assert_eq!(store.get(&digest).unwrap().unwrap(), b"bird");
    assert_eq!(store.get(&[0; 32]).unwrap(), None);
    assert_eq!(store.blobs().unwrap(), vec![(digest, 4)]);
}

#[test]
fn a_damaged_blob_is_a_miss_said_once_and_can_be_put_again() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let path = store.blob_path(&digest);
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::write(&path, b"bard").unwrap();
    assert_eq!(store.get(&digest).unwrap(), None);
    assert_eq!(store.damage(), vec![format!("`{}` was damaged and is made again", path.display())]);
    assert!(store.damage().is_empty());
    store.put(b"bird").unwrap();
    assert_eq!(store.get(&digest).unwrap().unwrap(), b"bird");
}

#[test]
fn a_truncated_blob_is_written_again() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let path = store.blob_path(&digest);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"bi").unwrap();
    store.put(b"bird").unwrap();
    assert_eq!(store.get(&digest).unwrap().unwrap(), b"bird");
}

#[test]
fn records_survive_the_process() {
    let (_dir, store) = open();
    store.commit(&[record(1), record(2)]).unwrap();
    let again = Store::open(store.dir()).unwrap();
    assert_eq!(again.record(&record(1).key), Some(record(1)));
    assert_eq!(again.record(&record(2).key), Some(record(2)));
    assert_eq!(again.record(&[9; 32]), None);
    assert!(again.damage().is_empty());
}

#[test]
fn a_record_without_its_blob_is_a_miss() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let whole = Record::of(vec![1]).output("image", digest);
    store.commit(&[whole.clone(), record(2)]).unwrap();
    assert_eq!(store.hit(&whole.key), Some(whole));
    assert!(store.record(&record(2).key).is_some());
    assert_eq!(store.hit(&record(2).key), None);
}

#[test]
fn the_last_record_of_a_key_counts_and_a_forgotten_one_is_gone() {
    let (_dir, store) = open();
    let newer = Record { inline: vec![9], ..record(1) };
    store.commit(&[record(1), record(2)]).unwrap();
    store.commit(std::slice::from_ref(&newer)).unwrap();
    store.forget(&record(2).key).unwrap();
    for store in [&store, &Store::open(store.dir()).unwrap()] {
        assert_eq!(store.record(&newer.key), Some(newer.clone()));
        assert_eq!(store.record(&record(2).key), None);
    }
}

#[test]
fn two_processes_see_each_others_records() {
    let (_dir, one) = open();
    let two = Store::open(one.dir()).unwrap();
    one.commit(&[record(1)]).unwrap();
    two.commit(&[record(2)]).unwrap();
    one.refresh().unwrap();
    assert!(one.record(&record(2).key).is_some());
    assert!(two.record(&record(1).key).is_some());
}

#[test]
fn a_log_cut_anywhere_keeps_every_whole_record_and_takes_new_ones() {
    let (_dir, store) = open();
    store.commit(&[record(1)]).unwrap();
    let first = fs::metadata(log_path(&store)).unwrap().len();
    store.commit(&[record(2)]).unwrap();
    let whole = fs::read(log_path(&store)).unwrap();
    for cut in first..whole.len() as u64 {
        fs::write(log_path(&store), &whole[..cut as usize]).unwrap();
        let again = Store::open(store.dir()).unwrap();
        assert!(again.record(&record(1).key).is_some(), "cut at {cut}");
        assert!(again.record(&record(2).key).is_none(), "cut at {cut}");
        again.commit(&[record(3)]).unwrap();
        let third = Store::open(store.dir()).unwrap();
        assert!(third.record(&record(1).key).is_some() && third.record(&record(3).key).is_some(), "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_costs_one_record_and_is_said() {
    let (_dir, store) = open();
    store.commit(&[record(1)]).unwrap();
    let first = fs::metadata(log_path(&store)).unwrap().len() as usize;
    store.commit(&[record(2), record(3)]).unwrap();
    let whole = fs::read(log_path(&store)).unwrap();
    for at in 0..first {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(log_path(&store), bytes).unwrap();
        let again = Store::open(store.dir()).unwrap();
        assert!(again.record(&record(1).key).is_none(), "bit at {at}");
        assert!(again.record(&record(2).key).is_some() && again.record(&record(3).key).is_some(), "bit at {at}");
        assert_eq!(again.damage().len(), 1, "bit at {at}");
        assert!(Store::open(store.dir()).unwrap().damage().is_empty(), "said twice, bit at {at}");
    }
}

#[test]
fn unfinished_state_is_whole_or_absent() {
    let (_dir, store) = open();
    let key = [5; 32];
    assert_eq!(store.unfinished(&key).unwrap(), None);
    store.keep_unfinished(&key, b"half way").unwrap();
    assert_eq!(store.unfinished(&key).unwrap().unwrap(), b"half way");
    let path = store.dir().join("unfinished").join(blake3::Hash::from(key).to_hex().as_str());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(store.unfinished(&key).unwrap(), None);
    store.drop_unfinished(&key).unwrap();
    store.drop_unfinished(&key).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_cache_of_another_version_is_refused_plainly() {
    let (_dir, store) = open();
    fs::write(store.dir().join("version"), "99\n").unwrap();
    let message = Store::open(store.dir()).err().unwrap().to_string();
    assert!(message.contains("has format version \"99\"; this birdaug reads 1"), "{message}");
}

#[test]
fn the_cache_is_tagged_for_backups() {
    let (_dir, store) = open();
    let tag = fs::read_to_string(store.dir().join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}
