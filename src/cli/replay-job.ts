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
  PageAllocator,
  readCapture,
  VtdEventPlayer,
  VtdGuestDriver,
} from '../guests/index.ts';
import {
  formatRequesterId,
  type LeafBatch,
  Ledger,
  type Mapping,
  parseRequesterId,
  type RequesterId,
  WalkReport,
} from '../iommu/index.ts';
import { Machine, type PluggedDevice } from '../machine/index.ts';
import { type Access, ALL_PAGES, bytesOf, formatAccess, PAGE_SIZE, type PageRange, RamRegion } from '../memory/index.ts';
import type { VtdIommu } from '../models/vtd/index.ts';
import { type HostStrictness, MemoryHostIommu, PlugRefusedError } from '../vfio/index.ts';
import { capturedPlace } from './captured-place.ts';
import { asQemuTells, compareMappings, Differences, joinRuns, type MappingDifference } from './mapping-differences.ts';
import { type OpenCapture, openCapture } from './source.ts';

export type { MappingDifference } from './mapping-differences.ts';

/** How a capture is replayed. */
export interface ReplayOptions {
  /** Whose rules the host has. */
  readonly host: HostStrictness;
  /** Smallest page of the host, in bytes, a power of two of at least 4,096. */
  readonly hostPageSize: number;
  /** Called now and then on long work. */
  readonly progress?: (done: number, total: number, what: string) => void;
}

/** What came of it. */
export interface ReplayResult {
  readonly capture: string;
  readonly description: string;
  /** `BB:DD.F`. */
  readonly requester: string;
  /** Mappings replayed when the device was plugged onto the captured tables. */
  readonly replayed: number;
  /** Whether QEMU's own replay was the same; null when the capture holds nothing that QEMU sent. */
  readonly matchesQemu: boolean | null;
  readonly eventsPlayed: number;
  /** Mappings of the host at the end. */
  readonly finalMappings: number;
  /** Whether the host ended equal to the guest's final tables, and those to the recorded listing. */
  readonly finalEqual: boolean;
  /** All comparisons that the capture allows. */
  readonly equal: boolean;
  readonly hostMessages: { readonly maps: number; readonly unmaps: number; readonly barriers: number };
  readonly times: {
    readonly loadMs: number;
    readonly replayMs: number;
    readonly eventsMs: number;
    readonly qemuReplayMs: number | null;
  };
  /** The final mappings by size in bytes and access. */
  readonly bySize: readonly { readonly size: number; readonly access: string; readonly count: number }[];
  /** What a reader should know. */
  readonly notes: readonly string[];
  /** The first differences found. */
  readonly differences: readonly MappingDifference[];
  readonly differenceCount: number;
  /** Why the plug was refused, with the remedy; then nothing else was compared. */
  readonly refused?: string;
}

/** What the listings, replays and walks of a capture have in common; a map of something that is not RAM has no target. */
interface ListedMapping extends Omit<Mapping, 'target'> {
  readonly target: number | undefined;
}

/** A device plugged into a captured guest, with its host. */
interface Plugged {
  readonly open: OpenCapture;
  readonly machine: Machine;
  readonly host: MemoryHostIommu;
  readonly device: PluggedDevice;
  readonly replayMs: number;
}

/**
 * Replays the capture in `folder`.
 *
 * @throws GuestFileError for a capture that cannot be read. A refused plug is a result, not an error.
 */
export async function replayCapture(folder: string, options: ReplayOptions): Promise<ReplayResult> {
  const job = new ReplayJob(folder, options);
  return job.run();
}

class ReplayJob {
  readonly #folder: string;
  readonly #options: ReplayOptions;
  readonly #differences = new Differences();
  readonly #notes: string[] = [];
  #loadMs = 0;
  #eventsMs = 0;

  constructor(folder: string, options: ReplayOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  async run(): Promise<ReplayResult> {
    const loading = performance.now();
    const capture = await readCapture(this.#folder);
    const events = await capture.events();
    // Without events nothing of the guest will change any more, so it can be replayed whatever it would have to report.
    const open = await openCapture(this.#folder, { guestStopped: events === undefined });
    this.#loadMs = performance.now() - loading;
    const requester = aboutWhom(capture);
    this.#noteStopped(open, requester, events);

    let plugged: Plugged;
    try {
      plugged = await this.#plug(open, requester);
    } catch (error) {
      if (!(error instanceof PlugRefusedError)) throw error;
      return this.#refused(capture, requester, error);
    }
    const { replayed } = plugged.device.report;
    const matchesQemu = await this.#compareReplay(plugged, requester, events);
    await this.#compareOthers(plugged, requester);
    let end = plugged;
    if (events !== undefined) {
      if (capture.plugRequester === null) end = await this.#plugOntoNothing(requester);
      await this.#play(end, requester, await this.#restored(capture, requester, events));
    }
    const before = this.#differences.count;
    await this.#compareFinal(end, requester, events !== undefined);
    return {
      ...this.#about(capture, requester),
      replayed,
      matchesQemu,
      eventsPlayed: events?.length ?? 0,
      finalMappings: this.#held(end).length,
      finalEqual: this.#differences.count === before,
      equal: this.#differences.count === 0,
      hostMessages: messagesOf(end),
      times: { ...this.#times(capture), replayMs: plugged.replayMs },
      bySize: countBySize(this.#held(end)),
    };
  }

  /** A plug, timed. */
  async #plug(open: OpenCapture, requester: RequesterId): Promise<Plugged> {
    const { memory, iommu, capture } = open;
    const machine = new Machine({ memory, iommu });
    const host = new MemoryHostIommu({
      strictness: this.#options.host,
      pageSizes: pageSizesFrom(this.#options.hostPageSize),
    });
    this.#options.progress?.(0, 1, `${capture.name}: replaying`);
    const start = performance.now();
    const device = await machine.plug(capturedPlace(machine, capture, requester), host);
    return { open, machine, host, device, replayMs: performance.now() - start };
  }

  /**
   * A capture whose device was there from boot has events that start from nothing: the same guest again, its
   * requester switched to a new domain before the plug.
   */
  async #plugOntoNothing(requester: RequesterId): Promise<Plugged> {
    const open = await openCapture(this.#folder);
    const driver = await driverOf(open);
    const old = driver.domainOf(requester);
    const levels = old?.levels === 3 || old?.levels === 5 ? old.levels : 4;
    const domain = driver.createDomain({ levels });
    await (old === undefined ? driver.attachDevice(requester, domain) : driver.switchDomain(requester, domain));
    this.#notes.push('the events start from nothing: they were played onto an empty domain, with a second plug');
    return this.#plug(open, requester);
  }

  /** What was recorded is what a sink hears; where the final tables tell more, the guest did more. */
  async #restored(
    capture: Capture,
    requester: RequesterId,
    events: readonly CaptureEvent[],
  ): Promise<readonly CaptureEvent[]> {
    const final = (await capture.finalMappings()) ?? (await capture.mappings(formatRequesterId(requester))) ?? [];
    const restored = eventsAsInTables(events, final);
    const changed = restored.filter((event, i) => event !== events[i]).length;
    if (changed > 0) {
      this.#notes.push(
        `${changed} events were played as the final tables have them: QEMU tells a sink that a write-only leaf is rw, ` +
          'and not where a device lies',
      );
    }
    return restored;
  }

  async #play(end: Plugged, requester: RequesterId, events: readonly CaptureEvent[]): Promise<void> {
    const { open } = end;
    const driver = await driverOf(open);
    const player = new VtdEventPlayer(driver, requester, { deviceTarget: notRamPage(open.capture.ram) });
    const start = performance.now();
    for (const [i, event] of events.entries()) {
      const step = player.play(event);
      if (step !== undefined) await step;
      if (i % 1024 === 0) this.#options.progress?.(i, events.length, `${open.capture.name}: playing events`);
    }
    await open.iommu.settled();
    this.#eventsMs = performance.now() - start;
  }

  /** The host after the plug against the captured listing, and against what QEMU had replayed by then. */
  async #compareReplay(
    plugged: Plugged,
    requester: RequesterId,
    events: readonly CaptureEvent[] | undefined,
  ): Promise<boolean | null> {
    const { capture } = plugged.open;
    const held = this.#held(plugged);
    const listing = await capture.mappings(formatRequesterId(requester));
    const where = 'replay against the tables';
    compareMappings(this.#expected(listing ?? [], plugged), held, where, this.#differences);
    const told = (await capture.replay()) ?? (capture.plugRequester === null ? events && ledgerOf(events) : undefined);
    if (told === undefined) return null;
    const qemu = this.#expected([...told].sort((a, b) => a.iova - b.iova), plugged);
    const ours = this.#asComparable(asQemuTells(plugged.host.mappings()));
    return compareMappings(qemu, ours, 'replay against QEMU', this.#differences);
  }

  /** Every other requester that the capture lists, each plugged for a moment. */
  async #compareOthers({ open }: Plugged, requester: RequesterId): Promise<void> {
    for (const name of open.capture.requesters) {
      const other = parseRequesterId(name);
      if (other === undefined || other === requester) continue;
      const plugged = await this.#plug(open, other);
      const listing = (await open.capture.mappings(name)) ?? [];
      compareMappings(this.#expected(listing, plugged), this.#held(plugged), 'replay against the tables', this.#differences);
      await plugged.machine.unplug(plugged.device);
      this.#notes.push(`${name}: ${plugged.device.report.replayed} mappings, replayed and compared likewise`);
    }
  }

  /** The host at the end against the guest's tables, and both against the listing that was recorded. */
  async #compareFinal(end: Plugged, requester: RequesterId, moved: boolean): Promise<void> {
    const { capture, iommu } = end.open;
    const tables = leavesOf(iommu, requester);
    compareMappings(this.#expected(tables, end), this.#held(end), 'host against the final tables', this.#differences);
    const recorded = (moved ? await capture.finalMappings() : undefined) ?? (await capture.mappings(formatRequesterId(requester)));
    if (recorded === undefined) return;
    compareMappings(recorded, tables, 'final tables against the listing', this.#differences);
  }

  /** What of a listing a host can hold: mappings of RAM; as runs where the host's pages are not the guest's. */
  #expected(listing: readonly ListedMapping[], { open }: Plugged): Mapping[] {
    const { view } = open.memory;
    const ofRam = listing.flatMap(({ iova, pages, target, access }) =>
      target !== undefined && view.find(target)?.region instanceof RamRegion ? [{ iova, pages, target, access }] : [],
    );
    return this.#asComparable(ofRam);
  }

  #held({ host }: Plugged): Mapping[] {
    return this.#asComparable(host.mappings());
  }

  #asComparable(mappings: Iterable<Mapping>): Mapping[] {
    return [...(this.#options.hostPageSize === PAGE_SIZE ? mappings : joinRuns(mappings))];
  }

  #noteStopped(open: OpenCapture, requester: RequesterId, events: readonly CaptureEvent[] | undefined): void {
    if (events !== undefined) return;
    const { iommu } = open;
    const space = iommu.requesterSpace(requester);
    const kind = iommu.translationEnabled ? space.region.translation(0).kind : 'pass-through';
    iommu.releaseAddressSpace(requester);
    if (iommu.capability.CM && kind !== 'first-stage' && kind !== 'nested') return;
    const why = iommu.capability.CM ? 'translates by first-stage tables' : 'has no caching mode';
    this.#notes.push(
      `the guest is stopped and is replayed as such; while it runs, a plug would be refused, because its IOMMU ${why} ` +
        'and it need not report new mappings',
    );
  }

  #refused(capture: Capture, requester: RequesterId, error: PlugRefusedError): ReplayResult {
    return {
      ...this.#about(capture, requester),
      replayed: 0,
      matchesQemu: capture.plugRequester === null ? null : false,
      eventsPlayed: 0,
      finalMappings: 0,
      finalEqual: false,
      equal: false,
      hostMessages: { maps: 0, unmaps: 0, barriers: 0 },
      times: { ...this.#times(capture), replayMs: 0 },
      bySize: [],
      refused: error.message,
    };
  }

  #about(capture: Capture, requester: RequesterId): Pick<
    ReplayResult,
    'capture' | 'description' | 'requester' | 'notes' | 'differences' | 'differenceCount'
  > {
    return {
      capture: capture.name,
      description: capture.description,
      requester: formatRequesterId(requester),
      notes: this.#notes,
      differences: this.#differences.listed,
      differenceCount: this.#differences.count,
    };
  }

  #times(capture: Capture): Omit<ReplayResult['times'], 'replayMs'> {
    return {
      loadMs: this.#loadMs,
      eventsMs: this.#eventsMs,
      qemuReplayMs: capture.qemuTiming?.deviceAddMs ?? null,
    };
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

/** A driver that takes over the captured guest's tables; it keeps away from every page that something points at. */
async function driverOf({ capture, memory, iommu }: OpenCapture): Promise<VtdGuestDriver> {
  const core = await capture.memory();
  const used: PageRange[] = [];
  for (const { page } of core?.pages() ?? []) used.push({ start: page, end: page + 1 });
  const events = (await capture.events()) ?? [];
  const listings = await Promise.all(capture.requesters.map((name) => capture.mappings(name)));
  for (const { target, pages } of [...events, ...listings.flatMap((listing) => listing ?? [])]) {
    if (target !== undefined) used.push({ start: target, end: target + pages });
  }
  const allocator = new PageAllocator(capture.ram, used);
  const driver = new VtdGuestDriver({ memory, registers: iommu, allocator, settled: () => iommu.settled() });
  driver.attach();
  return driver;
}

/** Where recorded maps of device registers are made to point: at a page that is no RAM. */
function notRamPage(ram: readonly PageRange[]): number {
  return Math.max(...ram.map((range) => range.end)) + 1;
}

/** What a sink holds that took `events`. */
function ledgerOf(events: readonly CaptureEvent[]): Mapping[] {
  const ledger = new Ledger();
  for (const { op, iova, pages, target, access } of events) {
    if (op === 'map') {
      ledger.insert(iova, pages, target ?? 0, access);
      continue;
    }
    const cursor = ledger.cursor(iova);
    while (cursor.valid && cursor.iova < iova + pages) cursor.remove();
  }
  return [...ledger.mappings()].map(({ iova, pages, target, flags }) => ({ iova, pages, target, access: flags as Access }));
}

function leavesOf(iommu: VtdIommu, requester: RequesterId): Mapping[] {
  const leaves: Mapping[] = [];
  const { region } = iommu.requesterSpace(requester);
  const visit = (batch: LeafBatch): boolean => {
    for (let i = 0; i < batch.length; i++) {
      const [iova = 0, target = 0, access = 0] = [batch.iova[i], batch.target[i], batch.access[i]];
      leaves.push({ iova, pages: batch.pages, target, access: access as Access });
    }
    return true;
  };
  region.walk(ALL_PAGES, 0, visit, new WalkReport(region.budget));
  return leaves;
}

/** Every page size of usual hosts that is not below the smallest. */
function pageSizesFrom(smallest: number): bigint {
  const usual = [0x1000n, 0x20_0000n, 0x4000_0000n].filter((size) => size > BigInt(smallest));
  return usual.reduce((mask, size) => mask | size, BigInt(smallest));
}

function messagesOf({ host }: Plugged): ReplayResult['hostMessages'] {
  const { map, unmap, barrier } = host.messages;
  return { maps: map, unmaps: unmap, barriers: barrier };
}

function countBySize(mappings: readonly Mapping[]): ReplayResult['bySize'] {
  const counts = new Map<string, { size: number; access: string; count: number }>();
  for (const { pages, access } of mappings) {
    const key = `${pages} ${access}`;
    const entry = counts.get(key) ?? { size: Number(bytesOf(pages)), access: formatAccess(access), count: 0 };
    entry.count++;
    counts.set(key, entry);
  }
  return [...counts.values()].sort((a, b) => a.size - b.size || a.access.localeCompare(b.access));
}
