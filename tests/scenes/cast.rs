//! Who is on stage: the applications of a scene with every one of their clients, as the seed decides.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::scene::{Fleet, Key, Role, Scene, Size};
use crate::servers::PASSWORD;
use crate::swarm::random::{Random, digest};
use crate::swarm::{ClientSpec, Options, Template, Traffic, apportion};

/// Client names of healthy applications.
const NAMES: [&str; 24] = [
    "orders-api-{pod}",
    "billing-{pod}",
    "checkout-web-{n}",
    "inventory-sync-{uuid}",
    "payments-{pod}",
    "notification-sender-{pid}",
    "search-indexer-{hex}",
    "auth-gateway-{pod}",
    "user-profile-{pod}",
    "shipping-tracker-{n}",
    "recommendation-engine-{pod}",
    "audit-log-writer",
    "metrics-relay-{n}",
    "cart-service-{pod}",
    "pricing-{pod}",
    "email-worker-{uuid}",
    "image-resizer-{hex}",
    "geo-lookup-{n}",
    "fraud-check-{pod}",
    "session-store-{pod}",
    "report-builder-{pid}",
    "webhook-dispatcher-{pod}",
    "catalog-{pod}",
    "loyalty-{pod}",
];

/// Client libraries with a version, and the one after it.
const LIBRARIES: [(&str, &str, &str); 5] = [
    ("go", "1.31.0", "1.34.1"),
    ("rust", "0.37.0", "0.38.0"),
    ("python3", "2.6.0", "2.7.2"),
    ("java", "2.17.6", "2.20.4"),
    ("nats.js", "2.28.2", "2.29.1"),
];

/// How many connections a healthy instance has.
const PER_INSTANCE: u64 = 6;
/// How many instances have addresses in one network.
const NETWORK: u64 = 250;
/// How often a healthy client says something.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a client waits before it comes back, unless the scene says something else.
const RECONNECT: Duration = Duration::from_millis(500);

/// The applications of the background, largest first, and what else the seed decides.
pub struct Cast {
    pub applications: Vec<Application>,
    scene: Scene,
    size: Size,
    seed: u64,
    servers: Vec<SocketAddr>,
}

/// A healthy application.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its client names.
    template: &'static str,
    /// What connwarden has to call it.
    pub name: String,
    library: (&'static str, &'static str, &'static str),
    user: Option<String>,
    quiet: bool,
    pub connections: u64,
    instances: u64,
    /// Its addresses are those of this network, or this one address.
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Network(u8),
    Address(IpAddr),
}

/// Clients that do the same, and when.
pub struct Troupe {
    pub specs: Vec<ClientSpec>,
    pub options: Options,
    /// Since when, after the beginning of the trouble.
    pub at: Duration,
    /// How fast they are opened; at once, if zero.
    pub per_second: f64,
    /// How many are closed and opened again each second.
    pub churn_per_second: f64,
    /// The application of the background whose connections are closed and opened again, or replaced.
    pub of: Option<usize>,
    pub replaces: bool,
}

impl Cast {
    /// Chooses the applications of a scene.
    pub fn new(scene: &Scene, size: Size, seed: u64, servers: Vec<SocketAddr>) -> Self {
        let mut random = Random::new(seed, &[digest(&scene.name)]);
        let background = &scene.background;
        let count = background.applications;
        assert!(count > 0 && count <= NAMES.len(), "{}: 1 to {} applications", scene.name, NAMES.len());
        let mut names = NAMES;
        random.shuffle(&mut names);
        let weights: Vec<u32> = (0..count)
            .map(|rank| (1000.0 / (rank + 2) as f64 * (0.8 + 0.4 * random.fraction())) as u32)
            .collect();
        let mut sizes = apportion(&weights, (background.connections * size.factor()) as usize);
        sizes.sort_unstable_by_key(|connections| std::cmp::Reverse(*connections));
        let users = match background.users.as_slice() {
            [] => scene.accounts.iter().flat_map(|account| account.users.iter().cloned()).take(1).collect(),
            users => users.to_vec(),
        };
        let mut quiet: Vec<bool> = (0..count).map(|number| number < background.quiet_applications).collect();
        random.shuffle(&mut quiet);
        let applications = sizes.into_iter().enumerate().map(|(rank, connections)| {
            let connections = connections as u64;
            let shared = background.shared_address.as_ref();
            let place = match shared.filter(|shared| (rank as u64) * 100 < shared.percent * count as u64) {
                Some(shared) => Place::Address(shared.address.parse().unwrap()),
                None => Place::Network(20 + rank as u8),
            };
            Application {
                template: names[rank],
                name: application_of(names[rank]),
                library: LIBRARIES[random.position(LIBRARIES.len())],
                user: (!users.is_empty()).then(|| users[random.position(users.len())].clone()),
                quiet: quiet[rank],
                connections,
                instances: (connections / PER_INSTANCE).max(1),
                place,
            }
        });
        Self { applications: applications.collect(), scene: scene.clone(), size, seed, servers }
    }

    /// The clients of an application of the background.
    pub fn background(&self, number: usize) -> Troupe {
        let application = &self.applications[number];
        let background = &self.scene.background;
        let mut model = application.model(false);
        model.prefix = Arc::from(format!("background{number}"));
        if !application.quiet {
            model.traffic = Some(heartbeat());
        }
        let churn = background.churn_per_second * self.size.factor() * application.connections;
        let members = Members {
            template: application.template,
            seed: self.seed,
            first: 0,
            instances: application.instances,
            name_per_connection: false,
            place: application.place,
        };
        Troupe {
            specs: self.specs(&model, &members, application.connections, &background.spread),
            options: self.options(None),
            at: Duration::ZERO,
            per_second: 0.0,
            churn_per_second: churn as f64 / (background.connections * self.size.factor()) as f64,
            of: None,
            replaces: false,
        }
    }

    /// The clients of a fleet. `number` keeps the fleets of a scene apart.
    pub fn fleet(&self, fleet: &Fleet, number: usize) -> Vec<Troupe> {
        let of: Vec<Option<usize>> = match fleet.like {
            None => vec![None],
            Some(Role::Each) => (0..self.applications.len()).map(Some).collect(),
            Some(role) => vec![Some(self.role(role))],
        };
        of.into_iter().map(|of| self.troupe(fleet, number, of)).collect()
    }

    fn troupe(&self, fleet: &Fleet, number: usize, of: Option<usize>) -> Troupe {
        let application = of.map(|of| &self.applications[of]);
        let parts = [digest(&self.scene.name), number as u64, of.map_or(0, |of| of as u64 + 1)];
        let mut random = Random::new(self.seed, &parts);
        let factor = self.size.factor();
        let mut vary = |figure: u64| match fleet.exactly {
            true => figure as f64,
            false => figure as f64 * (0.85 + 0.3 * random.fraction()),
        };

        let mut connections = vary(fleet.connections * factor).round() as u64;
        if let Some(application) = application.filter(|_| fleet.percent > 0) {
            connections = (vary(application.connections * fleet.percent) / 100.0).round() as u64;
        }
        let wanted = fleet.instances.max(1);
        let wanted = if wanted == 1 { 1 } else { wanted * factor };
        let (first, instances) = match application {
            Some(application) if fleet.existing && fleet.instances == 0 => (0, application.instances),
            Some(application) if fleet.existing => (0, wanted.min(application.instances)),
            Some(application) => (application.instances, wanted),
            None => (0, wanted),
        };
        let mut model = match application {
            Some(application) => application.model(fleet.release),
            None => self.stranger(fleet),
        };
        model.prefix = Arc::from(format!("fleet{number}-{}", of.unwrap_or_default()));
        behave(&mut model, fleet);
        let address = fleet.address.as_ref().map(|address| Place::Address(address.parse().unwrap()));
        let members = Members {
            template: application.map_or(&fleet.name, |application| application.template),
            // pods of a new version belong to a new replica set
            seed: if fleet.release { self.seed + 1000 } else { self.seed },
            first,
            instances,
            name_per_connection: fleet.name_per_connection,
            place: address
                .or(application.map(|application| application.place))
                .unwrap_or(Place::Network(100 + number as u8)),
        };
        let per_second = vary(fleet.per_second * factor);
        Troupe {
            specs: self.specs(&model, &members, connections, &fleet.spread),
            options: self.options(fleet.reconnect_milliseconds),
            at: Duration::from_secs(fleet.at_seconds),
            per_second,
            churn_per_second: vary(fleet.churn_per_second * factor),
            of,
            replaces: fleet.replaces,
        }
    }

    /// Says which group of a breakdown a key of the definition means.
    pub fn key(&self, key: &Key) -> Key {
        let Key::Application(name) = key else { return key.clone() };
        let Some(role) = name.strip_prefix('@') else { return key.clone() };
        let role = serde_json::from_value(role.into()).unwrap_or_else(|error| panic!("{name}: {error}"));
        Key::Application(self.applications[self.role(role)].name.clone())
    }

    fn role(&self, role: Role) -> usize {
        match role {
            Role::Largest => 0,
            Role::Second => 1,
            Role::Middle => self.applications.len() / 2,
            Role::Smallest => self.applications.len() - 1,
            Role::Each => panic!("{}: one application is meant, not each", self.scene.name),
        }
    }

    fn stranger(&self, fleet: &Fleet) -> ClientSpec {
        let mut random = Random::new(self.seed, &[digest(&fleet.name)]);
        let (language, version, _) = LIBRARIES[random.position(LIBRARIES.len())];
        let first = self.scene.accounts.first().map(|account| account.users[0].clone());
        let mut model = ClientSpec::new(self.servers[0]).library(language, version);
        model.user = fleet.user.clone().or(first).map(|user| (user, PASSWORD.to_owned()));
        model
    }

    fn options(&self, reconnect_milliseconds: Option<u64>) -> Options {
        Options {
            reconnect: true,
            reconnect_wait: reconnect_milliseconds.map_or(RECONNECT, Duration::from_millis),
            // clients of a cluster know all its servers
            reconnect_to: if self.servers.len() > 1 { self.servers.clone() } else { Vec::new() },
            ..Options::default()
        }
    }

    /// Makes the clients, dealt out to the instances one by one.
    fn specs(
        &self,
        model: &ClientSpec,
        members: &Members<'_>,
        connections: u64,
        spread: &[u32],
    ) -> Vec<ClientSpec> {
        let template = Template::parse(members.template).unwrap();
        let even = vec![1; self.servers.len()];
        let spread = if spread.is_empty() { &even } else { spread };
        let mut servers: Vec<SocketAddr> = apportion(spread, connections as usize)
            .into_iter()
            .zip(&self.servers)
            .flat_map(|(count, server)| std::iter::repeat_n(*server, count))
            .collect();
        Random::new(members.seed, &[digest(&model.prefix)]).shuffle(&mut servers);
        let clients = servers.into_iter().zip(0..).map(|(server, number)| {
            let instance = members.first + number % members.instances;
            let named = if members.name_per_connection { members.first + number } else { instance };
            let mut spec = model.clone().name(template.expand(members.seed, named as usize));
            spec.server = server;
            spec.source = Some(members.place.address(self.seed, instance));
            spec
        });
        clients.collect()
    }
}

/// The instances of clients: what their names and addresses are made of.
struct Members<'a> {
    template: &'a str,
    seed: u64,
    first: u64,
    instances: u64,
    name_per_connection: bool,
    place: Place,
}

impl Application {
    fn model(&self, release: bool) -> ClientSpec {
        let (language, version, next) = self.library;
        // replaced by the one a connection goes to
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut model = ClientSpec::new(nowhere).library(language, if release { next } else { version });
        model.subscriptions = if self.quiet { 2 } else { 1 };
        model.user = self.user.clone().map(|user| (user, PASSWORD.to_owned()));
        model
    }
}

impl Place {
    fn address(self, seed: u64, instance: u64) -> IpAddr {
        match self {
            Self::Address(address) => address,
            Self::Network(network) => {
                let third = 1 + (seed * 7 + instance / NETWORK) % NETWORK;
                let last = 1 + instance % NETWORK;
                Ipv4Addr::new(127, network, third as u8, last as u8).into()
            }
        }
    }
}

fn heartbeat() -> Traffic {
    Traffic { subject: None, every: HEARTBEAT, payload_bytes: 64 }
}

/// Lets clients do what is special about a fleet.
fn behave(model: &mut ClientSpec, fleet: &Fleet) {
    if fleet.idle {
        model.subscriptions = 0;
    } else {
        model.subscriptions = model.subscriptions.max(1);
        model.traffic = Some(heartbeat());
    }
    if let Some(publishes) = &fleet.publishes {
        model.traffic = Some(Traffic {
            subject: Some(Arc::from(publishes.to.as_str())),
            every: Duration::from_millis(publishes.every_milliseconds),
            payload_bytes: publishes.bytes,
        });
    }
    if let Some(subject) = &fleet.hears {
        model.subjects.push(Arc::from(subject.as_str()));
    }
    model.dozes = fleet.dozes_milliseconds.map(Duration::from_millis);
    if model.dozes.is_some() {
        model.traffic = None;
    }
    if fleet.wrong_password
        && let Some((_, password)) = &mut model.user
    {
        "not-this".clone_into(password);
    }
}

/// The application that client names of this template belong to: what stands before the part that differs.
fn application_of(template: &str) -> String {
    template.split_once("-{").map_or(template, |(application, _)| application).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use connwarden::model::application::ApplicationRules;

    use super::*;

    fn cast(seed: u64) -> Cast {
        let scene = Scene::all().into_iter().find(|scene| scene.name == "leak").unwrap();
        Cast::new(&scene, Size::Small, seed, vec![SocketAddr::from(([127, 0, 0, 1], 4222))])
    }

    #[test]
    fn connwarden_calls_the_applications_what_the_scenes_call_them() {
        let rules = ApplicationRules::default();
        for template in NAMES {
            let expanded = Template::parse(template).unwrap();
            for number in 0..200 {
                let name = expanded.expand(number, number as usize);
                assert_eq!(rules.application(&name), application_of(template), "{name}");
            }
        }
    }

    #[test]
    fn the_seed_decides_who_is_who() {
        let named = |seed| cast(seed).applications.iter().map(|all| all.name.clone()).collect::<Vec<_>>();

        assert_eq!(named(1), named(1));
        assert_ne!(named(1), named(2));
    }

    #[test]
    fn an_instance_has_one_name_and_one_address() {
        let specs = cast(3).background(0).specs;
        let names: BTreeSet<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let addresses: BTreeSet<_> = specs.iter().map(|spec| spec.source).collect();
        let both: BTreeSet<_> = specs.iter().map(|spec| (spec.name.clone(), spec.source)).collect();

        assert!(addresses.len() > 5);
        // every instance of `audit-log-writer` has the same name
        assert!(names.len() == addresses.len() || names.len() == 1);
        assert_eq!(both.len(), addresses.len());
    }
}
