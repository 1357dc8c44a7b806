/**
 * The main job: plug a VFIO device into a captured guest, replay what its IOMMU holds, play the recorded events through
 * tables and registers, and hold every step against what was recorded.
 *
 * @module
 */
import { join } from 'node:path';
import { type Capture, GuestFileError } from '../../guests/index.ts';
import { formatRequesterId, type Mapping, parseRequesterId, type RequesterId } from '../../iommu/index.ts';
import { bytesOf, formatAccess } from '../../memory/index.ts';
import { formatRefusal, PlugRefusedError } from '../../vfio/index.ts';
import { type CapturedPlug, memoryHost, plugCaptured } from './captured-plug.ts';
import { Differences } from './mapping-differences.ts';
import { ReplayComparison } from './replay-comparison.ts';
import { RecordedHost, type ReplayHost } from './replay-host.ts';
import type { RecordedGuest } from '../models/recorded-guest.ts';
import type { ReplayOptions, ReplayResult } from './replay-result.ts';
import { type OpenCapture, openCapture } from '../source/source.ts';

/**
 * Replays the capture in `folder`.
 *
 * @throws GuestFileError for a capture that cannot be read. A refused plug is a result, not an error.
 */
export async function replayCapture(folder: string, options: ReplayOptions): Promise<ReplayResult> {
  const start = performance.now();
  const open = await openCapture(folder);
  const { capture } = open;
  const job = new ReplayJob(open, aboutWhom(capture), options);
  return job.run(performance.now() - start);
}

class ReplayJob {
  readonly #open: OpenCapture;
  readonly #capture: Capture;
  readonly #requester: RequesterId;
  readonly #options: ReplayOptions;
  readonly #differences = new Differences();
  readonly #comparison: ReplayComparison;
  readonly #notes: string[] = [];
  #eventsMs = 0;

  constructor(open: OpenCapture, requester: RequesterId, options: ReplayOptions) {
    this.#open = open;
    this.#capture = open.capture;
    this.#requester = requester;
    this.#options = options;
    this.#comparison = new ReplayComparison(this.#differences, options.hostPageSize);
  }

  async run(loadMs: number): Promise<ReplayResult> {
    const open = this.#open;
    this.#noteStopped(open);
    let plug: CapturedPlug;
    try {
      plug = await this.#plug(open, this.#requester, this.#host());
    } catch (error) {
      if (!(error instanceof PlugRefusedError)) throw error;
      return this.#refused(error, loadMs);
    }
    await this.#comparison.replay(plug, this.#requester);
    const matchesQemu = await this.#comparison.qemu(plug);
    await this.#compareOthers(open);
    const fromNothing = this.#capture.plugRequester === null;
    const begin = fromNothing && this.#capture.hasEvents ? await openCapture(this.#capture.folder) : open;
    const guest = await begin.unit.recorded(begin.capture, this.#requester);
    const end = guest === undefined ? plug : await this.#play(plug, begin, guest);
    const finalEqual = await this.#comparison.final(end, this.#requester, guest !== undefined);
    const { map, unmap, barrier } = end.host.messages;
    return {
      ...this.#about(),
      replayed: plug.device.report.replayed,
      matchesQemu,
      eventsPlayed: guest?.length ?? 0,
      playedUnit: guest?.unit ?? 'event',
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
   * Lets the guest do what was recorded, with the device plugged in. What a capture without plug has recorded starts
   * from nothing: it is played onto the same guest opened anew (`begin`), before which the device is plugged again.
   */
  async #play(plug: CapturedPlug, begin: OpenCapture, guest: RecordedGuest): Promise<CapturedPlug> {
    const { name } = this.#capture;
    let end = plug;
    if (begin !== plug.open) {
      await guest.startFromNothing();
      await plug.machine.unplug(plug.device);
      end = await this.#plug(begin, this.#requester, this.#host());
      this.#notes.push(
        'the events start from nothing: they were played onto an empty domain, with a second plug',
      );
    }
    const start = performance.now();
    await guest.play((done) => {
      this.#options.progress?.(done, guest.length, `${name}: playing ${guest.unit}s`);
    });
    this.#eventsMs = performance.now() - start;
    this.#notes.push(...guest.notes);
    const { state } = end.device.container;
    if ('reason' in state)
      this.#notes.push(`the device was cut off while events were played: ${formatRefusal(state)}`);
    return end;
  }

  #noteStopped({ unit, stopped }: OpenCapture): void {
    const why = stopped ? unit.unfollowable(this.#requester) : undefined;
    if (why === undefined) return;
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
      playedUnit: 'event',
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
    'capture' | 'description' | 'requester' | 'mappedIn' | 'notes' | 'differences' | 'differenceCount'
  > {
    return {
      capture: this.#capture.name,
      description: this.#capture.description,
      requester: formatRequesterId(this.#requester),
      mappedIn: this.#open.model.hasTables ? 'tables' : 'domain',
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
