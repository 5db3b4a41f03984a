//! Who asks for access, as people read it. Of a client that has registered itself nobody has looked at
//! what it says: the page says so, and where the answer goes, which the client cannot make up.

use maud::{Markup, html};
use url::Url;

use crate::clients;
use crate::core::Core;
use crate::error::Trouble;
use crate::registry::Provenance;

/// A client, as a page shows it.
pub(super) struct Asking {
    pub(super) name: String,
    who_says_so: Provenance,
    /// Where its document is, if it has one.
    at: Option<String>,
}

/// The client of this id; the id, where it is gone.
pub(super) async fn asking(core: &Core, client_id: &str) -> Result<Asking, Trouble> {
    let client = clients::find(core, &core.registry(), client_id).await?;
    let Some(client) = client else {
        return Ok(Asking {
            name: client_id.to_owned(),
            who_says_so: Provenance::Configured,
            at: None,
        });
    };
    Ok(Asking {
        name: client.name.clone(),
        who_says_so: client.provenance,
        at: matches!(client.provenance, Provenance::Document { .. }).then(|| place(&client.id)),
    })
}

impl Asking {
    /// What there is to know before anything is allowed. `target`: where the browser goes then.
    pub(super) fn warning(&self, target: Option<&str>) -> Markup {
        html! {
            @if self.who_says_so != Provenance::Configured {
                p role="alert" {
                    @match &self.at {
                        Some(at) => { "This application says of itself at " strong { (at) } " what it is: nobody here has checked it." }
                        None => "This application has registered itself: nobody here has checked its name.",
                    }
                    @if let Some(target) = target { " Your answer goes to " strong { (place(target)) } "." }
                }
            }
        }
    }
}

/// The part of a URI that says whose it is.
fn place(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else {
        return uri.to_owned();
    };
    match (url.scheme(), url.host_str()) {
        ("https", Some(host)) => host.to_owned(),
        ("http", Some(_)) => "a program on your computer".to_owned(),
        (scheme, _) => format!("the app {scheme}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_by_what_a_stranger_cannot_have() {
        for (uri, shown) in [
            ("https://app.example/bank.example/cb", "app.example"),
            (
                "https://bank.example.evil.example/cb",
                "bank.example.evil.example",
            ),
            ("http://127.0.0.1:4711/cb", "a program on your computer"),
            ("com.example.app:/cb", "the app com.example.app"),
        ] {
            assert_eq!(place(uri), shown);
        }
    }
}
