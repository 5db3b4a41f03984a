//! The routes of one host, path and method: mostly one. Of several, the one whose conditions a request meets, and of
//! these the most specific one. What a look costs depends on how many combinations of names there are, not on how many
//! routes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::route::Asked;
use crate::route::condition::{Condition, Place, Wanted};
use crate::route::tie::{Tie, TieCause};
use crate::values::Unread;

/// See the module.
#[derive(Debug)]
pub(super) enum Cell {
    One(usize),
    Several(Box<Several>),
}

/// A route that could be meant.
#[derive(Debug, Clone)]
pub(super) struct Contender {
    pub(super) route: usize,
    /// Whether it names the method: the larger, the more clearly.
    pub(super) level: u8,
    pub(super) priority: i32,
    pub(super) conditions: Arc<[Condition]>,
}

/// Routes that are told apart by what a request says.
#[derive(Debug)]
pub(super) struct Several {
    /// Every place that one of them looks at.
    places: Vec<Table>,
    /// The most specific first.
    shapes: Vec<Shape>,
}

/// The values that are looked for in a place.
#[derive(Debug)]
struct Table {
    place: Place,
    /// In lower case: the value as it must be, its number, and the first route that wants it.
    values: HashMap<String, (String, u32, usize)>,
}

/// The routes that look at the same places for the same kinds of things.
#[derive(Debug)]
struct Shape {
    level: u8,
    /// By place, ascending.
    wants: Vec<(usize, Kind)>,
    /// By the numbers of the values, in the order of `wants`.
    routes: HashMap<Box<[u32]>, Ranked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Exact,
    Present,
    Absent,
}

#[derive(Debug, Clone, Copy)]
struct Ranked {
    priority: i32,
    route: usize,
}

/// What a request says in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    /// A value that no route looks for.
    Other,
    Value(u32),
}

/// So many combinations of names that looking at all of them costs little.
const MOST_SHAPES: usize = 32;

impl Cell {
    /// Of contenders that are one at least. What cannot be told apart is added to `ties`.
    pub(super) fn compile(contenders: &[Contender], ties: &mut Vec<Tie>) -> Option<Self> {
        if let [only] = contenders
            && only.conditions.is_empty()
        {
            return Some(Self::One(only.route));
        }
        let several = Several::compile(contenders, ties);
        let top = several.shapes.first()?;
        if top.wants.is_empty()
            && let Some(first) = top.routes.values().next()
            && several.highest() <= first.priority
        {
            return Some(Self::One(first.route));
        }
        Some(Self::Several(Box::new(several)))
    }

    /// None: the request meets nobody's conditions.
    pub(super) fn route(&self, asked: &Asked<'_>) -> Result<Option<usize>, Unread> {
        match self {
            Self::One(route) => Ok(Some(*route)),
            Self::Several(several) => several.route(asked),
        }
    }

    /// The names of the header fields by which it tells its routes apart.
    pub(super) fn headers(&self) -> impl Iterator<Item = &str> {
        let several = match self {
            Self::One(_) => None,
            Self::Several(several) => Some(several),
        };
        let places = several.into_iter().flat_map(|several| &several.places);
        places.filter_map(|table| match &table.place {
            Place::Header(name) => Some(name.as_str()),
            Place::Query(_) => None,
        })
    }

    /// One of its routes.
    pub(super) fn any(&self) -> Option<usize> {
        match self {
            Self::One(route) => Some(*route),
            Self::Several(several) => {
                let ranked = several.shapes.first()?.routes.values().next();
                ranked.map(|it| it.route)
            }
        }
    }

    pub(super) fn routes(&self) -> Vec<usize> {
        match self {
            Self::One(route) => vec![*route],
            Self::Several(several) => {
                let ranked = several
                    .shapes
                    .iter()
                    .flat_map(|shape| shape.routes.values());
                ranked.map(|it| it.route).collect()
            }
        }
    }
}

impl Several {
    fn compile(contenders: &[Contender], ties: &mut Vec<Tie>) -> Self {
        let mut places = Vec::<Table>::new();
        let mut known = HashMap::<Place, usize>::new();
        let mut shapes = HashMap::<(u8, Vec<(usize, Kind)>), Shape>::new();
        for contender in contenders {
            let mut wants = Vec::with_capacity(contender.conditions.len());
            for condition in &*contender.conditions {
                let index = *known.entry(condition.place.clone()).or_insert_with(|| {
                    places.push(Table::new(condition.place.clone()));
                    places.len() - 1
                });
                let Some(table) = places.get_mut(index) else {
                    continue;
                };
                wants.push((index, table.number(condition, contender.route, ties)));
            }
            wants.sort_unstable_by_key(|(place, _)| *place);
            let kinds: Vec<(usize, Kind)> = wants.iter().map(|(at, want)| (*at, want.0)).collect();
            let values: Box<[u32]> = wants.iter().filter_map(|(_, want)| want.1).collect();
            let shape = shapes
                .entry((contender.level, kinds.clone()))
                .or_insert_with(|| Shape::new(contender.level, kinds));
            let ranked = Ranked {
                priority: contender.priority,
                route: contender.route,
            };
            if let Some(before) = shape.routes.insert(values, ranked) {
                ties.push(Tie {
                    one: before.route,
                    other: contender.route,
                    cause: TieCause::Twice { method: None },
                });
            }
        }
        let mut shapes: Vec<Shape> = shapes.into_values().collect();
        shapes.sort_by(|one, other| {
            let (one, other) = ((one.rank(), &one.wants), (other.rank(), &other.wants));
            other.cmp(&one)
        });
        let several = Self { places, shapes };
        several.check(contenders, ties);
        several
    }

    fn check(&self, contenders: &[Contender], ties: &mut Vec<Tie>) {
        let first = contenders.first().map_or(0, |it| it.route);
        let last = contenders.last().map_or(0, |it| it.route);
        let mut tie = |cause| {
            ties.push(Tie {
                one: first,
                other: last,
                cause,
            });
        };
        if self.shapes.len() > MOST_SHAPES {
            tie(TieCause::TooMany(MOST_SHAPES));
            return;
        }
        for (index, one) in self.places.iter().enumerate() {
            for other in self.places.iter().skip(index + 1) {
                if one.place.is_like(&other.place) {
                    let (one, other) = (one.place.to_string(), other.place.to_string());
                    tie(TieCause::NamesAlike(one, other));
                }
            }
        }
        for (index, one) in self.shapes.iter().enumerate() {
            for other in self.shapes.iter().skip(index + 1) {
                ties.extend(one.tie(other));
            }
        }
    }

    fn highest(&self) -> i32 {
        let ranked = self.shapes.iter().flat_map(|shape| shape.routes.values());
        ranked.map(|it| it.priority).max().unwrap_or_default()
    }

    fn route(&self, asked: &Asked<'_>) -> Result<Option<usize>, Unread> {
        let mut states = Vec::with_capacity(self.places.len());
        for table in &self.places {
            states.push(table.state(asked)?);
        }
        let mut key = Vec::with_capacity(states.len());
        let mut best: Option<Ranked> = None;
        for shape in &self.shapes {
            if let Some(found) = shape.find(&states, &mut key)
                && best.is_none_or(|best| found.priority > best.priority)
            {
                best = Some(found);
            }
        }
        Ok(best.map(|best| best.route))
    }
}

impl Table {
    fn new(place: Place) -> Self {
        Self {
            place,
            values: HashMap::new(),
        }
    }

    fn number(
        &mut self,
        condition: &Condition,
        route: usize,
        ties: &mut Vec<Tie>,
    ) -> (Kind, Option<u32>) {
        let value = match &condition.wanted {
            Wanted::Exact(value) => value,
            Wanted::Present => return (Kind::Present, None),
            Wanted::Absent => return (Kind::Absent, None),
        };
        let next = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let known = self.values.entry(value.to_ascii_lowercase());
        let (exact, number, first) = known.or_insert_with(|| (value.clone(), next, route));
        if exact != value {
            ties.push(Tie {
                one: *first,
                other: route,
                cause: TieCause::ValuesAlike(exact.clone(), value.clone()),
            });
        }
        (Kind::Exact, Some(*number))
    }

    fn state(&self, asked: &Asked<'_>) -> Result<State, Unread> {
        let Some(said) = self.place.read(asked, !self.values.is_empty())? else {
            return Ok(State::Absent);
        };
        let found = if said.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.values.get(&said.to_ascii_lowercase())
        } else {
            self.values.get(&*said)
        };
        match found {
            None => Ok(State::Other),
            Some((exact, number, _)) if *exact == said => Ok(State::Value(*number)),
            // SECURITY: to an upstream that does not look at the case, it is the value, and not to us.
            Some(_) => Err(Unread::Ambiguous),
        }
    }
}

impl Shape {
    fn new(level: u8, wants: Vec<(usize, Kind)>) -> Self {
        Self {
            level,
            wants,
            routes: HashMap::new(),
        }
    }

    /// Larger than that of every shape that wants less.
    fn rank(&self) -> usize {
        let wants = self.wants.iter().map(|(_, kind)| match kind {
            Kind::Exact => 2,
            Kind::Present | Kind::Absent => 1,
        });
        usize::from(self.level) + wants.sum::<usize>()
    }

    fn find(&self, states: &[State], key: &mut Vec<u32>) -> Option<Ranked> {
        key.clear();
        for (place, kind) in &self.wants {
            match (kind, states.get(*place)?) {
                (Kind::Exact, State::Value(value)) => key.push(*value),
                (Kind::Present, State::Value(_) | State::Other) | (Kind::Absent, State::Absent) => {
                }
                _ => return None,
            }
        }
        self.routes.get(key.as_slice()).copied()
    }

    /// The first two routes of both that some request fits equally well, or of which one is never reached.
    fn tie(&self, other: &Self) -> Option<Tie> {
        let relation = Relation::of(self, other)?;
        let (specific, general) = if relation.is_other_more_specific {
            (other, self)
        } else {
            (self, other)
        };
        let is_comparable = relation.is_one_more_specific != relation.is_other_more_specific;
        let shared: Vec<usize> = relation.compared;
        let mut known = HashMap::<Vec<u32>, Vec<Ranked>>::new();
        for (values, ranked) in &general.routes {
            let alike = known.entry(general.project(values, &shared)).or_default();
            // Of many with the same priority, one is enough.
            if !alike.iter().any(|it| it.priority == ranked.priority) {
                alike.push(*ranked);
            }
        }
        for (values, ranked) in &specific.routes {
            let alike = known.get(&specific.project(values, &shared));
            let mut alike = alike.into_iter().flatten();
            let (wrong, cause) = if is_comparable {
                let wrong = alike.find(|it| it.priority > ranked.priority);
                (wrong, TieCause::NeverReached)
            } else {
                let wrong = alike.find(|it| it.priority == ranked.priority);
                (wrong, TieCause::Undecided)
            };
            if let Some(wrong) = wrong {
                return Some(Tie {
                    one: ranked.route,
                    other: wrong.route,
                    cause,
                });
            }
        }
        None
    }

    /// Of the values of a route, those in these places.
    fn project(&self, values: &[u32], places: &[usize]) -> Vec<u32> {
        let exact = self.wants.iter().filter(|(_, kind)| *kind == Kind::Exact);
        let pairs = exact.zip(values);
        let shared = pairs.filter(|((place, _), _)| places.contains(place));
        shared.map(|(_, value)| *value).collect()
    }
}

/// How two shapes are to each other, where a request can fit both.
struct Relation {
    is_one_more_specific: bool,
    is_other_more_specific: bool,
    /// The places where both want a value: a request can fit both where it is the same.
    compared: Vec<usize>,
}

impl Relation {
    /// None: no request fits both.
    fn of(one: &Shape, other: &Shape) -> Option<Self> {
        let mut relation = Self {
            is_one_more_specific: one.level > other.level,
            is_other_more_specific: one.level < other.level,
            compared: Vec::new(),
        };
        let places = one.wants.iter().chain(&other.wants);
        for (place, _) in places {
            match (one.kind(*place), other.kind(*place)) {
                (Some(Kind::Absent), Some(Kind::Exact | Kind::Present))
                | (Some(Kind::Exact | Kind::Present), Some(Kind::Absent)) => return None,
                (Some(Kind::Exact), Some(Kind::Exact)) => {
                    if !relation.compared.contains(place) {
                        relation.compared.push(*place);
                    }
                }
                (Some(_), None) | (Some(Kind::Exact), Some(Kind::Present)) => {
                    relation.is_one_more_specific = true;
                }
                (None, Some(_)) | (Some(Kind::Present), Some(Kind::Exact)) => {
                    relation.is_other_more_specific = true;
                }
                (Some(Kind::Present), Some(Kind::Present))
                | (Some(Kind::Absent), Some(Kind::Absent))
                | (None, None) => {}
            }
        }
        Some(relation)
    }
}

impl Shape {
    fn kind(&self, place: usize) -> Option<Kind> {
        let found = self.wants.iter().find(|(at, _)| *at == place);
        found.map(|(_, kind)| *kind)
    }
}
