//! Lists of numbers, one after the other.

/// Lists of numbers, one after the other.
#[derive(Debug, Default)]
pub(super) struct Lists {
    ends: Vec<u32>,
    all: Vec<u32>,
}

impl Lists {
    pub(super) fn push(&mut self, list: impl IntoIterator<Item = u32>) {
        self.all.extend(list);
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn get(&self, index: usize) -> &[u32] {
        let end = self.ends.get(index).map_or(0, |end| *end as usize);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize);
        self.all.get(start..end).unwrap_or_default()
    }

    // The lists of who holds whom, from those of who is held by whom.
    pub(super) fn inverted(&self, size: usize) -> Self {
        let mut found: Vec<Vec<u32>> = vec![Vec::new(); size];
        for index in 0..self.ends.len() {
            for of in self.get(index) {
                if let Some(list) = found.get_mut(*of as usize) {
                    list.push(u32::try_from(index).unwrap_or(u32::MAX));
                }
            }
        }
        let mut lists = Self::default();
        for list in found {
            lists.push(list);
        }
        lists
    }
}
