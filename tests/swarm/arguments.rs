//! The command line of the swarm, and what its values mean.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::swarm::{ClientSpec, Options, Population, Traffic};

/// The most addresses one range may name.
const LARGEST_RANGE: u32 = 65_536;

/// Opens and holds many NATS client connections.
///
/// Status lines go to stderr, a JSON summary to stdout at the end; SIGUSR1 prints one at once.
/// Exit status: 0 if all wanted connections were up at the end (with --no-reconnect: or were
/// up once and closed by the server since), 2 for bad usage or too few file descriptors,
/// 3 if some were not up.
#[derive(Debug, Parser)]
#[command(name = "swarm")]
pub struct Arguments {
    /// Servers, host:port; the connections are spread evenly over them
    #[arg(long, value_name = "HOST:PORT,...", default_value = "127.0.0.1:4222")]
    #[arg(value_delimiter = ',', help_heading = "Population")]
    pub servers: Vec<String>,

    /// Connections to open and hold
    #[arg(long, default_value_t = 100, help_heading = "Population")]
    pub count: usize,

    /// Client names with weights; an empty name means an unnamed client. Placeholders: {pod},
    /// {uuid}, {pid}, {hex}, and n in braces for the instance number
    #[arg(long, value_name = "NAME:WEIGHT,...", default_value = "app")]
    #[arg(value_parser = parse_names, help_heading = "Population")]
    pub names: Weights<String>,

    /// Users and passwords with weights
    #[arg(long, value_name = "USER/PASS:WEIGHT,...", value_parser = parse_users)]
    #[arg(help_heading = "Population")]
    pub users: Option<Weights<(String, String)>>,

    /// Authentication token of every connection
    #[arg(long, help_heading = "Population")]
    pub token: Option<String>,

    /// Bearer JWT of every connection (no nonce is signed)
    #[arg(long, value_name = "JWT|@FILE", help_heading = "Population")]
    pub jwt: Option<String>,

    /// Local addresses to connect from, with weights (on Linux any 127.x.y.z works); each has
    /// about 28,000 ports
    #[arg(long, value_name = "IP,IP-IP,IP:WEIGHT", value_parser = parse_sources)]
    #[arg(help_heading = "Population")]
    pub source_ips: Option<Weights<IpAddr>>,

    /// Subscriptions per connection
    #[arg(long, default_value_t = 0, help_heading = "Population")]
    pub subs: u32,

    /// Subject that every connection subscribes to in addition
    #[arg(long, value_name = "SUBJECT", help_heading = "Population")]
    pub subscribe: Option<String>,

    /// Client library every connection says it is
    #[arg(long, default_value = "rust", help_heading = "Population")]
    pub lang: String,

    /// Version of that library
    #[arg(long, default_value = "0.0.1", help_heading = "Population")]
    pub client_version: String,

    /// Seed of every random choice
    #[arg(long, default_value_t = 1, help_heading = "Population")]
    pub seed: u64,

    /// Connections to open in addition each second, never closed
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = parse_rate)]
    #[arg(help_heading = "Behaviour")]
    pub leak_rate: f64,

    /// Stop leaking after this many (0: never)
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Behaviour")]
    pub leak_max: usize,

    /// Client name of leaked connections, with the same placeholders [default: from --names]
    #[arg(long, value_name = "NAME", help_heading = "Behaviour")]
    pub leak_name: Option<String>,

    /// Local address of leaked connections [default: from --source-ips]
    #[arg(long, value_name = "IP", help_heading = "Behaviour")]
    pub leak_source_ip: Option<IpAddr>,

    /// User and password of leaked connections [default: from --users]
    #[arg(long, value_name = "USER/PASS", help_heading = "Behaviour")]
    pub leak_user: Option<String>,

    /// Random connections to close and reopen each second
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = parse_rate)]
    #[arg(help_heading = "Behaviour")]
    pub churn: f64,

    /// Seconds between two messages of one connection (0: it never publishes)
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_seconds)]
    #[arg(help_heading = "Behaviour")]
    pub publish_every: Duration,

    /// Where they go [default: to the connection itself, which then needs --subs]
    #[arg(long, value_name = "SUBJECT", help_heading = "Behaviour")]
    pub publish_to: Option<String>,

    /// Size of one message
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Behaviour")]
    pub publish_bytes: usize,

    /// Seconds for which what the server sends is left unread, again and again (0: never): a slow
    /// consumer
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_seconds)]
    #[arg(help_heading = "Behaviour")]
    pub doze: Duration,

    /// Leave a connection closed when the server closed or refused it
    #[arg(long, help_heading = "Behaviour")]
    pub no_reconnect: bool,

    /// Mean wait before coming back, in seconds; doubles with each failure, up to eight times
    #[arg(long, value_name = "S", default_value = "1", value_parser = parse_seconds)]
    #[arg(help_heading = "Behaviour")]
    pub reconnect_wait: Duration,

    /// Come back to a random one of --servers
    #[arg(long, help_heading = "Behaviour")]
    pub rotate_servers: bool,

    /// Leave when the server asks for it (lame-duck mode); most real clients do not
    #[arg(long, help_heading = "Behaviour")]
    pub heed_lame_duck: bool,

    /// Open at most this many connections each second (0: as fast as possible)
    #[arg(long, value_name = "N", default_value_t = 0.0, value_parser = parse_rate)]
    #[arg(help_heading = "Running")]
    pub rate: f64,

    /// Connections that may be opening at the same time
    #[arg(long, default_value_t = 256, help_heading = "Running")]
    pub concurrency: usize,

    /// How long opening one connection may take, in seconds
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    #[arg(help_heading = "Running")]
    pub timeout: Duration,

    /// Stop after this many seconds (0: at a signal)
    #[arg(long, value_name = "S", default_value = "0", value_parser = parse_seconds)]
    #[arg(help_heading = "Running")]
    pub duration: Duration,

    /// Stop as soon as all connections are up
    #[arg(long, help_heading = "Running")]
    pub exit_when_up: bool,

    /// Seconds between two status lines
    #[arg(long, value_name = "S", default_value = "5", value_parser = parse_seconds)]
    #[arg(help_heading = "Running")]
    pub stats_interval: Duration,

    /// Write the status as JSON lines to stdout
    #[arg(long, help_heading = "Running")]
    pub json: bool,

    /// Names listed in the summary
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Running")]
    pub top: usize,

    /// Print how the connections would be distributed, and open none
    #[arg(long, help_heading = "Running")]
    pub plan: bool,
}

/// Choices with their weights.
#[derive(Debug, Clone)]
pub struct Weights<T>(Vec<(T, u32)>);

impl Arguments {
    /// Describes the connections to hold; `servers` are those of `--servers`.
    pub fn population(&self, servers: Vec<SocketAddr>) -> Result<Population> {
        let first = servers.first().context("no server given")?;
        let mut model =
            ClientSpec::new(*first).library(&self.lang, &self.client_version).subscriptions(self.subs);
        model.token.clone_from(&self.token);
        model.jwt = self.jwt.as_deref().map(read_jwt).transpose()?;
        model.subjects = self.subscribe.iter().map(|subject| Arc::from(subject.as_str())).collect();
        model.traffic = Some(self.publish_every).filter(|every| !every.is_zero()).map(|every| Traffic {
            subject: self.publish_to.as_deref().map(Arc::from),
            every,
            payload_bytes: self.publish_bytes,
        });
        model.dozes = Some(self.doze).filter(|pause| !pause.is_zero());

        let mut population = Population::new(model, self.count).seed(self.seed).servers(servers);
        population.names.clone_from(&self.names.0);
        if let Some(users) = &self.users {
            population.users.clone_from(&users.0);
        }
        if let Some(sources) = &self.source_ips {
            population.sources.clone_from(&sources.0);
        }
        Ok(population)
    }

    /// Describes the connections to leak, if any: those of `population` with what is special
    /// about them.
    pub fn leak(
        &self,
        mut population: Population,
    ) -> Result<Option<impl Iterator<Item = ClientSpec> + use<>>> {
        if self.leak_rate == 0.0 {
            return Ok(None);
        }
        if let Some(name) = &self.leak_name {
            population.names = vec![(name.clone(), 1)];
        }
        if let Some(source) = self.leak_source_ip {
            population.sources = vec![(source, 1)];
        }
        if let Some(user) = &self.leak_user {
            population.users = vec![(split_user(user), 1)];
        }
        let most = if self.leak_max == 0 { usize::MAX } else { self.leak_max };
        Ok(Some(population.extras()?.take(most)))
    }

    /// Says how the connections behave.
    pub fn options(&self, servers: &[SocketAddr]) -> Options {
        Options {
            concurrency: self.concurrency,
            reconnect: !self.no_reconnect,
            reconnect_wait: self.reconnect_wait,
            reconnect_to: if self.rotate_servers { servers.to_vec() } else { Vec::new() },
            connect_timeout: self.timeout,
            heeds_lame_duck: self.heed_lame_duck,
        }
    }
}

/// Finds the address of a server given as `host`, `host:port` or `nats://host:port`.
pub async fn resolve(server: &str) -> Result<SocketAddr> {
    let host = server.trim();
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let has_port = match host.rsplit_once(']') {
        Some((_, after)) => after.starts_with(':'),
        None => host.contains(':'),
    };
    let host = if has_port { host.to_owned() } else { format!("{host}:4222") };
    let mut addresses =
        tokio::net::lookup_host(&host).await.with_context(|| format!("resolving server `{host}`"))?;
    addresses.next().with_context(|| format!("server `{host}` has no address"))
}

fn read_jwt(jwt: &str) -> Result<Arc<str>> {
    let Some(file) = jwt.strip_prefix('@') else {
        return Ok(Arc::from(jwt));
    };
    let jwt =
        std::fs::read_to_string(Path::new(file)).with_context(|| format!("reading the JWT from {file}"))?;
    Ok(Arc::from(jwt.trim()))
}

fn parse_names(text: &str) -> Result<Weights<String>> {
    parse_weights(text, |name| Ok(name.to_owned()))
}

fn parse_users(text: &str) -> Result<Weights<(String, String)>> {
    parse_weights(text, |user| Ok(split_user(user)))
}

fn split_user(user: &str) -> (String, String) {
    let (user, password) = user.split_once('/').unwrap_or((user, ""));
    (user.to_owned(), password.to_owned())
}

fn parse_weights<T>(text: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Weights<T>> {
    let weights = text.split(',').map(|part| {
        let (value, weight) = split_weight(part.trim())?;
        Ok((parse(value)?, weight))
    });
    Ok(Weights(weights.collect::<Result<_>>()?))
}

fn split_weight(part: &str) -> Result<(&str, u32)> {
    let Some((value, weight)) = part.rsplit_once(':') else {
        return Ok((part, 1));
    };
    let weight =
        weight.parse().with_context(|| format!("bad weight in `{part}` (wanted: a whole number)"))?;
    Ok((value, weight))
}

fn parse_sources(text: &str) -> Result<Weights<IpAddr>> {
    let mut sources = Vec::new();
    for part in text.split(',').map(str::trim) {
        // An IPv6 address has more than one colon and takes no weight.
        let (addresses, weight) = match part.matches(':').count() {
            1 => split_weight(part)?,
            _ => (part, 1),
        };
        match addresses.split_once('-') {
            Some((first, last)) => {
                let (first, last): (Ipv4Addr, Ipv4Addr) = (
                    first.parse().with_context(|| format!("bad `{part}`"))?,
                    last.parse().with_context(|| format!("bad `{part}`"))?,
                );
                let (first, last) = (u32::from(first), u32::from(last));
                if last < first {
                    bail!("bad range `{part}`: it ends before it begins");
                }
                ensure!(last - first < LARGEST_RANGE, "range `{part}` is too large");
                let range = (first..=last).map(Ipv4Addr::from);
                sources.extend(range.map(|address| (IpAddr::from(address), weight)));
            }
            None => {
                sources.push((addresses.parse().with_context(|| format!("bad address `{part}`"))?, weight))
            }
        }
    }
    Ok(Weights(sources))
}

fn parse_seconds(text: &str) -> Result<Duration> {
    let seconds = text.parse().context("not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).context("not a number of seconds")
}

fn parse_rate(text: &str) -> Result<f64> {
    let rate: f64 = text.parse().context("not a number")?;
    ensure!(rate.is_finite() && rate >= 0.0, "a rate is not negative");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn names_take_weights_and_may_be_empty() {
        let names = parse_names("a:6, b,c:d:3,:2").expect("sound names");

        let wanted = [("a", 6), ("b", 1), ("c:d", 3), ("", 2)];
        assert!(names.0.iter().map(|(name, weight)| (&**name, *weight)).eq(wanted));
        assert!(parse_names("a:b").is_err());
        assert!(parse_names("a:-1").is_err());
    }

    #[test]
    fn sources_take_ranges_and_weights() {
        let sources = parse_sources("127.0.0.2-127.0.0.4,127.0.0.9:10,::1").expect("sound");
        let shown: Vec<_> = sources.0.iter().map(|(address, weight)| format!("{address}*{weight}")).collect();

        assert_eq!(shown, ["127.0.0.2*1", "127.0.0.3*1", "127.0.0.4*1", "127.0.0.9*10", "::1*1"],);
        assert!(parse_sources("127.0.0.9-127.0.0.2").is_err());
    }
}
