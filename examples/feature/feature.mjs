// The feature's side of delegated queues in Node, without packages:
//
//     SIGNING_KEYS=whsec_… PORT=4010 JOURNAL=deliveries.journal node examples/feature/feature.mjs
//
// Each job is done once as long as ONE process uses the journal: a file in which it notes what it begins and how it
// ended, and which it reads when it starts. What a killed process was doing counts as interrupted and may run again.
// Without JOURNAL the notes are in memory, and a restart forgets them: then jobs may be done twice. Two processes or
// more need a database that they share, with the same rules. The journal only grows; begin a new one now and then.
import { createHmac, timingSafeEqual } from "node:crypto";
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const PATH = "/internal/process-job";
const MAX_AGE_S = 300; // What was signed longer ago may have been caught and sent again.
const MAX_BODY_BYTES = 1024 * 1024;

/** An answer that is given without any work. */
class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * A server for delegated jobs.
 *
 * keys: one signing key (`whsec_…`), or two while one replaces the other. handlers: by queue, a function of the
 * delivery {jobId, queueName, data, attemptsMade} that returns the result, or a promise of it. What it throws is a
 * failed try; with `permanent: true` on the error, the job is dead at once. journal: the path of the notes.
 */
export function feature({ keys, handlers, journal }) {
  const secrets = parsedKeys(keys);
  const notes = new Notes(journal);
  return createServer(async (request, response) => {
    let status = 200;
    let answer;
    let headers = {};
    try {
      const asked = routed(request);
      const body = await read(request);
      const signedFor = verify(request.headers, body, secrets);
      if (asked !== null && asked !== signedFor) throw new Refused(401, "Signed for another job");
      if (asked !== null) answer = state(notes.get(asked));
      else [answer, headers] = await deliver(body, signedFor, handlers, notes);
    } catch (error) {
      if (!(error instanceof Refused)) console.error(error);
      status = error.status ?? 500;
      answer = { success: false, error: error instanceof Refused ? error.message : "Something is wrong here" };
      if (status === 413) headers = { Connection: "close" };
    }
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(answer));
  });
}

function parsedKeys(keys) {
  const told = (keys ?? "").split(/[\s,]+/).filter(Boolean);
  if (told.length < 1 || told.length > 2) throw new Error("One or two signing keys are needed");
  return told.map((key, index) => {
    const secret = Buffer.from(key.replace("whsec_", ""), "base64");
    // Whatever is no base64 has been left out: a key that was read whole comes out again as it was.
    if (`whsec_${secret.toString("base64")}` !== key || secret.length < 24 || secret.length > 64) {
      throw new Error(`Signing key ${index + 1} is not whsec_ and base64 of 24 to 64 bytes`);
    }
    return secret;
  });
}

/** The body, or Refused if it is too large: not before it is all here, for its sender would not see the answer. */
async function read(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size <= MAX_BODY_BYTES) parts.push(part);
    else if (size > 8 * MAX_BODY_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) throw new Refused(413, `The body is larger than ${MAX_BODY_BYTES} bytes`);
  return Buffer.concat(parts);
}

/** The id of a message that one of the keys has signed (Standard Webhooks), or Refused. */
function verify(headers, body, secrets) {
  const [id, timestamp, told] = ["id", "timestamp", "signature"].map((name) => headers[`webhook-${name}`] ?? "");
  if (!/^\d{1,15}$/.test(timestamp)) throw new Refused(401, "Not signed");
  const ageS = Date.now() / 1000 - Number(timestamp);
  if (Math.abs(ageS) >= MAX_AGE_S) throw new Refused(401, `Signed ${Math.round(ageS)} s ago`);
  const signed = Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);
  const right = secrets.map((secret) => createHmac("sha256", secret).update(signed).digest());
  const known = told.split(" ").filter((one) => one.startsWith("v1,"));
  const given = known.map((one) => Buffer.from(one.slice("v1,".length), "base64"));
  const fits = given.some((one) => right.some((other) => one.length === other.length && timingSafeEqual(one, other)));
  if (!fits) throw new Refused(401, "No signature fits");
  return id;
}

/** null: a delivery. Else the id of the job whose state is asked for. */
function routed({ method, url }) {
  const asked = url.match(/^\/internal\/process-job\/([A-Za-z0-9_-]{1,128})$/);
  if (url !== PATH && !asked) throw new Refused(404, `There is nothing here; jobs are delivered to ${PATH}`);
  if (method !== (asked ? "GET" : "POST")) throw new Refused(405, `${method} is not allowed here`);
  return asked ? asked[1] : null;
}

/** Do the job, unless its answer is known. Everything between looking and noting "running" is one step: no await. */
async function deliver(body, signedFor, handlers, notes) {
  const delivery = parse(body);
  const { jobId, queueName, attemptsMade } = delivery;
  if (jobId !== signedFor) throw new Refused(400, "webhook-id is not the jobId in the body");
  if (!Object.hasOwn(handlers, queueName)) throw new Refused(404, `No handler for queue ${queueName}`);
  const there = notes.get(jobId);
  if (there?.state === "running") throw new Refused(409, `Another delivery of job ${jobId} is at work`);
  const kept = there?.state === "done" && (there.answer.success || attemptsMade <= there.attemptsMade);
  if (kept) return [there.answer, { "Idempotent-Replayed": "true" }];
  notes.set({ jobId, attemptsMade, state: "running" });
  let answer;
  try {
    answer = { success: true, result: (await handlers[queueName](delivery)) ?? null };
    JSON.stringify(answer); // What is no JSON fails here, not after it has been noted.
  } catch (error) {
    console.error(`job ${jobId} of queue ${queueName} failed:`, error);
    answer = { success: false, error: `${error?.name ?? "Error"}: ${error?.message ?? error}` };
    if (error?.permanent) answer.permanent = true;
  }
  notes.set({ jobId, attemptsMade, state: "done", answer });
  return [answer, {}];
}

function parse(body) {
  let told;
  try {
    told = JSON.parse(body.toString("utf8"));
  } catch {
    throw new Refused(400, "The body is no JSON");
  }
  const { jobId, queueName, attemptsMade } = told ?? {};
  const fits = typeof jobId === "string" && typeof queueName === "string" && "data" in told;
  if (!fits || !Number.isInteger(attemptsMade) || attemptsMade < 0) {
    throw new Refused(400, "jobId, queueName, data and attemptsMade are needed");
  }
  return told;
}

function state(there) {
  if (!there) return { state: "unknown" };
  return { state: there.state, ...there.answer, attemptsMade: there.attemptsMade };
}

/** What is known of each job: in memory, and in the journal before anybody is told. */
class Notes {
  #jobs = new Map();
  #file = null;

  constructor(journal) {
    if (!journal) {
      console.warn("No JOURNAL: after a restart, jobs that are done may be done again");
      return;
    }
    const lines = existsSync(journal) ? readFileSync(journal, "utf8").split("\n") : [];
    for (const line of lines) {
      try {
        const note = JSON.parse(line);
        // Whoever was doing this has ended, for this process is the only one.
        this.#jobs.set(note.jobId, { ...note, state: note.state === "running" ? "interrupted" : note.state });
      } catch {} // A line that was cut short: its process was killed, or the disk was full.
    }
    this.#file = openSync(journal, "a");
    process.on("exit", () => closeSync(this.#file));
  }

  get(jobId) {
    return this.#jobs.get(jobId);
  }

  set(note) {
    if (this.#file !== null) {
      // On a line of its own also behind one that was cut short. Unlike writeSync, this writes all of it or throws.
      writeFileSync(this.#file, "\n" + JSON.stringify(note));
      fsyncSync(this.#file);
    }
    this.#jobs.set(note.jobId, note);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { SIGNING_KEYS, PORT = "4010", HOST = "127.0.0.1", JOURNAL } = process.env;
  const handlers = {
    email: async ({ jobId, data }) => {
      if (!data?.to) throw Object.assign(new Error("data.to is needed"), { permanent: true });
      // Here a mail would be sent, with jobId as its idempotency key: a killed process may have sent it already.
      return { sent_to: data.to, message_id: jobId };
    },
  };
  const server = feature({ keys: SIGNING_KEYS, handlers, journal: JOURNAL });
  server.listen(Number(PORT), HOST, () => console.log(`jobs are taken at http://${HOST}:${PORT}${PATH}`));
  process.on("SIGTERM", () => server.close()); // What is under way is answered; then there is nothing left to do.
}
