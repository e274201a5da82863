// As feature_services.py, with the example for Node. PORT, KEYS and STORE say where, the keys, and the journal.
import { existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { feature } from "../../examples/feature/feature.mjs";

async function email({ data }) {
  while (data.until && !existsSync(data.until)) await setTimeout(10);
  if (data.error) throw Object.assign(new Error(data.error), { permanent: true });
  return data;
}

const { KEYS, PORT, STORE } = process.env;
const server = feature({ keys: KEYS, handlers: { email }, journal: STORE });
server.listen(Number(PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close());
