/** What is measured: every source of mappings into every server, in turns. @module */
import { Peer } from './peer.ts';
import type { Sink, SinkStatistics } from './sink.ts';
import type { VmmAnswer, VmmRequest } from './vmm.ts';

/** Who sends mappings: `viommu` with descriptors, once for each file where the server can do that; `messages` with none. */
export type Source = 'qemu' | 'viommu' | 'messages' | 'c';

/** How much is measured. */
export interface Effort {
  /** Mappings that exist when a device is plugged in, ascending. */
  readonly sizes: readonly number[];
  /** Pages of one round of live sync. */
  readonly syncs: number;
  readonly warmUps: number;
  readonly rounds: number;
}

/** What there is to measure with; what is missing is undefined. */
export interface Contenders {
  readonly sinks: readonly Sink[];
  readonly viommu: Peer;
  readonly qemu: Peer | undefined;
  /** client.c, compiled. */
  readonly client: string | undefined;
}

/** One source into one server; nanoseconds a mapping, a value for each round. */
export interface Result {
  readonly measure: 'hotplug' | 'sync' | 'pipeline';
  readonly source: Source;
  /** Name of the server. */
  readonly sink: string;
  /** Mappings sent; with live sync, mappings that were there. */
  readonly size: number;
  /** Elapsed time at the source. */
  readonly rounds: number[];
  /** Time at the server from first to last mapping; empty for live sync. */
  readonly sinkRounds: number[];
  /** Live sync of QEMU: what of `rounds` a register write takes that does nothing. */
  readonly emptyRounds: number[];
  /** The first round of all, when nothing was compiled yet. */
  first: number;
}

type Attempt = () => Promise<Omit<VmmAnswer, 'error'> & { readonly sinkNs?: number }>;

interface Entrant {
  readonly source: Source;
  readonly sink: Sink;
  readonly attempt: Attempt;
}

/** A device plugged into a guest with `size` mappings. Throws when a ledger is not the same as all others. */
export async function measureHotplug(contenders: Contenders, effort: Effort): Promise<Result[]> {
  const results: Result[] = [];
  for (const size of effort.sizes) {
    const ledgers = new Ledgers(size);
    const entrants: Entrant[] = [];
    for (const [source, vmm] of vmmsOf(contenders)) {
      await ask(vmm, { op: 'map', count: size });
      for (const sink of contenders.sinks) {
        entrants.push({ source, sink, attempt: () => plugged(source, vmm, sink, size, ledgers) });
      }
    }
    for (const sink of contenders.sinks) {
      const attempt: Attempt = () => plugged('messages', contenders.viommu, sink, size, ledgers);
      entrants.push({ source: 'messages', sink, attempt });
    }
    entrants.push(...floorEntrants(contenders, size, ledgers));
    results.push(...(await inTurns('hotplug', size, entrants, effort)));
  }
  return results;
}

/** Mappings sent without a guest behind them, as fast as they go. */
export async function measurePipeline(contenders: Contenders, effort: Effort): Promise<Result[]> {
  const size = effort.sizes.at(-1)!;
  const ledgers = new Ledgers(size);
  const ways = (['viommu', 'messages'] as const).flatMap((source) =>
    contenders.sinks.map((sink) => ({ source, sink })),
  );
  const ours = ways.map(({ source, sink }): Entrant => {
    const attempt: Attempt = async () => {
      await sink.idle();
      const messages = source === 'messages';
      const { ns } = await ask(contenders.viommu, {
        op: 'pipeline',
        socket: sink.socket,
        count: size,
        messages,
      });
      const { maps, refused, firstToLastMapNs } = await sink.statistics();
      if (maps !== size || refused > 0) throw new Error(`${sink.name} took ${maps} of ${size} mappings`);
      return { ns: ns / size, sinkNs: firstToLastMapNs / size };
    };
    return { source, sink, attempt };
  });
  return inTurns('pipeline', size, [...ours, ...floorEntrants(contenders, size, ledgers)], effort);
}

/** Pages mapped one by one under a plugged device that has the smallest number of mappings already. */
export async function measureSync(contenders: Contenders, effort: Effort): Promise<Result[]> {
  const size = effort.sizes[0];
  const entrants: Entrant[] = [];
  for (const [source, vmm] of vmmsOf(contenders)) {
    await ask(vmm, { op: 'map', count: size });
    for (const sink of contenders.sinks) {
      const attempt: Attempt = async () => {
        await sink.idle();
        await ask(vmm, { op: 'plug', socket: sink.socket });
        await sink.reset();
        const answer = await ask(vmm, { op: 'sync', count: effort.syncs });
        const { maps, refused } = await sink.statistics();
        if (maps !== effort.syncs || refused > 0) {
          throw new Error(`${source} told ${sink.name} of ${maps} of ${effort.syncs} pages`);
        }
        await ask(vmm, { op: 'unplug' });
        return answer;
      };
      entrants.push({ source, sink, attempt });
    }
  }
  return inTurns('sync', size, entrants, effort);
}

async function plugged(
  source: Source,
  vmm: Peer,
  sink: Sink,
  size: number,
  ledgers: Ledgers,
): ReturnType<Attempt> {
  await sink.idle();
  const { ns } = await ask(vmm, { op: 'plug', socket: sink.socket, messages: source === 'messages' });
  const sinkNs = await ledgers.check(source, sink);
  await ask(vmm, { op: 'unplug' });
  return { ns: ns / size, sinkNs };
}

function floorEntrants({ client, sinks }: Contenders, size: number, ledgers: Ledgers): Entrant[] {
  if (client === undefined) return [];
  return sinks.map((sink): Entrant => {
    const attempt: Attempt = async () => {
      await sink.idle();
      const peer = new Peer('client in C', [client, sink.socket, String(size)]);
      try {
        const { ns } = await peer.line<VmmAnswer>();
        const sinkNs = await ledgers.check('c', sink);
        return { ns: ns / size, sinkNs };
      } finally {
        await peer.end();
      }
    };
    return { source: 'c', sink, attempt };
  });
}

function vmmsOf({ qemu, viommu }: Contenders): (readonly [Source, Peer])[] {
  return qemu === undefined
    ? [['viommu', viommu]]
    : [
        ['qemu', qemu],
        ['viommu', viommu],
      ];
}

async function inTurns(
  measure: Result['measure'],
  size: number,
  entrants: readonly Entrant[],
  effort: Effort,
): Promise<Result[]> {
  const results = entrants.map(({ source, sink }) => ({
    measure,
    source,
    sink: sink.name,
    size,
    rounds: [] as number[],
    sinkRounds: [] as number[],
    emptyRounds: [] as number[],
    first: 0,
  }));
  for (let round = -effort.warmUps; round < effort.rounds; round++) {
    for (const [i, { attempt }] of entrants.entries()) {
      const result = results[i];
      const { ns, sinkNs, emptyNs } = await attempt();
      if (result.first === 0) result.first = ns;
      if (round < 0) continue;
      result.rounds.push(ns);
      if (sinkNs !== undefined) result.sinkRounds.push(sinkNs);
      if (emptyNs !== undefined) result.emptyRounds.push(emptyNs);
    }
  }
  return results;
}

/** Compares what servers hold: once for each source and server, for that takes longer than what is measured. */
class Ledgers {
  readonly #size: number;
  readonly #checked: Set<string> = new Set();
  #ledger: string | undefined;

  constructor(size: number) {
    this.#size = size;
  }

  /** The server's time from first to last mapping, a mapping. */
  async check(source: Source, sink: Sink): Promise<number> {
    const statistics: SinkStatistics = await sink.statistics();
    const { maps, refused, held, firstToLastMapNs } = statistics;
    const who = `${source} into ${sink.name}`;
    if (maps !== this.#size || held !== this.#size || refused > 0) {
      throw new Error(`${who}: ${this.#size} mappings were to be sent, not ${JSON.stringify(statistics)}`);
    }
    if (!this.#checked.has(who)) {
      const ledger = await sink.ledger();
      this.#ledger ??= ledger;
      if (ledger !== this.#ledger) throw new Error(`${who}: the ledger is not the same as the others`);
      this.#checked.add(who);
    }
    return firstToLastMapNs / this.#size;
  }
}

async function ask(vmm: Peer, request: VmmRequest): Promise<VmmAnswer> {
  const answer = await vmm.ask<VmmAnswer>(JSON.stringify(request));
  if (answer.error !== undefined) throw new Error(`${vmm.name}, ${request.op}: ${answer.error}`);
  return answer;
}
