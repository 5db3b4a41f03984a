//! How many files and sockets this process may have open: as many as the system lets it, whatever it was
//! started with.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the most that is allowed. What it is then; none where there is none.
///
/// Soft limits are low for programs that keep files in bit sets. None of ours does.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some() && limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Some systems have a lower bound of their own: then it stays as it is.
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files cannot be raised");
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_most_that_is_allowed_and_stays_so() {
        let raised = raise();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
        assert_eq!(raised, raise());
    }
}
