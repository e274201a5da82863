// The service that both sides deliver to: it answers every job in the same way, after WORK_MS, and counts.
//
//     PORT=… WORK_MS=5 node service.mjs
import { createServer } from "node:http";

const { PORT, WORK_MS } = process.env;
const posts = new Map(); // By job.

const server = createServer(async (request, response) => {
  if (request.method === "GET") {
    const repeats = [...posts.values()].filter((count) => count > 1).length;
    response.end(JSON.stringify({ jobs: posts.size, repeats }));
    return;
  }
  const parts = [];
  for await (const part of request) parts.push(part);
  const { jobId, queueName, data } = JSON.parse(Buffer.concat(parts));
  const job = `${queueName} ${jobId}`; // BullMQ counts the jobs of each queue from 1.
  posts.set(job, (posts.get(job) ?? 0) + 1);
  await new Promise((done) => setTimeout(done, Number(WORK_MS)));
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ success: true, result: { number: data.number } }));
});
server.keepAliveTimeout = 75_000;
server.listen(Number(PORT), "127.0.0.1", 1024);
