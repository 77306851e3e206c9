//! A client of async-nats: publishes numbers, counts what it receives, and tells what happens to it.
//!
//! Usage: `effects-client URL NAME`. Ends when its standard input does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use async_nats::{ConnectOptions, Event};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

/// How often it publishes.
const EVERY: Duration = Duration::from_millis(2);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, name] = arguments.as_slice() else { anyhow::bail!("usage: effects-client URL NAME") };
    let options = ConnectOptions::new().name(name).event_callback(async |event| match event {
        Event::Connected => tell("reconnected", "", json!({})),
        Event::Disconnected => tell("disconnected", "", json!({})),
        Event::LameDuckMode => tell("lame_duck", "", json!({})),
        other => tell("error", &other.to_string(), json!({})),
    });
    let client = options.connect(url).await.context("connecting")?;
    let mut messages = client.subscribe(format!("down.{name}")).await.context("subscribing")?;
    let received = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&received);
    tokio::spawn(async move {
        while messages.next().await.is_some() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    client.flush().await.context("flushing")?;
    tell("connected", "", json!({}));
    let (mut published, mut refused) = (0_u64, 0_u64);
    let mut ticks = tokio::time::interval(EVERY);
    let mut input = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    loop {
        tokio::select! {
            _ = &mut input => break,
            _ = ticks.tick() => match client.publish(format!("up.{name}"), published.to_string().into()).await {
                Ok(()) => published += 1,
                Err(error) => {
                    refused += 1;
                    if refused == 1 {
                        tell("refused", &error.to_string(), json!({}));
                    }
                }
            },
        }
    }
    client.flush().await.context("flushing")?;
    let received = received.load(Ordering::Relaxed);
    tell("over", "", json!({ "published": published, "refused": refused, "received": received }));
    Ok(())
}

fn tell(event: &str, text: &str, more: Value) {
    let at = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64();
    let mut line = json!({ "at": at, "event": event, "text": text });
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
    println!("{line}");
}
