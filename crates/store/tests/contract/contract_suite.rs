//! The contract of records, batches, scans and counters, clause by clause.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Batch, Commit, MAX_KEY_BYTES, MAX_VALUE_BYTES, Rate, Store, StoreError};
use tokio::task::JoinSet;
use tokio::time::sleep;

type Shared = Arc<dyn Store>;

pub(crate) async fn a_record_is_there_from_put_to_delete(store: Shared) {
    assert_eq!(store.get("a:1").await.unwrap(), None);
    store.put("a:1", bytes("one"), None).await.unwrap();
    store.put("a:2", bytes("two"), None).await.unwrap();
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("one")));
    store.put("a:1", bytes("uno"), None).await.unwrap();
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("uno")));
    store.delete("a:1").await.unwrap();
    store.delete("a:1").await.unwrap();
    assert_eq!(store.get("a:1").await.unwrap(), None);
    assert_eq!(store.get("a:2").await.unwrap(), Some(bytes("two")));
}

pub(crate) async fn a_value_may_be_any_bytes(store: Shared) {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let biggest = vec![0xff; MAX_VALUE_BYTES];
    for (n, value) in [Vec::new(), all, biggest].into_iter().enumerate() {
        let key = format!("value:{n}");
        let value = Bytes::from(value);
        store.put(&key, value.clone(), None).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap(), Some(value.clone()), "{key}");
        let again = store.replace(&key, value.clone(), bytes("x"), None).await;
        assert!(again.unwrap(), "{key} compares equal to itself");
    }
    let longest = format!("a:{}", "k".repeat(MAX_KEY_BYTES - 2));
    store.put(&longest, bytes("v"), None).await.unwrap();
    assert_eq!(store.take(&longest).await.unwrap(), Some(bytes("v")));
}

pub(crate) async fn put_new_leaves_what_is_there(store: Shared) {
    assert!(store.put_new("a:1", bytes("first"), None).await.unwrap());
    assert!(!store.put_new("a:1", bytes("second"), None).await.unwrap());
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("first")));
    store.delete("a:1").await.unwrap();
    assert!(store.put_new("a:1", bytes("third"), None).await.unwrap());
}

pub(crate) async fn replace_needs_the_very_same_bytes(store: Shared) {
    let replace = async |expected: &'static str| {
        let new = bytes("new");
        store
            .replace("a:1", bytes(expected), new, None)
            .await
            .unwrap()
    };
    assert!(!replace("").await, "an absent value is not an empty one");
    store.put("a:1", bytes("old"), None).await.unwrap();
    for wrong in ["", "ol", "Old", "old ", "new"] {
        assert!(!replace(wrong).await, "{wrong:?}");
    }
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("old")));
    assert!(replace("old").await);
    assert_eq!(store.get("a:1").await.unwrap(), Some(bytes("new")));
}

pub(crate) async fn of_fifty_takers_one_gets_the_value(store: Shared) {
    for round in 0..10 {
        let key = format!("code:{round}");
        store.put(&key, bytes("code"), None).await.unwrap();
        let taken = fifty(&store, {
            let key = key.clone();
            move |store, _| {
                let key = key.clone();
                async move { store.take(&key).await.unwrap() }
            }
        })
        .await;
        let winners: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(winners, [bytes("code")], "round {round}");
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

pub(crate) async fn of_fifty_who_put_new_one_succeeds(store: Shared) {
    let won = fifty(&store, |store, n| async move {
        let value = Bytes::from(n.to_string());
        (n, store.put_new("nonce:1", value, None).await.unwrap())
    })
    .await;
    let winners: Vec<_> = won.iter().filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let kept = store.get("nonce:1").await.unwrap().unwrap();
    assert_eq!(kept, Bytes::from(winners[0].0.to_string()));
}

pub(crate) async fn of_fifty_who_replace_one_succeeds(store: Shared) {
    store.put("a:1", bytes("old"), None).await.unwrap();
    let won = fifty(&store, |store, n| async move {
        let new = Bytes::from(n.to_string());
        (
            n,
            store.replace("a:1", bytes("old"), new, None).await.unwrap(),
        )
    })
    .await;
    let winners: Vec<_> = won.iter().filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let kept = store.get("a:1").await.unwrap().unwrap();
    assert_eq!(kept, Bytes::from(winners[0].0.to_string()));
}

pub(crate) async fn a_batch_that_conflicts_writes_nothing(store: Shared) {
    store.put("a:there", bytes("old"), None).await.unwrap();
    store.put("a:kept", bytes("kept"), None).await.unwrap();
    let start = store.tail("log").await.unwrap();
    let writes = || {
        Batch::new()
            .put("a:new", bytes("x"), None)
            .delete("a:kept")
            .append("log", bytes("event"))
    };
    let conflicting = [
        writes().put_new("a:there", bytes("x"), None),
        writes().replace("a:there", bytes("other"), bytes("x"), None),
        writes().replace("a:absent", bytes(""), bytes("x"), None),
        // One condition holds, a later one does not.
        writes()
            .replace("a:there", bytes("old"), bytes("x"), None)
            .put_new("a:fresh", bytes("x"), None)
            .replace("a:absent", bytes("x"), bytes("x"), None),
    ];
    for batch in conflicting {
        assert_eq!(store.commit(batch).await.unwrap(), Commit::Conflict);
    }
    assert_eq!(store.get("a:there").await.unwrap(), Some(bytes("old")));
    assert_eq!(store.get("a:kept").await.unwrap(), Some(bytes("kept")));
    assert_eq!(store.get("a:new").await.unwrap(), None);
    assert_eq!(store.get("a:fresh").await.unwrap(), None);
    let page = store.follow("log", &start, Duration::ZERO).await.unwrap();
    assert!(page.is_empty(), "{page:?}");
}

pub(crate) async fn a_batch_that_applies_writes_everything(store: Shared) {
    store.put("refresh:old", bytes("live"), None).await.unwrap();
    store.put("code:1", bytes("code"), None).await.unwrap();
    let start = store.tail("log").await.unwrap();
    let rotate = Batch::new()
        .replace("refresh:old", bytes("live"), bytes("used"), None)
        .put_new("refresh:new", bytes("live"), Some(Duration::from_mins(1)))
        .put("grant:1", bytes("grant"), None)
        .delete("code:1")
        .append("log", bytes("rotated"));
    let again = rotate.clone();
    assert_eq!(store.commit(rotate).await.unwrap(), Commit::Applied);
    assert_eq!(store.commit(again).await.unwrap(), Commit::Conflict);
    assert_eq!(store.get("refresh:old").await.unwrap(), Some(bytes("used")));
    assert_eq!(store.get("refresh:new").await.unwrap(), Some(bytes("live")));
    assert_eq!(store.get("grant:1").await.unwrap(), Some(bytes("grant")));
    assert_eq!(store.get("code:1").await.unwrap(), None);
    let page = store.follow("log", &start, Duration::ZERO).await.unwrap();
    assert_eq!(crate::event_suite::events(page).0, [bytes("rotated")]);
    assert_eq!(store.commit(Batch::new()).await.unwrap(), Commit::Applied);
}

pub(crate) async fn of_fifty_batches_that_exclude_each_other_one_applies(store: Shared) {
    let start = store.tail("log").await.unwrap();
    let applied = fifty(&store, |store, n| async move {
        let batch = Batch::new()
            .put(format!("mine:{n}"), Bytes::from(n.to_string()), None)
            .append("log", Bytes::from(n.to_string()))
            .put_new("one:only", bytes("x"), None);
        (n, store.commit(batch).await.unwrap().is_applied())
    })
    .await;
    let winners: Vec<_> = applied.iter().filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let winner = Bytes::from(winners[0].0.to_string());
    let page = store.follow("log", &start, Duration::ZERO).await.unwrap();
    assert_eq!(crate::event_suite::events(page).0, [winner]);
    assert_eq!(scan_all(&store, "mine:", 10).await.len(), 1);
}

pub(crate) async fn what_the_contract_does_not_allow_is_refused_and_not_written(store: Shared) {
    let long = format!("a:{}", "k".repeat(MAX_KEY_BYTES - 1));
    for key in ["", "a", ":", "a:", ":b", "a:b\n", "a:\0", long.as_str()] {
        refused(key, &store.get(key).await);
        refused(key, &store.take(key).await);
        refused(key, &store.put(key, bytes("v"), None).await);
        refused(key, &store.put_new(key, bytes("v"), None).await);
        refused(key, &store.delete(key).await);
        refused(key, &store.count(key, Duration::from_secs(1)).await);
        let rate = Rate {
            quota: 1,
            window: Duration::from_secs(1),
            burst: 1,
        };
        refused(key, &store.draw(key, &rate).await);
    }
    let big = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
    refused("value", &store.put("a:1", big.clone(), None).await);
    refused("event", &store.append("log", big.clone()).await);
    refused("log", &store.append("", bytes("e")).await);
    refused("log", &store.tail("").await);
    let half = Batch::new()
        .put("a:1", bytes("v"), None)
        .put("a:2", big, None);
    refused("batch", &store.commit(half).await);
    let twice = Batch::new().put("a:1", bytes("v"), None).delete("a:1");
    refused("batch", &store.commit(twice).await);
    refused("prefix", &store.scan(&long, None, 10).await);
    refused("cursor", &store.scan("a:", Some("no cursor"), 10).await);
    assert_eq!(scan_all(&store, "", 10).await, BTreeSet::new());
}

pub(crate) async fn a_scan_returns_what_begins_with_the_prefix_and_nothing_else(store: Shared) {
    let keys = [
        "a:*", "a:**", "a:*x", "a:x", "a:?", "a:?y", "a:[xy]", "a:[xy]z", "a:\\", "a:\\*", "a:^",
        "a:ä", "a:äö", "aa:x", "b:a:*",
    ];
    for key in keys {
        store.put(key, bytes(key), None).await.unwrap();
    }
    let mut prefixes = vec!["", "a", "a:", "a:[", "a:[^x]", "a:\\?", "z"];
    prefixes.extend(keys);
    for prefix in prefixes {
        let expected: BTreeSet<String> = keys
            .iter()
            .filter(|key| key.starts_with(prefix))
            .map(ToString::to_string)
            .collect();
        for limit in [0, 1, 2, 1000] {
            let found = scan_all(&store, prefix, limit).await;
            assert_eq!(found, expected, "prefix {prefix:?}, limit {limit}");
        }
    }
}

pub(crate) async fn a_scan_misses_nothing_while_others_write(store: Shared) {
    let stays: BTreeSet<String> = (0..300).map(|n| format!("s:{n:04}-stays")).collect();
    let mut fill = Batch::new();
    for key in &stays {
        let goes = key.replace("stays", "goes");
        fill = fill.put(key, bytes("v"), None).put(goes, bytes("v"), None);
    }
    assert!(store.commit(fill).await.unwrap().is_applied());
    let mut found = BTreeSet::new();
    let mut cursor = None;
    for round in 0.. {
        let page = store.scan("s:", cursor.as_deref(), 7).await.unwrap();
        for (key, value) in page.entries {
            assert_eq!(value, bytes("v"), "{key}");
            // Also the very key that a cursor may name.
            if key.ends_with("goes") {
                store.delete(&key).await.unwrap();
            }
            found.insert(key);
        }
        let new = format!("s:{:04}-new", (round * 37) % 300);
        store.put(&new, bytes("v"), None).await.unwrap();
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!(found.is_superset(&stays), "{} of 300 found", found.len());
}

pub(crate) async fn counts_are_never_given_twice(store: Shared) {
    let window = Duration::from_mins(1);
    let counts = fifty(&store, move |store, _| async move {
        store.count("limit:1", window).await.unwrap()
    })
    .await;
    let counts: BTreeSet<u64> = counts.into_iter().collect();
    assert_eq!(counts, (1..=50).collect());
    assert_eq!(store.count("limit:2", window).await.unwrap(), 1);
}

pub(crate) async fn a_count_starts_again_after_its_window(store: Shared) {
    let window = Duration::from_millis(400);
    assert_eq!(store.count("limit:1", window).await.unwrap(), 1);
    sleep(Duration::from_millis(250)).await;
    assert_eq!(store.count("limit:1", window).await.unwrap(), 2);
    sleep(Duration::from_millis(250)).await;
    let third = store.count("limit:1", window).await.unwrap();
    assert_eq!(third, 1, "the window runs from the first count");
}

pub(crate) async fn draws_are_never_given_twice_and_come_back_evenly(store: Shared) {
    let rate = Rate {
        quota: 10,
        window: Duration::from_secs(5),
        burst: 20,
    };
    let draws = fifty(&store, move |store, _| async move {
        store.draw("limit:1", &rate).await.unwrap()
    })
    .await;
    let allowed = draws.iter().filter(|draw| draw.is_allowed).count();
    assert!((20..24).contains(&allowed), "{allowed} of fifty");
    let no = store.draw("limit:1", &rate).await.unwrap();
    assert_eq!((no.is_allowed, no.remaining), (false, 0));
    assert!(no.retry <= Duration::from_millis(500) && no.reset > Duration::from_secs(9));
    let other = store.draw("limit:2", &rate).await.unwrap();
    assert_eq!((other.is_allowed, other.remaining), (true, 19));
    assert!(other.retry.is_zero() && other.reset <= Duration::from_millis(500));
    sleep(no.retry + Duration::from_millis(20)).await;
    assert!(store.draw("limit:1", &rate).await.unwrap().is_allowed);
    assert!(!store.draw("limit:1", &rate).await.unwrap().is_allowed);
}

pub(crate) async fn records_counters_and_logs_do_not_meet(store: Shared) {
    let name = "same:name";
    let rate = Rate {
        quota: 1,
        window: Duration::from_secs(9),
        burst: 1,
    };
    assert!(store.draw(name, &rate).await.unwrap().is_allowed);
    assert_eq!(store.count(name, Duration::from_secs(9)).await.unwrap(), 1);
    store.append(name, bytes("event")).await.unwrap();
    assert_eq!(store.get(name).await.unwrap(), None);
    assert!(store.put_new(name, bytes("value"), None).await.unwrap());
    assert_eq!(store.count(name, Duration::from_secs(9)).await.unwrap(), 2);
    assert_eq!(scan_all(&store, "", 10).await.len(), 1);
    store.tail(name).await.unwrap();
    assert_eq!(store.take(name).await.unwrap(), Some(bytes("value")));
}

pub(crate) async fn a_record_may_be_put_anew_after_its_ttl(store: Shared) {
    let ttl = Some(Duration::from_millis(150));
    assert!(store.put_new("a:1", bytes("first"), ttl).await.unwrap());
    assert!(!store.put_new("a:1", bytes("early"), ttl).await.unwrap());
    sleep(Duration::from_millis(250)).await;
    assert_eq!(store.get("a:1").await.unwrap(), None);
    assert_eq!(store.take("a:1").await.unwrap(), None);
    assert_eq!(scan_all(&store, "a:", 10).await, BTreeSet::new());
    let stale = store.replace("a:1", bytes("first"), bytes("x"), None).await;
    assert!(!stale.unwrap());
    assert!(store.put_new("a:1", bytes("late"), None).await.unwrap());
    // Times that no clock can hold, and none at all.
    let never = Some(Duration::MAX);
    store.put("a:2", bytes("v"), never).await.unwrap();
    assert_eq!(store.get("a:2").await.unwrap(), Some(bytes("v")));
    let at_once = Some(Duration::ZERO);
    store.put("a:2", bytes("v"), at_once).await.unwrap();
    sleep(Duration::from_millis(20)).await;
    assert_eq!(store.get("a:2").await.unwrap(), None);
}

pub(crate) async fn a_put_without_ttl_ends_the_ttl_before(store: Shared) {
    let ttl = Some(Duration::from_millis(150));
    store.put("a:put", bytes("v"), ttl).await.unwrap();
    store.put("a:put", bytes("w"), None).await.unwrap();
    store.put("a:replace", bytes("v"), ttl).await.unwrap();
    let replaced = store.replace("a:replace", bytes("v"), bytes("w"), None);
    assert!(replaced.await.unwrap());
    sleep(Duration::from_millis(250)).await;
    // Something for the garbage collectors to trip over.
    store.put("a:other", bytes("v"), ttl).await.unwrap();
    assert_eq!(store.get("a:put").await.unwrap(), Some(bytes("w")));
    assert_eq!(store.get("a:replace").await.unwrap(), Some(bytes("w")));
}

pub(crate) async fn a_ping_is_answered(store: Shared) {
    store.ping().await.unwrap();
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// All keys under a prefix, through as many pages as it takes.
pub(crate) async fn scan_all(store: &Shared, prefix: &str, limit: usize) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = store.scan(prefix, cursor.as_deref(), limit).await.unwrap();
        found.extend(page.entries.into_iter().map(|(key, _)| key));
        cursor = page.cursor;
        if cursor.is_none() {
            return found;
        }
    }
}

/// The same thing done fifty times at once.
async fn fifty<T, Doing>(store: &Shared, act: impl Fn(Shared, usize) -> Doing) -> Vec<T>
where
    T: Send + 'static,
    Doing: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(50));
    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let start = Arc::clone(&start);
        let acting = act(Arc::clone(store), n);
        tasks.spawn(async move {
            start.wait().await;
            acting.await
        });
    }
    tasks.join_all().await
}

fn refused<T: std::fmt::Debug>(what: &str, result: &Result<T, StoreError>) {
    let is_refused = matches!(result, Err(StoreError::Refused { .. }));
    assert!(is_refused, "{what:?} gave {result:?}");
}
