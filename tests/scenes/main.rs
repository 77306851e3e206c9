//! Scenes: trouble with connections played on real NATS servers, and whether the diagnosis sees it for what it is.
//!
//! `make scenes` plays all of them; `make test` a few. The definitions are data (`definitions/`), of which the program
//! knows nothing. What may be set is in `SCENES` (names, with commas; all that begin with one), `SEEDS` (how many of
//! each, or which: `2-3`) and `SCENES_VERBOSE` (shows what the servers showed).
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod cast;
mod look;
mod run;
mod scene;
mod score;
mod servers;
mod stage;

#[path = "../it/harness.rs"]
#[expect(dead_code, reason = "the tests use all of it, the scenes a part")]
mod harness;
#[path = "../swarm/swarm.rs"]
mod swarm;

use std::ops::RangeInclusive;

use crate::run::{Play, folder};
use crate::scene::Scene;
use crate::score::Score;

/// With which seeds `make scenes` plays each scene: both sizes on both servers.
const SEEDS: RangeInclusive<u64> = 1..=4;

/// What `make test` plays.
const A_FEW: [&str; 3] = ["leak", "noisy-growth", "reconnect-storm"];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes about an hour: `make scenes`"]
async fn all_scenes_are_seen_for_what_they_are() {
    let wanted = setting("SCENES").unwrap_or_default();
    let wanted: Vec<_> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let seeds = setting("SEEDS").map_or(SEEDS, |text| range(&text));
    let mut scenes = Scene::all();
    scenes.retain(|scene| wanted.is_empty() || wanted.iter().any(|name| scene.name.starts_with(name)));
    assert!(!scenes.is_empty(), "no scene is called {wanted:?}");
    let mut score = Score::default();
    for scene in &scenes {
        for seed in seeds.clone() {
            play(Play::of(scene, seed), &mut score).await;
        }
    }
    println!("\n{}\n{}", score.confusion(), score.durations());
    println!("the runs are in {}", folder().display());
    println!("{}", score.line());
    assert!(score.is_met(), "not good enough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_scenes_are_seen_for_what_they_are() {
    let scenes = Scene::all();
    let mut score = Score::default();
    for name in A_FEW {
        let scene = scenes.iter().find(|scene| scene.name == name).unwrap();
        play(Play::of(scene, 1), &mut score).await;
    }
    let wrong = score.0.iter().filter(|outcome| !outcome.is_right());
    let told: Vec<_> = wrong.map(|outcome| format!("{}\n{}", outcome.line(), outcome.report)).collect();
    assert!(told.is_empty(), "{}", told.join("\n\n"));
}

async fn play(play: Play, score: &mut Score) {
    let outcome = play.run().await;
    println!("{}", outcome.line());
    if setting("SCENES_VERBOSE").is_some() {
        println!("    {}", outcome.report.replace('\n', "\n    "));
    }
    score.0.push(outcome);
}

/// Reads `4` as the first four, and `2-3` as it stands.
fn range(text: &str) -> RangeInclusive<u64> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("SEEDS: `{text}` is no number"));
    let (first, last) =
        text.split_once('-').map_or_else(|| (1, number(text)), |(first, last)| (number(first), number(last)));
    assert!(first <= last, "SEEDS: there is nothing in `{text}`");
    first..=last
}

/// A word from the environment.
#[expect(clippy::disallowed_methods, reason = "what is played is not the program's business")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
