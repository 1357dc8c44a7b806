import assert from 'node:assert/strict';
import type { Mapping, RequesterId } from '../../../src/iommu/index.ts';
import { Access, addressOf, dmaRead, dmaWrite, PageCursor } from '../../../src/memory/index.ts';
import { ramAt } from '../naive/memory-map.ts';
import { UNLIMITED } from './host-kinds.ts';
import { BAR, TABLES } from './layout.ts';
import type { Host, RunState, Slot } from './state.ts';

/** Pages of each device that are tried again and again: what was cached of them must have gone when they changed. */
const REMEMBERED = 16;

/** Holds a device's DMA through the emulated IOMMU against the same DMA through its host. */
export class DmaJudge {
  readonly #state: RunState;

  constructor(state: RunState) {
    this.#state = state;
  }

  /** Tries some pages of the host, and those that were tried before; only where it is `certain` what to expect. */
  equality(slot: Slot, host: Host, certain: (range: Pick<Mapping, 'iova' | 'pages'>) => boolean): void {
    const { requester, used } = slot;
    const held = [...host.inner.mappings()];
    for (const mapping of [held[0], held[held.length >>> 1], held.at(-1)]) {
      if (mapping !== undefined) used.add(mapping.iova + ((this.#state.step * 37) % mapping.pages));
    }
    const reachable = this.#state.world.expected(requester, UNLIMITED);
    for (const page of used) {
      if (used.size > REMEMBERED) used.delete(page);
      if (!certain({ iova: page, pages: 1 })) continue;
      const mapping = reachable.find(({ iova, pages }) => page >= iova && page < iova + pages);
      const target = mapping === undefined ? undefined : mapping.target + (page - mapping.iova);
      if (mapping === undefined || target === undefined) this.#mustFail(requester, page);
      else this.#mustReach(requester, page, target, mapping.access);
      // A host with larger pages leaves out what does not fill them.
      if (mapping !== undefined && host.limits.granule > 1) continue;
      const gpa = host.inner.translate(addressOf(page))?.gpa;
      assert.equal(gpa, target === undefined ? undefined : addressOf(target));
    }
  }

  #mustFail(requester: RequesterId, page: number): void {
    const view = this.#state.world.view(requester);
    // Memory of a device can be reached by other devices, and is not given to hosts.
    const atDevice = view === 'memory' && page >= BAR.start && page < BAR.end;
    if (atDevice || (typeof view !== 'string' && view.at(page) !== undefined)) return;
    const read = dmaRead(this.#state.iommu.addressSpace(requester), addressOf(page), new Uint8Array(1));
    assert.notEqual(read.failure, undefined);
  }

  #mustReach(requester: RequesterId, page: number, target: number, access: Access): void {
    if (target >= TABLES.start && target < TABLES.end) return;
    const region = ramAt(this.#state.world.memory, target);
    const there = new PageCursor();
    region?.block?.locate(target - region.start, there, true);
    const stamp = (this.#state.step % 100) + 1;
    there.bytes()[0x123] = stamp;
    const space = this.#state.iommu.addressSpace(requester);
    const address = addressOf(page) + 0x123n;
    const data = new Uint8Array(1);
    const read = dmaRead(space, address, data);
    const written = dmaWrite(space, address, new Uint8Array([255 - stamp]));
    const readable = (access & Access.Read) !== 0;
    const writable = (access & Access.Write) !== 0;
    assert.deepEqual(
      {
        read: read.failure === undefined,
        got: data[0],
        written: written.failure === undefined,
        now: there.bytes()[0x123],
      },
      { read: readable, got: readable ? stamp : 0, written: writable, now: writable ? 255 - stamp : stamp },
    );
  }
}
