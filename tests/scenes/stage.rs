//! The stage: opens the clients of a scene and lets them do what they do, until it is closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::cast::{Cast, Troupe};
use crate::harness::PATIENCE;
use crate::scene::Scene;
use crate::servers::NatsServers;
use crate::swarm::Swarm;

/// The clients of a scene. Dropping it closes them all.
pub struct Stage {
    cast: Cast,
    background: Vec<Arc<Swarm>>,
    others: Vec<Arc<Swarm>>,
    tasks: JoinSet<()>,
}

impl Stage {
    /// Opens what is there from the beginning, and waits until it is up.
    pub async fn open(scene: &Scene, cast: Cast) -> Self {
        let mut stage = Self { background: Vec::new(), others: Vec::new(), tasks: JoinSet::new(), cast };
        for number in 0..stage.cast.applications.len() {
            let swarm = stage.begin(stage.cast.background(number)).await;
            stage.background.push(swarm);
        }
        for (number, fleet) in scene.applications.iter().enumerate() {
            for troupe in stage.cast.fleet(fleet, number) {
                let swarm = stage.begin(troupe).await;
                stage.others.push(swarm);
            }
        }
        stage
    }

    /// Lets the trouble begin, and go on. Returns when the alert is due.
    pub async fn trouble(&mut self, scene: &Scene, servers: &mut NatsServers) {
        let begin = Instant::now();
        for (number, fleet) in scene.trouble.iter().enumerate() {
            for troupe in self.cast.fleet(fleet, scene.applications.len() + number) {
                let swarm = Arc::new(Swarm::new(troupe.options.clone()));
                self.others.push(Arc::clone(&swarm));
                let of = troupe.of.map(|of| Arc::clone(&self.background[of]));
                self.tasks.spawn(play(troupe, swarm, of));
            }
        }
        for restart in &scene.restarts {
            sleep_until(begin + Duration::from_secs(restart.at_seconds)).await;
            let server = &mut servers.servers[restart.server];
            server.kill();
            sleep(Duration::from_millis(restart.down_milliseconds)).await;
            server.start().await;
        }
        sleep_until(begin + Duration::from_secs(scene.alert.at_seconds)).await;
    }

    /// Closes everything.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
        for swarm in self.background.iter().chain(&self.others) {
            swarm.close().await;
        }
    }

    async fn begin(&mut self, troupe: Troupe) -> Arc<Swarm> {
        let swarm = Arc::new(Swarm::new(troupe.options.clone()));
        let wanted = troupe.specs.len();
        let seed = wanted as u64;
        swarm.launch(troupe.specs).unwrap();
        swarm.wait_for(PATIENCE, |counts| counts.connected == wanted).await.unwrap();
        if troupe.churn_per_second > 0.0 {
            let churned = Arc::clone(&swarm);
            let rate = troupe.churn_per_second;
            self.tasks.spawn(async move { churned.churn(rate, 0..wanted, seed).await });
        }
        swarm
    }
}

/// Lets a troupe of the trouble do what it does.
async fn play(troupe: Troupe, swarm: Arc<Swarm>, of: Option<Arc<Swarm>>) {
    sleep(troupe.at).await;
    let count = troupe.specs.len();
    match &of {
        Some(of) if count == 0 => {
            let clients = of.counts().clients;
            of.churn(troupe.churn_per_second, 0..clients, 1).await;
            return;
        }
        Some(of) if troupe.replaces => {
            let mut pace = interval(Duration::from_secs_f64(troupe.per_second.recip()));
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for (number, spec) in troupe.specs.into_iter().enumerate() {
                pace.tick().await;
                swarm.launch([spec]).unwrap();
                of.close_some([number]).await;
            }
        }
        _ if troupe.per_second > 0.0 => {
            swarm.grow(troupe.per_second, troupe.specs).await.unwrap();
        }
        _ => {
            swarm.launch(troupe.specs).unwrap();
        }
    }
    if troupe.churn_per_second > 0.0 {
        swarm.churn(troupe.churn_per_second, 0..count, 1).await;
    }
}
