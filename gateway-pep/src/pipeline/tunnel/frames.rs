//! Where frames of a WebSocket begin and end (RFC 6455 section 5.2), and the frame that closes it.

/// Follows the frames of one direction, as they are passed on.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head of a frame, as far as it has come.
    head: [u8; 10],
    have: usize,
    /// What is to come of the frame.
    left: u64,
    /// There will be no frame after this one, or what passes are no frames.
    is_over: bool,
}

/// RFC 6455 section 7.4.1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Code {
    GoingAway = 1001,
    PolicyViolation = 1008,
}

const CLOSE: u8 = 8;

impl Frames {
    /// These bytes were passed on.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over {
            let inside = usize::try_from(self.left)
                .unwrap_or(usize::MAX)
                .min(rest.len());
            if inside > 0 {
                rest = rest.get(inside..).unwrap_or_default();
                self.left -= u64::try_from(inside).unwrap_or(self.left);
                continue;
            }
            let Some((byte, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            if let Some(left) = self.payload() {
                let opcode = self.head.first().map_or(0, |first| first & 0x0f);
                // What comes after the closing frame is none of ours, and nothing may.
                self.is_over = opcode == CLOSE;
                self.left = left;
                self.have = 0;
            }
        }
    }

    /// Whether the next byte would begin a frame, and one may come.
    pub(super) fn may_close(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.is_over
    }

    /// How long the rest of a frame is, with its masking key, once its head says so.
    fn payload(&mut self) -> Option<u64> {
        let second = *self.head.get(1).filter(|_| self.have >= 2)?;
        let key = if second & 0x80 == 0 { 0 } else { 4 };
        let digits = match second & 0x7f {
            126 => 2,
            127 => 8,
            length => return Some(u64::from(length) + key),
        };
        let said = self
            .head
            .get(2..2 + digits)
            .filter(|_| self.have == 2 + digits)?;
        let length = said
            .iter()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        if length > MOST {
            self.is_over = true;
        }
        Some(length.saturating_add(key))
    }
}

/// The first bit is no digit.
const MOST: u64 = u64::MAX >> 1;

/// A closing frame without words. Who connects masks what it sends.
pub(super) fn close_frame(code: Code, mask: Option<[u8; 4]>) -> Vec<u8> {
    let code = (code as u16).to_be_bytes();
    let mut frame = vec![0x80 | CLOSE];
    match mask {
        None => {
            frame.push(2);
            frame.extend_from_slice(&code);
        }
        Some(mask) => {
            frame.push(0x80 | 2);
            frame.extend_from_slice(&mask);
            frame.extend(code.iter().zip(mask).map(|(byte, key)| byte ^ key));
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let bit = if masked { 0x80 } else { 0 };
        match length {
            0..126 => frame.push(bit | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(bit | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(bit | 0x7f);
                frame.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        frame.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
        frame
    }

    proptest! {
        #[test]
        fn a_frame_ends_where_the_next_begins_however_it_comes(
            frames in prop::collection::vec((0_u8..3, prop_oneof![0_usize..300, 65_500_usize..65_600], any::<bool>()), 1..5),
            piece in 1_usize..5000,
        ) {
            let mut bytes = Vec::new();
            let mut ends = vec![0];
            for (opcode, length, masked) in frames {
                bytes.extend(frame(opcode, length, masked));
                ends.push(bytes.len());
            }
            let mut seen = Frames::default();
            let mut passed = 0;
            for piece in bytes.chunks(piece) {
                prop_assert_eq!(seen.may_close(), ends.contains(&passed));
                seen.pass(piece);
                passed += piece.len();
            }
            prop_assert!(seen.may_close());
        }

        #[test]
        fn any_bytes_are_followed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Frames::default().pass(&bytes);
        }
    }

    #[test]
    fn nothing_comes_after_a_closing_frame_nor_into_what_is_no_frame() {
        for bytes in [
            close_frame(Code::GoingAway, None),
            close_frame(Code::PolicyViolation, Some([1, 2, 3, 4])),
            vec![0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255],
        ] {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            assert!(!frames.may_close(), "{bytes:?}");
        }
        assert_eq!(
            close_frame(Code::PolicyViolation, None),
            [0x88, 2, 0x03, 0xf0]
        );
    }
}
