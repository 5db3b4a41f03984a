//! What must hold of every case: what was decided upon, what is in the log, what reached the upstream and
//! what a reader by the letter makes of the client's bytes are the same requests.

use percent_encoding::percent_decode_str;

use super::exchange::{Answer, statuses};
use super::grammar::Class;
use super::model::{Plain, Stop};
use super::stage::Line;

/// A case, and everything that came of it.
#[derive(Debug)]
pub struct Outcome {
    pub case: usize,
    pub class: Class,
    pub reader: &'static str,
    pub sent: Vec<Vec<u8>>,
    /// By the letter.
    pub messages: Vec<Plain>,
    pub stop: Stop,
    pub answer: Answer,
    /// At the upstream's end, in order.
    pub seen: Vec<Plain>,
    pub decided: Vec<Line>,
    pub logged: Vec<Line>,
}

impl Outcome {
    /// Says what is wrong, if anything.
    pub fn judge(&self) -> Result<(), String> {
        self.seen_is_sent()?;
        self.seen_is(&self.decided, "decided upon")?;
        self.seen_is(&self.logged, "logged")?;
        self.is_logged_as_it_went()?;
        self.answers_belong_here()?;
        if self.stop == Stop::Bad && !self.answer.is_closed {
            return Err("what cannot be read must end the connection".to_owned());
        }
        if self.class == Class::Control {
            let all = vec![200; self.messages.len()];
            if statuses(&self.answer.bytes) != all || self.seen.len() != all.len() {
                return Err("an ordinary request must pass".to_owned());
            }
        }
        Ok(())
    }

    /// Each that arrived is one of the messages, whole, in order, and arrived once.
    fn seen_is_sent(&self) -> Result<(), String> {
        let mut messages = self.messages.iter();
        for seen in &self.seen {
            if !messages.any(|message| is_same(message, seen)) {
                return Err(format!("nobody has sent `{}` like this", line(seen)));
            }
        }
        Ok(())
    }

    fn seen_is(&self, lines: &[Line], what: &str) -> Result<(), String> {
        let mut lines = lines.iter();
        for seen in &self.seen {
            let is_it = |line: &Line| {
                line.method == seen.method
                    && line.path == path(&seen.target)
                    && line.host == without_port(&host(seen))
            };
            if !lines.any(is_it) {
                return Err(format!("`{}` arrived, and was not {what}", line(seen)));
            }
        }
        Ok(())
    }

    /// What the log calls a success is one. What the gateway's own upstream saw is in the log, too.
    fn is_logged_as_it_went(&self) -> Result<(), String> {
        let passed = self.logged.iter().filter(|line| line.status == 200).count();
        if passed > self.seen.len() {
            return Err(format!(
                "{passed} are logged as answered, {} arrived",
                self.seen.len()
            ));
        }
        Ok(())
    }

    /// No answer is another request's, none comes twice, and there are no more than there were requests.
    fn answers_belong_here(&self) -> Result<(), String> {
        let answered = seen_fields(&self.answer.bytes);
        let mut seen = self.seen.iter();
        for target in &answered {
            if !seen.any(|seen| seen.target == *target) {
                return Err(format!("an answer to `{target}` came back"));
            }
        }
        let most = self.messages.len() + usize::from(self.stop == Stop::Bad);
        let statuses = statuses(&self.answer.bytes);
        // What begins like a message that is cut off may be refused for its beginning.
        if statuses.len() > most.max(self.messages.len() + 1) {
            return Err(format!("{} answers came back", statuses.len()));
        }
        Ok(())
    }
}

/// Whether a message is the same request as what arrived.
fn is_same(sent: &Plain, seen: &Plain) -> bool {
    let [sent_host] = sent.all("host")[..] else {
        return false;
    };
    let sent_host = String::from_utf8_lossy(sent_host).to_ascii_lowercase();
    let sent_host = sent_host.strip_suffix(":80").unwrap_or(&sent_host);
    let sent_host = sent_host.strip_suffix('.').unwrap_or(sent_host);
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    sent.method == seen.method
        && sent.body == seen.body
        && sent_host == host(seen)
        && decoded(path(origin_form(&sent.target))) == decoded(path(&seen.target))
        && query(&sent.target) == query(&seen.target)
}

pub fn line(message: &Plain) -> String {
    format!("{} {}", message.method, message.target)
}

fn host(message: &Plain) -> String {
    let hosts = message.all("host");
    String::from_utf8_lossy(&hosts.concat()).into_owned()
}

/// Of a host in its canonical form.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

fn query(target: &str) -> Option<&str> {
    target.split_once('?').map(|(_, query)| query)
}

/// Without the scheme and the host of an absolute form.
fn origin_form(target: &str) -> &str {
    let rest = target
        .split_once("://")
        .filter(|_| !target.starts_with('/'));
    rest.map_or(target, |(_, rest)| {
        rest.find('/').map_or("/", |at| &rest[at..])
    })
}

/// What the recorder has said that it has seen, as the client was told.
fn seen_fields(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("\r\n");
    lines
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-seen")
                .then(|| value.to_owned())
        })
        .collect()
}
