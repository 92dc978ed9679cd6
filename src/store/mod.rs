//! Bytes by key: blobs, records, and their upkeep. Knows nothing of what the bytes mean.
