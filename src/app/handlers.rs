//! Which use case does the jobs of which kind, and in which lane.

use crate::engine::{COMPLETE, ENRICH, Engine, GivenUp, LOOK_BACK, NAME_ADDRESSES, RUN, VERIFY};
use crate::jobs::{Lane, Worker};

/// Lets the engine do every kind of job.
pub(super) fn register(worker: &mut Worker, engine: &Engine) {
    let enriching = engine.clone();
    worker.register(ENRICH, Lane::Looks, move |job| {
        let engine = enriching.clone();
        async move { engine.enrich(&job).await }
    });
    let verifying = engine.clone();
    worker.register(VERIFY, Lane::Looks, move |job| {
        let engine = verifying.clone();
        async move { engine.verify(&job).await }
    });
    let completing = engine.clone();
    worker.register(COMPLETE, Lane::Looks, move |job| {
        let engine = completing.clone();
        async move { engine.complete(&job).await }
    });
    let naming = engine.clone();
    worker.register(NAME_ADDRESSES, Lane::Looks, move |job| {
        let engine = naming.clone();
        async move { engine.name_addresses(&job).await }
    });
    let running = engine.clone();
    worker.register(RUN, Lane::Runs, move |job| {
        let engine = running.clone();
        async move { engine.run_mitigation(&job).await }
    });
    let looking_back = engine.clone();
    worker.register(LOOK_BACK, Lane::Looks, move |job| {
        let engine = looking_back.clone();
        async move { engine.look_back(&job).await }
    });
    let given_up = engine.clone();
    worker.when_given_up(move |job| {
        let engine = given_up.clone();
        async move { engine.abandon(&job.kind, &job.subject, GivenUp::Failed).await }
    });
}
