// A client of nats.js: publishes numbers, counts what it receives, and tells what happens to it.
//
// Usage: client.mjs URL NAME. Ends when its standard input does.
import { connect } from "@nats-io/transport-node";

const EVERY_MS = 2;
const [url, name] = process.argv.slice(2);
const tell = (event, text = "", more = {}) =>
  console.log(JSON.stringify({ at: Date.now() / 1000, event, text, ...more }));

let published = 0, refused = 0, received = 0;
const client = await connect({ servers: url, name });
(async () => {
  for await (const status of client.status()) {
    const { type, ...rest } = status;
    const event = { disconnect: "disconnected", reconnect: "reconnected", ldm: "lame_duck" }[type] ?? type;
    tell(event, Object.keys(rest).length ? String(rest.error ?? JSON.stringify(rest)) : "");
  }
})();
client.subscribe(`down.${name}`, { callback: () => { received++; } });
await client.flush();
tell("connected");
const timer = setInterval(() => {
  try {
    client.publish(`up.${name}`, String(published));
    published++;
  } catch (error) {
    refused++;
    if (refused === 1) tell("refused", String(error));
  }
}, EVERY_MS);
process.stdin.resume();
process.stdin.on("end", async () => {
  clearInterval(timer);
  await client.flush();
  tell("over", "", { published, refused, received });
  process.exit(0);
});
