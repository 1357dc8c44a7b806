/**
 * The main job: plug a VFIO device into a captured guest, replay what its IOMMU holds, play the recorded events through
 * tables and registers, and hold every step against what was recorded.
 *
 * @module
 */
import { join } from 'node:path';
import {
  type Capture,
  type CaptureEvent,
  eventsAsInTables,
  GuestFileError,
  readCapture,
} from '../../guests/index.ts';
import { formatRequesterId, type Mapping, parseRequesterId, type RequesterId } from '../../iommu/index.ts';
import { bytesOf, formatAccess } from '../../memory/index.ts';
import { formatRefusal, PlugRefusedError } from '../../vfio/index.ts';
import { CapturedDriver } from './captured-driver.ts';
import { type CapturedPlug, memoryHost, plugCaptured } from './captured-plug.ts';
import { Differences } from './mapping-differences.ts';
import { ReplayComparison } from './replay-comparison.ts';
import { RecordedHost, type ReplayHost } from './replay-host.ts';
import type { ReplayOptions, ReplayResult } from './replay-result.ts';
import { type OpenCapture, openCapture } from '../source/source.ts';

/**
 * Replays the capture in `folder`.
 *
 * @throws GuestFileError for a capture that cannot be read. A refused plug is a result, not an error.
 */
export async function replayCapture(folder: string, options: ReplayOptions): Promise<ReplayResult> {
  const start = performance.now();
  const capture = await readCapture(folder);
  const events = await capture.events();
  // Without events nothing of the guest will change any more, so it can be replayed whatever it would have to report.
  const open = await openCapture(folder, { guestStopped: events === undefined });
  const job = new ReplayJob(capture, aboutWhom(capture), events, options);
  return job.run(open, performance.now() - start);
}

class ReplayJob {
  readonly #capture: Capture;
  readonly #requester: RequesterId;
  readonly #events: readonly CaptureEvent[] | undefined;
  readonly #options: ReplayOptions;
  readonly #differences = new Differences();
  readonly #comparison: ReplayComparison;
  readonly #notes: string[] = [];
  #eventsMs = 0;

  constructor(
    capture: Capture,
    requester: RequesterId,
    events: readonly CaptureEvent[] | undefined,
    options: ReplayOptions,
  ) {
    this.#capture = capture;
    this.#requester = requester;
    this.#events = events;
    this.#options = options;
    this.#comparison = new ReplayComparison(this.#differences, options.hostPageSize);
  }

  async run(open: OpenCapture, loadMs: number): Promise<ReplayResult> {
    this.#noteStopped(open);
    let plug: CapturedPlug;
    try {
      plug = await this.#plug(open, this.#requester, this.#host());
    } catch (error) {
      if (!(error instanceof PlugRefusedError)) throw error;
      return this.#refused(error, loadMs);
    }
    await this.#comparison.replay(plug, this.#requester);
    const matchesQemu = await this.#comparison.qemu(plug, this.#events);
    await this.#compareOthers(open);
    const end = this.#events === undefined ? plug : await this.#play(plug, this.#events);
    const finalEqual = await this.#comparison.final(end, this.#requester, this.#events !== undefined);
    const { map, unmap, barrier } = end.host.messages;
    return {
      ...this.#about(),
      replayed: plug.device.report.replayed,
      matchesQemu,
      eventsPlayed: this.#events?.length ?? 0,
      finalMappings: end.host.size,
      finalEqual,
      equal: this.#differences.count === 0,
      hostMessages: { maps: map, unmaps: unmap, barriers: barrier },
      times: this.#times(loadMs, plug.replayMs),
      bySize: countBySize(end.host.mappings()),
    };
  }

  async #plug(open: OpenCapture, requester: RequesterId, host: ReplayHost): Promise<CapturedPlug> {
    this.#options.progress?.(0, 1, `${this.#capture.name}: replaying`);
    return plugCaptured(open, requester, host);
  }

  /** The host that the command is about, empty. */
  #host(): ReplayHost {
    const { server } = this.#options;
    return server === undefined ? memoryHost(this.#options) : new RecordedHost(server.client);
  }

  /** Every other requester that the capture lists, each plugged for a moment; a server has one device, so into memory. */
  async #compareOthers(open: OpenCapture): Promise<void> {
    for (const name of this.#capture.requesters) {
      const other = parseRequesterId(name);
      if (other === undefined || other === this.#requester) continue;
      const plug = await this.#plug(open, other, memoryHost(this.#options));
      await this.#comparison.replay(plug, other);
      await plug.machine.unplug(plug.device);
      const where = this.#options.server === undefined ? '' : ' into a host in memory';
      this.#notes.push(
        `${name}: ${plug.device.report.replayed} mappings, replayed${where} and compared likewise`,
      );
    }
  }

  /**
   * Plays the events onto the plugged device. Those of a capture whose device was there from boot start from nothing:
   * they are played onto the same guest anew, its requester switched to an empty domain before the plug.
   */
  async #play(plug: CapturedPlug, recorded: readonly CaptureEvent[]): Promise<CapturedPlug> {
    const { name, folder, plugRequester } = this.#capture;
    const events = await this.#restored(recorded);
    const fromNothing = plugRequester === null;
    const open = fromNothing ? await openCapture(folder) : plug.open;
    const driver = await CapturedDriver.takeOver(open, events);
    let end = plug;
    if (fromNothing) {
      await driver.startFromNothing(this.#requester);
      await plug.machine.unplug(plug.device);
      end = await this.#plug(open, this.#requester, this.#host());
      this.#notes.push(
        'the events start from nothing: they were played onto an empty domain, with a second plug',
      );
    }
    const start = performance.now();
    await driver.play(this.#requester, events, (done) => {
      this.#options.progress?.(done, events.length, `${name}: playing events`);
    });
    this.#eventsMs = performance.now() - start;
    const { state } = end.device.container;
    if ('reason' in state)
      this.#notes.push(`the device was cut off while events were played: ${formatRefusal(state)}`);
    return end;
  }

  /** What was recorded is what a sink hears; where the final tables tell more, the guest did more. */
  async #restored(events: readonly CaptureEvent[]): Promise<readonly CaptureEvent[]> {
    const capture = this.#capture;
    const final =
      (await capture.finalMappings()) ?? (await capture.mappings(formatRequesterId(this.#requester))) ?? [];
    const restored = eventsAsInTables(events, final);
    const changed = restored.filter(
      ({ target, access }, i) => target !== events[i]?.target || access !== events[i]?.access,
    ).length;
    if (changed > 0) {
      this.#notes.push(
        `${changed} events were played with the access or target that the final tables show: QEMU tells a sink that a ` +
          'write-only leaf is rw, and not where the memory of a device lies',
      );
    }
    return restored;
  }

  #noteStopped({ iommu }: OpenCapture): void {
    if (this.#events !== undefined) return;
    const { kind } = iommu.requesterSpace(this.#requester).region.translation(0);
    iommu.releaseAddressSpace(this.#requester);
    if (iommu.capability.CM && kind !== 'first-stage' && kind !== 'nested') return;
    const why = iommu.capability.CM ? 'translates by first-stage tables' : 'has no caching mode';
    this.#notes.push(
      `the guest is stopped and is replayed as such; while it runs, a plug would be refused, because its IOMMU ${why} ` +
        'and it need not report new mappings',
    );
  }

  #refused(error: PlugRefusedError, loadMs: number): ReplayResult {
    return {
      ...this.#about(),
      replayed: 0,
      matchesQemu: this.#capture.plugRequester === null ? null : false,
      eventsPlayed: 0,
      finalMappings: 0,
      finalEqual: false,
      equal: false,
      hostMessages: { maps: 0, unmaps: 0, barriers: 0 },
      times: this.#times(loadMs, 0),
      bySize: [],
      refused: error.message,
    };
  }

  #about(): Pick<
    ReplayResult,
    'capture' | 'description' | 'requester' | 'notes' | 'differences' | 'differenceCount'
  > {
    return {
      capture: this.#capture.name,
      description: this.#capture.description,
      requester: formatRequesterId(this.#requester),
      notes: this.#notes,
      differences: this.#differences.listed,
      differenceCount: this.#differences.count,
    };
  }

  #times(loadMs: number, replayMs: number): ReplayResult['times'] {
    const qemuReplayMs = this.#capture.qemuTiming?.deviceAddMs ?? null;
    return { loadMs, replayMs, eventsMs: this.#eventsMs, qemuReplayMs };
  }
}

/** The requester that a capture is about: the plugged one, or the one of its events, or the first that it lists. */
function aboutWhom(capture: Capture): RequesterId {
  const name = capture.eventsRequester ?? capture.requesters[0];
  const requester = name === undefined ? undefined : parseRequesterId(name);
  if (requester !== undefined) return requester;
  throw new GuestFileError({
    code: 'capture',
    file: join(capture.folder, 'capture.json'),
    place: '$.plug',
    problem: 'the capture names no requester: it has no plug, and no listing by requester',
    remedy: 'record the capture again, or list its mappings under $.files.mappingsByRequester',
  });
}

function countBySize(mappings: Iterable<Mapping>): ReplayResult['bySize'] {
  const counts = new Map<string, { size: number; access: string; count: number }>();
  for (const { pages, access } of mappings) {
    const key = `${pages} ${access}`;
    const entry = counts.get(key) ?? { size: Number(bytesOf(pages)), access: formatAccess(access), count: 0 };
    entry.count++;
    counts.set(key, entry);
  }
  return [...counts.values()].sort((a, b) => a.size - b.size || a.access.localeCompare(b.access));
}
