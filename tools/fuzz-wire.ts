/**
 * Fuzzes the vfio-user wire and its connections: `node --import tsx tools/fuzz-wire.ts --messages N --seed S`.
 *
 * Everything depends on the seed and a block's number alone, so a finding is repeated with `--seed S --block B`. The
 * blocks run in a process of their own, which this one watches: a block that never ends is a finding too, and so is
 * memory that grows. Exits with 1 on a finding, after printing the seed, the block and the bytes.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { fuzzBlock } from '../test/vfio-user/wire/fuzz-core.ts';
import { emptyTally, FuzzFinding, type FuzzTally } from '../test/vfio-user/wire/fuzz-finding.ts';

/** A block takes milliseconds; one that takes this long hangs. */
const HANG_MS = 30_000;
/** Memory in use may differ by this much between a warm start and the end. */
const GROWTH_BYTES = 32 << 20;
/** After this many blocks everything is compiled and every buffer has been needed. */
const WARM_BLOCKS = 200;
const PROGRESS_MS = 5000;

interface Job {
  readonly messages: number;
  readonly seed: number;
  /** The only block to run. */
  readonly block: number | undefined;
}

/** Where the blocks have got. */
interface Beat {
  /** The block that begins. */
  readonly block: number;
  readonly messages: number;
}

interface Outcome {
  readonly tally: FuzzTally;
  readonly blocks: number;
  readonly warmBytes: number;
  readonly finalBytes: number;
  readonly finding?: { readonly block: number; readonly what: string; readonly bytes: Uint8Array };
}

if (process.send === undefined) await main();
else process.once('message', (job: Job) => void work(job)).once('disconnect', abandoned);

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      messages: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: String(Date.now() % 0x7fff_ffff) },
      block: { type: 'string' },
    },
  });
  const seed = integer('--seed', values.seed);
  const messages = integer('--messages', values.messages);
  const block = values.block === undefined ? undefined : integer('--block', values.block);
  const started = performance.now();
  console.log(`fuzzing the vfio-user wire: ${messages} messages, seed ${seed}`);
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: process.execArgv,
    serialization: 'advanced',
  });
  const job: Job = { messages, seed, block };
  child.send(job);

  let beat: Beat = { block: block ?? 0, messages: 0 };
  let lastBeat = started;
  let ended = false;
  let outcome: Outcome | undefined;
  child.on('message', (message: Beat | Outcome) => {
    lastBeat = performance.now();
    if ('tally' in message) outcome = message;
    else beat = message;
  });
  const timer = setInterval(() => {
    const now = performance.now();
    const rate = Math.round(beat.messages / ((now - started) / 1000));
    console.log(`${beat.messages} messages, ${beat.block} blocks, ${rate} a second`);
    if (now - lastBeat < HANG_MS || ended) return;
    ended = true;
    report(seed, beat.block, `no end after ${HANG_MS / 1000} s`, new Uint8Array(0));
    child.kill('SIGKILL');
  }, PROGRESS_MS);
  const code = await new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code));
  });
  clearInterval(timer);
  if (outcome !== undefined) {
    summarise(seed, outcome, (performance.now() - started) / 1000);
    return;
  }
  if (!ended)
    report(seed, beat.block, `the blocks ended with exit code ${code}: see above`, new Uint8Array(0));
  process.exitCode = 1;
}

function summarise(seed: number, outcome: Outcome, seconds: number): void {
  const { tally, blocks, warmBytes, finalBytes, finding } = outcome;
  const growth = finalBytes - warmBytes;
  const endings = Object.entries(tally.endings).map(([kind, count]) => `${count} ${kind}`);
  console.log(
    `${tally.messages} messages in ${blocks} blocks, ${seconds.toFixed(1)} s, ${Math.round(tally.messages / seconds)} a second`,
  );
  console.log(
    `payloads: ${tally.accepted} accepted, ${tally.refused} refused; ${tally.descriptors} descriptors`,
  );
  console.log(`connections: ${endings.join(', ')}`);
  console.log(`memory in use: ${mebibytes(warmBytes)} when warm, ${mebibytes(finalBytes)} at the end`);
  if (finding !== undefined) report(seed, finding.block, finding.what, finding.bytes);
  if (growth > GROWTH_BYTES) console.error(`finding: memory grew by ${mebibytes(growth)} (seed ${seed})`);
  const failed = finding !== undefined || growth > GROWTH_BYTES;
  console.log(failed ? 'FAILED' : `no findings (seed ${seed})`);
  if (failed) process.exitCode = 1;
}

function report(seed: number, block: number, what: string, bytes: Uint8Array): void {
  console.error(`finding: ${what}`);
  console.error(`repeat with: node --import tsx tools/fuzz-wire.ts --seed ${seed} --block ${block}`);
  console.error(`bytes: ${Buffer.from(bytes).toString('hex')}`);
}

async function work(job: Job): Promise<void> {
  const tally = emptyTally();
  let blocks = 0;
  let warmBytes = 0;
  let finding: Outcome['finding'];
  for (let block = job.block ?? 0; tally.messages < job.messages; block++) {
    // Awaited, for it has to be out before a block that hangs.
    await send({ block, messages: tally.messages });
    try {
      await fuzzBlock(job.seed, block, tally);
    } catch (error) {
      const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
      finding = { block, what, bytes: error instanceof FuzzFinding ? error.bytes : new Uint8Array(0) };
      break;
    }
    blocks++;
    if (blocks === WARM_BLOCKS) warmBytes = bytesInUse();
    if (job.block !== undefined) break;
  }
  const finalBytes = bytesInUse();
  const outcome: Outcome = {
    tally,
    blocks,
    // A run too short to get warm says nothing about growth.
    warmBytes: warmBytes === 0 ? finalBytes : warmBytes,
    finalBytes,
    ...(finding === undefined ? {} : { finding }),
  };
  await send(outcome);
  process.off('disconnect', abandoned);
  process.disconnect();
}

/** Nobody is left to report to. */
function abandoned(): never {
  process.exit(1);
}

function send(message: Beat | Outcome): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, undefined, undefined, () => resolve());
  });
}

/** Bytes that are reachable now. */
function bytesInUse(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function integer(option: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`${option} ${text}: give an integer, 0 or more`);
  process.exit(2);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 0x10_0000).toFixed(1)} MiB`;
}
