import type { Capture, CaptureEvent, CaptureMap } from '../../guests/index.ts';
import {
  formatRequesterId,
  type LeafBatch,
  Ledger,
  type Mapping,
  type RequesterId,
  WalkReport,
} from '../../iommu/index.ts';
import { Access, ALL_PAGES, PAGE_SIZE } from '../../memory/index.ts';
import type { OpenIommu } from '../models/open-iommu.ts';
import type { CapturedPlug } from './captured-plug.ts';
import { type ListedMapping, holdable } from './holdable.ts';
import {
  asQemuTells,
  compareMappings,
  type Comparison,
  type Differences,
  joinRuns,
} from './mapping-differences.ts';
import { openCapture } from '../source/source.ts';

/** Holds what a host has against what was recorded; what differs goes to `differences`. */
export class ReplayComparison {
  readonly #differences: Differences;
  readonly #hostPageSize: number;

  /** `hostPageSize` in bytes: a host with pages coarser than the guest's is compared run by run. */
  constructor(differences: Differences, hostPageSize: number) {
    this.#differences = differences;
    this.#hostPageSize = hostPageSize;
  }

  /** The host after a plug against the captured listing, or where there is none against what the IOMMU translates. */
  async replay(plug: CapturedPlug, requester: RequesterId): Promise<void> {
    const { capture, unit } = plug.open;
    const listing = (await capture.mappings(formatRequesterId(requester))) ?? leavesOf(unit, requester);
    compareMappings(
      this.#expected(listing, plug),
      this.#held(plug),
      'replay against the tables',
      this.#differences,
    );
  }

  /** The host after a plug against what QEMU had told its own by then; null when nothing of that was recorded. */
  async qemu(plug: CapturedPlug): Promise<boolean | null> {
    const { capture } = plug.open;
    const told =
      (await capture.replay()) ??
      (capture.plugRequester === null ? ledgerOf([], await capture.events()) : undefined);
    return told === undefined ? null : this.#withQemu(told, plug, 'replay against QEMU');
  }

  /**
   * The host at the end against the guest's tables, and those against what was recorded of the end: the memory, where
   * the capture has it, and the listing. True when all are equal. What QEMU had told its sink by then is compared, too.
   */
  async final(plug: CapturedPlug, requester: RequesterId, moved: boolean): Promise<boolean> {
    const { capture, unit } = plug.open;
    const tables = leavesOf(unit, requester);
    const found = [
      compareMappings(
        this.#expected(tables, plug),
        this.#held(plug),
        'host against the final tables',
        this.#differences,
      ),
    ];
    const memory = moved ? await recordedFinal(capture, requester) : undefined;
    if (memory !== undefined) {
      found.push(
        compareMappings(memory, tables, 'final tables against the recorded memory', this.#differences),
      );
    }
    const listing =
      (moved ? await capture.finalMappings() : undefined) ??
      (await capture.mappings(formatRequesterId(requester)));
    if (listing !== undefined) {
      found.push(compareMappings(listing, tables, 'final tables against the listing', this.#differences));
    }
    const told = moved ? await toldByQemu(capture) : undefined;
    if (told !== undefined) this.#withQemu(told, plug, 'host at the end against QEMU');
    return found.every((equal) => equal);
  }

  #withQemu(told: readonly ListedMapping[], plug: CapturedPlug, where: Comparison): boolean {
    const sorted = [...told].sort((a, b) => a.iova - b.iova);
    const ours = this.#comparable(asQemuTells(plug.host.mappings()));
    return compareMappings(this.#expected(sorted, plug), ours, where, this.#differences);
  }

  #expected(listing: Iterable<ListedMapping>, { open }: CapturedPlug): Mapping[] {
    return this.#comparable(holdable(listing, open.memory.view, open.unit.interrupts?.range));
  }

  #held({ host }: CapturedPlug): Mapping[] {
    return this.#comparable(host.mappings());
  }

  #comparable(mappings: Iterable<Mapping>): Mapping[] {
    return [...(this.#hostPageSize === PAGE_SIZE ? mappings : joinRuns(mappings))];
  }
}

/** What the tables hold in the memory that was recorded after the events. */
async function recordedFinal(capture: Capture, requester: RequesterId): Promise<Mapping[] | undefined> {
  if ((await capture.finalMemory()) === undefined) return undefined;
  const { unit } = await openCapture(capture.folder, { final: true, guestStopped: true });
  return leavesOf(unit, requester);
}

/** What a sink holds in the end that took all that QEMU sent; undefined when that is not known from the begin. */
async function toldByQemu(capture: Capture): Promise<ListedMapping[] | undefined> {
  const replay = capture.plugRequester === null ? [] : await capture.replay();
  return replay === undefined ? undefined : ledgerOf(replay, await capture.events());
}

/** What a sink holds that took `replay` and then `events`; undefined without events. */
function ledgerOf(
  replay: readonly CaptureMap[],
  events: readonly CaptureEvent[] | undefined,
): ListedMapping[] | undefined {
  if (events === undefined) return undefined;
  const ledger = new Ledger();
  const insert = ({ iova, pages, target, access }: CaptureMap): void =>
    void ledger.insert(iova, pages, target ?? 0, target === undefined ? access | NO_TARGET : access);
  for (const map of replay) insert(map);
  for (const event of events) {
    if (event.op === 'map') {
      insert(event);
      continue;
    }
    const cursor = ledger.cursor(event.iova);
    while (cursor.valid && cursor.iova < event.iova + event.pages) cursor.remove();
  }
  return [...ledger.mappings()].map(({ iova, pages, target, flags }) => ({
    iova,
    pages,
    target: (flags & NO_TARGET) === 0 ? target : undefined,
    access: (flags & Access.ReadWrite) as Access,
  }));
}

/** Marks a mapping that leads to no RAM; above the bits of its access. */
const NO_TARGET = 4;

/** The leaves of the tables that translate `requester`. */
function leavesOf(unit: OpenIommu, requester: RequesterId): Mapping[] {
  const leaves: Mapping[] = [];
  const region = unit.region(requester);
  const visit = (batch: LeafBatch): boolean => {
    for (let i = 0; i < batch.length; i++) {
      const [iova = 0, target = 0, access = 0] = [batch.iova[i], batch.target[i], batch.access[i]];
      leaves.push({ iova, pages: batch.pages, target, access: access as Access });
    }
    return true;
  };
  region.walk(ALL_PAGES, 0, visit, new WalkReport(region.budget), 1);
  return leaves;
}
