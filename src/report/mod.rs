//! Plain results and their writers: one struct, one writer a format. Computes no statistic and reads no cache.
