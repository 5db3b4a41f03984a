//! Lines that are written together: they lie in memory as they will in the file, so that whole blocks of it can go
//! to the device from where they are.

/// See the module.
#[derive(Debug)]
pub(super) struct Gathered {
    memory: Vec<u8>,
    /// The lines begin here.
    start: usize,
}

/// Where a device's blocks begin and end: no device has larger ones. Bytes.
pub(super) const BLOCK: usize = 4096;

/// Where in a block something lies, in memory or in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Phase(usize);

impl Phase {
    pub(super) fn in_file(at: u64) -> Self {
        Self(usize::try_from(at % BLOCK as u64).unwrap_or(0))
    }

    pub(super) fn in_memory(bytes: &[u8]) -> Self {
        Self(bytes.as_ptr().addr() % BLOCK)
    }

    /// Bytes from here to where a block begins.
    pub(super) fn missing(self) -> usize {
        (BLOCK - self.0) % BLOCK
    }
}

impl Gathered {
    /// Holds so many bytes without growing.
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self {
            memory: Vec::with_capacity(bytes + 2 * BLOCK),
            start: 0,
        }
    }

    pub(super) fn lines(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.lines().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }

    /// Begins anew, at that place of a block.
    pub(super) fn begin_at(&mut self, phase: Phase) {
        self.memory.clear();
        self.start = self.memory.as_ptr().align_offset(BLOCK) + phase.0;
        self.memory.resize(self.start, 0);
    }

    /// Where there is no more room memory is moved, and the lines lie somewhere: they are written all the same.
    pub(super) fn append(&mut self, lines: &[u8]) {
        self.memory.extend_from_slice(lines);
    }

    /// Takes out the first of them. The others lie somewhere then.
    pub(super) fn remove_first(&mut self, bytes: usize) {
        let end = (self.start + bytes).min(self.memory.len());
        self.memory.drain(self.start..end);
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        self.memory.truncate(self.start + bytes);
    }
}
