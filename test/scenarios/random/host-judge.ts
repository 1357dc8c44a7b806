import assert from 'node:assert/strict';
import type { Mapping, RequesterId } from '../../../src/iommu/index.ts';
import type { ContainerState } from '../../../src/vfio/index.ts';
import type { Span } from '../naive/domain.ts';
import { mappingText } from '../recording-host.ts';
import { DmaJudge } from './dma-judge.ts';
import { possibleCause } from './host-kinds.ts';
import type { Host, RunState, Slot } from './state.ts';

/** Holds what hosts have against what the guest has mapped. */
export class HostJudge {
  readonly #state: RunState;
  readonly #dma: DmaJudge;

  constructor(state: RunState) {
    this.#state = state;
    this.#dma = new DmaJudge(state);
  }

  /** At any time: no host holds anything that the guest has withdrawn and seen confirmed. */
  holdings(when: string): void {
    const { slots, world } = this.#state;
    for (const { host, requester, name } of slots) {
      if (host === undefined || this.#state.lost(name)) continue;
      for (const mapping of host.inner.mappings()) {
        if (world.allows(requester, mapping)) continue;
        this.#state.violate(`${when}, ${name} held ${mappingText(mapping)}`);
      }
    }
  }

  /** A host with limits may be asked for too much while the guest has not said what it changed. */
  noteStrain(): void {
    const { slots, world } = this.#state;
    for (const slot of slots) {
      const { host, requester } = slot;
      if (host === undefined) continue;
      const unfit = world.unfit(requester, host.limits) !== undefined;
      slot.strained ||= unfit || world.unsure(requester) || world.outdated(requester).length > 0;
    }
  }

  /** After a barrier: a plugged device's host holds what the guest has mapped, and that of a quarantined one nothing. */
  equality(slot: Slot): void {
    const { host, plugged, requester } = slot;
    if (host === undefined || plugged === undefined) return;
    const { state } = plugged.container;
    const held = [...host.inner.mappings()];
    if (state.kind !== 'attached') {
      this.#cutOff(slot, host, state);
      if (state.kind !== 'host-lost') assert.deepEqual(held.map(mappingText), []);
      return;
    }
    assert.deepEqual([...plugged.container.mappings()].map(mappingText), held.map(mappingText));
    const { world } = this.#state;
    if (world.unsure(requester)) return;
    const { granule } = host.limits;
    const outdated = world.outdated(requester).map(({ start, end }) => ({
      start: Math.floor(start / granule) * granule,
      end: Math.ceil(end / granule) * granule,
    }));
    const certain = ({ iova, pages }: Pick<Mapping, 'iova' | 'pages'>): boolean =>
      !outdated.some(({ start, end }) => iova < end && iova + pages > start);
    const expected = world.expected(requester, host.limits).filter(certain);
    assert.deepEqual(held.filter(certain).map(mappingText), expected.map(mappingText));
    slot.strained = outdated.length > 0;
    if (granule === 1) this.#outdatedIsHeld(requester, host, outdated);
    this.#dma.equality(slot, host, certain);
  }

  /** Nobody is cut off without a reason. */
  #cutOff({ name, strained }: Slot, { kind }: Host, state: ContainerState): void {
    if (!('cause' in state)) {
      this.#state.violate(`${name} is ${state.kind}`);
      return;
    }
    const { cause, reason } = state;
    const ownFailure = cause === 'host-refused' || cause === 'host-lost';
    if (possibleCause(kind, cause) && (ownFailure || strained)) return;
    this.#state.violate(`${name} is ${state.kind} for ${cause}: ${reason}`);
  }

  /** Where the guest has not said yet what it changed, a host may have the old or the new, but not neither. */
  #outdatedIsHeld(requester: RequesterId, { inner }: Host, outdated: readonly Span[]): void {
    for (const { start, end } of outdated) {
      const stride = Math.max(1, Math.floor((end - start) / 7));
      for (let page = start; page < end; page += stride) {
        if (!this.#state.world.alwaysMapped(requester, page) || inner.find(page) !== undefined) continue;
        this.#state.violate(`page 0x${page.toString(16)} was mapped all the time and the host has it not`);
      }
    }
  }
}
