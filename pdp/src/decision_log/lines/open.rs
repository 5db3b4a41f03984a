//! Records of questions with an open side: pages of searches, and what policies leave open.

use std::time::Duration;

use authzen::{
    Action, AskedAction, AskedEntity, EvaluationRequest, OfType, Properties, Resource,
    SearchQuestion, SnapshotVersion, Subject, Wanted,
};
use cedar_policy_core::ast::Var;
use service_kit::UnixTime;
use strict_json::{Arena, Members};

use super::Lines;
use crate::search::PageFound;
use crate::short::short;
use crate::spelled::Spelled;

impl Lines<'_> {
    /// Records one page of a search.
    pub(crate) fn search(
        &mut self,
        question: &SearchQuestion,
        found: &PageFound,
        version: &Spelled<SnapshotVersion>,
        now: UnixTime,
        took: Duration,
    ) {
        if !self.log.is_on() {
            return;
        }
        self.begin("search", now);
        self.text.raw(r#","search":"#);
        self.text.text(question.kind().as_str());
        self.text.raw(r#","question":{"#);
        self.wanted(&question.wanted);
        self.context(&question.context);
        let text = &mut self.text;
        text.raw(r#"},"results":"#);
        text.number(found.results.len() as u64);
        text.raw(if found.next.is_some() {
            r#","more":true,"decided":"#
        } else {
            r#","more":false,"decided":"#
        });
        text.number(found.decided as u64);
        text.raw(r#","snapshot":"#);
        version.write(text);
        text.raw(r#","duration_us":"#);
        text.number(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.by();
        self.end();
    }

    /// Records that somebody was told what policies leave open: `part` is the side that was open.
    pub(crate) fn left_open(
        &mut self,
        kind: &str,
        request: &EvaluationRequest,
        part: Var,
        version: &Spelled<SnapshotVersion>,
        now: UnixTime,
    ) {
        if !self.log.is_on() {
            return;
        }
        let EvaluationRequest {
            subject,
            action,
            resource,
            context,
        } = request;
        self.begin(kind, now);
        self.text.raw(",");
        if part == Var::Principal {
            self.of_type("subject", &subject.kind);
        } else {
            self.kept_subject(subject);
        }
        self.text.raw(",");
        self.action(action);
        self.text.raw(",");
        if part == Var::Principal {
            self.resource(resource);
        } else {
            self.of_type("resource", &resource.kind);
        }
        self.context(context);
        self.brought();
        self.text.raw(r#","snapshot":"#);
        version.write(&mut self.text);
        self.by();
        self.end();
    }

    fn wanted(&mut self, wanted: &Wanted) {
        match wanted {
            Wanted::Subject {
                subject: OfType { kind },
                action,
                resource,
            } => {
                self.of_type("subject", kind);
                self.text.raw(",");
                self.action(action);
                self.text.raw(",");
                self.resource(resource);
            }
            Wanted::Action { subject, resource } => {
                self.kept_subject(subject);
                self.text.raw(",");
                self.resource(resource);
            }
            Wanted::Resource {
                subject,
                action,
                resource: OfType { kind },
            } => {
                self.kept_subject(subject);
                self.text.raw(",");
                self.action(action);
                self.text.raw(",");
                self.of_type("resource", kind);
            }
        }
    }

    fn kept_subject(&mut self, subject: &Subject) {
        let Subject {
            kind,
            id,
            properties,
        } = subject;
        self.given("subject", kind, id, properties);
    }

    fn resource(&mut self, resource: &Resource) {
        let Resource {
            kind,
            id,
            properties,
        } = resource;
        self.given("resource", kind, id, properties);
    }

    fn given(&mut self, part: &str, kind: &str, id: &str, properties: &Properties) {
        let arena = Arena::new();
        let properties = &Members::lent(properties, &arena);
        let asked = AskedEntity {
            kind,
            id,
            properties,
            text: None,
        };
        self.text.text(part);
        self.text.raw(":");
        self.entity(part, &asked);
    }

    fn of_type(&mut self, part: &str, kind: &str) {
        self.text.text(part);
        self.text.raw(r#":{"type":"#);
        self.text.text(&short(kind));
        self.text.raw("}");
    }

    fn action(&mut self, action: &Action) {
        let arena = Arena::new();
        let properties = &Members::lent(&action.properties, &arena);
        self.text.raw(r#""action":"#);
        self.named(&AskedAction {
            name: &action.name,
            properties,
        });
    }

    fn context(&mut self, context: &Properties) {
        if !context.is_empty() {
            self.text.raw(r#","context":"#);
            self.shown(&["context"], &Members::lent(context, &Arena::new()));
        }
    }
}
