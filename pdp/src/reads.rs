//! What clauses read of a question: names of attributes and of members of the context, as sets that
//! are made and joined in a few instructions.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use cedar_policy_core::ast::{Expr, ExprKind, Policy, Var};
use smol_str::SmolStr;

/// The numbers of the names that a schema declares. Names beyond the last number share it, and so
/// does what the schema does not know: a set may then name too much, never too little.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: HashMap<SmolStr, Name>,
    /// The member of the context that is the time of the decision.
    clock: Option<SmolStr>,
}

/// A set of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct NameSet(u128);

/// What clauses can read of a question, or did read. May name too much, never too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Reads {
    /// Attributes of any entity or record.
    pub(crate) attributes: NameSet,
    /// Members of the context.
    pub(crate) context: NameSet,
}

/// A name where it is read: it may be an attribute's or that of a member of the context. All policies
/// share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(Arc<Numbered>);

/// A name and its numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Numbered {
    pub(crate) text: SmolStr,
    /// As sets of one name: they are joined at every reading.
    attribute: NameSet,
    context: NameSet,
    /// In the context, it is the time of the decision.
    pub(crate) is_clock: bool,
}

const LAST: u8 = 127;

impl Names {
    /// Numbers names in the order in which they come.
    pub(crate) fn new<'n>(
        attributes: impl IntoIterator<Item = &'n str>,
        context: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        fn numbered<'n>(names: impl IntoIterator<Item = &'n str>) -> HashMap<&'n str, u8> {
            let mut numbers = HashMap::new();
            for name in names {
                let next = u8::try_from(numbers.len()).unwrap_or(LAST).min(LAST);
                numbers.entry(name).or_insert(next);
            }
            numbers
        }
        let (attributes, context) = (numbered(attributes), numbered(context));
        let all = attributes.keys().chain(context.keys());
        let known = all.map(|text| {
            let number =
                |names: &HashMap<&str, u8>| NameSet::of(names.get(text).copied().unwrap_or(LAST));
            let numbered = Numbered {
                text: SmolStr::new(text),
                attribute: number(&attributes),
                context: number(&context),
                is_clock: false,
            };
            (numbered.text.clone(), Name(Arc::new(numbered)))
        });
        Self {
            known: known.collect(),
            clock: None,
        }
    }

    /// The same, where this member of the context is the time of the decision.
    #[must_use]
    pub(crate) fn with_clock(mut self, clock: Option<&str>) -> Self {
        self.clock = clock.map(SmolStr::new);
        if let Some(clock) = &self.clock {
            let name = Name(Arc::new(Numbered {
                is_clock: true,
                ..(*self.name(clock)).clone()
            }));
            self.known.insert(clock.clone(), name);
        }
        self
    }

    /// What is read where the time of the decision is.
    pub(crate) fn clock(&self) -> Reads {
        let clock = self
            .clock
            .as_ref()
            .map(|clock| Reads::of_context(&self.name(clock)));
        clock.unwrap_or_default()
    }

    pub(crate) fn name(&self, text: &SmolStr) -> Name {
        let known = self.known.get(text).cloned();
        known.unwrap_or_else(|| {
            Name(Arc::new(Numbered {
                text: text.clone(),
                attribute: NameSet::of(LAST),
                context: NameSet::of(LAST),
                is_clock: false,
            }))
        })
    }
}

impl Deref for Name {
    type Target = Numbered;

    fn deref(&self) -> &Numbered {
        &self.0
    }
}

impl NameSet {
    fn of(number: u8) -> Self {
        Self(1 << number.min(LAST))
    }

    /// The numbers in it.
    pub(crate) fn numbers(self) -> impl Iterator<Item = usize> {
        (0..128_usize).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// The set of these numbers; none is above 127.
    pub(crate) fn of_numbers(numbers: impl Iterator<Item = usize>) -> Self {
        Self(numbers.fold(0, |set, number| set | 1 << number.min(LAST.into())))
    }

    pub(crate) fn joined(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl Name {
    pub(crate) fn as_attribute(&self) -> NameSet {
        self.attribute
    }

    pub(crate) fn in_context(&self) -> NameSet {
        self.context
    }
}

impl Reads {
    /// The context is used as a value, so every member counts.
    pub(crate) const WHOLE_CONTEXT: Self = Self {
        attributes: NameSet(0),
        context: NameSet(u128::MAX),
    };

    /// What a policy can read. Scopes read nothing but identities.
    pub(crate) fn of(policy: &Policy, names: &Names) -> Self {
        let mut reads = Self::default();
        if let Some(clauses) = policy.non_scope_constraints() {
            reads.walk(clauses, names);
        }
        reads
    }

    pub(crate) fn joined(self, other: Self) -> Self {
        Self {
            attributes: self.attributes.joined(other.attributes),
            context: self.context.joined(other.context),
        }
    }

    /// Whether something is in both.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.within(other) != Self::default()
    }

    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            attributes: self.attributes.within(other.attributes),
            context: self.context.within(other.context),
        }
    }

    /// An attribute of this name, of any entity or record.
    pub(crate) fn of_attribute(name: &Name) -> Self {
        Self {
            attributes: name.as_attribute(),
            context: NameSet::default(),
        }
    }

    /// A member of the context.
    pub(crate) fn of_context(name: &Name) -> Self {
        Self {
            attributes: NameSet::default(),
            context: name.in_context(),
        }
    }

    fn add(&mut self, reads: Self) {
        *self = self.joined(reads);
    }

    fn walk(&mut self, expr: &Expr, names: &Names) {
        match expr.expr_kind() {
            ExprKind::Var(Var::Context) => self.add(Self::WHOLE_CONTEXT),
            ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
                self.looked_up(expr, &names.name(attr), names);
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                self.looked_up(expr, &names.name(attrs.first()), names);
                for attr in attrs.tail() {
                    self.add(Self::of_attribute(&names.name(attr)));
                }
            }
            ExprKind::If {
                test_expr,
                then_expr,
                else_expr,
            } => {
                for part in [test_expr, then_expr, else_expr] {
                    self.walk(part, names);
                }
            }
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                self.walk(left, names);
                self.walk(right, names);
            }
            ExprKind::UnaryApp { arg: expr, .. }
            | ExprKind::Like { expr, .. }
            | ExprKind::Is { expr, .. } => self.walk(expr, names),
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                self.walk(arg1, names);
                self.walk(arg2, names);
            }
            ExprKind::ExtensionFunctionApp { args, .. } => {
                args.iter().for_each(|arg| self.walk(arg, names));
            }
            ExprKind::Set(items) => items.iter().for_each(|item| self.walk(item, names)),
            ExprKind::Record(members) => {
                members.values().for_each(|member| self.walk(member, names));
            }
            ExprKind::Lit(_)
            | ExprKind::Var(Var::Principal | Var::Action | Var::Resource)
            | ExprKind::Slot(_)
            | ExprKind::Unknown(_) => {}
        }
    }

    fn looked_up(&mut self, of: &Expr, name: &Name, names: &Names) {
        if matches!(of.expr_kind(), ExprKind::Var(Var::Context)) {
            self.add(Self::of_context(name));
        } else {
            self.add(Self::of_attribute(name));
            self.walk(of, names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: [&str; 26] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x", "y", "z",
    ];

    fn uses(policy: &str, names: &Names) -> Reads {
        let text = format!("permit (principal, action, resource) when {{ {policy} }};");
        let policy: cedar_policy::Policy = text.parse().unwrap();
        Reads::of(policy.as_ref(), names)
    }

    #[test]
    fn reads_are_found_wherever_they_hide() {
        let names = Names::new(
            LETTERS.into_iter().chain(["net", "up"]),
            LETTERS.into_iter().chain(["ip"]),
        );
        for (policy, attributes, context, whole) in [
            ("principal.a.b == resource", vec!["a", "b"], vec![], false),
            (
                "context.x.y && context has z",
                vec!["y"],
                vec!["x", "z"],
                false,
            ),
            ("context has p.q", vec!["q"], vec!["p"], false),
            (
                "if context.t then principal.u else resource.v",
                vec!["u", "v"],
                vec!["t"],
                false,
            ),
            ("{m: context}.m.n", vec!["m", "n"], vec![], true),
            ("[context].contains({})", vec![], vec![], true),
            (
                "context.ip.isInRange(principal.net)",
                vec!["net"],
                vec!["ip"],
                false,
            ),
            (
                "principal.getTag(resource.k) like \"*\"",
                vec!["k"],
                vec![],
                false,
            ),
            (
                "principal in [resource.up] || !(-principal.n < 1)",
                vec!["n", "up"],
                vec![],
                false,
            ),
        ] {
            let mut expected = Reads::default();
            for name in attributes {
                expected.add(Reads::of_attribute(&names.name(&name.into())));
            }
            for name in context {
                expected.add(Reads::of_context(&names.name(&name.into())));
            }
            if whole {
                expected.add(Reads::WHOLE_CONTEXT);
            }
            assert_eq!(uses(policy, &names), expected, "{policy}");
        }
    }

    #[test]
    fn names_beyond_the_last_number_share_it() {
        let many: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
        let names = Names::new(many.iter().map(String::as_str), []);
        let read = |name: &str| uses(&format!("principal.{name} == 1"), &names).attributes;
        assert_ne!(read("n0"), read("n126"));
        assert_eq!(read("n127"), read("n199"));
        assert_eq!(read("n199"), read("nobody_declares_it"));
        assert!(!read("n199").within(read("n150")).is_empty());
    }
}
