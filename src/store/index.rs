//! Where in the log the last frame of each key begins: a table of offsets whose keys are the log's own bytes, so that a
//! record costs some 16 bytes beside its frame. Knows where a frame has its key, and nothing else of frames.

/// The table. Nothing leaves it: a forgotten key's last frame says that it is forgotten.
#[derive(Default)]
pub struct Index {
    /// An offset and one, or 0 for an empty slot; a power of two of them, at most half full.
    slots: Vec<u64>,
    used: usize,
}

impl Index {
    /// Where the last frame of a key begins.
    pub fn get<'a>(&self, key: &[u8; 32], key_at: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut slot = self.home(key);
        loop {
            let offset = self.slots[slot].checked_sub(1)? as usize;
            if key_at(offset) == key {
                return Some(offset);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// The key's last frame is at `offset` now.
    pub fn set<'a>(&mut self, key: &[u8], offset: usize, key_at: impl Fn(usize) -> &'a [u8]) {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow(self.used + 1, &key_at);
        }
        let mut slot = self.home(key);
        while let Some(other) = self.slots[slot].checked_sub(1) {
            if key_at(other as usize) == key {
                self.slots[slot] = offset as u64 + 1;
                return;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = offset as u64 + 1;
        self.used += 1;
    }

    /// Room for so many more keys.
    pub fn reserve<'a>(&mut self, more: usize, key_at: impl Fn(usize) -> &'a [u8]) {
        if (self.used + more) * 2 > self.slots.len() {
            self.grow(self.used + more, &key_at);
        }
    }

    /// Where the last frame of each key begins, in the order of the log.
    pub fn offsets(&self) -> Vec<usize> {
        let mut offsets: Vec<usize> =
            self.slots.iter().filter_map(|slot| slot.checked_sub(1)).map(|offset| offset as usize).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Index::default();
    }

    fn home(&self, key: &[u8]) -> usize {
        // A key is a hash already.
        let head = key.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
        head as usize & (self.slots.len() - 1)
    }

    fn grow<'a>(&mut self, keys: usize, key_at: &impl Fn(usize) -> &'a [u8]) {
        let old = std::mem::take(&mut self.slots);
        self.slots = vec![0; (keys * 2).next_power_of_two().max(64)];
        for entry in old.into_iter().filter(|&entry| entry > 0) {
            let mut slot = self.home(key_at(entry as usize - 1));
            while self.slots[slot] > 0 {
                slot = (slot + 1) & (self.slots.len() - 1);
            }
            self.slots[slot] = entry;
        }
    }
}
