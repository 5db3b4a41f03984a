//! Records of the entries of a batch that are no question: answered with a deny like any, no policy
//! having been asked.

use authzen::{Asked, SnapshotVersion};
use service_kit::UnixTime;

use super::{Lines, Share};
use crate::answer::Id;
use crate::short::cut;
use crate::spelled::Spelled;

/// Why an entry is answered with a deny.
#[derive(Debug)]
pub(crate) struct Refused<'r, 'a> {
    /// Which one of its batch, from 0.
    pub(crate) entry: usize,
    /// As far as it can be read as a question.
    pub(crate) asked: Option<&'r Asked<'a>>,
    pub(crate) status: u16,
    pub(crate) message: &'r str,
}

/// The most characters of what is wrong with an entry.
const MESSAGE: usize = 1000;

impl<'l> Lines<'l> {
    /// Records a refusal. None is left out, however few denies are recorded.
    pub(crate) fn refuse(
        &mut self,
        id: Id<'_>,
        refused: &Refused<'_, 'l>,
        version: &Spelled<SnapshotVersion>,
        now: UnixTime,
    ) {
        if !self.log.is_on() {
            return;
        }
        self.decided(id, false, Share::ALL, now);
        self.text.raw(r#","entry":"#);
        self.text.number(refused.entry as u64);
        if let Some(asked) = refused.asked {
            self.asked(asked);
        }
        let text = &mut self.text;
        text.raw(r#","policies":[],"error":{"status":"#);
        text.number(refused.status.into());
        text.raw(r#","message":"#);
        text.text(&cut(refused.message, MESSAGE));
        text.raw(r#"},"snapshot":"#);
        version.write(text);
        self.by();
        self.end();
    }
}
