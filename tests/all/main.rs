//! Everything that is tested from outside the library, in one binary: tests assert all that the user sees.

mod build;
mod cache;
mod changes;
mod checkpoint;
mod ci;
mod doses;
mod faults;
mod gates;
mod incremental;
mod inputs;
mod layers;
mod locked;
mod lora;
mod metrics;
mod pairs;
mod place;
mod plan;
mod predict;
mod python;
mod shards;
mod shipped;
mod stable;
mod survive;
mod verify;
mod why;
