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
fn a_record_read_where_it_stands_says_what_a_copy_says() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let made =
        Record::of(vec![7; 40]).output("other", digest).output("image", digest).inline(vec![1, 2]).note("a", "b");
    store.commit(&[made.clone(), record(1)]).unwrap();
    let all = |found: View<'_>| {
        let outputs: Vec<_> = found.outputs().map(|(name, digest)| (name.to_vec(), *digest)).collect();
        let notes = ["a", "none"].map(|name| found.noted(name).map(str::to_string));
        Some((found.inputs.to_vec(), outputs, found.blob("image"), found.blob("none"), found.inline.to_vec(), notes))
    };
    let outputs = vec![(b"other".to_vec(), digest), (b"image".to_vec(), digest)];
    let notes = [Some("b".to_string()), None];
    let wanted = Some((vec![7; 40], outputs, Some(digest), None, vec![1, 2], notes));
    assert_eq!(store.hit_with(&made.key, all), wanted);
    assert_eq!(store.record_with(&made.key, all), wanted);
    // Its blob is missing.
    assert_eq!(store.hit_with(&record(1).key, all), None);
    assert!(store.record_with(&record(1).key, all).is_some());
    assert_eq!(store.hit_with(&[0; 32], all), None);
    let mut seen = 0;
    store.each_view(|_| seen += 1);
    assert_eq!(seen, 2);
}

#[test]
fn a_check_counts_records_that_lack_a_blob() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let whole: Vec<Record> = (0..5).map(|n| Record::of(vec![n; 40]).output("image", digest)).collect();
    store.commit(&whole).unwrap();
    store.commit(&[record(7), record(8)]).unwrap();
    let checked = Store::open(store.dir()).unwrap().check().unwrap();
    assert_eq!((checked.blobs, checked.bytes, checked.records, checked.incomplete), (1, 4, 7, 2));
    assert!(checked.damage.is_empty());
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
        let third = Store::open(store.dir()).unwrap();
        third.load().unwrap();
        assert!(third.damage().is_empty(), "said twice, bit at {at}");
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
fn a_log_of_another_format_is_refused_plainly_and_left_alone() {
    let (_dir, store) = open();
    store.commit(&[record(1), record(2)]).unwrap();
    let whole = fs::read(log_path(&store)).unwrap();
    for version in [b'0', b'2'] {
        let mut other = whole.clone();
        for at in 0..other.len() - 3 {
            if &whole[at..at + 4] == b"BdL1" {
                other[at + 3] = version;
            }
        }
        fs::write(log_path(&store), &other).unwrap();
        let message = Store::open(store.dir()).err().unwrap().to_string();
        let told = format!("records.log` was written in format {}; this birdaug reads 1", version as char);
        assert!(message.contains(&told), "{message}");
        assert_eq!(fs::read(log_path(&store)).unwrap(), other);
    }
}

#[test]
fn opening_reads_no_record_and_damage_is_said_at_the_first_lookup() {
    let (_dir, store) = open();
    store.commit(&[record(1), record(2)]).unwrap();
    let mut bytes = fs::read(log_path(&store)).unwrap();
    bytes[60] ^= 1;
    fs::write(log_path(&store), &bytes).unwrap();
    let again = Store::open(store.dir()).unwrap();
    assert!(again.damage().is_empty());
    assert_eq!(fs::read(log_path(&store)).unwrap(), bytes, "nothing is mended before it is read");
    assert!(again.record(&record(2).key).is_some());
    assert_eq!(again.damage().len(), 1);
}

#[test]
fn a_log_that_cannot_be_read_is_an_error_and_not_an_empty_cache() {
    let (_dir, store) = open();
    fs::create_dir(log_path(&store)).unwrap();
    let again = Store::open(store.dir());
    let failed = again.and_then(|again| again.load()).err().unwrap().to_string();
    assert!(failed.contains("records.log"), "{failed}");
}

#[test]
fn the_fingerprint_changes_with_every_blob_and_record_and_with_nothing_else() {
    let (_dir, store) = open();
    let mut seen = vec![store.fingerprint().unwrap()];
    let first = store.put(b"bird").unwrap();
    seen.push(store.fingerprint().unwrap());
    store.put(b"owl").unwrap();
    seen.push(store.fingerprint().unwrap());
    store.commit(&[record(1)]).unwrap();
    seen.push(store.fingerprint().unwrap());
    store.forget(&record(1).key).unwrap();
    seen.push(store.fingerprint().unwrap());
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());

    let last = *seen.last().unwrap();
    assert_eq!(Store::open(store.dir()).unwrap().fingerprint().unwrap(), last);
    fs::write(store.dir().join("blobs").join(".new-1-1"), b"half").unwrap();
    store.get(&first).unwrap();
    store.keep_unfinished(&[1; 32], b"state").unwrap();
    assert_eq!(store.fingerprint().unwrap(), last);
    fs::remove_file(store.blob_path(&first)).unwrap();
    assert_ne!(store.fingerprint().unwrap(), last);
}

#[test]
fn a_blob_that_vanished_is_a_miss_from_then_on_and_another_processs_blob_is_found() {
    let (_dir, one) = open();
    let two = Store::open(one.dir()).unwrap();
    let digest = one.put(b"bird").unwrap();
    let whole = Record::of(vec![1]).output("image", digest);
    one.commit(std::slice::from_ref(&whole)).unwrap();
    assert_eq!(two.hit(&whole.key), Some(whole.clone()), "listed");
    let late = one.put(b"owl").unwrap();
    assert!(two.has(&late), "put after the list was made");
    fs::remove_file(one.blob_path(&digest)).unwrap();
    assert_eq!(two.get(&digest).unwrap(), None);
    assert!(!two.has_hit(&whole.key));
    assert_eq!(two.hit(&whole.key), None);
}

#[test]
fn two_processes_may_put_the_same_blobs_at_once() {
    let (_dir, store) = open();
    let stores: Vec<Store> = (0..4).map(|_| Store::open(store.dir()).unwrap()).collect();
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                for n in 0..200u32 {
                    store.put(&n.to_le_bytes()).unwrap();
                }
            });
        }
    });
    assert_eq!(store.blobs().unwrap().len(), 200);
    let left = fs::read_dir(store.dir().join("blobs")).unwrap().flat_map(|folder| {
        fs::read_dir(folder.unwrap().path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap())
    });
    assert!(left.into_iter().all(|name| name.len() == 62), "no temporary file is left");
}

#[test]
fn the_cache_is_tagged_for_backups() {
    let (_dir, store) = open();
    let tag = fs::read_to_string(store.dir().join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"));
}

#[test]
fn a_folder_is_listed_again_only_when_it_changed() {
    let (_dir, store) = open();
    let digest = store.put(b"bird").unwrap();
    let path = store.blob_path(&digest);
    let date_folder = |seconds: u64| {
        let folder = fs::File::open(path.parent().unwrap()).unwrap();
        folder.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    date_folder(1_000_000_000);
    let first = store.fingerprint().unwrap();
    fs::remove_file(&path).unwrap();
    date_folder(1_000_000_000);
    assert_eq!(store.fingerprint().unwrap(), first, "the same time says that nothing changed");
    date_folder(1_000_000_001);
    let without = store.fingerprint().unwrap();
    assert_ne!(without, first);
    let memory = fs::read_dir(store.dir()).unwrap().map(|entry| entry.unwrap().path());
    let memory = memory.into_iter().find(|path| path.to_string_lossy().contains("names-")).unwrap();
    let mut bytes = fs::read(&memory).unwrap();
    bytes[40] ^= 1;
    fs::write(&memory, bytes).unwrap();
    assert_eq!(store.fingerprint().unwrap(), without, "a damaged memory is none");
}
