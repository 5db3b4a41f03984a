//! Which of the fields that need care a message has: looking at every name once is cheaper than looking each of
//! these up.

use http::header::{self, HeaderMap, HeaderName};

use super::{DPOP_NONCE, HOP_BY_HOP};

/// A set of names, each a bit. The first are those of [`HOP_BY_HOP`], in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks(u16);

impl Marks {
    pub(crate) const CONNECTION: Self = Self(1);
    const KEEP_ALIVE: Self = Self(1 << 1);
    const PROXY_CONNECTION: Self = Self(1 << 2);
    const PROXY_AUTHENTICATE: Self = Self(1 << 3);
    const PROXY_AUTHORIZATION: Self = Self(1 << 4);
    pub(crate) const TE: Self = Self(1 << 5);
    pub(crate) const TRAILER: Self = Self(1 << 6);
    pub(crate) const TRANSFER_ENCODING: Self = Self(1 << 7);
    pub(crate) const UPGRADE: Self = Self(1 << 8);
    pub(crate) const CONTENT_LENGTH: Self = Self(1 << 9);
    pub(crate) const EXPECT: Self = Self(1 << 10);
    pub(crate) const DPOP_NONCE: Self = Self(1 << 11);

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let of_all = headers.keys().fold(0, |marks, name| marks | mark(name).0);
        Self(of_all)
    }

    pub(crate) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    /// Those that are for one hop by definition.
    pub(super) fn hop_by_hop(self) -> impl Iterator<Item = &'static HeaderName> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = usize::try_from(left.trailing_zeros()).ok()?;
            left &= left.wrapping_sub(1);
            // What comes after these is no such name, and neither is what comes after the last.
            HOP_BY_HOP.get(at)
        })
    }
}

fn mark(name: &HeaderName) -> Marks {
    match *name {
        header::CONNECTION => Marks::CONNECTION,
        header::PROXY_AUTHENTICATE => Marks::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION => Marks::PROXY_AUTHORIZATION,
        header::TE => Marks::TE,
        header::TRAILER => Marks::TRAILER,
        header::TRANSFER_ENCODING => Marks::TRANSFER_ENCODING,
        header::UPGRADE => Marks::UPGRADE,
        header::CONTENT_LENGTH => Marks::CONTENT_LENGTH,
        header::EXPECT => Marks::EXPECT,
        _ => match name.as_str() {
            "keep-alive" => Marks::KEEP_ALIVE,
            "proxy-connection" => Marks::PROXY_CONNECTION,
            name if name == DPOP_NONCE.as_str() => Marks::DPOP_NONCE,
            _ => Marks::default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_name_has_the_place_that_its_mark_says() {
        for name in &HOP_BY_HOP {
            let mut headers = HeaderMap::new();
            headers.insert(name.clone(), HeaderValue::from_static("a"));
            headers.insert(header::ACCEPT, HeaderValue::from_static("a"));
            let found: Vec<_> = Marks::of(&headers).hop_by_hop().collect();
            assert_eq!(found, [name]);
        }
        let all = [header::CONTENT_LENGTH, header::EXPECT, DPOP_NONCE];
        for (name, mark) in
            all.into_iter()
                .zip([Marks::CONTENT_LENGTH, Marks::EXPECT, Marks::DPOP_NONCE])
        {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static("a"))]);
            assert_eq!(Marks::of(&headers), mark);
            assert_eq!(Marks::of(&headers).hop_by_hop().count(), 0);
        }
    }
}
