//! Populations: how many clients of which name, user, address and server make up a swarm.
//!
//! A population is deterministic: the same one yields the same clients on every machine. The
//! weights are met exactly (largest remainder), not on average, so a test can say beforehand
//! what a breakdown must show.

use std::net::{IpAddr, SocketAddr};

use super::error::PopulationError;
use super::names::Template;
use super::random::Random;
use super::spec::ClientSpec;

/// Clients in proportions. A dimension left empty is as in the model.
#[derive(Debug, Clone)]
pub struct Population {
    /// What all the clients have in common.
    pub model: ClientSpec,
    /// How many clients there are.
    pub count: usize,
    /// Name templates with their weights; an empty name means an unnamed client.
    pub names: Vec<(String, u32)>,
    /// Users and passwords with their weights.
    pub users: Vec<((String, String), u32)>,
    /// Source addresses with their weights.
    pub sources: Vec<(IpAddr, u32)>,
    /// Servers with their weights.
    pub servers: Vec<(SocketAddr, u32)>,
    /// Decides who is who.
    pub seed: u64,
}

impl Population {
    /// Describes `count` clients that are all like the model.
    pub fn new(model: ClientSpec, count: usize) -> Self {
        Self {
            model,
            count,
            names: Vec::new(),
            users: Vec::new(),
            sources: Vec::new(),
            servers: Vec::new(),
            seed: 1,
        }
    }

    /// Divides the clients among these name templates.
    pub fn names<'a>(mut self, names: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        self.names = names.into_iter().map(|(name, weight)| (name.to_owned(), weight)).collect();
        self
    }

    /// Divides the clients among these users, given as user, password and weight.
    pub fn users<'a>(mut self, users: impl IntoIterator<Item = (&'a str, &'a str, u32)>) -> Self {
        self.users = users
            .into_iter()
            .map(|(user, password, weight)| ((user.to_owned(), password.to_owned()), weight))
            .collect();
        self
    }

    /// Divides the clients evenly among these source addresses.
    pub fn sources(mut self, sources: impl IntoIterator<Item = impl Into<IpAddr>>) -> Self {
        self.sources = sources.into_iter().map(|source| (source.into(), 1)).collect();
        self
    }

    /// Divides the clients evenly among these servers.
    pub fn servers(mut self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.servers = servers.into_iter().map(|server| (server, 1)).collect();
        self
    }

    /// Decides who is who.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lists the clients.
    ///
    /// # Errors
    ///
    /// A [`PopulationError`] if the weights or a name template make no sense.
    pub fn plan(&self) -> Result<Vec<ClientSpec>, PopulationError> {
        let templates = self.templates()?;
        let names = self.assign(Dimension::Names, &self.names)?;
        let users = self.assign(Dimension::Users, &self.users)?;
        let sources = self.assign(Dimension::Sources, &self.sources)?;
        let servers = self.assign(Dimension::Servers, &self.servers)?;
        let mut instances = vec![0; templates.len()];

        let specs = (0..self.count).map(|index| {
            let mut spec = self.model.clone();
            if let Some(&choice) = names.get(index) {
                let number = instances[choice];
                instances[choice] += 1;
                spec = spec.name(templates[choice].expand(self.seed, number));
            }
            if let Some(&choice) = users.get(index) {
                spec.user = Some(self.users[choice].0.clone());
            }
            if let Some(&choice) = sources.get(index) {
                spec.source = Some(self.sources[choice].0);
            }
            if let Some(&choice) = servers.get(index) {
                spec.server = self.servers[choice].0;
            }
            spec
        });
        Ok(specs.collect())
    }

    /// Yields clients beyond the planned ones, without end, drawn by the same weights.
    ///
    /// # Errors
    ///
    /// As [`Population::plan`].
    pub fn extras(&self) -> Result<impl Iterator<Item = ClientSpec> + Send + use<>, PopulationError> {
        let templates = self.templates()?;
        for (dimension, positive) in [
            (Dimension::Names, has_weight(&self.names)),
            (Dimension::Users, has_weight(&self.users)),
            (Dimension::Sources, has_weight(&self.sources)),
            (Dimension::Servers, has_weight(&self.servers)),
        ] {
            if !positive {
                return Err(PopulationError::NoWeight(dimension.plural()));
            }
        }
        let population = self.clone();
        Ok((self.count..).map(move |index| population.extra(&templates, index)))
    }

    fn extra(&self, templates: &[Template], index: usize) -> ClientSpec {
        let mut spec = self.model.clone();
        if let Some(choice) = self.draw(Dimension::Names, &self.names, index) {
            spec = spec.name(templates[choice].expand(self.seed, index));
        }
        if let Some(choice) = self.draw(Dimension::Users, &self.users, index) {
            spec.user = Some(self.users[choice].0.clone());
        }
        if let Some(choice) = self.draw(Dimension::Sources, &self.sources, index) {
            spec.source = Some(self.sources[choice].0);
        }
        if let Some(choice) = self.draw(Dimension::Servers, &self.servers, index) {
            spec.server = self.servers[choice].0;
        }
        spec
    }

    fn templates(&self) -> Result<Vec<Template>, PopulationError> {
        self.names.iter().map(|(name, _)| Template::parse(name)).collect()
    }

    /// Says for each client which of `choices` it has; empty if there are none.
    fn assign<T>(&self, dimension: Dimension, choices: &[(T, u32)]) -> Result<Vec<usize>, PopulationError> {
        if choices.is_empty() {
            return Ok(Vec::new());
        }
        if !has_weight(choices) {
            return Err(PopulationError::NoWeight(dimension.plural()));
        }
        let weights: Vec<_> = choices.iter().map(|(_, weight)| *weight).collect();
        let mut assigned: Vec<_> = apportion(&weights, self.count)
            .into_iter()
            .enumerate()
            .flat_map(|(choice, share)| std::iter::repeat_n(choice, share))
            .collect();
        Random::new(self.seed, &[dimension as u64]).shuffle(&mut assigned);
        Ok(assigned)
    }

    fn draw<T>(&self, dimension: Dimension, choices: &[(T, u32)], index: usize) -> Option<usize> {
        let total: u64 = choices.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = Random::new(self.seed, &[dimension as u64, index as u64]).below(total);
        choices.iter().position(|(_, weight)| {
            let weight = u64::from(*weight);
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit
        })
    }
}

#[derive(Clone, Copy)]
enum Dimension {
    Names = 1,
    Users,
    Sources,
    Servers,
}

impl Dimension {
    fn plural(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Users => "users",
            Self::Sources => "source addresses",
            Self::Servers => "servers",
        }
    }
}

fn has_weight<T>(choices: &[(T, u32)]) -> bool {
    choices.is_empty() || choices.iter().any(|(_, weight)| *weight > 0)
}

/// Divides `count` by weight, exactly: the shares differ from the ideal by less than one and
/// add up to `count`, unless all weights are zero.
pub fn apportion(weights: &[u32], count: usize) -> Vec<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let ideal = |weight: u32| count as u128 * u128::from(weight);
    let mut shares: Vec<_> = weights.iter().map(|weight| (ideal(*weight) / total) as usize).collect();
    let left = count - shares.iter().sum::<usize>();
    let mut order: Vec<_> = (0..weights.len()).collect();
    order.sort_by_key(|choice| std::cmp::Reverse(ideal(weights[*choice]) % total));
    for choice in order.into_iter().take(left) {
        shares[choice] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use super::*;

    fn population(count: usize) -> Population {
        let server = SocketAddr::from(([127, 0, 0, 1], 4222));
        Population::new(ClientSpec::new(server), count)
            .names([("orders-{n}", 6), ("billing", 3), ("", 1)])
            .users([("alice", "secret", 2), ("bob", "hunter2", 1)])
            .sources((2..=9).map(|last| Ipv4Addr::new(127, 0, 0, last)))
    }

    fn tally<K: Ord>(keys: impl IntoIterator<Item = K>) -> BTreeMap<K, usize> {
        keys.into_iter().fold(BTreeMap::new(), |mut tally, key| {
            *tally.entry(key).or_default() += 1;
            tally
        })
    }

    #[test]
    fn shares_follow_the_largest_remainder() {
        assert_eq!(apportion(&[6, 3, 1], 1200), [720, 360, 120]);
        assert_eq!(apportion(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(apportion(&[7, 3], 5), [4, 1]);
        assert_eq!(apportion(&[0, 5], 3), [0, 3]);
        assert_eq!(apportion(&[1, 1000], 0), [0, 0]);
        assert_eq!(apportion(&[u32::MAX, u32::MAX], 3), [2, 1]);
    }

    #[test]
    fn a_plan_meets_every_weight_exactly() {
        let specs = population(1000).plan().expect("a sound population");

        let unnamed = specs.iter().filter(|spec| spec.name.is_none()).count();
        let applications = tally(specs.iter().flat_map(|spec| {
            let name = spec.name.as_deref()?;
            name.split('-').next()
        }));
        assert_eq!(unnamed, 100);
        assert_eq!(applications, BTreeMap::from([("billing", 300), ("orders", 600)]));
        let users = tally(specs.iter().flat_map(|spec| spec.user.clone()));
        assert!(users.into_values().eq([667, 333]));
        let sources = tally(specs.iter().flat_map(|spec| spec.source));
        assert!(sources.into_values().eq([125; 8]));
    }

    #[test]
    fn instance_numbers_count_up_per_template() {
        let specs = population(100).plan().expect("a sound population");
        let numbers = specs
            .iter()
            .filter_map(|spec| spec.name.as_deref()?.strip_prefix("orders-"))
            .map(|number| number.parse::<usize>().expect("a number"));

        assert!(numbers.eq(0..60));
    }

    #[test]
    fn the_seed_decides_who_is_who() {
        let plan = |seed| population(200).seed(seed).plan().expect("sound");

        assert_eq!(plan(4), plan(4));
        assert_ne!(plan(4), plan(5));
    }

    #[test]
    fn extras_go_on_where_the_plan_ends() {
        let population = population(100);
        let extras =
            |count| -> Vec<_> { population.extras().expect("a sound population").take(count).collect() };

        assert_eq!(extras(50), extras(80)[..50]);
        let orders = extras(1000)
            .iter()
            .filter(|spec| spec.name.as_ref().is_some_and(|name| name.starts_with("orders-")))
            .count();
        assert!((550..650).contains(&orders), "{orders} of 1000");
    }

    #[test]
    fn weights_of_zero_cannot_be_planned() {
        let error = population(10).names([("a", 0)]).plan().expect_err("zero");

        assert_eq!(error, PopulationError::NoWeight("names"));
    }
}
