//! Training curves as TensorBoard's event files: records of TFRecord's framing around protobuf messages. Knows one run.

use std::path::Path;
use std::time::SystemTime;

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use crate::error::{IoContext, Result};
use crate::store;
use crate::train::HistoryRow;

/// The part of TensorFlow's `event.proto` that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
}

/// The same of `summary.proto`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// Writes the curves of one classifier under `dir`, in a folder of its own that TensorBoard takes for a run: `ARM/seed-N`. A
/// file of an earlier build is replaced.
pub fn write(dir: &Path, arm: &str, seed: u64, history: &[HistoryRow]) -> Result<()> {
    let folder = dir.join(arm).join(format!("seed-{seed}"));
    std::fs::create_dir_all(&folder).doing("create", &folder)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    store::write_atomically(&folder.join("events.out.tfevents.birdaug"), &bytes(history, now))
}

/// The file's bytes.
fn bytes(history: &[HistoryRow], wall_time: f64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut push =
        |step: i64, what: What| record(&mut out, &Event { wall_time, step, what: Some(what) }.encode_to_vec());
    push(0, What::FileVersion("brain.Event:2".to_string()));
    for row in history {
        let scalars = [
            ("loss", Some(row.loss)),
            ("valid_accuracy", row.valid_accuracy),
            ("learning_rate", Some(row.learning_rate)),
        ];
        let value =
            |(tag, value): (&str, Option<f64>)| Some(Value { tag: tag.to_string(), simple_value: Some(value? as f32) });
        push(row.step as i64, What::Summary(Summary { value: scalars.into_iter().filter_map(value).collect() }));
    }
    out
}

/// A TFRecord: length, its checksum, the data, its checksum.
fn record(out: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
}

/// CRC-32C turned and shifted, as TFRecord stores it.
fn masked(data: &[u8]) -> u32 {
    let sum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(data);
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [HistoryRow; 2] = [
        HistoryRow { step: 5, loss: 1.5, valid_accuracy: None, learning_rate: 0.1 },
        HistoryRow { step: 300, loss: 0.25, valid_accuracy: Some(0.5), learning_rate: 0.0 },
    ];

    #[test]
    fn the_bytes_are_those_that_tensorboards_own_writer_makes() {
        // tests/golden/curves.py, with tensorboard's EventFileWriter.
        let golden = include_bytes!("../../tests/golden/curves.events");
        assert_eq!(bytes(&ROWS, 1234.5), golden);
    }

    #[test]
    fn a_run_is_a_folder_and_a_second_build_leaves_one_file() {
        let dir = tempfile::tempdir().unwrap();
        for rows in [&ROWS[..1], &ROWS[..]] {
            write(dir.path(), "dose-0.5x", 3, rows).unwrap();
        }
        let files: Vec<_> = walkdir::WalkDir::new(dir.path())
            .into_iter()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| entry.path().strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(files, ["dose-0.5x/seed-3/events.out.tfevents.birdaug"]);
    }
}
