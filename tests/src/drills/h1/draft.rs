//! Requests in their parts, as ordinary clients write them, before anything is done to them.

use super::random::Random;

/// What goes over one connection.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub requests: Vec<Request>,
}

/// One request. Every part is written as it stands.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: String,
    /// Between the three of them.
    pub spaces: [Vec<u8>; 2],
    pub fields: Vec<Field>,
    /// After the request line, after each field, after the empty line.
    pub ends: Vec<Vec<u8>>,
    pub body: Vec<u8>,
}

/// A field and what is around its parts.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: Vec<u8>,
    pub colon: Vec<u8>,
    pub value: Vec<u8>,
}

/// How long the body is, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
}

/// Where a draft is for.
#[derive(Debug, Clone)]
pub struct Place<'p> {
    /// First segment of every path.
    pub reader: &'p str,
    /// Which case it is.
    pub case: usize,
    pub token: &'p str,
}

pub const HOST: &str = "gw.test";

/// The number of the request that is hidden in another, or behind it.
pub const HIDDEN: usize = 9;

impl Draft {
    pub fn bytes(&self) -> Vec<u8> {
        self.requests.iter().flat_map(Request::bytes).collect()
    }

    pub fn last(&mut self) -> &mut Request {
        self.requests.last_mut().expect("a request")
    }
}

impl Request {
    /// One that any gateway lets through.
    pub fn ordinary(random: &mut Random, place: &Place<'_>, number: usize) -> Self {
        let framing = random.pick(&[Framing::None, Framing::Length, Framing::Chunked]);
        let method = match framing {
            Framing::None => random.pick(&["GET", "GET", "HEAD", "DELETE", "OPTIONS"]),
            Framing::Length | Framing::Chunked => random.pick(&["POST", "PUT", "PATCH"]),
        };
        Self::with(random, place, (number, method, framing))
    }

    pub fn with(
        random: &mut Random,
        place: &Place<'_>,
        (number, method, framing): (usize, &str, Framing),
    ) -> Self {
        let mut request = Self {
            method: method.to_owned(),
            target: target(place, number),
            version: "HTTP/1.1".to_owned(),
            spaces: [b" ".to_vec(), b" ".to_vec()],
            fields: vec![Field::new("Host", HOST)],
            ends: Vec::new(),
            body: Vec::new(),
        };
        request.push("Authorization", &format!("Bearer {}", place.token));
        if random.one_in(2) {
            let (name, value) = random.pick(&[
                ("User-Agent", "drill/1"),
                ("Accept", "*/*"),
                ("X-Note", "a, b; c=\"d\""),
                ("Cookie", "a=b; c=d"),
            ]);
            request.push(name, value);
        }
        let body: Vec<u8> = (0..random.below(40)).map(|_| letter(random)).collect();
        match framing {
            Framing::None => {}
            Framing::Length => {
                request.push("Content-Length", &body.len().to_string());
                request.body = body;
            }
            Framing::Chunked => {
                request.push("Transfer-Encoding", "chunked");
                request.body = chunked(random, &body);
            }
        }
        if random.one_in(3) {
            let at = random.below(request.fields.len());
            request.fields.swap(0, at);
        }
        request
    }

    pub fn push(&mut self, name: &str, value: &str) {
        self.fields.push(Field::new(name, value));
    }

    /// The field that says how long the body is, whichever it is.
    pub fn framing(&mut self) -> Option<&mut Field> {
        let names: [&[u8]; 2] = [b"Content-Length", b"Transfer-Encoding"];
        self.fields
            .iter_mut()
            .find(|field| names.contains(&&*field.name))
    }

    pub fn without_framing(&mut self) {
        let names: [&[u8]; 2] = [b"Content-Length", b"Transfer-Encoding"];
        self.fields.retain(|field| !names.contains(&&*field.name));
    }

    /// The end of its `at`th line, to be changed.
    pub fn end(&mut self, at: usize) -> &mut Vec<u8> {
        if self.ends.len() <= at {
            self.ends.resize(at + 1, b"\r\n".to_vec());
        }
        &mut self.ends[at]
    }

    pub fn lines(&self) -> usize {
        self.fields.len() + 2
    }

    pub fn bytes(&self) -> Vec<u8> {
        let end = |at: usize| self.ends.get(at).map_or(&b"\r\n"[..], |end| end);
        let mut bytes = [
            self.method.as_bytes(),
            &self.spaces[0],
            self.target.as_bytes(),
            &self.spaces[1],
            self.version.as_bytes(),
            end(0),
        ]
        .concat();
        for (at, field) in self.fields.iter().enumerate() {
            bytes.extend([&*field.name, &field.colon, &field.value, end(at + 1)].concat());
        }
        bytes.extend_from_slice(end(self.fields.len() + 1));
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Field {
    pub fn new(name: &str, value: &str) -> Self {
        Self::raw(name.as_bytes(), b": ", value.as_bytes())
    }

    pub fn raw(name: &[u8], colon: &[u8], value: &[u8]) -> Self {
        Self {
            name: name.to_vec(),
            colon: colon.to_vec(),
            value: value.to_vec(),
        }
    }
}

/// The path of a request. By it everybody knows which one it is.
pub fn target(place: &Place<'_>, number: usize) -> String {
    format!("/{}/{}", place.reader, id(place.case, number))
}

pub fn id(case: usize, number: usize) -> String {
    format!("c{case:07}k{number}")
}

/// What [`id`] was made of, wherever it stands in a text; of the first, if there are several.
pub fn ids(text: &[u8]) -> Vec<(usize, usize)> {
    let digits = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<usize>().ok();
    let mut found = Vec::new();
    for window in text.windows(10) {
        let fits = window[0] == b'c' && window[8] == b'k';
        if let (true, Some(case), Some(number)) =
            (fits, digits(&window[1..8]), digits(&window[9..]))
        {
            found.push((case, number));
        }
    }
    found
}

/// A body in chunks of whatever size.
pub fn chunked(random: &mut Random, mut body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !body.is_empty() {
        let (chunk, rest) = body.split_at(1 + random.below(body.len()));
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        body = rest;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

fn letter(random: &mut Random) -> u8 {
    random.pick(b"abcdefghijklmnopqrstuvwxyz0123456789 =&{}")
}
