//! What routes want of a request beside host, path and method, read and checked.

use http::HeaderName;
use service_kit::ConfigIssue;

use super::reading::is_said_by_clients;
use crate::config::{ConditionConfig, RouteConfig};
use crate::headers::{self, Reserved};
use crate::route::{Condition, Place, Wanted};

/// The conditions of a route, in no order that means anything.
pub(super) fn compile(
    route: &RouteConfig,
    reserved: &Reserved,
) -> Result<Vec<Condition>, ConfigIssue> {
    let mut conditions = Vec::<Condition>::new();
    for (name, wanted) in &route.when.headers {
        let at = format!("`when.headers.{name}`");
        let place = header(name, reserved).map_err(|issue| issue.within(&at))?;
        if conditions.iter().any(|known| known.place == place) {
            return Err(
                ConfigIssue::new(format!("{at}: the name is there twice")).hint("remove one")
            );
        }
        let wanted = compile_wanted(wanted, is_field_value).map_err(|issue| issue.within(&at))?;
        conditions.push(Condition { place, wanted });
    }
    for (name, wanted) in &route.when.query {
        let at = format!("`when.query.{name}`");
        if !is_text(name) || name.contains(['[', ']', '.', '+', '&', '=', ';']) {
            return Err(ConfigIssue::new(format!(
                "{at}: a parameter of this name is read in more than one way"
            ))
            .hint("write a name as it is decoded, without `[`, `]`, `.`, `+`, `&`, `=` and `;`"));
        }
        let place = Place::Query(name.clone());
        let wanted = compile_wanted(wanted, is_text).map_err(|issue| issue.within(&at))?;
        conditions.push(Condition { place, wanted });
    }
    Ok(conditions)
}

fn header(name: &str, reserved: &Reserved) -> Result<Place, ConfigIssue> {
    let name = HeaderName::try_from(name)
        .map_err(|_| ConfigIssue::new("this is no name of a header field"))?;
    if name.as_str().contains('_') {
        return Err(
            ConfigIssue::new("some upstreams read `_` and `-` in names as the same")
                .hint("write `-`; a request with the other spelling is refused"),
        );
    }
    // SECURITY: what no upstream gets to see would lead a request where the upstream does not know that it is.
    if !is_said_by_clients(&name, reserved) || headers::is_for_one_hop(&name) {
        return Err(ConfigIssue::new(
            "this is not the client's to say, or reaches no upstream",
        ));
    }
    Ok(Place::Header(name))
}

fn compile_wanted(
    wanted: &ConditionConfig,
    is_usable: fn(&str) -> bool,
) -> Result<Wanted, ConfigIssue> {
    match wanted {
        ConditionConfig::Exact(value) if is_usable(value) => Ok(Wanted::Exact(value.clone())),
        ConditionConfig::Exact(value) => {
            Err(
                ConfigIssue::new(format!("no request can have the value `{value}` here")).hint(
                    "a value is not empty and has no control characters; in a header field, it is visible ASCII \
                     without a comma, and without space at its ends",
                ),
            )
        }
        ConditionConfig::Present => Ok(Wanted::Present),
        ConditionConfig::Absent => Ok(Wanted::Absent),
    }
}

/// A comma would make several of it (RFC 9110 section 5.3).
fn is_field_value(value: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b',';
    !value.is_empty() && value.trim() == value && value.bytes().all(is_plain)
}

fn is_text(value: &str) -> bool {
    !value.is_empty() && !value.contains(char::is_control)
}
