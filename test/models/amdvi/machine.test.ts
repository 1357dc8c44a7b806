/** Devices plugged into a machine behind AMD-Vi, with hosts as strict as vfio-user is. @module */
import { describe, expect, it } from 'vitest';
import { Machine, type PluggedDevice } from '../../../src/machine/index.ts';
import { RecordingHost } from '../../scenarios/recording-host.ts';
import { AmdviGuest, invalidateDomain, invalidateEntry, invalidatePage, wait } from './amdvi-guest.ts';

interface World {
  readonly guest: AmdviGuest;
  readonly root: number;
  readonly host: RecordingHost;
  readonly device: PluggedDevice;
}

/** Two pages mapped before the device comes; it is function 00:08.0, and the entry is its own. */
async function plugged(maxMappings = 16): Promise<World> {
  const guest = new AmdviGuest();
  const root = guest.tables([0x1000, 0x800], [0x1001, 0x801]);
  guest.entry(0x40, { root, domain: 5 });
  guest.start();
  const machine = new Machine({ memory: guest.memory.space, iommu: guest.iommu });
  const host = new RecordingHost({ strictness: 'vfio-user', maxMappings });
  const device = await machine.plug({ bus: machine.pci, device: 8, name: 'nic' }, host);
  return { guest, root, host, device };
}

describe('a device behind AMD-Vi', () => {
  it('gets the mappings that exist when it is plugged in', async () => {
    const { host, device } = await plugged();

    expect(device.requester).toBe(0x40);
    expect(host.take()).toEqual(['map 1000+1>800 rw', 'map 1001+1>801 rw']);
  });

  it('R14: hears nothing of an entry rewritten as it was', async () => {
    const { guest, root, host } = await plugged();
    host.take();
    guest.entry(0x40, { root, domain: 5 });
    guest.submit(invalidateEntry(0x40), wait(1n));
    await guest.iommu.settled();

    expect(host.take()).toEqual([]);
    expect(guest.stored()).toBe(1n);
  });

  it('sees no RAM between two sets of tables', async () => {
    const { guest, host } = await plugged();
    host.take();
    guest.entry(0x40, { root: guest.tables([0x1001, 0x801], [0x1002, 0x802]), domain: 6 });
    guest.submit(invalidateEntry(0x40), wait(1n));
    await guest.iommu.settled();

    expect(host.take()).toEqual(['unmap 1000+1', 'map 1002+1>802 rw']);
  });

  it('R6: loses what the guest invalidated of a table that is gone, and the rest with the domain', async () => {
    const { guest, root, host } = await plugged();
    host.take();
    const upper = guest.tableAt(root, 3, 0x1000, 2);
    guest.poke(upper, 8, 0n);
    guest.submit(invalidatePage(5, 0x1001), wait(1n));
    await guest.iommu.settled();
    const first = host.take();
    guest.submit(invalidateDomain(5), wait(2n));
    await guest.iommu.settled();

    expect(first).toEqual(['unmap 1001+1']);
    expect(host.take()).toEqual(['unmap 1000+1']);
    expect(guest.stored()).toBe(2n);
  });

  it('R7: that is switched to translation loses RAM in one unmap and gets one map for each page', async () => {
    const { guest, root, host } = await plugged();
    guest.entry(0x40, { v: false });
    guest.submit(invalidateEntry(0x40));
    await guest.iommu.settled();
    const direct = host.held;
    host.take();
    guest.entry(0x40, { root, domain: 5 });
    guest.submit(invalidateEntry(0x40), wait(1n));
    await guest.iommu.settled();

    expect(direct).toEqual(['0+4000>0 rw']);
    expect(host.take()).toEqual(['unmap 0+4000', 'map 1000+1>800 rw', 'map 1001+1>801 rw']);
    expect(host.refusals).toEqual([]);
  });

  it('is cut off when its host is full, and the guest is told by an event', async () => {
    const { guest, root, host, device } = await plugged(2);
    guest.map(root, 3, 0x1002, 1, 0x802);
    guest.submit(invalidatePage(5, 0x1002), wait(1n));
    await guest.iommu.settled();

    expect(device.container.state.kind).toBe('quarantined');
    expect(host.held).toEqual([]);
    expect(guest.takeEvents()).toEqual([[(0x2050n << 48n) | (5n << 32n) | 0x40n, 0x100_2000n]]);
    expect(guest.stored()).toBe(1n);
  });
});
