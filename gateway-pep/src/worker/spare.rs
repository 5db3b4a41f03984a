//! A buffer that the connections of one thread hand on: each has it only as long as it has something to write.

use std::cell::RefCell;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Spare(RefCell<Vec<u8>>);

const MOST: usize = 64 << 10;

impl Spare {
    /// Empty, and with room where somebody has put one back.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.0.take()
    }

    /// One that has grown is nobody's.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= MOST {
            buffer.clear();
            self.0.replace(buffer);
        }
    }
}
