"""Writes curves.events: the curves of src/run/tensorboard.rs's test, by TensorBoard's own protobuf and record writer.

    pip install tensorboard && python tests/golden/curves.py
"""

import pathlib

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

WALL_TIME = 1234.5
ROWS = [
    (5, [("loss", 1.5), ("learning_rate", 0.1)]),
    (300, [("loss", 0.25), ("valid_accuracy", 0.5), ("learning_rate", 0.0)]),
]

path = pathlib.Path(__file__).with_suffix(".events")
with open(path, "wb") as file:
    writer = RecordWriter(file)
    writer.write(Event(wall_time=WALL_TIME, file_version="brain.Event:2").SerializeToString())
    for step, scalars in ROWS:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars]
        writer.write(Event(wall_time=WALL_TIME, step=step, summary=Summary(value=values)).SerializeToString())
    writer.flush()
