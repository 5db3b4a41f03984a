//! What the question before has already been read for: in a batch, entries share what the body says
//! once for all of them.

use std::sync::Arc;

use authzen::{Asked, AskedAction, AskedEntity};
use cedar_policy_core::ast::Context;
use strict_json::Members as Sent;

use super::readable::Places;
use super::vocabulary::Kind;
use crate::entities::{Row, Uid};

/// What was read of the question before this one, asked of the same snapshot.
#[derive(Debug, Default)]
pub(crate) struct Before<'s, 'a> {
    subject: Option<KnownEntity<'s, 'a>>,
    resource: Option<KnownEntity<'s, 'a>>,
    rest: Option<KnownRest<'a>>,
}

/// A subject or a resource that has been read.
#[derive(Debug)]
pub(super) struct KnownEntity<'s, 'a> {
    pub(super) asked: AskedEntity<'a>,
    pub(super) uid: Uid,
    pub(super) kind: &'s Kind,
    /// Which of its properties have been read, and without any other part of the question.
    pub(super) described: Option<Places>,
    pub(super) row: Option<Arc<Row>>,
    /// Attributes that the schema does not know.
    pub(super) unknown: u64,
}

/// A context that has been read, the action's parameters in it.
#[derive(Debug)]
pub(super) struct KnownRest<'a> {
    pub(super) action: AskedAction<'a>,
    pub(super) sent: &'a Sent<'a>,
    pub(super) context: Context,
    pub(super) unknown: u64,
}

impl<'s, 'a> Before<'s, 'a> {
    pub(super) fn subject(&mut self, asked: &AskedEntity<'a>) -> Option<KnownEntity<'s, 'a>> {
        self.subject.take().filter(|known| known.is(asked))
    }

    pub(super) fn resource(&mut self, asked: &AskedEntity<'a>) -> Option<KnownEntity<'s, 'a>> {
        self.resource.take().filter(|known| known.is(asked))
    }

    pub(super) fn rest(&mut self, asked: &Asked<'a>) -> Option<KnownRest<'a>> {
        self.rest.take().filter(|known| {
            std::ptr::eq(known.sent, asked.context)
                && std::ptr::eq(known.action.name, asked.action.name)
                && std::ptr::eq(known.action.properties, asked.action.properties)
        })
    }

    pub(super) fn keep(
        &mut self,
        subject: KnownEntity<'s, 'a>,
        resource: KnownEntity<'s, 'a>,
        rest: KnownRest<'a>,
    ) {
        self.subject = Some(subject);
        self.resource = Some(resource);
        self.rest = Some(rest);
    }
}

impl<'a> KnownEntity<'_, 'a> {
    fn is(&self, asked: &AskedEntity<'a>) -> bool {
        self.asked.is_same_part(asked)
    }
}
