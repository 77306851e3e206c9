//! Client code: how the options that matter are written in the languages that this cluster's clients use.

use super::quoting::is_word;
use super::{Ground, snippet};
use crate::model::breakdown::Dimension;
use crate::model::diagnosis::Snippet;

/// For how many languages an option is shown.
const MOST_LANGUAGES: usize = 3;

/// What stands for a name that is not known, or cannot be written everywhere.
const A_NAME: &str = "NAME-OF-THE-APPLICATION";

/// How a language sets what matters.
struct Language {
    /// What its library says at CONNECT (`lang`).
    lang: &'static [&'static str],
    /// What it is called.
    title: &'static str,
    /// Gives the connection a name; `NAME` stands for it.
    name: &'static str,
    /// Spreads attempts to reconnect over time.
    patience: &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language {
        lang: &["go"],
        title: "Go",
        name: "nats.Connect(url, nats.Name(\"NAME\"))",
        patience: "nats.Connect(url,\n  nats.MaxReconnects(-1),\n  nats.ReconnectWait(2*time.Second),\n  \
                   nats.ReconnectJitter(2*time.Second, 5*time.Second))",
    },
    Language {
        lang: &["python3"],
        title: "Python",
        name: "await nats.connect(servers, name=\"NAME\")",
        patience: "await nats.connect(servers,\n  max_reconnect_attempts=-1,\n  \
                   reconnect_time_wait=random.uniform(2, 5))",
    },
    Language {
        lang: &["java"],
        title: "Java",
        name: "new Options.Builder().server(url).connectionName(\"NAME\").build()",
        patience: "new Options.Builder().server(url)\n  .maxReconnects(-1)\n  .reconnectWait(Duration.ofSeconds(2))\n  \
                   .reconnectJitter(Duration.ofSeconds(2))\n  .reconnectJitterTls(Duration.ofSeconds(5))\n  .build()",
    },
    Language {
        lang: &["nats.js", "nats.ws", "nats.deno", "javascript", "node"],
        title: "JavaScript",
        name: "await connect({ servers, name: \"NAME\" })",
        patience: "await connect({ servers,\n  maxReconnectAttempts: -1,\n  reconnectTimeWait: 2000,\n  \
                   reconnectJitter: 2000,\n  reconnectJitterTLS: 5000 })",
    },
    Language {
        lang: &["rust"],
        title: "Rust",
        name: "async_nats::ConnectOptions::new().name(\"NAME\").connect(url).await?",
        patience: "async_nats::ConnectOptions::new()\n  .reconnect_delay_callback(|attempts| {\n    \
                   Duration::from_secs((attempts as u64).clamp(1, 30)) + jitter()\n  })\n  .connect(url).await?",
    },
    Language {
        lang: &[".net", "c#"],
        title: ".NET",
        name: "new NatsOpts { Url = url, Name = \"NAME\" }",
        patience: "new NatsOpts { Url = url,\n  ReconnectWaitMin = TimeSpan.FromSeconds(2),\n  \
                   ReconnectWaitMax = TimeSpan.FromSeconds(30),\n  ReconnectJitter = TimeSpan.FromSeconds(2) }",
    },
];

/// How a connection is given a name.
pub(super) fn naming(ground: &Ground<'_>, application: Option<&str>) -> Vec<Snippet> {
    let name = application.filter(|name| is_word(name)).unwrap_or(A_NAME);
    used(ground).map(|language| place(language, language.name.replace("NAME", name))).collect()
}

/// How attempts to reconnect are spread over time.
pub(super) fn patience(ground: &Ground<'_>) -> Vec<Snippet> {
    used(ground).map(|language| place(language, language.patience.to_owned())).collect()
}

fn place(language: &Language, code: String) -> Snippet {
    snippet(&format!("client code, {}", language.title), code)
}

/// The languages of this cluster's clients that have a snippet, the most common first.
fn used(ground: &Ground<'_>) -> impl Iterator<Item = &'static Language> + use<> {
    let libraries = ground.evidence.snapshot.breakdowns.get(&Dimension::Library.into());
    let groups = libraries.map_or(&[][..], |libraries| &libraries.groups);
    let mut used: Vec<(&'static Language, u64)> = Vec::new();
    for group in groups.iter().filter(|group| !group.absent) {
        let lang = group.key.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let known = LANGUAGES.iter().find(|language| language.lang.contains(&lang.as_str()));
        let Some(language) = known else { continue };
        match used.iter_mut().find(|(other, _)| other.title == language.title) {
            Some((_, connections)) => *connections = connections.saturating_add(group.figures.connections),
            None => used.push((language, group.figures.connections)),
        }
    }
    used.sort_by_key(|(_, connections)| std::cmp::Reverse(*connections));
    used.into_iter().take(MOST_LANGUAGES).map(|(language, _)| language)
}
