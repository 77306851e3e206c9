//! One incident while reports about it are taken in: where each leads, and what the timeline says of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::engine::intake::text;
use crate::engine::intake::{Mapped, Origin};
use crate::engine::rules::IncidentRules;
use crate::engine::{ENRICH, SELF, VERIFY};
use crate::model::alert::AlertStatus;
use crate::model::entry::{Entry, EntryKind};
use crate::model::incident::{Incident, IncidentState, Resolution};
use crate::model::labels::Fingerprint;
use crate::model::member::{Member, MemberChange};
use crate::store::alerts::Outstanding;
use crate::store::jobs::NewJob;

/// An incident, and what reports have changed about it.
pub(super) struct Case {
    pub(super) incident: Incident,
    /// The state in which it is stored; `None` if it is not stored yet.
    pub(super) was: Option<&'static str>,
    pub(super) entries: Vec<Entry>,
    /// The members that are reported on.
    members: BTreeMap<Fingerprint, Member>,
    touched: BTreeSet<Fingerprint>,
    /// How many others fire; known where something ends.
    others_fire: usize,
    /// Since when a stored member stands against its end; known where something ends.
    stale_since: Option<Timestamp>,
    /// When NATS should be looked at because of what is new.
    look_at: Option<Timestamp>,
    /// When it should be checked whether what was reported is true.
    verify_at: Option<Timestamp>,
}

/// What a report changed among the members.
#[derive(Default)]
struct Changes {
    joined: Vec<String>,
    refired: Vec<String>,
    flapped: Vec<String>,
    resolved: Vec<String>,
    unheard: Vec<String>,
    stale: Vec<String>,
}

impl Changes {
    /// Whether an alert has begun to fire.
    fn is_news(&self) -> bool {
        !(self.joined.is_empty() && self.refired.is_empty() && self.flapped.is_empty())
    }
}

impl Case {
    /// An incident that is stored, and what of its members is not settled.
    pub(super) fn known(incident: Incident, outstanding: Outstanding) -> Self {
        let was = Some(incident.state.name());
        Self {
            incident,
            was,
            entries: Vec::new(),
            members: BTreeMap::new(),
            touched: BTreeSet::new(),
            others_fire: outstanding.firing,
            stale_since: outstanding.stale_since,
            look_at: None,
            verify_at: None,
        }
    }

    /// An incident that begins.
    pub(super) fn opened(incident: Incident, origin: &Origin) -> Self {
        let text = text::opened(&incident.key, incident.previous);
        let mut case = Self { was: None, ..Self::known(incident, Outstanding::default()) };
        case.add(origin, EntryKind::Opened, text);
        case
    }

    /// Learns of a stored member.
    pub(super) fn know(&mut self, member: Member) {
        self.others_fire = self.others_fire.saturating_sub(usize::from(member.is_firing()));
        self.members.insert(member.alert.fingerprint.clone(), member);
    }

    /// Whether one of these alerts begins to fire, beyond what is known.
    pub(super) fn is_news(&self, alerts: &[Mapped], origin: &Origin) -> bool {
        let confirmed = self.believes(origin);
        alerts.iter().filter(|mapped| mapped.fires()).any(|mapped| {
            self.members.get(&mapped.alert.fingerprint).is_none_or(|member| {
                let newer = mapped.alert.began_after(&member.alert);
                match member.alert.status {
                    AlertStatus::Firing => newer,
                    AlertStatus::Resolved { ended_at } => {
                        confirmed || (newer && mapped.alert.starts_at >= ended_at)
                    }
                }
            })
        })
    }

    /// Whether what is said overrules an end that was told. What a person has ended stays so for this generation.
    fn believes(&self, origin: &Origin) -> bool {
        let by_hand =
            matches!(self.incident.state, IncidentState::Resolved { resolution: Resolution::Manual, .. });
        origin.confirmed && !by_hand
    }

    /// Takes in what somebody says about its alerts.
    pub(super) fn report(&mut self, alerts: &[Mapped], origin: &Origin, rules: &IncidentRules) {
        let changes = self.report_members(alerts, origin);
        self.add_each(origin, EntryKind::AlertJoined, "fires", &changes.joined);
        self.add_each(origin, EntryKind::AlertRefired, "fires again", &changes.refired);
        self.add_each(
            origin,
            EntryKind::AlertFlapped,
            "has been over meanwhile and fires again",
            &changes.flapped,
        );
        self.add_each(origin, EntryKind::AlertResolved, "resolved", &changes.resolved);
        self.add_each(
            origin,
            EntryKind::AlertResolvedUnheard,
            "resolved without having been reported to fire",
            &changes.unheard,
        );
        self.add_each(
            origin,
            EntryKind::AlertStale,
            "said to fire, with a start before the end that was told before: not believed until confirmed",
            &changes.stale,
        );
        if origin.truncated_alerts > 0 && (changes.is_news() || self.was.is_none()) {
            let count = origin.truncated_alerts;
            let text = text::truncated(count, rules);
            self.add(origin, EntryKind::Truncated, text);
        }
        self.follow(&changes, origin, rules);
    }

    fn report_members(&mut self, alerts: &[Mapped], origin: &Origin) -> Changes {
        let believes = self.believes(origin);
        let is_over = self.incident.state.is_resolved();
        let mut changes = Changes::default();
        for Mapped { alert, server } in alerts {
            let fingerprint = &alert.fingerprint;
            let Some(member) = self.members.get_mut(fingerprint) else {
                if alert.status == AlertStatus::Firing {
                    changes.joined.push(text::describe(alert));
                    let member = Member::join(alert.clone(), server.clone(), origin.at);
                    self.members.insert(fingerprint.clone(), member);
                    self.touched.insert(fingerprint.clone());
                } else if !is_over && !origin.repeated {
                    // it fired and ended before anything was sent: nothing to join with
                    changes.unheard.push(text::describe(alert));
                }
                continue;
            };
            let was_stale = member.stale_since.is_some();
            let change = if believes {
                member.confirm(alert.clone(), server.clone(), origin.at)
            } else {
                member.report(alert.clone(), server.clone(), origin.at)
            };
            let told = match change {
                MemberChange::SeenAgain | MemberChange::Settled => None,
                MemberChange::Stale => (!was_stale).then_some(&mut changes.stale),
                MemberChange::Refired => Some(&mut changes.refired),
                MemberChange::Flapped => Some(&mut changes.flapped),
                MemberChange::Resolved => Some(&mut changes.resolved),
            };
            let is_new = told.is_some() || change == MemberChange::Settled;
            if let Some(told) = told {
                told.push(text::describe(alert));
            }
            // a repetition is counted with its notification and changes nothing else
            if is_new || !origin.repeated {
                self.touched.insert(fingerprint.clone());
            }
        }
        changes
    }

    /// Moves the incident to where the changes lead.
    fn follow(&mut self, changes: &Changes, origin: &Origin, rules: &IncidentRules) {
        let at = origin.at;
        if changes.is_news() {
            self.look_at = self.incident.key.cluster().map(|_| at);
            self.incident.verdict = None;
            let state = self.incident.state.clone();
            match state {
                IncidentState::Resolved { resolved_at, .. } => {
                    self.incident.state = state.reopen().expect("what is resolved can be opened again");
                    self.incident.reopened += 1;
                    self.add_own(at, EntryKind::Reopened, text::reopened(resolved_at, at));
                }
                IncidentState::Recovering { .. } => {
                    self.incident.state = state.relapse().expect("what recovers can relapse");
                }
                IncidentState::Triggered | IncidentState::Acknowledged(_) => {}
            }
        } else if !changes.resolved.is_empty() && !self.fires() {
            self.end(origin, rules);
        }
        if !changes.stale.is_empty() && self.incident.state.is_resolved() {
            let since = self.stands_against_its_end().unwrap_or(at);
            let due_at = if self.can_be_checked(rules) { at } else { rules.stale_until(since) };
            self.verify_at = Some(due_at);
        }
    }

    /// No member fires any more, as far as anybody has said.
    fn end(&mut self, origin: &Origin, rules: &IncidentRules) {
        let at = origin.at;
        let state = self.incident.state.clone();
        if state.is_resolved() {
            // ended by a person
            return;
        }
        if matches!(state, IncidentState::Recovering { .. }) {
            // being checked already; should the check have been given up, it begins anew
            self.verify_at = Some(at);
            return;
        }
        self.incident.verdict = None;
        if origin.confirmed {
            self.incident.state =
                state.resolve(Resolution::Missed, at).expect("what is unresolved can be resolved");
            self.add_own(at, EntryKind::Resolved, text::MISSED.to_owned());
        } else if self.can_be_checked(rules) {
            self.incident.state = state.recover(at).expect("what is triggered can recover");
            self.verify_at = Some(at);
            self.add_own(at, EntryKind::Recovering, text::RECOVERING.to_owned());
        } else {
            self.incident.state =
                state.resolve(Resolution::Unverified, at).expect("what is unresolved can be resolved");
            let text = text::unverified(&self.incident.key, rules);
            self.add_own(at, EntryKind::Resolved, text.to_owned());
            // of a member that this notification need not name
            self.verify_at = self.stands_against_its_end().map(|since| rules.stale_until(since));
        }
    }

    /// Since when the first firing stands against its end, if one does.
    fn stands_against_its_end(&self) -> Option<Timestamp> {
        self.members.values().filter_map(|member| member.stale_since).chain(self.stale_since).min()
    }

    fn fires(&self) -> bool {
        self.others_fire > 0 || self.members.values().any(Member::is_firing)
    }

    /// Whether NATS can say something about its end.
    fn can_be_checked(&self, rules: &IncidentRules) -> bool {
        self.members.values().any(|member| rules.threshold(&self.incident.key, member).is_some())
    }

    fn add(&mut self, origin: &Origin, kind: EntryKind, text: String) {
        let entry = Entry {
            at: origin.at,
            actor: origin.actor.clone(),
            kind,
            text,
            notification: origin.notification,
        };
        self.incident.updated_at = origin.at;
        self.entries.push(entry);
    }

    fn add_own(&mut self, at: Timestamp, kind: EntryKind, text: String) {
        self.incident.updated_at = at;
        self.entries.push(Entry { at, actor: SELF.to_owned(), kind, text, notification: None });
    }

    /// Adds an entry for each of the first few alerts, and one for all the others.
    fn add_each(&mut self, origin: &Origin, kind: EntryKind, verb: &str, alerts: &[String]) {
        let (told, counted) = alerts.split_at(alerts.len().min(text::TOLD_ONE_BY_ONE));
        told.iter().for_each(|alert| self.add(origin, kind, format!("{verb}: {alert}")));
        if !counted.is_empty() {
            self.add(origin, kind, format!("{verb}: {} more alerts", counted.len()));
        }
    }

    /// Whether anything about the incident itself has changed.
    pub(super) fn has_changed(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The members that have changed.
    pub(super) fn touched(&self) -> impl Iterator<Item = &Member> {
        self.touched.iter().filter_map(|fingerprint| self.members.get(fingerprint))
    }

    /// The work that follows.
    pub(super) fn jobs(&self) -> impl Iterator<Item = NewJob> {
        let jobs = [(ENRICH, self.look_at), (VERIFY, self.verify_at)];
        jobs.into_iter().filter_map(|(kind, due_at)| {
            Some(NewJob { kind, subject: self.incident.id.to_string(), due_at: due_at? })
        })
    }
}
