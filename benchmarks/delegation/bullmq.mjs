// The peer: BullMQ on ioredis, which POSTs each job with undici.
//
//     node bullmq.mjs work     one process with a worker for each queue
//     node bullmq.mjs add      a producer: adds what each line of its input says, and answers with a line
//
// REDIS_PORT; QUEUES: {name: concurrency} as JSON; URL of the service; KEY: `whsec_…`, what deliveries are signed with.
import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { Agent, request } from "undici";

const { REDIS_PORT, QUEUES, URL, KEY } = process.env;
const queues = JSON.parse(QUEUES);
// As its documentation advises: one connection is shared, and each worker adds the one that it blocks on.
const connection = new Redis({ port: Number(REDIS_PORT), maxRetriesPerRequest: null });
const options = { attempts: 3, backoff: { type: "exponential", delay: 1000 }, removeOnComplete: { count: 10_000 } };
const agent = new Agent({ keepAliveTimeout: 4000, bodyTimeout: 30_000, headersTimeout: 30_000, connectTimeout: 2000 });
const secret = Buffer.from(KEY.slice("whsec_".length), "base64");

async function deliver(job) {
  const told = { jobId: job.id, queueName: job.queueName, data: job.data, attemptsMade: job.attemptsMade };
  const body = JSON.stringify(told);
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", secret).update(`${job.id}.${timestamp}.${body}`).digest("base64");
  const answer = await request(URL, {
    method: "POST",
    body,
    dispatcher: agent,
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "Idempotency-Key": job.id,
      "webhook-id": job.id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${signature}`,
    },
  });
  const { success, result, error } = await answer.body.json();
  if (!success) throw new Error(error);
  return result;
}

async function work() {
  const made = Object.entries(queues).map(([name, concurrency]) => new Worker(name, deliver, { connection, concurrency }));
  for (const worker of made) worker.on("error", console.error);
  await Promise.all(made.map((worker) => worker.waitUntilReady()));
  console.log("ready");
}

async function add() {
  const made = Object.fromEntries(Object.keys(queues).map((name) => [name, new Queue(name, { connection })]));
  await Promise.all(Object.values(made).map((queue) => queue.waitUntilReady()));
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const { names, per_s, callers, text } = JSON.parse(line);
    const jobs = new Array(names.length);
    const began = performance.now();
    let next = 0;
    const caller = async () => {
      while (next < names.length) {
        const number = next++;
        const early = per_s ? began + (number / per_s) * 1000 - performance.now() : 0;
        if (early > 0) await new Promise((done) => setTimeout(done, early));
        const submitted = Date.now();
        const job = await made[names[number]].add("deliver", { number, text }, options);
        jobs[number] = [names[number], job.id, submitted];
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    console.log(JSON.stringify({ took_s: (performance.now() - began) / 1000, jobs }));
  }
}

await (process.argv[2] === "work" ? work() : add());
