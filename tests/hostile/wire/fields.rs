//! A message as a row of named fields, each of which a case may replace by any bytes; and a reader of the same encoding.

/// Fields in wire order. A length, a count and what they measure are fields of their own: `query.dims.len`, `query.dims.0.codes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Adds bytes as they are.
    pub(crate) fn raw(mut self, name: &str, bytes: &[u8]) -> Self {
        self.0.push((name.to_owned(), bytes.to_vec()));
        self
    }

    /// Adds a number of one byte.
    pub(crate) fn u8(self, name: &str, value: u8) -> Self {
        self.raw(name, &[value])
    }

    /// Adds a number of two bytes.
    pub(crate) fn u16(self, name: &str, value: u16) -> Self {
        self.raw(name, &value.to_be_bytes())
    }

    /// Adds a number of four bytes.
    pub(crate) fn u32(self, name: &str, value: u32) -> Self {
        self.raw(name, &value.to_be_bytes())
    }

    /// Adds a number of eight bytes.
    pub(crate) fn u64(self, name: &str, value: u64) -> Self {
        self.raw(name, &value.to_be_bytes())
    }

    /// Adds `name.len` and `name`.
    pub(crate) fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        self.u64(&format!("{name}.len"), bytes.len() as u64).raw(name, bytes)
    }

    /// Adds `name.len` and `name`.
    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.bytes(name, text.as_bytes())
    }

    /// Adds `name.len` and the fields of each item under `name.0`, `name.1`, ...
    pub(crate) fn list(self, name: &str, items: impl ExactSizeIterator<Item = Fields>) -> Self {
        let mut all = self.u64(&format!("{name}.len"), items.len() as u64);
        for (index, item) in items.enumerate() {
            all = all.nest(&format!("{name}.{index}"), item);
        }
        all
    }

    /// Adds another message's fields under a name.
    pub(crate) fn nest(mut self, name: &str, inner: Fields) -> Self {
        self.0.extend(inner.0.into_iter().map(|(field, bytes)| (format!("{name}.{field}"), bytes)));
        self
    }

    /// Replaces one field.
    ///
    /// # Panics
    /// If there is no such field.
    pub(crate) fn with(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        let slot = self.0.iter_mut().find(|(field, _)| field == name);
        let (_, slot) = slot.unwrap_or_else(|| panic!("no field {name}"));
        *slot = bytes.as_ref().to_vec();
        self
    }

    /// The names of all fields that are the length or count of another.
    pub(crate) fn lengths(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name).filter(|name| name.rsplit('.').next() == Some("len")).cloned().collect()
    }

    /// The number that a length or count holds.
    ///
    /// # Panics
    /// If there is no such field of eight bytes.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let (_, bytes) = self.0.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no field {name}"));
        u64::from_be_bytes(bytes.as_slice().try_into().expect("a number of eight bytes"))
    }

    /// The bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

/// Reads what [`Fields`] writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader at the start of these bytes.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| format!("{length} bytes wanted, {} left", self.0.len()))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next bytes, as many as the array has.
    pub(crate) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], String> {
        self.take(LENGTH)?.try_into().map_err(|_| "a length that changed".to_owned())
    }

    /// A number of one byte.
    pub(crate) fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_be_bytes)
    }

    /// A number of two bytes.
    pub(crate) fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_be_bytes)
    }

    /// A number of four bytes.
    pub(crate) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_be_bytes)
    }

    /// A number of eight bytes.
    pub(crate) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length and that many bytes.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], String> {
        let length = self.u64()?;
        self.take(usize::try_from(length).map_err(|error| error.to_string())?)
    }

    /// A length and that much text.
    pub(crate) fn text(&mut self) -> Result<String, String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|error| error.to_string())
    }

    /// A count and that many items.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        let count = self.u64()?;
        (0..count).map(|_| item(self)).collect()
    }

    /// That nothing is left.
    pub(crate) fn end(self) -> Result<(), String> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} bytes left over", self.0.len())) }
    }
}
