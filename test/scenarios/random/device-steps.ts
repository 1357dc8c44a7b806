import type { RequesterId } from '../../../src/iommu/index.ts';
import { type AddressSpace } from '../../../src/memory/index.ts';
import { PlugRefusedError } from '../../../src/vfio/index.ts';
import { DelayedHostIommu } from '../../vfio/delayed-host.ts';
import type { Span } from '../naive/domain.ts';
import type { Unfit } from '../naive/world.ts';
import { mappingText } from '../recording-host.ts';
import { CheckedHost } from './checked-host.ts';
import { possibleCause, UNLIMITED } from './host-kinds.ts';
import type { HostJudge } from './host-judge.ts';
import { EVERY_PAGE, LOOSE } from './layout.ts';
import type { Host, RunState, Slot } from './state.ts';
import type { HostSpec, Step } from './steps.ts';

/** What a host that is narrow can hold: 39 bits of address. */
const NARROW: readonly Span[] = [{ start: 0, end: 2 ** 27 }];

/** What the operator of a machine does: devices and RAM come and go. */
export class DeviceSteps {
  readonly #state: RunState;
  readonly #judge: HostJudge;
  /** The address spaces that plugged devices had: each goes with its last user. */
  readonly #lent: Set<AddressSpace> = new Set();

  constructor(state: RunState, judge: HostJudge) {
    this.#state = state;
    this.#judge = judge;
  }

  async plug(slot: Slot, kind: HostSpec, wait: boolean): Promise<void> {
    const { machine, world, pending, step } = this.#state;
    const { requester, bus, device } = slot;
    const host = this.#makeHost(slot, kind);
    const place = { bus, device, name: `step${step}` };
    if (this.#taken(slot)) {
      await this.#refusedForSlot(machine.plug(place, host.outer), host);
      return;
    }
    // The function is gone, and whoever took it out is about to hear of it.
    if (slot.state !== 'empty') return;
    const unfit = world.unfit(requester, host.limits);
    // While it goes on nothing changes, or it is over before anything can; and what it is shown is what the guest has.
    const certain = (wait || !kind.late) && !world.unsure(requester);
    const notifiers = this.#notifiers(requester);
    Object.assign(slot, { state: 'plugging', name: place.name, host, strained: false });
    const plug = async (): Promise<void> => {
      try {
        slot.plugged = await machine.plug(place, host.outer);
      } catch (error) {
        Object.assign(slot, { state: 'empty', host: undefined });
        this.#judgeRefusal(error, host, certain ? unfit : 'unknown');
        if (this.#taken(slot)) this.#state.violate('a refused plug left its function');
        if (wait && this.#notifiers(requester) !== notifiers)
          this.#state.violate('a refused plug left a notifier');
        return;
      }
      slot.state = 'plugged';
      this.#lent.add(this.#state.iommu.addressSpace(requester));
      if (certain && unfit !== undefined) this.#state.violate(`plugged, though ${unfit}`);
    };
    const over = plug();
    if (wait) await over;
    else pending.push(over);
  }

  async unplug(slot: Slot, wait: boolean): Promise<void> {
    const { plugged, host, name } = slot;
    if (slot.state !== 'plugged' || plugged === undefined || host === undefined) return;
    slot.state = 'unplugging';
    const unplug = async (): Promise<void> => {
      await this.#state.machine.unplug(plugged);
      Object.assign(slot, { state: 'empty', host: undefined, plugged: undefined });
      if (!this.#state.lost(name) && host.inner.size > 0)
        this.#state.violate('an unplugged device left mappings');
    };
    const over = unplug();
    if (wait) await over;
    else this.#state.pending.push(over);
  }

  async release({ plugged, host, requester }: Slot): Promise<void> {
    if (plugged === undefined || host === undefined || plugged.container.state.kind !== 'quarantined') return;
    const { world } = this.#state;
    const certain = !world.unsure(requester);
    const unfit = world.unfit(requester, host.limits);
    try {
      await plugged.container.release();
    } catch (error) {
      this.#judgeRefusal(error, host, certain ? unfit : 'unknown');
      return;
    }
    if (certain && unfit !== undefined) this.#state.violate(`released, though ${unfit}`);
  }

  /** Regions of RAM are taken out, or others put in their place, all at once. */
  async changeRam(changes: (Step & { do: 'ram' })['changes']): Promise<void> {
    const { guest, iommu, regions, slots, world, step } = this.#state;
    let map = world.memory;
    guest.topology.transaction(() => {
      for (const { region, to } of changes) {
        const loose = LOOSE[region % LOOSE.length]!;
        const old = regions.get(loose.name);
        if (old !== undefined) guest.system.remove(old);
        regions.delete(loose.name);
        map = map.filter(({ name }) => name !== loose.name);
        if (to === 'new') map = [...map, this.#state.addRegion(loose)];
        // What hosts are told when the transaction ends is held against this.
        world.setMemory(map, step);
      }
    });
    for (const { host, requester } of slots) {
      if (host !== undefined) await iommu.addressSpace(requester).barrier();
    }
    world.confirm(step);
    this.#judge.holdings('after RAM changed');
  }

  /** With every device unplugged: whether anything is left of any plug. */
  leftovers(): string[] {
    const { machine, slots, requesters, iommu } = this.#state;
    return [
      ...machine.devices.map(({ fn }) => `device ${fn.name}`),
      ...slots.filter((slot) => this.#taken(slot)).map(({ name }) => `function of ${name}`),
      ...requesters
        .map((requester) => iommu.addressSpace(requester))
        .filter((space) => this.#lent.has(space))
        .map(({ name }) => `address space ${name}`),
    ];
  }

  #taken({ bus, device }: Slot): boolean {
    return bus.functions.some((fn) => fn.device === device);
  }

  async #refusedForSlot(plug: Promise<unknown>, { inner }: Host): Promise<void> {
    const outcome = await plug.then(
      () => 'was plugged',
      (error: unknown) => String(error),
    );
    if (!outcome.includes('already')) this.#state.violate(`a device for a taken slot: ${outcome}`);
    const { map, unmap, barrier } = inner.messages;
    if (map + unmap + barrier > 0)
      this.#state.violate('the host of a device for a taken slot was asked something');
  }

  /** `unfit` is what the reference says stands in the way. */
  #judgeRefusal(error: unknown, { kind, inner }: Host, unfit: Unfit | 'unknown' | undefined): void {
    if (!(error instanceof PlugRefusedError)) throw error;
    const { cause } = error.refusal;
    const expected =
      kind.failAt === undefined && unfit !== 'unknown' ? cause === unfit : possibleCause(kind, cause);
    if (!expected) this.#state.violate(`refused for ${cause}, not ${unfit}: ${error.message}`);
    if (cause !== 'host-lost' && inner.size > 0) this.#state.violate('what was refused left mappings');
  }

  #makeHost(slot: Slot, kind: HostSpec): Host {
    const { world } = this.#state;
    const { strictness, granule, room, late, failAt, fault } = kind;
    const pageSizes = (BigInt(granule) << 12n) | 0x20_0000n | 0x4000_0000n;
    const apertures = kind.narrow ? NARROW : [EVERY_PAGE];
    const count = world.expected(slot.requester, { ...UNLIMITED, granule }).length;
    const maxMappings = room === undefined ? Number.POSITIVE_INFINITY : Math.max(1, count + room);
    const limits = { granule, maxMappings, apertures };
    const inner = new CheckedHost({ strictness, pageSizes, maxMappings, apertures }, (mapping) => {
      if (world.allows(slot.requester, mapping)) return;
      this.#state.violate(`${slot.name} was given ${mappingText(mapping)}`);
    });
    if (!late && failAt === undefined) return { kind, limits, inner, outer: inner };
    const answers = late ? 'later' : 'at-once';
    const outer = new DelayedHostIommu(inner, {
      answers,
      fault,
      ...(failAt === undefined ? {} : { failAt }),
    });
    return { kind, limits, inner, outer };
  }

  /** Notifiers of a requester; its space does not outlive the question when nobody else uses it. */
  #notifiers(requester: RequesterId): number {
    const { slots, iommu } = this.#state;
    const used = slots.some((slot) => slot.requester === requester && slot.state !== 'empty');
    const count = iommu.requesterSpace(requester).region.notifiers.length;
    if (!used) iommu.releaseAddressSpace(requester);
    return count;
  }
}
