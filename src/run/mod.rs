//! Carries a plan out: lookup, execute, record, progress.
