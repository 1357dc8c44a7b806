import { describe, expect, test } from 'vitest';
import { guestMemory, Machine } from '../../src/machine/index.ts';
import {
  dmaRead,
  dmaWrite,
  type ObservedEvent,
  PageCursor,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { refusalOf } from '../vfio/world.ts';

/** RAM at 0 and at 4 GiB, ROM below 4 GiB, and nothing between devices and memory. */
function plainMachine() {
  const guest = guestMemory([
    { start: 0, block: new SparseRamBlock(0x1000) },
    { start: 0x10_0000, block: new SparseRamBlock(0x800) },
    { start: 0xf_fff0, block: new SparseRamBlock(0x10), readonly: true },
  ]);
  const events: ObservedEvent[] = [];
  const machine = new Machine({
    memory: guest.memory,
    observer: { observe: (event) => void events.push(event) },
  });
  const place = { bus: machine.pci, device: 5, name: 'nic' };
  return { guest, machine, place, events, host: new RecordingHost({ strictness: 'vfio-user' }) };
}

const MEMORY = ['0+1000>0 rw', 'ffff0+10>ffff0 r', '100000+800>100000 rw'];

describe('a machine without an IOMMU', () => {
  test('gives a device all memory, ROM for reading only', async () => {
    const { machine, place, host } = plainMachine();

    const device = await machine.plug(place, host);

    expect(host.held).toEqual(MEMORY);
    expect(device.report).toMatchObject({ replayed: 0, ramSections: 3, entriesRead: 0 });
    expect(device.requester).toBe(0x28);
  });

  test('takes it back at the unplug', async () => {
    const { guest, machine, place, host } = plainMachine();
    const device = await machine.plug(place, host);

    await machine.unplug(device);

    expect(host.size).toBe(0);
    expect(host.refusals).toEqual([]);
    expect(machine.pci.functions).toEqual([]);
    // It throws while anybody listens.
    expect(() => guest.memory.dispose()).not.toThrow();
  });

  test('follows RAM that is plugged and unplugged', async () => {
    const { guest, machine, place, host } = plainMachine();
    const device = await machine.plug(place, host);
    const dimm = new RamRegion('DIMM', new SparseRamBlock(0x100));
    host.take();

    guest.system.add(dimm, 0x20_0000);
    const added = host.take();
    guest.system.remove(dimm);
    await device.container.barrier();

    expect(added).toEqual(['map 200000+100>200000 rw']);
    expect(host.take()).toEqual(['unmap 200000+100']);
    expect(host.held).toEqual(MEMORY);
  });

  test('lets DMA end where the host leads it', async () => {
    const { guest, machine, place, host } = plainMachine();
    await machine.plug(place, host);

    const written = dmaWrite(guest.memory, 0x1_0000_0123n, new Uint8Array([0x42]));
    const data = new Uint8Array(1);
    const there = host.translate(0x1_0000_0123n)?.ram;
    const cursor = new PageCursor();
    there?.block.locate(there.page, cursor, false);
    const read = dmaRead(guest.memory, 0x1_0000_0123n, data);

    expect([written.completed, read.completed, data[0]]).toEqual([1, 1, 0x42]);
    expect(cursor.bytes()[0x123]).toBe(0x42);
    expect(dmaWrite(guest.memory, 0xffff_0000n, data).failure?.kind).toBe('read-only');
    expect(dmaRead(guest.memory, 0x8000_0000n, data).failure?.kind).toBe('hole');
    expect(host.translate(0x8000_0000n)).toBeUndefined();
  });

  test('refuses a plug whose host has no room, and keeps nothing of it', async () => {
    const { guest, machine, place } = plainMachine();
    const host = new RecordingHost({ strictness: 'type1', maxMappings: 2 });

    const { refusal } = await refusalOf(machine.plug(place, host));

    expect(refusal).toMatchObject({ cause: 'too-many-mappings', mapping: { iova: 0x10_0000 } });
    expect(host.size).toBe(0);
    expect(machine.pci.functions).toEqual([]);
    expect(() => guest.memory.dispose()).not.toThrow();
  });

  test('quarantines a device with nobody to tell but the observer', async () => {
    const { guest, machine, place, events } = plainMachine();
    const host = new RecordingHost({ strictness: 'type1', maxMappings: 3 });
    const device = await machine.plug(place, host);

    guest.system.add(new RamRegion('DIMM', new SparseRamBlock(0x100)), 0x20_0000);
    await device.container.barrier();

    expect(device.container.state).toMatchObject({ kind: 'quarantined', mapping: { iova: 0x20_0000 } });
    expect(events.map(({ kind }) => kind)).toEqual(['quarantined']);
    expect(host.size).toBe(0);
  });
});
