//! Which endpoint gets a request: one worker's choice, from what all know and from what it has under way itself.

use std::rc::Rc;
use std::sync::Arc;

use super::connections::{Common, Connections};
use super::roster::{Endpoint, View};
use crate::maglev::draw;
use crate::plan::Balancing;

/// What one worker chooses from.
#[derive(Debug)]
pub(super) struct Selection {
    view: Arc<View>,
    /// In the order of the view's candidates.
    all: Vec<Rc<Connections>>,
    common: Rc<Common>,
}

/// None of these and, where that is so, only those that are near.
type Wanted<'s> = (&'s [Rc<Connections>], bool);

impl Selection {
    pub(super) fn new(view: Arc<View>, common: Rc<Common>) -> Self {
        let all = view.candidates.iter().map(|candidate| {
            let endpoint = candidate.endpoint.clone();
            Rc::new(Connections::new(endpoint, common.clone()))
        });
        Self {
            all: all.collect(),
            view,
            common,
        }
    }

    /// What is chosen from, now that something has changed. Connections to endpoints that stay are kept.
    pub(super) fn renewed(&self, view: Arc<View>) -> Self {
        let known = |endpoint: &Arc<Endpoint>| {
            let mut all = self.all.iter();
            all.find(|known| Arc::ptr_eq(&known.endpoint, endpoint))
                .cloned()
        };
        let of = |endpoint: &Arc<Endpoint>| {
            known(endpoint)
                .unwrap_or_else(|| Rc::new(Connections::new(endpoint.clone(), self.common.clone())))
        };
        let all: Vec<_> = view.candidates.iter().map(|it| of(&it.endpoint)).collect();
        for before in &self.all {
            if !all.iter().any(|now| Rc::ptr_eq(now, before)) {
                before.retire();
            }
        }
        Self {
            view,
            all,
            common: self.common.clone(),
        }
    }

    /// Whether some that could be chosen only have too much to do.
    pub(super) fn is_full(&self) -> bool {
        let weights = self.view.candidates.iter().map(|it| it.weight);
        let mut all = self.all.iter().zip(weights);
        all.any(|(it, weight)| weight > 0 && it.is_full())
    }

    pub(super) fn all(&self) -> &[Rc<Connections>] {
        &self.all
    }

    /// The endpoint for a request with this key, but none of `tried`. None: there is none that gets any, or has room
    /// for it.
    pub(super) fn choose<'s>(
        &'s self,
        balancing: &Balancing,
        key: Option<u64>,
        tried: &'s [Rc<Connections>],
    ) -> Option<&'s Rc<Connections>> {
        if let ([only], [_]) = (&*self.all, &*self.view.candidates) {
            return self.open(tried, false).next().map(|_| only);
        }
        let near = self.view.keeps_near;
        let chosen = self.choose_among(balancing, key, (tried, near));
        if chosen.is_none() && near {
            return self.choose_among(balancing, key, (tried, false));
        }
        chosen
    }

    /// One that gets nothing because it has failed too often, drawn by its weight.
    pub(super) fn last_resort<'s>(
        &'s self,
        tried: &'s [Rc<Connections>],
    ) -> Option<&'s Rc<Connections>> {
        let weights = self.view.candidates.iter().map(|it| it.last_resort);
        let all = self.all.iter().zip(weights);
        let open =
            all.filter(|(it, weight)| *weight > 0 && it.takes_more(false) && !is_among(it, tried));
        draw(open).map(|(one, _)| one)
    }

    /// The same. `near`: of those alone.
    fn choose_among<'s>(
        &'s self,
        balancing: &Balancing,
        key: Option<u64>,
        (tried, near): Wanted<'s>,
    ) -> Option<&'s Rc<Connections>> {
        match (balancing, key) {
            (Balancing::ConsistentHash(_), Some(key)) => self.by_hash(key, (tried, near)),
            (Balancing::RoundRobin | Balancing::ConsistentHash(_), _) => {
                self.in_turn((tried, near))
            }
            (Balancing::LeastRequest, _) => self.of_two((tried, near)),
        }
    }

    /// Those that get anything and can take it, and how much.
    fn open<'s>(
        &'s self,
        tried: &'s [Rc<Connections>],
        near: bool,
    ) -> impl Iterator<Item = (&'s Rc<Connections>, u32)> + Clone {
        let weights = self.view.candidates.iter().map(|it| it.weight);
        let open = self.all.iter().zip(weights);
        open.filter(move |(it, weight)| *weight > 0 && it.takes_more(near) && !is_among(it, tried))
    }

    /// Smooth weighted round robin: each is owed its weight at every turn, the one that is owed most has it, and
    /// owes the turn to the others.
    fn in_turn<'s>(&'s self, (tried, near): Wanted<'s>) -> Option<&'s Rc<Connections>> {
        let (mut best, mut total) = (None::<&Rc<Connections>>, 0);
        for (one, weight) in self.open(tried, near) {
            let weight = i64::from(weight);
            one.owed.set(one.owed.get() + weight);
            total += weight;
            if best.is_none_or(|best| one.owed.get() > best.owed.get()) {
                best = Some(one);
            }
        }
        let best = best?;
        best.owed.set(best.owed.get() - total);
        Some(best)
    }

    /// Two are drawn by their weights; of these the one that has less to do for what it can.
    fn of_two<'s>(&'s self, (tried, near): Wanted<'s>) -> Option<&'s Rc<Connections>> {
        let first = draw(self.open(tried, near))?;
        let others = self
            .open(tried, near)
            .filter(|it| !Rc::ptr_eq(it.0, first.0));
        let Some(second) = draw(others) else {
            return Some(first.0);
        };
        let load = |(one, _): (&Rc<Connections>, u32), other: (&Rc<Connections>, u32)| {
            u64::from(one.active()) * u64::from(other.1)
        };
        let is_second = load(second, first) < load(first, second);
        Some(if is_second { second.0 } else { first.0 })
    }

    fn by_hash<'s>(&'s self, key: u64, (tried, near): Wanted<'s>) -> Option<&'s Rc<Connections>> {
        // Or the whole table would be looked at for nothing.
        self.open(tried, near).next()?;
        let mut found = self.view.table.as_ref()?.candidates(key);
        found.find_map(|index| {
            self.all
                .get(index)
                .filter(|it| it.takes_more(near) && !is_among(it, tried))
        })
    }
}

fn is_among(one: &Rc<Connections>, several: &[Rc<Connections>]) -> bool {
    several.iter().any(|other| Rc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use super::super::connections::Visit;
    use super::super::roster::Roster;
    use super::*;
    use crate::maglev;
    use crate::metrics::GatewayMetrics;

    const HASH: &str = "load_balancing: consistent_hash, hash_on: subject";

    fn selection(endpoints: &str, how: &str) -> (Selection, Balancing) {
        let text =
            format!("upstreams: {{ a: {{ url: 'http://x', endpoints: [{endpoints}], {how} }} }}");
        let plan = crate::plan::tests::compile(&text).unwrap();
        let metrics = GatewayMetrics::new(&service_kit::Metrics::new(), &plan, &[]).unwrap();
        let roster = Roster::new(&plan.upstreams[0], metrics.upstream(0).unwrap());
        (
            Selection::new(roster.view(), Common::new(None, None)),
            plan.upstreams[0].balancing.clone(),
        )
    }

    fn letter(one: &Rc<Connections>) -> &str {
        &one.endpoint.plan.host
    }

    #[test]
    fn turns_are_mixed_as_weights_say() {
        let (selection, how) = selection("{ address: 'a:1', weight: 3 }, 'b:1', 'c:1'", "");
        let turns: String = (0..10)
            .map(|_| letter(selection.choose(&how, None, &[]).unwrap()))
            .collect();
        assert_eq!(turns, "abacaabaca");
    }

    #[test]
    fn who_was_tried_is_not_tried_again() {
        for how in ["", "load_balancing: least_request", HASH] {
            let (selection, how) = selection("'a:1', 'b:1', 'c:1'", how);
            let (mut tried, key) = (Vec::new(), Some(maglev::hash(b"alice")));
            for _ in 0..3 {
                let next = selection.choose(&how, key, &tried).unwrap().clone();
                assert!(!is_among(&next, &tried));
                tried.push(next);
            }
            assert!(selection.choose(&how, key, &tried).is_none());
        }
    }

    #[test]
    fn one_that_was_ejected_is_tried_when_all_others_have_failed() {
        for how in ["", "load_balancing: least_request", HASH] {
            let (selection, how) = selection("'a:1', 'b:1', 'c:1'", how);
            let mut candidates = selection.view.candidates.clone();
            for (candidate, last_resort) in candidates.iter_mut().zip([1, 1, 0]) {
                candidate.weight = u32::from(&*candidate.endpoint.plan.host == "a");
                candidate.last_resort = last_resort;
            }
            let view = View::new(candidates, selection.view.table.is_some(), 50);
            let selection = selection.renewed(Arc::new(view));
            let key = Some(maglev::hash(b"alice"));
            let first = selection.choose(&how, key, &[]).unwrap().clone();
            assert_eq!(letter(&first), "a", "of those that are up");
            let tried = [first];
            assert!(selection.choose(&how, key, &tried).is_none());
            let second = selection.last_resort(&tried).unwrap().clone();
            assert_eq!(letter(&second), "b", "c is known to be down");
            let [first] = tried;
            assert!(selection.last_resort(&[first, second]).is_none());
        }
    }

    #[test]
    fn of_two_the_one_with_less_to_do_is_taken_and_weights_count() {
        let (selection, how) = selection(
            "{ address: 'a:1', weight: 2 }, 'b:1'",
            "load_balancing: least_request",
        );
        let mut visits = Vec::new();
        for _ in 0..300 {
            visits.push(Visit::new(selection.choose(&how, None, &[]).unwrap()));
        }
        let at_a = selection.all()[0].active();
        assert!((195..=205).contains(&at_a), "{at_a}");
        drop(visits);
        assert_eq!(selection.all()[0].active(), 0);
    }

    #[test]
    fn a_value_leads_to_one_place_and_without_one_turns_are_taken() {
        let (selection, how) = selection("'a:1', 'b:1', 'c:1'", HASH);
        let mut seen = [0; 3];
        for n in 0..300_u32 {
            let key = Some(maglev::hash(&n.to_be_bytes()));
            let first = selection.choose(&how, key, &[]).unwrap();
            let again = selection.choose(&how, key, &[]).unwrap();
            assert!(Rc::ptr_eq(first, again));
            let index = selection.all().iter().position(|it| Rc::ptr_eq(it, first));
            seen[index.unwrap()] += 1;
        }
        assert!(seen.iter().all(|seen| *seen > 60), "{seen:?}");
        let turns: String = (0..3)
            .map(|_| letter(selection.choose(&how, None, &[]).unwrap()))
            .collect();
        assert_eq!(turns, "abc");
    }
}
